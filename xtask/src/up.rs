//! `cargo xtask up`: one command to a working system.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::account::Account;
use crate::control_plane::ControlPlane;
use crate::directory::{self, Directory};
use crate::outbox::Outbox;
use crate::packages::{self, Wanted};
use crate::postgres::Durability;
use crate::process::{self, Service};
use crate::progress::{self, Steps};
use crate::services::{Given, Services};
use crate::{console, demo, exit, seed, workspace};

const HELP: &str = "\
cargo xtask up [--once] [--port N] [--data-dir DIR] [--json]

Installs what is missing (saying what), builds, starts a private PostgreSQL and Redis (unless DATABASE_URL and REDIS_URL name
others; TOKENGRID_OWNER_DATABASE_URL then names the database's owner, where that is another role), an outbox for the mail that
would leave the machine, the control plane on 127.0.0.1 with its console and one node with the bundled engine and model, seeds a
demo, and runs one streamed completion: its tokens, price and transfers. Then it serves until Ctrl-C and leaves nothing running;
the data stays.

  --once          stop everything after the demo and exit 0
  --port N        the control plane's port (8080; 0 takes any free one)
  --data-dir DIR  where data, logs and up.json go (target/tokengrid)
  --json          print one JSON object on stdout instead of text
";

/// The bundled model's folder, in the checkout.
pub const MODEL: &str = "engine/models/spark-1";

struct Options {
    once: bool,
    json: bool,
    port: u16,
    data_dir: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: lexopt::Parser) -> anyhow::Result<()> {
    let Some(options) = parse(arguments)? else {
        progress::print(HELP.trim_end());
        return Ok(());
    };
    let account = Account::for_services()?;
    let directory = Directory::open(options.data_dir.clone(), account.as_ref())?;
    // Whoever waits for this file waits for this start.
    let _ = std::fs::remove_file(directory.join("up.json"));
    let mut steps = Steps::new(10);
    let port = port(options.port)?;

    let given = Given::by_environment();
    packages::ensure(&mut steps, Wanted { services: Some(&given), ..Wanted::default() })?;
    console::build(&mut steps, &directory, &[])?;
    build(&mut steps, &directory.log("build"), &[])?;
    let mut services = Services::start(&directory, account.as_ref(), Durability::Durable, given, &mut steps)?;
    let step = steps.begin("schema and demo data");
    migrate(&services)?;
    let seeded = seed::once(&directory, &services)?;
    step.finish("");

    let model = text(&seeded, "model")?;
    let api_key = seeded["tenant"]["api_key"].as_str().context("the seed told no API key")?;
    let url = format!("http://127.0.0.1:{port}");
    let client = ControlPlane::new(&url, api_key);
    let metrics_port = process::free_port()?;
    let mut outbox = Outbox::start(&mut steps, &directory)?;
    let environment = [services.environment(), outbox.environment()].concat();
    let mut control_plane = start_control_plane(&mut steps, &directory, &environment, port, metrics_port, &client)?;
    let mut node = start_node(&mut steps, &directory, port, &seeded, model, &client)?;

    let mut description = describe(&url, metrics_port, &services, &seeded, &directory, &control_plane, &node)?;
    description["outbox_url"] = outbox.page_url.as_str().into();
    description["pids"]["outbox"] = outbox.service.pid().into();
    directory::write_secret(&directory.join("up.json"), &format!("{description:#}\n"))?;
    description["demo"] = demo::run(&client, model, !options.json)?;
    announce(&options, &description, &directory);

    let ended = if options.once {
        Ok(())
    } else {
        serve(&mut [&mut node, &mut control_plane, &mut outbox.service], &mut services)
    };
    progress::note("stopping …");
    for service in [&mut node, &mut control_plane, &mut outbox.service] {
        service.stop();
    }
    services.stop();
    ended
}

fn parse(mut arguments: lexopt::Parser) -> anyhow::Result<Option<Options>> {
    use lexopt::prelude::*;
    let mut options = Options { once: false, json: false, port: 8080, data_dir: None };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("once") => options.once = true,
            Long("json") => options.json = true,
            Long("port") => options.port = arguments.value()?.parse()?,
            Long("data-dir") => options.data_dir = Some(arguments.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

/// The port to listen on.
///
/// *Errors*: somebody else listens there.
fn port(asked: u16) -> anyhow::Result<u16> {
    if asked == 0 {
        return process::free_port();
    }
    match std::net::TcpListener::bind(("127.0.0.1", asked)) {
        Ok(_) => Ok(asked),
        Err(error) => bail!("127.0.0.1:{asked} cannot be listened on ({error}); choose another with --port"),
    }
}

/// Builds the workspace; one step.
pub fn build(steps: &mut Steps, log: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut step = steps.begin("building");
    let built = step.run(workspace::cargo("build").arg("--workspace").args(arguments), log);
    if built.is_err() && std::fs::read_to_string(log).is_ok_and(|text| text.contains("no cached data for this query")) {
        progress::note("A query has changed since .sqlx was written; `cargo xtask gen` writes it anew.");
    }
    built?;
    step.finish("");
    Ok(())
}

fn migrate(services: &Services) -> anyhow::Result<()> {
    let mut command = Command::new(workspace::program("tokengrid", "dev"));
    command.arg("migrate").env("TOKENGRID_OWNER_DATABASE_URL", &services.owner_database_url).env("RUST_BACKTRACE", "0");
    process::output(command.current_dir(workspace::root()))?;
    Ok(())
}

fn start_control_plane(
    steps: &mut Steps,
    directory: &Directory,
    environment: &[(&str, &str)],
    port: u16,
    metrics_port: u16,
    client: &ControlPlane,
) -> anyhow::Result<Service> {
    let mut step = steps.begin("control plane");
    let mut command = Command::new(workspace::program("tokengrid", "dev"));
    command.arg("serve").envs(environment.iter().copied()).current_dir(workspace::root());
    command.env("TOKENGRID_LISTEN", format!("127.0.0.1:{port}"));
    command.env("TOKENGRID_METRICS_LISTEN", format!("127.0.0.1:{metrics_port}"));
    command.env("TOKENGRID_SECRET", secret(directory)?);
    if process::setting("TOKENGRID_LOG").is_none() {
        command.env("TOKENGRID_LOG", "info");
    }
    // Our death is no reason for it to linger: what it promised is durable already.
    let log = directory.log("control-plane");
    let mut service = Service::start("the control plane", &mut command, &log, libc::SIGTERM, libc::SIGKILL)?;
    service.wait_until(Duration::from_secs(120), || Ok(client.is_ready()), || step.tick(""))?;
    step.finish("");
    Ok(service)
}

fn start_node(
    steps: &mut Steps,
    directory: &Directory,
    port: u16,
    seeded: &Value,
    model: &str,
    client: &ControlPlane,
) -> anyhow::Result<Service> {
    let mut step = steps.begin("node");
    let mut command = Command::new(workspace::program("tokengrid-node", "dev"));
    command.arg("run").current_dir(workspace::root()).arg("--state-dir").arg(directory.join("node"));
    command.args(["--control-plane", &format!("ws://127.0.0.1:{port}/nodes"), "--model", MODEL]);
    // By the environment, so that the token does not show in the list of processes.
    command.env("TOKENGRID_NODE_JOIN_TOKEN", text(seeded, "join_token")?);
    let mut service = Service::start("the node", &mut command, &directory.log("node"), libc::SIGTERM, libc::SIGKILL)?;
    service.wait_until(Duration::from_secs(120), || client.offers(model), || step.tick(""))?;
    step.finish(model);
    Ok(service)
}

/// The control plane's secret: made once, kept in the directory.
fn secret(directory: &Directory) -> anyhow::Result<String> {
    let path = directory.join("secret");
    if let Ok(secret) = std::fs::read_to_string(&path)
        && secret.len() == 64
    {
        return Ok(secret);
    }
    let secret = directory::random_hex(32)?;
    directory::write_secret(&path, &secret)?;
    Ok(secret)
}

fn describe(
    url: &str,
    metrics_port: u16,
    services: &Services,
    seeded: &Value,
    directory: &Directory,
    control_plane: &Service,
    node: &Service,
) -> anyhow::Result<Value> {
    let membership = directory.join("node/node.json");
    let membership: Value =
        serde_json::from_str(&std::fs::read_to_string(&membership).context("the node kept no identity")?)?;
    let (postgres, redis) = services.pids();
    Ok(json!({
        "url": url,
        "graphql_url": format!("{url}/graphql"),
        "openai_base_url": format!("{url}/v1"),
        "metrics_url": format!("http://127.0.0.1:{metrics_port}/metrics"),
        // What serves may do no more with it, and so does who looks; the owner's is beside it.
        "database_url": services.database_url,
        "owner_database_url": services.owner_database_url,
        "redis_url": services.redis_url,
        "tenant": seeded["tenant"],
        "provider": seeded["provider"],
        "operator": seeded["operator"],
        "model": seeded["model"],
        "node_id": membership["node_id"],
        "pids": {"control_plane": control_plane.pid(), "node": node.pid(), "postgres": postgres, "redis": redis},
    }))
}

fn announce(options: &Options, description: &Value, directory: &Directory) {
    if options.json {
        progress::print(&description.to_string());
        return;
    }
    let text = |key: &str| description[key].as_str().unwrap_or_default().to_owned();
    progress::print(&format!("\nconsole    {}\nGraphQL    {}", text("url"), text("graphql_url")));
    progress::print(&format!("OpenAI     {}\nmetrics    {}", text("openai_base_url"), text("metrics_url")));
    progress::print(&format!("outbox     {}", text("outbox_url")));
    let file = directory.join("up.json");
    progress::print(&format!(
        "accounts   {} (passwords and the API key)\nlogs       {}",
        file.display(),
        directory.join("logs").display()
    ));
    if !options.once {
        progress::print("\nCtrl-C stops everything; the data stays.");
    }
}

/// Serves until somebody asks to stop, or something ends by itself.
fn serve(ours: &mut [&mut Service], services: &mut Services) -> anyhow::Result<()> {
    loop {
        if let Err(asked) = process::pause(Duration::from_secs(3600)) {
            return if exit::code_of(&asked) == 130 { Ok(()) } else { Err(asked) };
        }
        ours.iter_mut().try_for_each(|service| service.check_alive())?;
        services.check_alive()?;
    }
}

fn text<'a>(seeded: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    seeded[key].as_str().with_context(|| format!("the seed told no {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_unknown_ones_refused() {
        let options =
            parse(lexopt::Parser::from_args(["--once", "--port", "9000", "--data-dir", "/x"])).unwrap().unwrap();
        assert_eq!((options.once, options.json, options.port), (true, false, 9000));
        assert_eq!(options.data_dir, Some(PathBuf::from("/x")));
        let refusal = parse(lexopt::Parser::from_args(["--twice"])).err().unwrap();
        assert_eq!(exit::code_of(&refusal), 2);
        let refusal = parse(lexopt::Parser::from_args(["--port", "99999"])).err().unwrap();
        assert_eq!(exit::code_of(&refusal), 2);
    }

    #[test]
    fn a_taken_port_is_refused_by_number() {
        let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let holder = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
        assert!(port(taken).unwrap_err().to_string().contains(&taken.to_string()));
        drop(holder);
        assert_ne!(port(0).unwrap(), 0);
    }
}
