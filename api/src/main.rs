//! The program `tokengrid`: the control plane and its tools.

use anyhow::Context;
use api::config::{Cli, Command, Migrate, Serve};
use api::server::{self, ControlPlane};
use api::{economics, graphql, ledger, seed, telemetry};
use clap::Parser;
use primitives::clock::Clock;
use primitives::id::Ids;
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let clock = Clock::system();
    let ids = Ids::random(clock.clone());
    match Cli::parse().command {
        Command::Serve(config) => serve(&config, clock, ids).await,
        Command::Migrate(config) => migrate(&config).await,
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
        Command::Ledger(args) => {
            if !ledger::run(&args, clock, &ids).await? {
                std::process::exit(1);
            }
            Ok(())
        }
        Command::Economics(config) => {
            println!("{}", economics::report(&config, &clock).await?);
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
    let peers = &control_plane.peer_address;
    tracing::info!(%address, %metrics, peers, "the control plane serves");
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

async fn migrate(config: &Migrate) -> anyhow::Result<()> {
    let (name, url) = config.owner().context("neither TOKENGRID_OWNER_DATABASE_URL nor DATABASE_URL is set")?;
    let owner = PgConnection::connect(url.expose_secret()).await;
    let mut owner = owner.with_context(|| format!("{name} cannot be connected to"))?;
    sqlx::migrate!("../migrations")
        .run(&mut owner)
        .await
        .with_context(|| format!("the migrations cannot be applied by the role of {name}"))
}
