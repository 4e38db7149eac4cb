//! `tokengrid-node`: joins a machine to a control plane, serves models, measures them.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use engine::backend::llama;
use engine::bench::burst::{self, Burst, BurstRow};
use engine::bench::{self, Row, Workload};
use engine::memory::{self, Budget, Need};
use engine::node::identity::Identity;
use engine::node::machine;
use engine::{Engine, EngineConfig, Model, trial};
use primitives::clock::Clock;
use primitives::id::Ids;
use serde_json::json;
use tokio::task::LocalSet;
use tracing_subscriber::EnvFilter;

mod config;
mod first_look;
mod models;
mod run;
mod supervisor;
mod toolchain;
mod tuning;

use config::{BenchArgs, Cli, Command, EngineArgs, JoinArgs, LogFormat};

/// Some microseconds: longer than the gap between two operators of a small model, too short to hurt others.
const SPIN_COUNT: &str = "1000";

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if cli.spin_count.is_none() {
        return Err(start_again()).context("cannot start this program again with GOMP_SPINCOUNT set");
    }
    start_logs(&cli)?;
    // Fails only where a provider is installed already, and nothing before this line installs one.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let ids = Ids::random(Clock::system());
    match cli.command {
        Command::Run(args) if args.restarts.is_none() => {
            let alone = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            return alone.block_on(supervisor::supervise(&ids));
        }
        Command::Run(args) => return asynchronously(run::run(args, &ids)),
        Command::Join(args) => asynchronously(join(args, &ids))?,
        Command::Bench(args) => asynchronously(async { LocalSet::new().run_until(bench(args)).await })?,
        Command::Tune(args) => asynchronously(async { LocalSet::new().run_until(tuning::tune(args)).await })?,
        Command::Try(args) => trial::try_out(&args.model)?,
        Command::Quantize(args) => toolchain::quantize(&args)?,
        Command::Align(args) => {
            if !toolchain::align(&args, &ids)? {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn asynchronously<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
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

async fn bench(args: BenchArgs) -> anyhow::Result<()> {
    tell_need(&args.model, &args.engine, &mut budget(&args.engine))?;
    let engine = Arc::new(start(&args.model, &args.engine)?);
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

/// What all models may take together.
fn budget(args: &EngineArgs) -> Budget {
    let asked = args.memory_mib.map(|mib| mib.saturating_mul(1024 * 1024));
    Budget::of(asked.or_else(memory::available).unwrap_or(u64::MAX))
}

fn start(path: &Path, args: &EngineArgs) -> Result<Engine, engine::Error> {
    let began = Instant::now();
    let model = Arc::new(Model::load(path)?);
    let config = sized(args, EngineConfig::for_model(&model, threads(args.threads)));
    let engine = Engine::start(model.clone(), config)?;
    tracing::info!(
        model = model.id,
        quantisation = model.quantisation,
        slots = config.slots,
        context_tokens = config.context_tokens,
        duration_ms = began.elapsed().as_millis() as u64,
        "model ready"
    );
    Ok(engine)
}

/// With what the command line says.
fn sized(args: &EngineArgs, mut config: EngineConfig) -> EngineConfig {
    config.slots = args.slots;
    config.context_tokens = args.context.unwrap_or(config.context_tokens);
    config.step_tokens_max = args.step_tokens;
    config.chunk_tokens_max = args.chunk_tokens;
    config.kv = args.kv;
    config.saved_bytes_max = args.saved_mib.saturating_mul(1024 * 1024);
    config.tokens_per_second_max = args.tokens_per_second_max;
    config.turn_ms_max = args.turn_ms_max;
    // As many may give way as run.
    config.waiting_max = config.waiting_max.max(args.slots);
    config
}

/// Says what a model will need before it is loaded, and takes it from what there is.
fn tell_need(path: &Path, args: &EngineArgs, budget: &mut Budget) -> Result<Need, engine::Error> {
    let weights = Model::locate(path)?;
    let need = budget.take(&weights, |header| {
        let trained = header.number("context_length").and_then(|tokens| usize::try_from(tokens).ok());
        sized(args, EngineConfig::for_context(trained.unwrap_or(usize::MAX), threads(args.threads))).shape()
    })?;
    let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
    tracing::info!(
        weights_mib = mib(need.weights),
        caches_mib = mib(need.caches),
        computing_mib = mib(need.computing),
        saved_states_mib = mib(need.states),
        needed_mib = mib(need.total()),
        left_mib = budget.left() / (1024 * 1024),
        "memory for {}",
        weights.display()
    );
    Ok(need)
}

/// The threads asked for, or as many as the machine runs at once.
fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}
