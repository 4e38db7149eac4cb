//! `tokengrid-node`: joins a machine to a control plane, serves models, measures them.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use engine::backend::llama;
use engine::bench::burst::{self, Burst, BurstRow};
use engine::bench::{self, Row, Workload};
use engine::node::identity::Identity;
use engine::node::metrics::Endpoint;
use engine::node::{Node, machine};
use engine::{Engine, EngineConfig, Model};
use primitives::certificate::Certificate;
use primitives::clock::Clock;
use primitives::id::Ids;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tracing_subscriber::EnvFilter;

mod config;
mod toolchain;

use config::{BenchArgs, Cli, Command, EngineArgs, JoinArgs, LogFormat, RunArgs};

/// Some microseconds: longer than the gap between two operators of a small model, too short to hurt others.
const SPIN_COUNT: &str = "1000";

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if cli.spin_count.is_none() {
        return Err(start_again()).context("cannot start this program again with GOMP_SPINCOUNT set");
    }
    start_logs(&cli)?;
    // Fails only where a provider is installed already, and nothing before this line installs one.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let ids = Ids::random(Clock::system());
    match cli.command {
        Command::Join(args) => asynchronously(join(args, &ids)),
        Command::Run(args) => asynchronously(run(args, &ids)),
        Command::Bench(args) => asynchronously(async { LocalSet::new().run_until(bench(args)).await }),
        Command::Quantize(args) => toolchain::quantize(&args),
        Command::Align(args) => {
            if !toolchain::align(&args, &ids)? {
                std::process::exit(1);
            }
            Ok(())
        }
    }
}

fn asynchronously(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(command)
}

/// Becomes this program anew (same process, same arguments) with a bound on the spinning of OpenMP's threads. By default they
/// spin for milliseconds at every operator's end, which on a machine with any other work costs up to nine tenths of the speed.
/// OpenMP reads the bound before `main` begins, hence the new start.
fn start_again() -> std::io::Error {
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).env("GOMP_SPINCOUNT", SPIN_COUNT).exec()
}

fn start_logs(cli: &Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&cli.log).context("--log does not read as a filter, such as info,engine=debug")?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Human => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

async fn join(args: JoinArgs, ids: &Ids) -> anyhow::Result<()> {
    let mut identity = Identity::open(&args.about.state_dir, ids)?;
    if let Some(membership) = identity.membership() {
        bail!("{} has joined {} already", membership.node_id, membership.control_plane);
    }
    let descriptor = machine::describe(args.about.name, args.about.tier, threads(None), &[]);
    let node_id = engine::node::join(&mut identity, &args.control_plane, &args.token, descriptor).await?;
    let state_dir = args.about.state_dir.display();
    if args.json {
        let joined =
            json!({ "node_id": node_id, "control_plane": args.control_plane, "state_dir": state_dir.to_string() });
        println!("{joined}");
    } else {
        println!("Joined as {node_id}.\nServe with: tokengrid-node run --state-dir {state_dir} --model MODEL");
    }
    Ok(())
}

async fn run(args: RunArgs, ids: &Ids) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metrics = match args.metrics_port {
        Some(port) => Some(Endpoint::open(port).await?),
        None => None,
    };
    let identity = Identity::open(&args.about.state_dir, ids)?;
    let joined = identity.membership().map(|membership| membership.control_plane.clone());
    let Some(control_plane) = args.control_plane.or(joined) else {
        bail!("which control plane? give --control-plane, or run `tokengrid-node join` first");
    };
    let engines = args.model.iter().map(|path| start(path, &args.engine)).collect::<anyhow::Result<Vec<_>>>()?;
    let descriptor = machine::describe(args.about.name, args.about.tier, threads(args.engine.threads), &engines);
    // An empty variable of a compose file is no token.
    let join_token = args.join_token.filter(|token| !token.is_empty());
    let certificates = args.certificate.iter().map(|path| certificate(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let node = Node { identity, control_plane, join_token, descriptor, certificates, engines };

    let (drain, draining) = watch::channel(None);
    let serving = node.run(ids, draining);
    let stopping = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(seconds_max = args.drain_seconds, "draining");
        drain.send_replace(Some(Instant::now() + Duration::from_secs(args.drain_seconds)));
        std::future::pending::<()>().await;
    };
    let measuring = async {
        match metrics {
            Some(endpoint) => endpoint.serve().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = serving => Ok(ended?),
        () = stopping => Ok(()),
        () = measuring => Ok(()),
    }
}

fn certificate(path: &Path) -> anyhow::Result<Certificate> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no certificate of alignment", path.display()))
}

async fn bench(args: BenchArgs) -> anyhow::Result<()> {
    let engine = start(&args.model, &args.engine)?;
    let workload = Workload {
        prompt_tokens: args.prompt_tokens,
        output_tokens_max: args.output_tokens,
        duration: Duration::from_secs(args.seconds),
    };
    let mut rows = Vec::new();
    for callers in [1, 8, 32] {
        rows.push(bench::measure(&engine, workload, callers).await?);
    }
    let burst = Burst {
        shared_tokens: args.shared_tokens,
        own_tokens: args.prompt_tokens,
        output_tokens_max: args.output_tokens,
        rounds: 3,
    };
    let mut bursts = Vec::new();
    if args.shared_tokens > 0 {
        for requests in [8, 32] {
            bursts.push(burst::measure(&engine, burst, requests).await?);
        }
    }
    let model = engine.model();
    if args.json {
        let measured = json!({
            "model": model.id,
            "weights_sha256": model.sha256,
            "quantisation": model.quantisation,
            "engine": llama::version(),
            "threads": engine.config().threads,
            "slots": engine.config().slots,
            "prompt_tokens": workload.prompt_tokens,
            "output_tokens_max": workload.output_tokens_max,
            "rows": rows,
            "shared_tokens": burst.shared_tokens,
            "bursts": bursts,
        });
        println!("{measured:#}");
    } else {
        println!("{} {}, {}, {} threads", model.id, model.quantisation, llama::version(), engine.config().threads);
        print_table(&rows);
        print_bursts(&bursts);
    }
    Ok(())
}

fn print_bursts(bursts: &[BurstRow]) {
    if !bursts.is_empty() {
        println!("burst of  alone ms  shared ms  speedup  first token alone, shared ms  ratio  cached");
    }
    for row in bursts {
        println!(
            "{:>8}  {:>8.0}  {:>9.0}  {:>7.2}  {:>18.1}, {:.1}  {:>5.2}  {:>5.0}%",
            row.requests,
            row.alone_ms,
            row.shared_ms,
            row.speedup,
            row.first_token_alone_ms,
            row.first_token_shared_ms,
            row.first_token_ratio,
            row.cached_share * 100.0,
        );
    }
}

fn print_table(rows: &[Row]) {
    println!("callers  requests  output tokens/s  prompt tokens/s  tokens an output  first token p50, p99 ms");
    for row in rows {
        println!(
            "{:>7}  {:>8}  {:>15.0}  {:>15.0}  {:>16.1}  {:>15.1}, {:.1}",
            row.callers,
            row.requests,
            row.output_tokens_per_second,
            row.prompt_tokens_per_second,
            row.output_tokens_mean,
            row.first_token_ms_p50,
            row.first_token_ms_p99,
        );
    }
}

fn start(path: &Path, args: &EngineArgs) -> anyhow::Result<Arc<Engine>> {
    let began = Instant::now();
    let model = Arc::new(Model::load(path)?);
    let mut config = EngineConfig::for_model(&model, threads(args.threads));
    config.slots = args.slots;
    config.context_tokens = args.context.unwrap_or(config.context_tokens);
    config.saved_bytes_max = args.saved_mib.saturating_mul(1024 * 1024);
    config.tokens_per_second_max = args.tokens_per_second_max;
    let engine = Engine::start(model.clone(), config)?;
    tracing::info!(
        model = model.id,
        quantisation = model.quantisation,
        slots = config.slots,
        context_tokens = config.context_tokens,
        duration_ms = began.elapsed().as_millis() as u64,
        "model ready"
    );
    Ok(Arc::new(engine))
}

/// The threads asked for, or as many as the machine runs at once.
fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}
