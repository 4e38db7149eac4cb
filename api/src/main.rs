//! The program `tokengrid`: the control plane and its tools.

use anyhow::Context;
use api::config::{Cli, Command, Database, LedgerCommand, Serve};
use api::server::{self, ControlPlane};
use api::{economics, graphql, seed, telemetry};
use clap::Parser;
use primitives::clock::Clock;
use primitives::id::Ids;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let clock = Clock::system();
    let ids = Ids::random(clock.clone());
    match Cli::parse().command {
        Command::Serve(config) => serve(&config, clock, ids).await,
        Command::Migrate(database) => migrate(&database).await,
        Command::Seed(config) => {
            let pool = server::connect(&config.database).await?;
            let seeded = seed::seed(&pool, &clock, &ids, &config).await?;
            if config.json {
                println!("{seeded}")
            } else {
                println!("{seeded:#}")
            }
            Ok(())
        }
        Command::Schema => {
            print!("{}", graphql::sdl());
            Ok(())
        }
        Command::Ledger(args) => match args.command {
            LedgerCommand::Verify => verify(&args.database).await,
        },
        Command::Economics(config) => {
            println!("{}", economics::report(&config)?);
            Ok(())
        }
    }
}

async fn serve(config: &Serve, clock: Clock, ids: Ids) -> anyhow::Result<()> {
    telemetry::start_logging(&config.log, config.log_json)?;
    let mut terminate = signal(SignalKind::terminate()).context("signals can be listened to")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals can be listened to")?;
    let control_plane = ControlPlane::start(config, clock, ids).await?;
    let (address, metrics) = (control_plane.address, control_plane.metrics_address);
    tracing::info!(%address, %metrics, "the control plane serves");
    control_plane
        .run_until(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("told to stop: running jobs end first");
        })
        .await
}

async fn migrate(database: &Database) -> anyhow::Result<()> {
    let pool = server::connect(database).await?;
    sqlx::migrate!("../migrations").run(&pool).await.context("the migrations cannot be applied")
}

async fn verify(database: &Database) -> anyhow::Result<()> {
    let pool = server::connect(database).await?;
    let found = ledger::proof::verify(&mut *pool.acquire().await?).await?;
    println!("{} blocks, {} transfers, {} usage facts recomputed", found.blocks, found.transfers, found.facts);
    for (shard, head) in &found.heads {
        println!("shard {shard}: head {} {}", head.height, head.hash_hex());
    }
    for bad in &found.bad_blocks {
        println!("shard {}: BAD BLOCK {}: {}", bad.shard, bad.height, bad.reason);
    }
    for account in &found.wrong_balances {
        println!("BAD BALANCE: account {account:?} is not the sum of its transfers");
    }
    if !found.passed() {
        std::process::exit(1);
    }
    println!("everything is as it was written");
    Ok(())
}
