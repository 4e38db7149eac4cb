//! `cargo xtask bench broker`: how long a decision takes with a thousand, ten thousand and a hundred thousand nodes, and what their
//! heartbeats cost. One thread, no network, no database: what the broker's one task does and nothing else, in the thread's own time.

mod fleet;

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use broker::core::{Core, Output};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use primitives::node_protocol::{FromNode, ToNode};
use serde::Serialize;

use crate::fleet::{Jobs, connect, finished, first_token, heartbeat, node_id};

/// Measures the broker's decisions and telemetry on fleets of 1,000, 10,000 and 100,000 nodes, and judges the goals.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench broker", version = None)]
struct Arguments {
    /// Fewer decisions: some seconds.
    #[arg(long)]
    quick: bool,
    /// Where the figures go.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only shows that the bench works: a small fleet, and figures that say nothing.
    #[arg(long, hide = true, conflicts_with = "quick")]
    tiny: bool,
}

/// What one fleet showed.
#[derive(Debug, Serialize)]
struct Measured {
    nodes: usize,
    decisions: usize,
    /// From a job's submission to its offer. *Units*: µs.
    p50_us: f64,
    p99_us: f64,
    /// Of one core that does nothing else.
    decisions_per_s: f64,
    /// The other messages of a job: accept, record, first token, end. *Units*: µs a job.
    rest_us: f64,
    /// *Units*: heartbeats a second, of one core.
    heartbeats_per_s: f64,
}

/// One goal and how it stands.
#[derive(Debug, Serialize)]
struct Goal {
    what: String,
    bound: f64,
    measured: f64,
    holds: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let unoptimised = cfg!(debug_assertions) && !arguments.tiny;
    anyhow::ensure!(
        !unoptimised,
        "this build is not optimised, so its figures say nothing: run `cargo xtask bench broker`"
    );
    let (fleets, decisions): (&[usize], usize) = match (arguments.tiny, arguments.quick) {
        (true, _) => (&[100], 200),
        (_, true) => (&[1_000, 10_000, 100_000], 5_000),
        _ => (&[1_000, 10_000, 100_000], 50_000),
    };
    let measured: Vec<Measured> = fleets.iter().map(|nodes| measure(*nodes, decisions)).collect();
    let goals = judge(&measured);
    print!("{}", markdown(&measured, &goals));
    if let Some(file) = arguments.json {
        let figures = serde_json::json!({ "fleets": measured, "goals": goals });
        let text = serde_json::to_string_pretty(&figures)? + "\n";
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Lets a fleet do jobs at about half of what it could, and times each decision.
fn measure(nodes: usize, decisions: usize) -> Measured {
    let mut now = DateTime::UNIX_EPOCH;
    let mut core = Core::new(broker::Settings::default());
    connect(&mut core, nodes, now);
    let mut jobs = Jobs::new(nodes);
    let (mut times, mut rest) = (Vec::with_capacity(decisions), Duration::ZERO);
    let mut running = std::collections::VecDeque::new();
    for _ in 0..decisions {
        now += TimeDelta::microseconds(500);
        let job = jobs.next(now);
        let job_id = job.job_id;
        let began = cpu_time();
        let taken = core.submit(now, job).is_ok();
        let offered = offered(&core.take_outputs());
        times.push(cpu_time() - began);
        if !taken {
            continue;
        }
        let began = cpu_time();
        running.extend(offered.into_iter().map(|node| (now, job_id, node)));
        while running.front().is_some_and(|(at, ..)| now - *at > TimeDelta::milliseconds(100)) {
            let Some((_, job_id, node)) = running.pop_front() else { break };
            let more = serve(&mut core, now, job_id, node);
            running.extend(more.into_iter().map(|(job_id, node)| (now, job_id, node)));
        }
        rest += cpu_time() - began;
    }
    let spent: Duration = times.iter().sum();
    times.sort();
    let us = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)].as_secs_f64() * 1e6;
    Measured {
        nodes,
        decisions,
        p50_us: us(0.50),
        p99_us: us(0.99),
        decisions_per_s: decisions as f64 / spent.as_secs_f64(),
        rest_us: rest.as_secs_f64() * 1e6 / decisions as f64,
        heartbeats_per_s: heartbeats(&mut core, nodes, now),
    }
}

/// The rest of a job's life; tells what else was offered meanwhile.
fn serve(
    core: &mut Core,
    now: DateTime<Utc>,
    job_id: primitives::id::JobId,
    node: primitives::id::NodeId,
) -> Vec<(primitives::id::JobId, primitives::id::NodeId)> {
    core.receive(now, node, FromNode::Accept { job_id, epoch: 1 });
    core.lease_recorded(now, job_id, 1);
    core.receive(now, node, first_token(job_id));
    core.receive(now, node, finished(job_id, node));
    let outputs = core.take_outputs();
    let offers = outputs.iter().filter_map(|output| match output {
        Output::Send(to, ToNode::Offer(offer)) => Some((offer.job_id, *to)),
        _ => None,
    });
    offers.collect()
}

fn offered(outputs: &[Output]) -> Option<primitives::id::NodeId> {
    outputs.iter().find_map(|output| match output {
        Output::Send(to, ToNode::Offer(_)) => Some(*to),
        _ => None,
    })
}

/// How many heartbeats a core takes in, each with some blocks that came and went.
fn heartbeats(core: &mut Core, nodes: usize, now: DateTime<Utc>) -> f64 {
    let count = nodes.max(20_000);
    let loads: Vec<_> = (0..count).map(|n| (node_id(n % nodes), heartbeat(n))).collect();
    let began = cpu_time();
    for (node, load) in loads {
        core.receive(now, node, FromNode::Heartbeat(load));
    }
    count as f64 / (cpu_time() - began).as_secs_f64()
}

/// The time that a core gave this thread. A decision waits for nothing, so on a core of its own that is its latency; and unlike a
/// clock on the wall it is the same beside other work.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value that lives through the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "every Linux has a clock of a thread's time");
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn judge(measured: &[Measured]) -> Vec<Goal> {
    let mut goals = vec![];
    let mut at_most = |what: String, bound: f64, measured: f64| {
        goals.push(Goal { what, bound, measured, holds: measured <= bound });
    };
    for it in measured {
        if let Some(bound) = [(10_000, 100.0), (100_000, 500.0)].iter().find(|(nodes, _)| *nodes == it.nodes) {
            at_most(format!("decision, p99 µs, {} nodes", it.nodes), bound.1, it.p99_us);
            at_most(
                format!("µs of a core for a decision, {} nodes (20,000 a second)", it.nodes),
                50.0,
                1e6 / it.decisions_per_s,
            );
        }
    }
    if let Some(most) = measured.iter().find(|it| it.nodes == 100_000) {
        at_most("cores for 100,000 heartbeats a second".to_owned(), 2.0, 100_000.0 / most.heartbeats_per_s);
    }
    goals
}

fn markdown(measured: &[Measured], goals: &[Goal]) -> String {
    let mut out = String::from(
        "| nodes | decision p50 µs | p99 µs | decisions/s | rest of a job µs | heartbeats/s |\n|---|---|---|---|---|---|\n",
    );
    let mut line = |text: String| writeln!(out, "{text}").expect("a string takes what is written");
    for it in measured {
        line(format!(
            "| {} | {:.1} | {:.1} | {:.0} | {:.1} | {:.0} |",
            it.nodes, it.p50_us, it.p99_us, it.decisions_per_s, it.rest_us, it.heartbeats_per_s
        ));
    }
    line(String::new());
    for goal in goals {
        let verdict = if goal.holds { "holds" } else { "does not hold" };
        line(format!("- {}: {:.2}, at most {:.0}: {verdict}", goal.what, goal.measured, goal.bound));
    }
    out
}
