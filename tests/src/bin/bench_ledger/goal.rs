//! The ledger's goals, judged.

use ::tests::bench::figure::{grouped, middle};
use ::tests::bench::goal::{Goal, Sense};

use crate::load::Workload;
use crate::ours::ROWS_PER_JOB;
use crate::run::Measured;
use crate::sample::Side;

const MIB: f64 = 1_048_576.0;
/// Accounts that the memory's goal speaks of.
const MANY_ACCOUNTS: usize = 1_000_000;

/// Every goal of the ledger's speed, size and memory, judged.
pub fn judge(measured: &Measured) -> Vec<Goal> {
    let (samples, plan) = (&measured.samples, &measured.plan);
    let (crew, crowd) = (plan.crew(), plan.crowd());
    let best = |side, workload| samples.best(side, workload).map(|(rate, _)| rate);
    let at = |side, workload, callers| samples.median(side, workload, callers).map(|sample| sample.rate);
    let ours = |workload| best(Side::Ours, workload);
    let raw = best(Side::Raw, Workload::Uniform);
    let mut goals = Vec::new();
    let mut judge = |what: &str, sense, must, stretch, measured: Option<f64>, remark: &str| {
        goals.push(Goal { what: what.to_owned(), sense, must, stretch, measured, remark: remark.to_owned() });
    };

    let told = |ratio: Option<f64>, remark: &str| if ratio.is_some() { remark.to_owned() } else { "absent".to_owned() };
    for (workload, what, must, stretch) in [
        (Workload::Uniform, "transfers/s ÷ pgledger, uniform", 20.0, 40.0),
        (Workload::Hot, "transfers/s ÷ pgledger, one hot account", 150.0, 250.0),
        (Workload::Job, "jobs/s ÷ pgledger", 80.0, 150.0),
    ] {
        let ratio = ratio(ours(workload), best(Side::Pgledger, workload));
        let remark = told(ratio, "best of any number of callers, on both sides");
        judge(what, Sense::AtLeast, must, Some(stretch), ratio, &remark);
    }
    let level = ratio(at(Side::Ours, Workload::Job, crew), at(Side::Pgledger, Workload::Job, crew));
    judge(
        &format!("jobs/s ÷ pgledger, both with {crew} callers"),
        Sense::AtLeast,
        15.0,
        Some(30.0),
        level,
        &told(level, ""),
    );
    let hot = samples.best(Side::Ours, Workload::Hot).zip(samples.best(Side::Ours, Workload::Uniform));
    let hot = hot.map(|((hot, _), (uniform, _))| hot / uniform);
    judge("one hot account ÷ uniform, ours", Sense::AtLeast, 1.0, Some(1.2), hot, "");
    let tpcb = ratio(ours(Workload::Uniform), at(Side::Tpcb, Workload::Uniform, crew));
    let remark = told(tpcb, &format!("uniform, best of any number of callers; TPC-B with {crew}"));
    judge("transfers/s ÷ TPC-B", Sense::AtLeast, 12.0, Some(25.0), tpcb, &remark);
    let rows = Workload::ALL.map(|workload| {
        let rows = if workload == Workload::Job { ROWS_PER_JOB as f64 } else { 1.0 };
        ratio(ours(workload).map(|rate| rate * rows), raw)
    });
    let least = rows.into_iter().flatten().reduce(f64::min);
    judge("rows/s ÷ raw insertions", Sense::AtLeast, 0.20, Some(0.35), least, "the least of the three loads");
    let tigerbeetle = ratio(ours(Workload::Uniform), best(Side::TigerBeetle, Workload::Uniform));
    judge(
        "transfers/s ÷ TigerBeetle, uniform",
        Sense::AtLeast,
        0.15,
        Some(0.30),
        tigerbeetle,
        &told(tigerbeetle, "its own batches"),
    );
    let kept = Workload::ALL.map(|load| samples.paired_ratio(load, crowd, Side::OursFilled, Side::Ours));
    let kept = kept.into_iter().flatten().reduce(f64::min);
    let [rows, callers] = [measured.filled.rows as f64, crowd as f64].map(grouped);
    let remark = format!("{rows} transfers, the least of the three loads with {callers} callers");
    judge("throughput, filled ÷ empty", Sense::AtLeast, 0.85, Some(0.95), kept, &remark);
    let p99 = samples.median(Side::Ours, Workload::Uniform, crew).and_then(|sample| sample.p99_ms);
    let sync = middle(measured.syncs.clone()).map(|seconds| seconds * 1_000.0);
    let remark = format!("uniform, {} callers; fdatasync {:.1} ms", crew, sync.unwrap_or_default());
    judge("answer's p99 ÷ fdatasync", Sense::AtMost, 12.0, Some(6.0), ratio(p99, sync), &remark);
    own(measured, &mut judge);
    goals
}

/// The goals that need no rival.
fn own(measured: &Measured, judge: &mut impl FnMut(&str, Sense, f64, Option<f64>, Option<f64>, &str)) {
    let filled = measured.filled;
    let all_in = filled.bytes as f64 / filled.rows.max(1) as f64;
    let remark = format!(
        "all in at {} transfers, {} accounts of {:.0} among them; a transfer adds {:.0}, a job's row with its usage {:.0}",
        grouped(filled.rows as f64),
        grouped(filled.opened.accounts as f64),
        filled.account_bytes as f64 / filled.opened.accounts.max(1) as f64,
        filled.bytes_per_transfer,
        filled.bytes_per_job_row
    );
    judge("bytes a transfer", Sense::AtMost, 250.0, Some(185.0), Some(all_in), &remark);
    let speed = measured.verified.map(|verified| verified.transfers as f64 / verified.seconds);
    let remark = measured.verified.map_or("it took too long".to_owned(), |verified| {
        format!("hashes and balances of {} transfers in {:.1} s", grouped(verified.transfers as f64), verified.seconds)
    });
    judge("verifier, transfers/s", Sense::AtLeast, 170_000.0, Some(1_000_000.0), speed, &remark);
    let opened = filled.opened;
    let [at_start, resident, restarted] =
        [opened.at_start, opened.resident, filled.restarted.at_start].map(|bytes| bytes as f64 / MIB);
    let remark = format!(
        "resident in the process that opened {} accounts, {:.0} before; {restarted:.0} after a start, which takes {:.1} s",
        grouped(opened.accounts as f64),
        at_start,
        filled.restarted.start_seconds
    );
    // Fewer accounts tell nothing: what is remembered of the latest groups weighs as much as they do.
    let most = (opened.accounts == MANY_ACCOUNTS).then_some(resident.max(restarted));
    let remark = if most.is_some() { remark } else { format!("{resident:.0} MiB {remark}") };
    judge("MiB with 1,000,000 accounts", Sense::AtMost, 512.0, None, most, &remark);
}

fn ratio(of: Option<f64>, by: Option<f64>) -> Option<f64> {
    Some(of? / by.filter(|by| *by > 0.0)?)
}
