//! `cargo xtask bench ledger`: our ledger beside what others keep their books with, on one PostgreSQL, in one run.
//!
//! The sides take turns within a round and change their order from round to round, so that what else the machine does hits
//! all of them; figures are medians over the rounds. What is compared: pgbench's TPC-B ([`pgbench`]), bare insertions
//! ([`raw`]), a plain row-locking ledger ([`plain`]), pgledger ([`pgledger`]) and TigerBeetle ([`tigerbeetle`]) where a flag
//! names them, and [`ours`]. What each promises is in the notes that are printed under the table.

mod chart;
mod cluster;
mod connections;
mod disk;
mod footprint;
mod goal;
mod load;
mod ours;
mod pgbench;
mod pgledger;
mod plain;
mod plan;
mod progress;
mod raw;
mod report;
mod run;
mod sample;
mod tigerbeetle;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use crate::cluster::Cluster;
use crate::plan::Plan;
use crate::run::{Measured, Rivals};

/// Measures the ledger beside pgbench, bare insertions, a plain row-locking ledger, pgledger and TigerBeetle.
///
/// One PostgreSQL, one run: transfers between 10,000 accounts, transfers to one hot account, and jobs (hold, then settle),
/// each with 1, 8, 32 and 2,000 callers, on an empty ledger and on one of five million rows. Prints ratios, the goals with
/// their verdicts and what each side is, and writes a JSON file with a chart beside it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench ledger", version = None)]
struct Arguments {
    /// Smaller and shorter: two minutes and a half at most, instead of twelve.
    #[arg(long)]
    quick: bool,
    /// Where the figures go; the chart goes beside it, as .svg. Without it, to the folder `bench` beside the build.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// pgledger's SQL file, with its `vendor` folder beside it.
    #[arg(long, value_name = "FILE.sql")]
    pgledger: Option<PathBuf>,
    /// TigerBeetle's program.
    #[arg(long, value_name = "BIN")]
    tigerbeetle: Option<PathBuf>,
    /// pgbench's program.
    #[arg(long, value_name = "BIN", default_value = "pgbench", hide = true)]
    pgbench: PathBuf,
    /// Only shows that the bench works: seconds, and figures that say nothing.
    #[arg(long, hide = true, conflicts_with = "quick")]
    tiny: bool,
    /// Opens so many accounts in the ledger of the database and tells what that takes: how the bench asks itself.
    #[arg(long, hide = true, value_name = "ACCOUNTS")]
    footprint: Option<usize>,
    /// How long that may take.
    #[arg(long, hide = true, default_value_t = 60)]
    opening_seconds: u64,
    /// The cluster, by any of its databases.
    #[arg(long, env = "DATABASE_URL", hide = true)]
    database_url: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(accounts) = arguments.footprint {
        let time_max = Duration::from_secs(arguments.opening_seconds);
        return footprint::report(&arguments.database_url, accounts, time_max).await;
    }
    let plan = match (arguments.tiny, arguments.quick) {
        (true, _) => Plan::tiny(),
        (_, true) => Plan::quick(),
        _ => Plan::full(),
    };
    let unoptimised = cfg!(debug_assertions) && !arguments.tiny;
    anyhow::ensure!(
        !unoptimised,
        "this build is not optimised, so its figures say nothing: run `cargo xtask bench ledger`"
    );
    // Said at once, and not after ten minutes.
    let json = arguments.json.clone().map_or_else(beside_the_build, Ok)?;
    if let Some(folder) = json.parent().filter(|folder| *folder != Path::new("")) {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let rivals = Rivals {
        pgbench: arguments.pgbench,
        pgledger: arguments.pgledger.map(pgledger::Source::read).transpose()?,
        tigerbeetle: arguments.tigerbeetle.map(tigerbeetle::find).transpose()?,
    };

    let cluster = Cluster::reach(&arguments.database_url).await?;
    let outcome = match run::measure(&cluster, plan, &rivals).await {
        Ok(measured) => tell(&measured, &json),
        Err(error) => Err(error),
    };
    cluster.clean().await?;
    outcome
}

/// Writes and prints what was found.
///
/// *Errors*: a file that cannot be written; anybody's books that are wrong.
fn tell(measured: &Measured, json: &Path) -> anyhow::Result<()> {
    let goals = goal::judge(measured);
    let chart = json.with_extension("svg");
    std::fs::write(json, report::json(measured, &goals)).with_context(|| format!("writing {}", json.display()))?;
    std::fs::write(&chart, chart::svg(measured)).with_context(|| format!("writing {}", chart.display()))?;
    print!("{}", report::markdown(measured, &goals));
    println!("\nFigures: {}\nChart:   {}", json.display(), chart.display());
    anyhow::ensure!(measured.faults.is_empty(), "the books are wrong: {}", measured.faults.join("; "));
    Ok(())
}

/// `bench/ledger.json` in the folder that holds the build's outputs.
fn beside_the_build() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).context("a program stands in its build's folder")?;
    Ok(folder.join("bench/ledger.json"))
}
