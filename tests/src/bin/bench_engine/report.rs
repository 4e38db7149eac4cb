//! What is printed and what is written: Markdown for people, JSON for programs.

use std::fmt::Write;

use ::tests::bench::figure::short;
use ::tests::bench::goal::{self, Goal};
use serde_json::json;

use crate::run::Measured;
use crate::side::Side;
use crate::{llama_server, node};

const SIDES: [(Side, &str); 3] = [
    (Side::Ours, node::NOTE),
    (Side::LlamaServer, llama_server::NOTE),
    (
        Side::Unbatched,
        "our node with one slot, 32 bits a weight and no salt, so that nothing is cached: one request after the other",
    ),
];

/// The tables, the verdicts and the notes.
pub fn markdown(measured: &Measured, goals: &[Goal]) -> String {
    let mut out = String::new();
    line(&mut out, &format!("# The engine beside others ({})\n\n{}\n", measured.plan.name, described(measured)));
    line(&mut out, "## Figures\n\n| | ours | llama.cpp's server | unbatched f32 |\n|---|---:|---:|---:|");
    let mut names: Vec<&str> = measured.figures.iter().map(|(name, ..)| name).collect();
    names.dedup();
    for name in names {
        let cells = SIDES.map(|(side, _)| match measured.figures.median(name, side) {
            Some(share) if share.abs() < 0.1 => format!("{share:.4}"),
            Some(figure) => short(figure),
            None => "–".to_owned(),
        });
        line(&mut out, &format!("| {name} | {} |", cells.join(" | ")));
    }
    line(&mut out, &format!("\n## Goals\n\n{}\n## What is what\n", goal::markdown(goals)));
    for (side, note) in SIDES {
        if measured.figures.iter().any(|(_, other, _)| other == side) {
            line(&mut out, &format!("- {}: {note}.", side.name()));
        } else {
            line(&mut out, &format!("- Absent: {}. `--llama-server BIN` names it.", side.name()));
        }
    }
    line(&mut out, "- The model has random weights, so its answers mean nothing; both files hold the same ones.");
    line(
        &mut out,
        "- Outputs are the likeliest tokens, with the one that would end them barred, so that all are of one length.",
    );
    line(
        &mut out,
        "- Our node is the one that `cargo xtask up` builds: its kernels and its engine are optimised, its networking is not.",
    );
    line(&mut out, "- No operator was rebuilt: both sides compute with the same library.");
    out
}

/// What was measured where, in a sentence.
pub fn described(measured: &Measured) -> String {
    let plan = &measured.plan;
    format!(
        "{} with random weights, Q8_0; {} threads on {} processors, of which others took {:.0} % meanwhile; prompts of {} tokens and outputs of {}; medians \
         of {} rounds, sides in turns; {:.0} s in all.",
        plan.kind,
        measured.threads,
        tests::bench::processor::count(),
        measured.others_share * 100.0,
        plan.prompt,
        plan.output,
        plan.rounds,
        measured.seconds,
    )
}

/// Everything, for programs.
pub fn json(measured: &Measured, goals: &[Goal]) -> String {
    let figures = measured.figures.iter();
    let figures: Vec<_> =
        figures.map(|(name, side, rounds)| json!({ "figure": name, "side": side, "by_round": rounds })).collect();
    let document = json!({
        "bench": "engine", "plan": measured.plan, "threads": measured.threads, "others_share": measured.others_share,
        "seconds": measured.seconds, "figures": figures, "goals": goal::json(goals), "first_tokens_ms": measured.first_tokens,
        "declared_requests_per_second": measured.declared, "size_ratio": measured.size_ratio,
    });
    format!("{document:#}\n")
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes what is written");
}
