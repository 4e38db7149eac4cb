//! Benches and simulators: programs of the `tests` crate, built with optimisation and given their arguments untouched.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::account::Account;
use crate::directory::Directory;
use crate::packages::{self, Wanted};
use crate::postgres::{self, Durability};
use crate::progress::Steps;
use crate::services::{Given, Services};
use crate::{exit, process, progress, up, workspace};

/// What an experiment needs around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surroundings {
    /// Nothing.
    Bare,
    /// The node that `cargo xtask up` builds, named by `--node`.
    Node,
    /// A private, durable PostgreSQL with room for a bench, and its programs on PATH.
    Postgres,
    /// A private, durable PostgreSQL and a Redis.
    Services,
}

/// Splits `NOUN ARGUMENTS…`; prints `help` and gives nothing when that is what was asked for.
///
/// *Errors*: misused, when the noun is not one of `nouns`.
pub fn parse(
    mut arguments: lexopt::Parser,
    nouns: &[&'static str],
    help: &str,
) -> anyhow::Result<Option<(&'static str, Vec<OsString>)>> {
    let noun = match arguments.next()? {
        Some(lexopt::Arg::Value(value)) => value,
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => {
            progress::print(help.trim_end());
            return Ok(None);
        }
        Some(other) => return Err(other.unexpected().into()),
        None => return Err(exit::misused(format!("one of {} is needed", nouns.join(", ")))),
    };
    match nouns.iter().find(|known| noun == **known) {
        Some(known) => Ok(Some((known, arguments.raw_args()?.collect()))),
        None => Err(exit::misused(format!("{noun:?} is none of {}", nouns.join(", ")))),
    }
}

/// Builds and runs the program `name` of the `tests` crate with `arguments`, showing what it prints.
///
/// *Errors*: exit code 4 when the program does not exist yet; its own failure otherwise.
pub fn run(name: &str, arguments: Vec<OsString>, surroundings: Surroundings) -> anyhow::Result<()> {
    let programs = workspace::root().join("tests/src/bin");
    if !programs.join(format!("{name}.rs")).exists() && !programs.join(name).join("main.rs").exists() {
        return Err(exit::not_built(format!("{name} is not built yet: tests/src/bin has no such program")));
    }
    // What only asks how it is used gets nothing around it.
    let asks = |argument: &OsString| argument == "--help" || argument == "-h";
    let surroundings = if arguments.iter().any(asks) { Surroundings::Bare } else { surroundings };
    let account = Account::for_services()?;
    let directory = Directory::throw_away_on_disk("experiment", account.as_ref())?;
    let given = Given::default();
    let (steps, services, postgres) = match surroundings {
        Surroundings::Bare => (2, None, false),
        Surroundings::Node => (3, None, false),
        Surroundings::Postgres => (3, None, true),
        Surroundings::Services => (4, Some(&given), false),
    };
    let mut steps = Steps::new(steps);
    packages::ensure(&mut steps, Wanted { services, postgres, ..Wanted::default() })?;
    build(name, &directory, &mut steps)?;
    let mut command = Command::new(workspace::program(name, "release"));
    command.args(arguments).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    // They stop when these are dropped, after the experiment.
    let (_services, _postgres);
    match surroundings {
        Surroundings::Bare => {}
        Surroundings::Node => {
            // Everything, as for `up`: another set of packages has other features, and compiles the C++ library again.
            up::build(&mut steps, &directory.log("node"), &["--bins"])?;
            command.arg("--node").arg(workspace::program("tokengrid-node", "dev"));
        }
        Surroundings::Postgres => {
            let sockets = directory.sockets(account.as_ref())?;
            let mut step = steps.begin("PostgreSQL");
            let running = postgres::start(&directory, &sockets, account.as_ref(), Durability::Measured, &mut step)?;
            step.finish("its own cluster, with fsync");
            command.env("DATABASE_URL", &running.owner_url).env("PATH", path_with_postgres());
            _postgres = running;
        }
        Surroundings::Services => {
            let running = Services::start(&directory, account.as_ref(), Durability::Durable, given, &mut steps)?;
            // Experiments make databases, as tests do.
            command.envs(running.environment()).env("DATABASE_URL", &running.owner_database_url);
            _services = running;
        }
    }
    let mut child = process::spawn(&mut command, libc::SIGKILL).with_context(|| format!("starting {name}"))?;
    let status = process::finish(&mut child, || {})?;
    if !status.success() {
        bail!("{name} failed ({})", process::describe(status));
    }
    Ok(())
}

/// Builds the one program, optimised, and nothing else: the engine's C++ library is not for every bench.
fn build(name: &str, directory: &Directory, steps: &mut Steps) -> anyhow::Result<()> {
    let mut step = steps.begin("building, optimised");
    let mut cargo = workspace::cargo("build");
    cargo.args(["--release", "--package", "tests", "--bin", name]);
    step.run(&mut cargo, &directory.log("build"))?;
    step.finish("");
    Ok(())
}

/// PATH with the programs of the newest PostgreSQL before all others.
fn path_with_postgres() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = postgres::newest_programs().into_iter().chain(std::env::split_paths(&path)).collect();
    std::env::join_paths(folders).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_noun_is_passed_on_untouched() {
        let parser = lexopt::Parser::from_args(["ledger", "--quick", "--json", "out.json", "x"]);
        let (noun, rest) = parse(parser, &["ledger", "broker"], "").unwrap().unwrap();
        assert_eq!((noun, rest), ("ledger", ["--quick", "--json", "out.json", "x"].map(OsString::from).to_vec()));
        let refusal = parse(lexopt::Parser::from_args(["moon"]), &["ledger"], "").unwrap_err();
        assert_eq!(exit::code_of(&refusal), 2);
    }

    #[test]
    fn a_program_that_is_not_there_says_so() {
        let refusal = run("bench_of_the_moon", vec![], Surroundings::Bare).unwrap_err();
        assert_eq!(exit::code_of(&refusal), 4);
    }
}
