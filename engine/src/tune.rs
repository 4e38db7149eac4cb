//! Settings that serve a model faster on this machine: `tokengrid-node tune`.
//!
//! One setting at a time is tried beside the best so far, on the same little traffic and in turn, so that whatever else the
//! machine does meets both. The winner is then judged against the default on traffic that it was not chosen by; unless it is
//! faster there, too, the default is the answer.

mod trace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::backend::llama::KvType;
use crate::{Engine, EngineConfig, Error, Model, Refused};
use trace::{Run, Trace};

/// How much faster a setting must be to be kept: less is within what a busy machine does by itself.
const WORTH: f64 = 1.04;
/// How often the two are compared: while searching, and in the end.
const ROUNDS: usize = 3;
const JUDGING_ROUNDS: usize = 5;
/// A run of the traffic takes this part of the time that there is, and no longer than this.
const RUN_PART: u32 = 150;
const RUN_MAX: Duration = Duration::from_secs(4);
/// Requests of the first run, which tells how many make a good one.
const FIRST_REQUESTS: usize = 16;
const REQUESTS_MAX: usize = 2_000;
/// What a setting may cost those who wait or read: their longest pause and their first token, against the default's.
const PATIENCE: f64 = 1.25;
/// No pause below this is felt.
const UNFELT: Duration = Duration::from_millis(100);
/// Seeds of the traffic that settings are chosen by, and that they are judged on.
const CHOOSING: u64 = 1;
const JUDGING: u64 = 2;

/// What is searched: everything else stays as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Which of the given models, counted from 0: the first is the one to be served, others are made smaller of it.
    pub model: usize,
    /// Threads that compute.
    pub threads: usize,
    /// Tokens of one step, over all sequences.
    pub step_tokens: usize,
    /// Tokens of one prompt in one step.
    pub chunk_tokens: usize,
    /// How the caches are stored.
    #[serde(serialize_with = "word")]
    pub kv: KvType,
}

fn word<S: serde::Serializer>(kv: &KvType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kv.as_str())
}

/// A setting that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// The setting.
    pub settings: Settings,
    /// How much faster than the best until then; none where it could not be had.
    pub ratio: Option<f64>,
    /// Whether it became the best.
    pub kept: bool,
}

/// What a search found.
#[derive(Clone, Debug, Serialize)]
pub struct Tuning {
    /// What it began with.
    pub default: Settings,
    /// What to serve with; the default, where nothing was better.
    pub best: Settings,
    /// How much faster the best is than the default, on traffic that it was not chosen by.
    pub ratio: f64,
    /// In order.
    pub tried: Vec<Tried>,
}

/// Searches for settings until the time is up, and tells each that it tried.
///
/// `models` are the one to be served and, where fewer bits are to be tried, others made of it. It must run in a
/// [`tokio::task::LocalSet`].
///
/// # Errors
/// When the default itself cannot be had, or an engine breaks off.
pub async fn run(
    models: &[Arc<Model>],
    base: EngineConfig,
    time: Duration,
    told: &mut dyn FnMut(&Tried),
) -> Result<Tuning, Error> {
    let end = Instant::now() + time;
    let bench = Bench { models, base };
    let default = Settings {
        model: 0,
        threads: base.threads,
        step_tokens: base.step_tokens_max,
        chunk_tokens: base.chunk_tokens_max,
        kv: base.kv,
    };
    let default_engine = bench.start(default)?;
    let requests = bench.requests(&default_engine, (time / RUN_PART).min(RUN_MAX)).await?;
    let traffic = |seed| Trace::new(&models[0], requests, base.context_tokens, seed);
    let choosing = traffic(CHOOSING);
    let (mut best, mut best_engine, mut tried) = (default, default_engine.clone(), Vec::new());
    let mut longest = Duration::ZERO;
    for change in changes(models.len(), base.threads) {
        let settings = change(best);
        // The search must leave time to judge.
        if tried.iter().any(|tried: &Tried| tried.settings == settings) || settings == best {
            continue;
        }
        if Instant::now() + longest * 3 > end {
            break;
        }
        let began = Instant::now();
        let mut trial = Tried { settings, ratio: None, kept: false };
        // A step that is too large for the machine, or a cache that the model cannot have, is no reason to end.
        if let Ok(engine) = bench.start(settings) {
            let rounds = compare(&best_engine, &engine, &choosing, ROUNDS).await?;
            let ratio = speedup(&rounds);
            trial = Tried { settings, ratio: Some(ratio), kept: ratio >= WORTH && bearable(&rounds) };
            if trial.kept {
                (best, best_engine) = (settings, engine);
            }
        }
        longest = longest.max(began.elapsed());
        told(&trial);
        tried.push(trial);
    }
    let mut tuning = Tuning { default, best, ratio: 1.0, tried };
    if best != default {
        let rounds = compare(&default_engine, &best_engine, &traffic(JUDGING), JUDGING_ROUNDS).await?;
        tuning.ratio = speedup(&rounds);
        if tuning.ratio < WORTH || !bearable(&rounds) {
            (tuning.best, tuning.ratio) = (default, 1.0);
        }
    }
    Ok(tuning)
}

/// What can be changed of the best so far, one thing at a time; the most promising first.
fn changes(models: usize, threads: usize) -> Vec<Box<dyn Fn(Settings) -> Settings>> {
    let mut changes: Vec<Box<dyn Fn(Settings) -> Settings>> = Vec::new();
    for model in 1..models {
        changes.push(Box::new(move |best| Settings { model, ..best }));
    }
    for threads in [threads.div_ceil(2), threads * 3 / 4, threads * 2] {
        if threads > 0 {
            changes.push(Box::new(move |best| Settings { threads, ..best }));
        }
    }
    for step_tokens in [1_024, 2_048, 256] {
        changes.push(Box::new(move |best| Settings { step_tokens, ..best }));
    }
    for chunk_tokens in [256, 512, 64] {
        changes.push(Box::new(move |best| Settings { chunk_tokens: chunk_tokens.min(best.step_tokens), ..best }));
    }
    for kv in KvType::ALL {
        changes.push(Box::new(move |best| Settings { kv, ..best }));
    }
    changes
}

/// Where settings are tried.
struct Bench<'a> {
    models: &'a [Arc<Model>],
    base: EngineConfig,
}

impl Bench<'_> {
    fn start(&self, settings: Settings) -> Result<Arc<Engine>, Error> {
        let config = EngineConfig {
            threads: settings.threads,
            step_tokens_max: settings.step_tokens,
            chunk_tokens_max: settings.chunk_tokens,
            kv: settings.kv,
            ..self.base
        };
        Engine::start(self.models[settings.model].clone(), config).map(Arc::new)
    }

    /// How many requests take about so long.
    async fn requests(&self, engine: &Arc<Engine>, run: Duration) -> Result<usize, Error> {
        let first = Trace::new(&self.models[0], FIRST_REQUESTS, self.base.context_tokens, CHOOSING);
        let once = async || first.run(engine).await.map_err(|refused| broken(engine, refused));
        // The first touches memory for the first time.
        once().await?;
        let took = once().await?.took;
        let requests = FIRST_REQUESTS as f64 * run.as_secs_f64() / took.as_secs_f64().max(1e-3);
        Ok((requests as usize).clamp(FIRST_REQUESTS, REQUESTS_MAX))
    }
}

/// Runs of one setting and another in turn, on the same traffic.
async fn compare(
    one: &Arc<Engine>,
    other: &Arc<Engine>,
    traffic: &Trace,
    rounds: usize,
) -> Result<Vec<(Run, Run)>, Error> {
    let run = async |engine| traffic.run(engine).await.map_err(|refused| broken(engine, refused));
    let mut pairs = Vec::new();
    for round in 0..rounds {
        // Who goes first changes, so that neither always follows the other.
        let pair = if round % 2 == 0 {
            let first = run(one).await?;
            (first, run(other).await?)
        } else {
            let first = run(other).await?;
            (run(one).await?, first)
        };
        pairs.push(pair);
    }
    Ok(pairs)
}

fn broken(engine: &Engine, refused: Refused) -> Error {
    Error::Decode { reason: format!("{} broke off: {refused}", engine.model().id) }
}

/// How much faster the second of each pair was: the median.
fn speedup(rounds: &[(Run, Run)]) -> f64 {
    median(rounds, |(one, other)| one.took.as_secs_f64() / other.took.as_secs_f64())
}

/// Whether those who wait and read bear the second as well as the first.
fn bearable(rounds: &[(Run, Run)]) -> bool {
    let worse = |of: fn(&Run) -> Duration| {
        median(rounds, |(one, other)| of(other).as_secs_f64() / of(one).max(UNFELT).as_secs_f64())
    };
    worse(|run| run.longest_gap) <= PATIENCE && worse(|run| run.first_token_p90) <= PATIENCE
}

fn median(rounds: &[(Run, Run)], figure: impl Fn(&(Run, Run)) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(ms: u64, gap_ms: u64) -> Run {
        let span = Duration::from_millis;
        Run { took: span(ms), longest_gap: span(gap_ms), first_token_p90: span(10) }
    }

    #[test]
    fn a_speedup_is_the_median_of_pairs_and_one_odd_pair_changes_nothing() {
        let rounds = [(took(200, 0), took(100, 0)), (took(200, 0), took(1_000, 0)), (took(220, 0), took(100, 0))];
        assert!((speedup(&rounds) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_setting_that_makes_readers_wait_is_not_borne_however_fast() {
        assert!(bearable(&[(took(200, 20), took(100, 90))]), "nobody feels it");
        assert!(!bearable(&[(took(200, 200), took(100, 300))]));
    }

    #[test]
    fn changes_are_of_one_thing_each() {
        let before = Settings { model: 0, threads: 2, step_tokens: 512, chunk_tokens: 128, kv: KvType::F16 };
        for change in changes(2, 2) {
            let after = change(before);
            let changed = [
                after.model != before.model,
                after.threads != before.threads,
                after.step_tokens != before.step_tokens,
                after.chunk_tokens != before.chunk_tokens,
                after.kv != before.kv,
            ];
            assert!(changed.into_iter().filter(|&changed| changed).count() <= 1, "{after:?}");
        }
    }
}
