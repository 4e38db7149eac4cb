//! The engine's goals, judged.

use ::tests::bench::figure::short;
use ::tests::bench::goal::{Goal, Sense};

use crate::plan::{COMPARED, DECLARED};
use crate::run::Measured;
use crate::side::Side::{LlamaServer, Ours, Unbatched};

/// Each goal of the engine's speed, size and truth.
pub fn judge(measured: &Measured) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut judge = |what: String, sense, must, stretch, measured, remark: String| {
        goals.push(Goal { what, sense, must, stretch, measured, remark });
    };
    beside_llama_server(measured, &mut judge);
    beside_the_unbatched(measured, &mut judge);
    own(measured, &mut judge);
    goals
}

type Judge<'a> = &'a mut dyn FnMut(String, Sense, f64, Option<f64>, Option<f64>, String);

fn beside_llama_server(Measured { plan, figures, .. }: &Measured, judge: Judge<'_>) {
    let told = |ratio: Option<f64>, remark: &str| match ratio {
        Some(_) => remark.to_owned(),
        None => "llama.cpp's server is absent: `--llama-server BIN`".to_owned(),
    };
    for &(callers, _) in &plan.plain {
        let ratio = figures.ratio(&format!("plain, {callers} at once, tokens/s"), Ours, LlamaServer);
        let must = if callers == 1 { 0.98 } else { 1.0 };
        let remark = told(ratio, "a socket and JSON for every token on both sides");
        judge(format!("plain ÷ llama.cpp's server, {callers} at once"), Sense::AtLeast, must, Some(1.1), ratio, remark);
    }
    for &requests in &plan.bursts {
        let speedup = figures.ratio(&format!("burst of {requests}, ms"), LlamaServer, Ours);
        let remark = told(speedup, &format!("{} tokens in common, never seen before", plan.shared));
        let what = format!("cold burst of {requests} ÷ llama.cpp's server");
        judge(what, Sense::AtLeast, 2.2, Some(3.0), speedup, remark);
        let first = figures.ratio(&format!("burst of {requests}, first token ms"), Ours, LlamaServer);
        let what = format!("first token in a burst of {requests} ÷ llama.cpp's server");
        judge(what, Sense::AtMost, 0.4, Some(0.25), first, told(first, "the mean of a burst"));
    }
    let sessions = figures.ratio("sessions, ms", LlamaServer, Ours);
    let remark = told(sessions, &format!("{} sessions of {} turns", plan.sessions, plan.turns));
    let what = format!("sessions over {} slots ÷ llama.cpp's server", plan.sessions_slots);
    judge(what, Sense::AtLeast, 1.5, Some(2.5), sessions, remark);
    let gap = figures.ratio("longest gap, ms", Ours, LlamaServer);
    let remark = told(gap, &format!("of {} running streams", plan.streams));
    let what = format!("longest gap while {} tokens join ÷ llama.cpp's server", plan.joining);
    judge(what, Sense::AtMost, 0.3, Some(0.2), gap, remark);
}

fn beside_the_unbatched(Measured { plan, figures, .. }: &Measured, judge: Judge<'_>) {
    let name = format!("saturated by {}, tokens/s", plan.callers);
    let at_least = figures.ratio_at_least(&name, Ours, Unbatched);
    let median = figures.ratio(&name, Ours, Unbatched).map_or("–".to_owned(), short);
    let remark = format!("at least, with 95 % confidence; the median is {median}; nothing is cached on either side");
    let what = format!("÷ unbatched f32, {} callers", plan.callers);
    judge(what, Sense::AtLeast, 2.0, Some(3.0), at_least, remark);
    let latency = figures.ratio("median latency, ms", Ours, Unbatched);
    let remark = format!("at {COMPARED} of what the unbatched can do, arrivals by chance");
    judge("median latency ÷ unbatched f32".to_owned(), Sense::AtMost, 0.5, None, latency, remark);
}

fn own(measured: &Measured, judge: Judge<'_>) {
    let Measured { plan, figures, first_tokens, declared, .. } = measured;
    let mut first_tokens = first_tokens.clone();
    first_tokens.sort_by(f64::total_cmp);
    let p99 = first_tokens.get((first_tokens.len() * 99).div_ceil(100).saturating_sub(1)).copied();
    let remark = format!(
        "{} arrivals by chance at {} a second, {DECLARED} of saturation; refusing more is the control plane's part and not measured here",
        first_tokens.len(),
        short(*declared)
    );
    judge("first token's p99 at the declared load, ms".to_owned(), Sense::AtMost, 500.0, None, p99, remark);
    let shares = plan
        .plain
        .iter()
        .filter_map(|(callers, _)| figures.median(&format!("plain, {callers} at once, share outside decode"), Ours));
    let most = shares.reduce(f64::max);
    let remark = "of the engine's thread while it has work; the most of the plain loads".to_owned();
    let what = "serving loop outside the library's decode, %".to_owned();
    judge(what, Sense::AtMost, 2.0, None, most.map(|share| share * 100.0), remark);
    let size = Some(measured.size_ratio * 100.0);
    judge("Q8_0's size, % of f32".to_owned(), Sense::AtMost, 27.0, None, size, String::new());
    let aligned = measured.aligned.map(|aligned| aligned.lower_bound * 100.0);
    let remark = match measured.aligned {
        Some(aligned) => format!("at least, with 95 % confidence, of {} next tokens", short(aligned.positions)),
        None => "only in a full run".to_owned(),
    };
    let what = "the shipped model's Q8_0 agrees with its F16, %".to_owned();
    judge(what, Sense::AtLeast, 99.9, None, aligned, remark);
}
