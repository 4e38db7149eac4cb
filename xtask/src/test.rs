//! `cargo xtask test`: every test, against a PostgreSQL and a Redis that are thrown away afterwards.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, bail};

use crate::account::Account;
use crate::directory::Directory;
use crate::packages::{self, Wanted};
use crate::postgres::Durability;
use crate::process::{self, find_program};
use crate::progress::{self, Steps};
use crate::services::{Given, Services};
use crate::{console, node_modules, python, up, workspace};

const HELP: &str = "\
cargo xtask test [-- RUNNER-ARGUMENTS]

Installs what is missing (saying what), builds, starts a private PostgreSQL and Redis for this run, and runs every test with
cargo-nextest, or with `cargo test` where nextest is absent. What follows `--` goes to the runner, for example a test's name.
Pictures of the console's screens go to the folder that TOKENGRID_SCREENSHOTS names, else to `screenshots` beside the build.
";

/// Runs the command.
pub fn run(mut arguments: lexopt::Parser) -> anyhow::Result<()> {
    use lexopt::prelude::*;
    let mut to_runner = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("help") | Short('h') => {
                progress::print(HELP.trim_end());
                return Ok(());
            }
            // Values without a flag appear only after `--`, or are a test's name.
            Value(value) => {
                to_runner.push(value);
                to_runner.extend(arguments.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let account = Account::for_services()?;
    let directory = Directory::throw_away("test", account.as_ref())?;
    let mut steps = Steps::new(8);
    packages::ensure(&mut steps, Wanted { services: Some(&Given::default()), tests: true, ..Wanted::default() })?;
    let python = python::ensure(&mut steps, &directory)?;
    console::build(&mut steps, &directory, &[node_modules::CLIENTS])?;
    // The same features and targets as the runner's, so that it compiles nothing again; the programs, which some tests run.
    up::build(&mut steps, &directory.log("build"), &["--bins", "--tests"])?;
    let services = Services::start(&directory, account.as_ref(), Durability::None, Given::default(), &mut steps)?;

    let mut runner = if find_program("cargo-nextest").is_some() {
        let mut nextest = workspace::cargo("nextest");
        nextest.args(["run", "--workspace", "--no-fail-fast"]).args(to_runner);
        nextest
    } else {
        let mut test = workspace::cargo("test");
        test.args(["--workspace", "--no-fail-fast", "--"]).args(to_runner);
        test
    };
    runner.envs(services.environment()).env(python::VARIABLE, python);
    // Tests make databases and own them; the systems under test log in as the service, in `tests/src/database.rs`.
    runner.env("DATABASE_URL", &services.owner_database_url);
    let step = steps.begin("tests");
    step.finish("");
    let report = watch(&mut runner)?;
    if let Some(counts) = Counts::of(&report.lines) {
        progress::print(&format!("{} passed, {} failed", counts.passed, counts.failed));
    }
    match report.failure {
        None => Ok(()),
        Some(failure) => bail!("the test run failed ({failure})"),
    }
}

struct Report {
    lines: Vec<String>,
    failure: Option<String>,
}

/// Runs the runner, showing what it prints as it comes and remembering its summaries.
fn watch(runner: &mut Command) -> anyhow::Result<Report> {
    if std::io::stdout().is_terminal() {
        runner.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = process::spawn(runner.stdout(Stdio::piped()).stderr(Stdio::piped()), libc::SIGTERM)
        .context("starting the test runner")?;
    let stdout = child.stdout.take().map(|pipe| forward(pipe, std::io::stdout()));
    let stderr = child.stderr.take().map(|pipe| forward(pipe, std::io::stderr()));
    let status = process::finish(&mut child, || {})?;
    let lines = [stdout, stderr].into_iter().flatten().flat_map(|thread| thread.join().unwrap_or_default()).collect();
    Ok(Report { lines, failure: (!status.success()).then(|| process::describe(status)) })
}

fn forward(from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut summaries = Vec::new();
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let _ = to.write_all(&line).and_then(|()| to.flush());
            let text = without_colour(&String::from_utf8_lossy(&line));
            if text.contains("test result:") || text.contains("Summary") {
                summaries.push(text);
            }
            line.clear();
        }
        summaries
    })
}

fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for character in text.chars() {
        match (inside, character) {
            (false, '\u{1b}') => inside = true,
            (false, other) => plain.push(other),
            (true, 'm') => inside = false,
            (true, _) => {}
        }
    }
    plain
}

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// What the runner itself reported: nextest's summary, or the sum of `cargo test`'s results; nothing when neither is there.
    fn of(lines: &[String]) -> Option<Counts> {
        let summary =
            |line: &&String| line.contains("Summary") && (line.contains("tests run:") || line.contains("test run:"));
        if let Some(line) = lines.iter().rev().find(summary) {
            let failed = number_before(line, "failed").unwrap_or(0) + number_before(line, "timed out").unwrap_or(0);
            return Some(Counts { passed: number_before(line, "passed")?, failed });
        }
        let results: Vec<&String> = lines.iter().filter(|line| line.contains("test result:")).collect();
        let sum = |word| results.iter().map(|line| number_before(line, word)).sum::<Option<u64>>();
        if results.is_empty() { None } else { Some(Counts { passed: sum("passed")?, failed: sum("failed")? }) }
    }
}

fn number_before(line: &str, word: &str) -> Option<u64> {
    let before = &line[..line.find(&format!(" {word}"))?];
    before.rsplit(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> Option<Counts> {
        Counts::of(&text.lines().map(without_colour).collect::<Vec<_>>())
    }

    #[test]
    fn the_summary_of_nextest_is_read() {
        let text =
            "\u{1b}[32;1m     Summary\u{1b}[0m [   1.234s] 12 tests run: 11 passed (1 slow), 1 failed, 3 skipped";
        assert_eq!(counts(text), Some(Counts { passed: 11, failed: 1 }));
        let text = "     Summary [   0.010s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(counts(text), Some(Counts { passed: 1, failed: 0 }));
    }

    #[test]
    fn the_results_of_cargo_test_are_added_up() {
        let text = "test result: ok. 3 passed; 0 failed; 0 ignored\ntest result: FAILED. 2 passed; 1 failed; 0 ignored";
        assert_eq!(counts(text), Some(Counts { passed: 5, failed: 1 }));
    }

    #[test]
    fn without_a_summary_nothing_is_claimed() {
        assert_eq!(counts("error: could not compile"), None);
    }
}
