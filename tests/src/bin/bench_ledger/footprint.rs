//! The memory of a process that keeps a ledger of many accounts; a process of its own, so that nothing else is counted.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::ours::Books;
use ::tests::bench::processor;

/// What such a process took. *Units*: bytes; seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Footprint {
    /// Accounts that it opened.
    pub accounts: usize,
    /// In RAM once the writer ran.
    pub at_start: u64,
    /// In RAM once it had opened its accounts.
    pub resident: u64,
    /// Until the writer ran, and until the accounts were open.
    pub start_seconds: f64,
    pub open_seconds: f64,
}

/// Starts a process that opens `accounts` in the ledger of the database at `url`, and asks it.
pub async fn of_process(url: &str, accounts: usize, time_max: Duration) -> anyhow::Result<Footprint> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--database-url").arg(url).args(["--footprint", &accounts.to_string()]);
    command.args(["--opening-seconds", &time_max.as_secs().to_string()]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "opening accounts ended with {}:\n{complaint}", output.status);
    serde_json::from_slice(&output.stdout).context("reading what the process took")
}

/// Is that process: opens the accounts, and prints what it took.
pub async fn report(url: &str, accounts: usize, time_max: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    let books = Books::open(url).await?;
    let start_seconds = began.elapsed().as_secs_f64();
    let resident = || processor::resident_bytes().context("reading /proc/self/status");
    let at_start = resident()?;
    let opening = Instant::now();
    let accounts = books.open_accounts(accounts, time_max).await?;
    let open_seconds = opening.elapsed().as_secs_f64();
    let footprint = Footprint { accounts, at_start, resident: resident()?, start_seconds, open_seconds };
    books.close().await?;
    println!("{}", serde_json::to_string(&footprint)?);
    Ok(())
}
