//! `cargo xtask sim`: the deterministic simulators.

use crate::experiment::{self, Surroundings};

const HELP: &str = "\
cargo xtask sim ledger [--seeds N] [--seed S] [--steps N] [--postgres N]
cargo xtask sim broker --trace FILE --fleet homo|mix3|mix5 [--policy P|all] [--seed N] [--json FILE]

Builds with optimisation and runs the simulator; a failure prints the seed that repeats it. What follows the noun goes to the
simulator, which has its own --help.
";

/// Runs the command.
pub fn run(arguments: lexopt::Parser) -> anyhow::Result<()> {
    match experiment::parse(arguments, &["ledger", "broker"], HELP)? {
        Some((noun, rest)) => {
            let with_postgres = rest.iter().any(|argument| argument == "--postgres");
            let surroundings = if with_postgres { Surroundings::Postgres } else { Surroundings::Bare };
            experiment::run(&format!("sim_{noun}"), rest, surroundings)
        }
        None => Ok(()),
    }
}
