//! What is printed and what is written: Markdown for people, JSON for programs.

use std::fmt::Write;

use ::tests::bench::figure::{grouped, middle, short};
use ::tests::bench::goal::{self, Goal};
use serde_json::{Value, json};

use crate::load::Workload;
use crate::run::Measured;
use crate::sample::{Sample, Side, median};
use crate::{ours, pgbench, pgledger, plain, raw, tigerbeetle};

/// Sides in the order in which people compare them, with what they are.
const SIDES: [(Side, &str); 7] = [
    (Side::Raw, raw::NOTE),
    (Side::Tpcb, pgbench::NOTE),
    (Side::Plain, plain::NOTE),
    (Side::Pgledger, pgledger::NOTE),
    (Side::TigerBeetle, tigerbeetle::NOTE),
    (Side::Ours, ours::NOTE),
    (Side::OursFilled, "the same, on books that are already full"),
];

/// The tables, the verdicts and the notes.
pub fn markdown(measured: &Measured, goals: &[Goal]) -> String {
    let mut out = String::new();
    let plan = &measured.plan;
    let sync = middle(measured.syncs.clone()).unwrap_or_default() * 1_000.0;
    line(&mut out, &format!("# The ledger beside others ({})\n", plan.name));
    line(
        &mut out,
        &format!(
            "PostgreSQL {}, {}; fdatasync {sync:.2} ms; {} processors, of which others took {:.0} % meanwhile; {} accounts a side; medians of {} rounds of {:.2} s a \
             side and cell, sides in turns; {:.0} s in all.\n",
            measured.postgres_version,
            measured.settings.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", "),
            measured.processors,
            measured.others_share * 100.0,
            grouped(plan.accounts as f64),
            measured.rounds,
            plan.window.as_secs_f64(),
            measured.seconds,
        ),
    );
    rates(&mut out, measured);
    ratios(&mut out, measured);
    line(&mut out, &format!("## Goals\n\n{}", goal::markdown(goals)));
    notes(&mut out, measured);
    out
}

fn rates(out: &mut String, measured: &Measured) {
    let plan = &measured.plan;
    let (crew, crowd) = (plan.crew(), plan.crowd());
    line(out, "## Operations a second, by callers\n");
    let [few, many] = [crew, crowd].map(|callers| grouped(callers as f64));
    let callers: Vec<String> = plan.callers.iter().map(|&callers| grouped(callers as f64)).collect();
    line(
        out,
        &format!(
            "| load | side | {} | p50 / p99 ms, {few} | p50 / p99 ms, {many} | CPU ms each (server + client), {few} | {many} |",
            callers.join(" | ")
        ),
    );
    line(out, &format!("|---|---|{}---|---|---|---|", "---:|".repeat(plan.callers.len())));
    for workload in Workload::ALL {
        for (side, _) in SIDES {
            let at = |callers| measured.samples.median(side, workload, callers);
            if plan.callers.iter().all(|&callers| at(callers).is_none()) {
                continue;
            }
            let rates: Vec<String> = plan.callers.iter().map(|&callers| rate(at(callers))).collect();
            let (few, many) = (at(crew), at(crowd));
            let cells = [latencies(few), latencies(many), cpu(few), cpu(many)];
            let name = workload.name();
            line(out, &format!("| {name} | {} | {} | {} |", side.name(), rates.join(" | "), cells.join(" | ")));
        }
    }
    line(out, "");
}

fn ratios(out: &mut String, measured: &Measured) {
    let plan = &measured.plan;
    let (samples, crew) = (&measured.samples, plan.crew());
    line(out, "## Ours ÷ others\n");
    line(
        out,
        &format!(
            "| load | other | 1 caller each | {crew} callers each | best ÷ best | CPU an operation, at the best |"
        ),
    );
    line(out, "|---|---|---:|---:|---:|---:|");
    for workload in Workload::ALL {
        for side in [Side::Raw, Side::Tpcb, Side::Plain, Side::Pgledger, Side::TigerBeetle] {
            // Raw insertions and TPC-B know one load; the others are held against it all the same.
            let theirs = if matches!(side, Side::Raw | Side::Tpcb) { Workload::Uniform } else { workload };
            let Some((best, best_callers)) = samples.best(side, theirs) else { continue };
            let Some((our_best, our_callers)) = samples.best(Side::Ours, workload) else { continue };
            // Beside bare rows, a job counts by its rows.
            let rows = if side == Side::Raw && workload == Workload::Job { ours::ROWS_PER_JOB as f64 } else { 1.0 };
            let level = |callers| {
                let of = samples.median(Side::Ours, workload, callers)?.rate;
                Some(of / samples.median(side, theirs, callers)?.rate)
            };
            let cpu = samples.median(Side::Ours, workload, our_callers).and_then(|sample| sample.cpu_ms());
            let their_cpu = samples.median(side, theirs, best_callers).and_then(|sample| sample.cpu_ms());
            let cells =
                [level(1), level(crew), Some(our_best * rows / best), cpu.zip(their_cpu).map(|(a, b)| a / b / rows)];
            let cells = cells.map(|ratio| ratio.filter(|ratio| ratio.is_finite()).map_or("–".to_owned(), times));
            line(out, &format!("| {} | {} | {} |", workload.name(), side.name(), cells.join(" | ")));
        }
    }
    line(out, "");
}

fn notes(out: &mut String, measured: &Measured) {
    let samples = &measured.samples;
    line(out, "## What is what\n");
    for (side, note) in SIDES {
        if samples.iter().any(|(cell, _)| cell.side == side) {
            line(out, &format!("- {}: {note}.", side.name()));
        }
    }
    line(
        out,
        "- CPU: PostgreSQL's processes and the client's; the client of ours is the writer too, that of TPC-B is pgbench.",
    );
    line(
        out,
        "- Where a caller needs a connection, more callers than 32 wait for one of 32. Latencies count the waiting.",
    );
    line(
        out,
        "- After the load, the plain ledger's answers are all there, and each balance is the sum of its entries.",
    );
    line(
        out,
        match measured.verified {
            Some(_) => {
                "- After the load, so are those of ours, filled; the verifier went through every hash and balance."
            }
            None => "- The filled books of ours were not verified to the end: the time was over.",
        },
    );
    for absent in &measured.absent {
        line(out, &format!("- Absent: {absent}."));
    }
    for fault in &measured.faults {
        line(out, &format!("- **Wrong books**: {fault}."));
    }
}

/// Everything, for programs.
pub fn json(measured: &Measured, goals: &[Goal]) -> String {
    let Measured { plan, filled, .. } = measured;
    let cells: Vec<Value> = measured
        .samples
        .iter()
        .map(|(cell, rounds)| {
            let Sample { rate, p50_ms, p99_ms, server_cpu_ms, client_cpu_ms } = median(rounds);
            json!({
                "side": cell.side.as_str(), "load": cell.workload.as_str(), "callers": cell.callers,
                "per_second": rate, "per_second_by_round": rounds.iter().map(|sample| sample.rate).collect::<Vec<_>>(),
                "p50_ms": p50_ms, "p99_ms": p99_ms, "server_cpu_ms": server_cpu_ms, "client_cpu_ms": client_cpu_ms,
            })
        })
        .collect();
    let document = json!({
        "bench": "ledger", "plan": plan.name, "rounds": measured.rounds, "window_seconds": plan.window.as_secs_f64(),
        "accounts": plan.accounts, "seconds": measured.seconds, "processors": measured.processors, "others_share": measured.others_share,
        "postgres": {
            "version": measured.postgres_version,
            "settings": measured.settings.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        },
        "fdatasync_seconds_by_round": measured.syncs, "cells": cells, "goals": goal::json(goals),
        "filled": {
            "transfers": filled.rows, "bytes": filled.bytes, "bytes_per_transfer": filled.bytes_per_transfer,
            "bytes_per_job_row": filled.bytes_per_job_row, "account_bytes": filled.account_bytes, "opened": filled.opened, "restarted": filled.restarted,
        },
        "verified": measured.verified.map(|verified| json!({
            "transfers": verified.transfers, "seconds": verified.seconds, "passed": verified.passed,
        })),
        "absent": measured.absent, "faults": measured.faults,
    });
    format!("{document:#}\n")
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes what is written");
}

fn rate(sample: Option<Sample>) -> String {
    sample.map_or("–".to_owned(), |sample| grouped(sample.rate))
}

fn latencies(sample: Option<Sample>) -> String {
    let pair = sample.and_then(|sample| sample.p50_ms.zip(sample.p99_ms));
    pair.map_or("–".to_owned(), |(p50, p99)| format!("{} / {}", short(p50), short(p99)))
}

fn cpu(sample: Option<Sample>) -> String {
    let pair = sample.and_then(|sample| sample.server_cpu_ms.zip(sample.client_cpu_ms));
    pair.map_or("–".to_owned(), |(server, client)| format!("{server:.3} + {client:.3}"))
}

fn times(ratio: f64) -> String {
    format!("{}×", short(ratio))
}
