//! `cargo xtask bench engine`: our node beside llama.cpp's own server and beside itself without batching, in one run.
//!
//! The same library, model and threads on every side. Sides take turns within a round and change their order from round to
//! round, so that what else the machine does hits all of them; figures are medians over the rounds, ratios are of one round.
//! What each side is, and what it promises, is in the notes that are printed under the tables.

mod figures;
mod goal;
mod llama_server;
mod models;
mod node;
mod plan;
mod report;
mod run;
mod scene;
mod side;

use std::path::{Path, PathBuf};

use ::tests::bench::chart;
use anyhow::Context;
use clap::Parser;
use tests::folder::Folder;

use crate::plan::Plan;
use crate::run::{Measured, Programs};

/// Measures the engine beside llama.cpp's own server and beside itself, unbatched and in 32 bits.
///
/// One model with random weights, made by a script: plain loads, cold bursts with a common beginning, conversations that
/// outnumber the slots, a long prompt that joins running streams, arrivals by chance. Prints figures, the goals with their
/// verdicts and what each side is, and writes a JSON file with a chart beside it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench engine", version = None)]
struct Arguments {
    /// Smaller and shorter: about five minutes, instead of a quarter of an hour.
    #[arg(long)]
    quick: bool,
    /// Where the figures go; the chart goes beside it, as .svg. Without it, to the folder `bench` beside the build.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// llama.cpp's own server, best built with the kernels that our node has.
    #[arg(long, value_name = "BIN")]
    llama_server: Option<PathBuf>,
    /// Only shows that the bench works: seconds, and figures that say nothing.
    #[arg(long, hide = true, conflicts_with = "quick")]
    tiny: bool,
    /// Our node's program. Without it, the one beside this.
    #[arg(long, hide = true, value_name = "BIN")]
    node: Option<PathBuf>,
}

// One thread: the processors are for those who are measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let plan = match (arguments.tiny, arguments.quick) {
        (true, _) => Plan::tiny(),
        (_, true) => Plan::quick(),
        _ => Plan::full(),
    };
    let unoptimised = cfg!(debug_assertions) && !arguments.tiny;
    anyhow::ensure!(
        !unoptimised,
        "this build is not optimised, so its figures say nothing: run `cargo xtask bench engine`"
    );
    // Said at once, and not after ten minutes.
    let json = arguments.json.clone().map_or_else(beside_the_build, Ok)?;
    if let Some(folder) = json.parent().filter(|folder| *folder != Path::new("")) {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let whole = |path: &Path| path.canonicalize().with_context(|| format!("there is no {}", path.display()));
    let programs = Programs {
        node: whole(&arguments.node.unwrap_or(std::env::current_exe()?.with_file_name("tokengrid-node")))?,
        llama_server: arguments.llama_server.as_deref().map(whole).transpose()?,
    };
    let folder = Folder::create();
    tell(&run::measure(plan, &programs, &folder).await?, &json)
}

/// Writes and prints what was found.
fn tell(measured: &Measured, json: &Path) -> anyhow::Result<()> {
    let goals = goal::judge(measured);
    let picture = json.with_extension("svg");
    let svg = chart::svg("The engine's goals, and what was measured", &report::described(measured), &goals);
    std::fs::write(json, report::json(measured, &goals)).with_context(|| format!("writing {}", json.display()))?;
    std::fs::write(&picture, svg).with_context(|| format!("writing {}", picture.display()))?;
    print!("{}", report::markdown(measured, &goals));
    println!("\nFigures: {}\nChart:   {}", json.display(), picture.display());
    Ok(())
}

/// `bench/engine.json` in the folder that holds the build's outputs.
fn beside_the_build() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).context("a program stands in its build's folder")?;
    Ok(folder.join("bench/engine.json"))
}
