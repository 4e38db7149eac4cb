//! The command `tokengrid economics`: the report of the ledger for a month, and the report of a file of inputs.

use std::path::Path;

use anyhow::Context;
use ledger::Month;
use ledger::economics::{Assumptions, Inputs, Question, Report};
use primitives::clock::Clock;
use serde::de::DeserializeOwned;

use crate::config::{Database, Economics};
use crate::server;

/// One connection reads the report; the others are the least that a pool may have.
const CONNECTIONS_MAX: u32 = 4;

/// The report: of the ledger's records as a table, or on one line of JSON; of a file as JSON.
///
/// *Errors*: a file that is not what it should be, facts that do not fit together, and a slice that does not reconcile, by its
/// leaf. The program then ends with 1 and prints no figure.
pub async fn report(config: &Economics, clock: &Clock) -> anyhow::Result<String> {
    if let Some(path) = &config.input {
        let report = Report::of(&read::<Inputs>(path, "economics inputs")?)?;
        let print = if config.json { serde_json::to_string } else { serde_json::to_string_pretty };
        return Ok(print(&report)?);
    }
    let report = of_ledger(config, clock).await?;
    Ok(if config.json { serde_json::to_string(&report)? } else { report.table() })
}

async fn of_ledger(config: &Economics, clock: &Clock) -> anyhow::Result<Report> {
    let database_url = config.database_url.clone();
    let database_url = database_url.context("give the database with --database-url, or inputs with --input FILE")?;
    let assumptions = match &config.config {
        Some(path) => read::<Assumptions>(path, "economics configuration")?,
        None => Assumptions::default(),
    };
    let now = clock.now();
    let month = config.period.unwrap_or_else(|| Month::of(now));
    let question = Question {
        currency: config.currency,
        view: config.view,
        basis: config.basis,
        allocation: config.allocation,
        group_by: config.group_by.clone(),
        as_of: now,
    };
    let pool = server::connect(&Database { database_url, database_connections_max: CONNECTIONS_MAX }).await?;
    let mut conn = pool.acquire().await?;
    let before = month.prev().context("there is no month before it to compare with")?;
    let months = [before, month];
    let records = ledger::economics_records(&mut conn, months, config.currency, config.view).await?;
    Ok(Report::of_ledger(&records, &assumptions, &question)?)
}

fn read<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    let file = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&file).with_context(|| format!("{} is not a file of {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;
    use crate::config::{Cli, Command};

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../ledger/tests/economics/golden.json")).unwrap()
    }

    fn asked(arguments: &[&str]) -> Economics {
        let command = ["tokengrid", "economics"].iter().chain(arguments);
        match Cli::try_parse_from(command).unwrap().command {
            Command::Economics(config) => config,
            other => panic!("{other:?}"),
        }
    }

    async fn print(name: &str, inputs: &Value, json: bool) -> anyhow::Result<String> {
        let path = std::env::temp_dir().join(format!("tokengrid-economics-{}-{name}.json", std::process::id()));
        std::fs::write(&path, inputs.to_string()).unwrap();
        let config = Economics { json, ..asked(&["--input", path.to_str().unwrap()]) };
        let printed = report(&config, &Clock::system()).await;
        std::fs::remove_file(path).unwrap();
        printed
    }

    #[tokio::test]
    async fn a_file_of_inputs_is_printed_as_what_is_expected_of_it() {
        let golden = golden();
        for json in [false, true] {
            let printed = print("golden", &golden["inputs"], json).await.unwrap();
            assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), golden["expected"]);
            assert_eq!(printed.lines().count() == 1, json);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_inputs_is_refused() {
        let refusal = print("other", &serde_json::json!({ "periods": {} }), true).await.unwrap_err().to_string();
        assert!(refusal.ends_with("is not a file of economics inputs"), "{refusal}");
    }

    #[tokio::test]
    async fn without_a_file_or_a_database_there_is_no_report() {
        let config = Economics { database_url: None, ..asked(&[]) };
        let refusal = report(&config, &Clock::system()).await.unwrap_err().to_string();
        assert!(refusal.contains("--database-url"), "{refusal}");
    }

    #[test]
    fn a_question_to_the_ledger_is_asked_by_flags() {
        use ledger::economics::{Allocation, Basis, Dimension, View};

        let config = asked(&[
            "--period=2026-11",
            "--group-by=provider,line",
            "--basis=energy",
            "--allocation=consumed",
            "--view=restated",
        ]);
        assert_eq!(config.period.unwrap().to_string(), "2026-11");
        assert_eq!(config.group_by, [Dimension::Provider, Dimension::Line]);
        assert_eq!(
            (config.basis, config.allocation, config.view),
            (Basis::Energy, Allocation::Consumed, View::Restated)
        );
        let refused = ["--period=2026-13", "--basis=gold", "--group-by=colour", "--view=later", "--allocation=all"];
        for argument in refused {
            assert!(Cli::try_parse_from(["tokengrid", "economics", argument]).is_err(), "{argument}");
        }
    }
}
