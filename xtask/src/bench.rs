//! `cargo xtask bench`: measures a part beside what it is compared with.

use crate::experiment::{self, Surroundings};

const HELP: &str = "\
cargo xtask bench ledger|engine|broker|gateway [--quick] [--json FILE] …

Builds with optimisation and runs the bench; ratios are of one run, side by side. What follows the noun goes to the bench, which
has its own --help. The ledger's gets a private PostgreSQL, the gateway's a PostgreSQL and a Redis, thrown away afterwards.
Rivals that are in no registry are named by a flag: --pgledger FILE.sql, --tigerbeetle BIN, --llama-server BIN.

  --quick       smaller and shorter
  --json FILE   where the figures go; a chart goes beside them
";

/// Runs the command.
pub fn run(arguments: lexopt::Parser) -> anyhow::Result<()> {
    let Some((noun, rest)) = experiment::parse(arguments, &["ledger", "engine", "broker", "gateway"], HELP)? else {
        return Ok(());
    };
    let surroundings = match noun {
        "ledger" => Surroundings::Postgres,
        "gateway" => Surroundings::Services,
        "engine" => Surroundings::Node,
        _ => Surroundings::Bare,
    };
    experiment::run(&format!("bench_{noun}"), rest, surroundings)
}
