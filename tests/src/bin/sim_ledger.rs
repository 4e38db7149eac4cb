//! `cargo xtask sim ledger`: many seeds of the ledger's simulator, in memory and on PostgreSQL.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use ledger::sim::{self, Outcome};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tests::database::from_environment;
use tokio::task::JoinSet;

const HELP: &str = "\
cargo xtask sim ledger [--seeds N] [--seed S] [--steps N] [--postgres N]

Runs the ledger's core and protocol through faults, and checks after every step that nothing said to be kept is lost, doubled or
refused for no reason. A failure prints its seed.

  --seeds N     how many seeds in memory, from --seed on (1000)
  --seed S      the first seed (0); with --seeds 1 it repeats one
  --steps N     how many things happen in each (500)
  --postgres N  how many seeds besides on a real PostgreSQL whose connections die (0)
";

struct Arguments {
    seeds: u64,
    seed: u64,
    steps: u32,
    postgres: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let Some(arguments) = parse()? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let began = Instant::now();
    let failed = in_memory(&arguments);
    let failed_on_postgres = tokio::runtime::Runtime::new()?.block_on(on_postgres(&arguments))?;
    println!("{:.0} s", began.elapsed().as_secs_f64());
    Ok(if failed + failed_on_postgres == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse() -> anyhow::Result<Option<Arguments>> {
    let mut arguments = Arguments { seeds: 1_000, seed: 0, steps: 500, postgres: 0 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> anyhow::Result<u64> {
            let value = words.next().with_context(|| format!("{word} needs a number"))?;
            value.parse().with_context(|| format!("{value} is no number"))
        };
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--seeds" => arguments.seeds = number()?,
            "--seed" => arguments.seed = number()?,
            "--steps" => arguments.steps = u32::try_from(number()?)?,
            "--postgres" => arguments.postgres = number()?,
            other => bail!("{other} is no flag of the simulator\n\n{HELP}"),
        }
    }
    Ok(Some(arguments))
}

/// Runs seeds on every core; tells how many failed.
fn in_memory(arguments: &Arguments) -> u64 {
    let next = AtomicU64::new(arguments.seed);
    let end = arguments.seed + arguments.seeds;
    let (total, failed) = (Mutex::new(Outcome::default()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    match catch_unwind(|| sim::run(seed, arguments.steps)) {
                        Ok(outcome) => add(&mut total.lock().expect("nobody panics with it"), &outcome),
                        Err(_) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            println!("seed {seed} FAILED; again: cargo xtask sim ledger --seeds 1 --seed {seed}");
                        }
                    }
                    if (seed - arguments.seed) % 1_000 == 999 {
                        eprintln!("{} of {} seeds", seed - arguments.seed + 1, arguments.seeds);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    tell("in memory", arguments.seeds, failed, &total.into_inner().expect("nobody panics with it"));
    failed
}

/// Runs seeds one after the other, each on a database of its own; tells how many failed.
async fn on_postgres(arguments: &Arguments) -> anyhow::Result<u64> {
    if arguments.postgres == 0 {
        return Ok(0);
    }
    let options: PgConnectOptions = from_environment("DATABASE_URL").parse()?;
    let (mut total, mut failed) = (Outcome::default(), 0);
    for seed in arguments.seed..arguments.seed + arguments.postgres {
        let name = format!("sim_{seed}");
        let mut admin = options.connect().await?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
        let pool = PgPoolOptions::new().max_connections(16).connect_with(options.clone().database(&name)).await?;
        sqlx::migrate!("../migrations").run(&pool).await?;
        // In a task of its own, so that a broken promise of one seed does not hide the others.
        let mut run = JoinSet::new();
        run.spawn({
            let (pool, steps) = (pool.clone(), arguments.steps);
            async move { sim::postgres::run(&pool, seed, steps).await }
        });
        match run.join_next().await {
            Some(Ok(Ok(outcome))) => add(&mut total, &outcome),
            error => {
                failed += 1;
                println!("seed {seed} FAILED on PostgreSQL: {error:?}");
            }
        }
        pool.close().await;
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await?;
        admin.close().await?;
        if (seed - arguments.seed) % 10 == 9 {
            eprintln!("{} of {} seeds on PostgreSQL", seed - arguments.seed + 1, arguments.postgres);
        }
    }
    tell("on PostgreSQL", arguments.postgres, failed, &total);
    Ok(failed)
}

fn add(total: &mut Outcome, outcome: &Outcome) {
    total.asked += outcome.asked;
    total.kept += outcome.kept;
    total.refused += outcome.refused;
    total.blocks += outcome.blocks;
    total.transfers += outcome.transfers;
    total.crashes += outcome.crashes;
    total.takeovers += outcome.takeovers;
    total.faults += outcome.faults;
    total.letters += outcome.letters;
    total.lost += outcome.lost;
}

fn tell(place: &str, seeds: u64, failed: u64, total: &Outcome) {
    println!("{place}: {} of {seeds} seeds passed", seeds - failed);
    println!(
        "  {} requests, {} kept, {} refused; {} blocks, {} transfers; {} power cuts, {} take-overs, {} broken connections; \
         {} letters, {} lost on their way",
        total.asked,
        total.kept,
        total.refused,
        total.blocks,
        total.transfers,
        total.crashes,
        total.takeovers,
        total.faults,
        total.letters,
        total.lost
    );
}
