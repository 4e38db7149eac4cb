//! Benches and simulators: programs of the `tests` crate, built with optimisation and given their arguments untouched.

use std::ffi::OsString;
use std::process::Stdio;

use anyhow::{Context, bail};

use crate::account::Account;
use crate::directory::Directory;
use crate::packages::{self, Wanted};
use crate::postgres::Durability;
use crate::progress::Steps;
use crate::services::{Given, Services};
use crate::{exit, process, progress, up, workspace};

/// What an experiment needs around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surroundings {
    /// Nothing.
    Bare,
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
    let account = Account::for_services()?;
    let directory = Directory::throw_away("experiment", account.as_ref())?;
    let with_services = surroundings == Surroundings::Services;
    let mut steps = Steps::new(if with_services { 4 } else { 2 });
    let given = Given::default();
    let wanted = Wanted { services: with_services.then_some(&given), ..Wanted::default() };
    packages::ensure(&mut steps, wanted)?;
    up::build(&mut steps, &directory.log("build"), &["--release"])?;
    let mut command = std::process::Command::new(workspace::program(name, "release"));
    command.args(arguments).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let services = match surroundings {
        Surroundings::Services => {
            Some(Services::start(&directory, account.as_ref(), Durability::Durable, given, &mut steps)?)
        }
        Surroundings::Bare => None,
    };
    command.envs(services.iter().flat_map(Services::environment));
    let mut child = process::spawn(&mut command, libc::SIGKILL).with_context(|| format!("starting {name}"))?;
    let status = process::finish(&mut child, || {})?;
    if !status.success() {
        bail!("{name} failed ({})", process::describe(status));
    }
    Ok(())
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
