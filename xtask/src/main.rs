//! The one door to automation: `cargo xtask COMMAND`.
//!
//! One file a command (`up`, `test`, `check`, `gen`, `seed`, `bench`, `sim`) over the nouns they share. It knows no room of
//! the workspace: it speaks to the programs as anyone else does, by their flags, their environment and HTTP.

mod account;
mod bench;
mod check;
mod console;
mod control_plane;
mod cpu;
mod demo;
mod directory;
mod exit;
mod experiment;
mod r#gen;
mod node_modules;
mod outbox;
mod packages;
mod postgres;
mod process;
mod progress;
mod python_packages;
mod redis;
mod schema_changes;
mod seed;
mod services;
mod sim;
mod test;
mod up;
mod workspace;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND: builds, runs and checks Tokengrid

  up      build, start PostgreSQL, Redis, the control plane and a node, and show one streamed answer with its price
  test    run every test against a private PostgreSQL and Redis
  check   format, lints, generated files, the console's types, breaking changes of the schema, dependency policy
  gen     rewrite everything generated: .sqlx, web/schema.graphql and web/src/gql
  seed    fill a running system with a demo tenant, provider, prices and, with --big, a busy year
  bench   measure the ledger, engine, broker or gateway
  sim     run the ledger's or the broker's simulator

`cargo xtask COMMAND --help` tells a command's flags.
Exit codes: 0 done, 1 failed, 2 misused, 3 something has to be installed by hand, 4 not built yet, 130 interrupted.
";

fn main() -> ExitCode {
    process::take_signals();
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::note(&format!("error: {error:#}"));
            ExitCode::from(exit::code_of(&error))
        }
    }
}

fn dispatch() -> anyhow::Result<()> {
    let mut arguments = lexopt::Parser::from_env();
    match arguments.next()? {
        Some(lexopt::Arg::Value(command)) => match command.to_str() {
            Some("up") => up::run(arguments),
            Some("test") => test::run(arguments),
            Some("check") => check::run(arguments),
            Some("gen") => r#gen::run(arguments),
            Some("seed") => seed::run(arguments),
            Some("bench") => bench::run(arguments),
            Some("sim") => sim::run(arguments),
            Some("help") => help(),
            _ => Err(exit::misused(format!("there is no command {command:?}\n\n{HELP}"))),
        },
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => help(),
        Some(other) => Err(other.unexpected().into()),
        None => Err(exit::misused(format!("a command is needed\n\n{HELP}"))),
    }
}

fn help() -> anyhow::Result<()> {
    progress::print(HELP.trim_end());
    Ok(())
}
