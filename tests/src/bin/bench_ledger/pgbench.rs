//! pgbench's TPC-B: PostgreSQL's own measure of short transactions that update a few rows.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use ::tests::bench::processor::Spent;
use anyhow::Context;
use tokio::process::Command;

use crate::sample::Sample;

/// What it is, for the table's notes.
pub const NOTE: &str =
    "its built-in script, 3 updates, a query and an insertion in a transaction of 7 statements, prepared";

/// pgbench with its tables in one database.
#[derive(Debug)]
pub struct Tpcb {
    program: PathBuf,
    url: String,
}

impl Tpcb {
    /// Makes the tables; nothing when there is no such program.
    pub async fn open(program: &Path, url: String, scale: u32) -> anyhow::Result<Option<Self>> {
        let tpcb = Self { program: program.to_owned(), url };
        let scale = scale.to_string();
        match tpcb.run(&["-i", "-I", "dtGvp", "-q", "-s", &scale]).await {
            Ok(_) => Ok(Some(tpcb)),
            Err(error) if error.downcast_ref::<std::io::Error>().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Transactions a second.
    pub async fn measure(&self, clients: usize, seconds: u64, server: u32) -> anyhow::Result<Sample> {
        let (clients, seconds) = (clients.to_string(), seconds.to_string());
        let threads = if clients == "1" { "1" } else { "2" };
        let before = Spent::now(server);
        let said = self.run(&["-n", "-M", "prepared", "-c", &clients, "-j", threads, "-T", &seconds]).await?;
        let spent = Spent::now(server).since(before);
        let sample = parse(&said).with_context(|| format!("pgbench said:\n{said}"))?;
        let done = figure(&said, "number of transactions actually processed: ").unwrap_or(0.0);
        Ok(sample.with_cpu(done, spent))
    }

    async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg(&self.url).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "pgbench ended with {}:\n{complaint}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn parse(said: &str) -> Option<Sample> {
    Some(Sample { rate: figure(said, "tps = ")?, p50_ms: None, ..Sample::default() })
}

/// The number after `label`.
fn figure(said: &str, label: &str) -> Option<f64> {
    let rest = said.split(label).nth(1)?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_understood() {
        let said = "number of transactions actually processed: 4321/0\nlatency average = 7.400 ms\n\
                    tps = 1440.518273 (without initial connection time)\n";
        assert_eq!(parse(said).unwrap().rate, 1440.518273);
        assert_eq!(figure(said, "actually processed: "), Some(4321.0));
        assert!(parse("pgbench: error: …").is_none());
    }
}
