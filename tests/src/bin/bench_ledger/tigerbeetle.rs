//! TigerBeetle by its own benchmark: one replica that it starts itself, batches of its own size.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use crate::load::Workload;
use crate::plan::Plan;
use crate::sample::Sample;

/// What it is, for the table's notes.
pub const NOTE: &str =
    "`tigerbeetle benchmark`, one replica, one client with full batches; its latencies are a batch's";
const TIME_MAX: Duration = Duration::from_secs(60);

/// The program's absolute path, since it runs in a folder of the bench's.
pub fn find(program: PathBuf) -> anyhow::Result<PathBuf> {
    program.canonicalize().with_context(|| format!("--tigerbeetle {}", program.display()))
}

/// Transfers a second; its data file is made and removed in `folder`. It has no holds in its benchmark.
pub async fn measure(program: &Path, folder: &Path, plan: &Plan, workload: Workload) -> anyhow::Result<Option<Sample>> {
    let hot = match workload {
        Workload::Uniform => ["--account-count-hot=0", "--transfer-hot-percent=0"],
        Workload::Hot => ["--account-count-hot=1", "--transfer-hot-percent=100"],
        Workload::Job => return Ok(None),
    };
    let mut command = Command::new(program);
    command.arg("benchmark").args(hot).arg(format!("--account-count={}", plan.accounts));
    command.arg(format!("--transfer-count={}", plan.tigerbeetle_transfers));
    command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TIME_MAX, command.output()).await.context("TigerBeetle took too long")??;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "TigerBeetle ended with {}:\n{said}", output.status);
    parse(&said).map(Some).with_context(|| format!("TigerBeetle said:\n{said}"))
}

fn parse(said: &str) -> Option<Sample> {
    let figure = |label: &str| said.split(label).nth(1)?.split_whitespace().next()?.parse::<f64>().ok();
    let rate = figure("load accepted = ")?;
    let (p50_ms, p99_ms) = (figure("batch latency p50 = "), figure("batch latency p99 = "));
    Some(Sample { rate, p50_ms, p99_ms, ..Sample::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tigerbeetle_says_is_understood() {
        let said = "123 batches in 5.52 s\ntransfer batch size = 8189 txs\nload accepted = 181000 tx/s\n\
                    batch latency p50 = 39 ms\nbatch latency p99 = 81 ms\n";
        let sample = parse(said).unwrap();
        assert_eq!((sample.rate, sample.p50_ms, sample.p99_ms), (181_000.0, Some(39.0), Some(81.0)));
        assert!(parse("error: unexpected argument").is_none());
    }
}
