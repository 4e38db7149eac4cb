//! `cargo xtask sim broker`: the production broker and published routers on the same requests, nodes and errors of knowledge.
//!
//! Discrete events on virtual time. [`market`] tells the production core what simulated nodes say in the node protocol, and does what
//! it decides; [`push`] gives the same requests to the same nodes by a published rule. The physics of a node ([`machine`]), the
//! fleets ([`kind`]) and the promise ([`trace`]) stay as they are, so that figures compare from one version to the next. The same
//! arguments give the same bytes.

mod agenda;
mod bound;
mod chart;
mod faults;
mod kind;
mod machine;
mod market;
mod oracle;
mod outcome;
mod prefixes;
mod push;
mod report;
mod rule;
mod scene;
mod search;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use clap::Parser;

use crate::kind::Fleet;
use crate::outcome::Figures;
use crate::report::{Found, OURS, QUICKEST, Report};
use crate::rule::PUBLISHED;
use crate::scene::Scene;
use crate::trace::{Part, Request, Trace};

/// Where the search for the highest rate begins. *Units*: requests a second.
const RATE_FROM: f64 = 8.0;
/// The share of the quickest rule's highest rate at which costs are compared.
const EQUAL_SHARE: f64 = 0.6;
/// Jobs between two words on how far a run with faults is.
const PROGRESS_EVERY: usize = 50_000;

/// Finds the highest rate of requests at which nine in ten are kept their promise, for ours and for published rules.
///
/// Nodes, speeds, prices and tenants are made up; requests are the trace's, compressed in time. A request is kept its promise
/// when its first token comes within 0.5 s (and a second more for each 8,000 tokens of its prompt, on a Mooncake trace) and
/// its steps take 60 ms at most. With --faults nothing is compared: machines crash, messages are lost, doubled and reordered,
/// nodes lie, and an oracle counts tokens that were lost, doubled or billed wrongly.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim broker", version = None)]
struct Arguments {
    /// AzureLLMInferenceTrace_*.csv or mooncake_*.jsonl, or another file of either format.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// Which nodes.
    #[arg(long)]
    fleet: Fleet,
    /// `ours`, the name of a published rule, several with commas, or `all`.
    #[arg(long, value_name = "P", default_value = "all")]
    policy: String,
    /// Draws the errors of knowledge, the tenants and the faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which half of the trace: what was tuned was tuned on the first.
    #[arg(long, default_value = "all")]
    part: Part,
    /// Only this rate, without a search. *Units*: requests a second.
    #[arg(long)]
    rate: Option<f64>,
    /// Where the figures go; a chart goes beside them, as .svg.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Much goes wrong.
    #[arg(long, conflicts_with_all = ["policy", "json"])]
    faults: bool,
    /// With --faults, so many requests: the trace over and over.
    #[arg(long, value_name = "N", default_value_t = 20_000, requires = "faults")]
    jobs: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let trace = Trace::read(&arguments.trace)?.part(arguments.part);
    if arguments.faults {
        return go_wrong(&arguments, &trace);
    }
    let names: Vec<&'static str> = PUBLISHED.iter().map(|rule| rule.name).chain([OURS]).collect();
    let wanted: Vec<&'static str> = if arguments.policy == "all" {
        names
    } else {
        let find = |name: &str| names.iter().find(|known| **known == name).copied();
        let wanted: Option<Vec<_>> = arguments.policy.split(',').map(find).collect();
        wanted.with_context(|| format!("--policy takes all, or of these: {}", names.join(", ")))?
    };
    let run = |policy: &str, rate: f64| measure(&arguments, &trace, policy, rate);
    let search = |policy: &str| match arguments.rate {
        Some(rate) => Some(run(policy, rate)),
        None => search::highest(|rate| run(policy, rate), RATE_FROM),
    };
    let name = arguments.trace.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let part = format!("{:?}", arguments.part).to_lowercase();
    let bound = bound::rate(&trace.requests, arguments.fleet);
    let mut report = Report::new(name, part, trace.requests.len(), arguments.fleet, arguments.seed, bound);
    report.policies = side_by_side(&wanted, search);
    if wanted.contains(&OURS) && wanted.contains(&QUICKEST) && arguments.rate.is_none() {
        let rate = EQUAL_SHARE * report.rate(QUICKEST).unwrap_or(0.0);
        if rate > 0.0 {
            report.at_equal_rate = side_by_side(&[QUICKEST, OURS], |policy| Some(run(policy, rate)));
        }
    }
    print!("{}", report.markdown());
    if let Some(json) = arguments.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(&json, text).with_context(|| format!("writing {}", json.display()))?;
        let chart = json.with_extension("svg");
        std::fs::write(&chart, chart::svg(&report)).with_context(|| format!("writing {}", chart.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One policy at one rate.
fn measure(arguments: &Arguments, trace: &Trace, policy: &str, rate: f64) -> Figures {
    let scene = Scene::new(&trace.requests, rate / trace.rate(), arguments.fleet, arguments.seed);
    let run = match PUBLISHED.iter().find(|rule| rule.name == policy) {
        Some(rule) => push::run(&scene, rule.make(arguments.seed).as_mut()),
        None => market::run(&scene),
    };
    Figures::of(rate, &trace.requests, &run)
}

/// Searches for every policy, on all cores; what is found does not depend on how many there are.
fn side_by_side(policies: &[&'static str], search: impl Fn(&str) -> Option<Figures> + Sync) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut found = vec![];
        while let Some(policy) = policies.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.push(Found { policy, best: search(policy) });
        }
        found
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<Found> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run does not panic")).collect()
    });
    found.sort_by_key(|found| policies.iter().position(|policy| *policy == found.policy));
    found
}

/// Lets much go wrong, and fails if a token was lost, doubled or billed wrongly.
fn go_wrong(arguments: &Arguments, trace: &Trace) -> anyhow::Result<ExitCode> {
    let rate = arguments.rate.unwrap_or(RATE_FROM);
    let span = trace.requests.last().map_or(0.0, |last| last.at_s) + 1.0;
    let requests: Vec<Request> = (0..arguments.jobs)
        .map(|n| {
            let (round, place) = (n / trace.requests.len(), n % trace.requests.len());
            let request = &trace.requests[place];
            Request { at_s: request.at_s + round as f64 * span, ..request.clone() }
        })
        .collect();
    ensure!(!requests.is_empty(), "--jobs must be more than 0");
    let scene = Scene::new(&requests, rate / trace.rate(), arguments.fleet, arguments.seed);
    let mut told = 0;
    let progress = |ended: usize| {
        if ended / PROGRESS_EVERY > told {
            told = ended / PROGRESS_EVERY;
            eprintln!("{ended} of {} jobs", arguments.jobs);
        }
    };
    let seen = market::run_with_faults(&scene, faults::EVERYTHING, arguments.seed, progress);
    println!("{} jobs at {rate} a second on {}, seed {}", arguments.jobs, arguments.fleet.name(), arguments.seed);
    println!("{}", serde_json::to_string_pretty(&seen)?);
    println!("ended short + billed and lost + doubled + billed wrongly + without one end = {}", seen.faults());
    Ok(if seen.faults() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
