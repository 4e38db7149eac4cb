//! How fast a cell is: when a first token comes and how long a decode step takes, learnt from every job.
//!
//! Two lines are fitted, each sample counting a little less than the next: what computing a prompt takes, by the tokens that
//! no cache holds and by the batch beside it, and what a decode step takes, by the batch. A line tells the middle; what is
//! promised is a quantile, and the factor between the two follows the samples as well, so that nine in ten forecasts hold
//! whatever the shape of the error. Before the first sample a cell is what its node said, or what most are.
//!
//! *Source*: recursive least squares with forgetting; the quantile by the sign of the error (Robbins and Monro).

use primitives::node_protocol::{STEP_TIMES_MAX, Speed, StepTime};

use crate::cell::{Average, Quantile};

/// What a node that said nothing is taken for. *Units*: ms for a thousand prompt tokens.
const PROMPT_PRIOR_MS: f64 = 500.0;
/// Before a prompt's first token is computed. *Units*: ms.
const START_PRIOR_MS: f64 = 5.0;
/// There and back, before it was measured. *Units*: ms.
const TRIP_PRIOR_MS: f64 = 30.0;
/// How far a node's word on its speed may be off.
const WORD_DOUBT: f64 = 0.2;
/// How far the guess may be off.
const GUESS_DOUBT: f64 = 5.0;
/// The batch adds about so much of a prompt's time, for each sequence.
const BATCH_DOUBT: f64 = 0.02;
/// The share of its weight that a sample keeps when the next one comes.
const KEPT: f64 = 0.99;
/// A forecast's error before there were samples: nine in ten firsts come within so many times the middle.
const SPREAD_PRIOR: f64 = 1.3;
/// No cell is trusted closer than this.
const SPREAD_MIN: f64 = 1.02;

/// What is known of a cell's speed.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    prompt: Line<3>,
    step: Option<Line<2>>,
    /// Of first tokens: how many times the forecast nine in ten take at most.
    spread: Quantile,
    step_spread: Quantile,
    trip_ms: Average,
    /// The share of forecasts at the ninetieth percentile that held.
    coverage: Average,
    /// How far the middle was off, as a share.
    error: Average,
    samples: u32,
    /// It began with what its node had measured, which says more than a heartbeat does.
    measured: bool,
}

impl Default for Curve {
    fn default() -> Self {
        Self {
            prompt: prompt_line(PROMPT_PRIOR_MS, GUESS_DOUBT),
            step: None,
            spread: Quantile::starting(0.90, SPREAD_PRIOR),
            step_spread: Quantile::starting(0.90, SPREAD_MIN),
            trip_ms: Average::new(0.1),
            coverage: Average::new(0.02),
            error: Average::new(0.02),
            samples: 0,
            measured: false,
        }
    }
}

fn prompt_line(ms_per_thousand: f64, doubt: f64) -> Line<3> {
    let deviations = [START_PRIOR_MS, ms_per_thousand * doubt, ms_per_thousand * BATCH_DOUBT];
    Line::new([START_PRIOR_MS, ms_per_thousand, 0.0], deviations)
}

impl Curve {
    /// The node brings what it measured; it counts until it has done something.
    pub fn begin(&mut self, speed: &Speed) {
        if self.samples > 0 {
            return;
        }
        self.hear(speed.prompt_token_us);
        self.measured = speed.prompt_token_us > 0;
        self.step = None;
        for StepTime { sequences, step_us } in speed.steps.iter().take(STEP_TIMES_MAX) {
            self.learn_step(f64::from(*sequences), f64::from(*step_us) / 1_000.0);
        }
    }

    /// The node says how fast it is; its word counts until it has done something. *Units*: µs a prompt token.
    pub fn hear(&mut self, prompt_token_us: u32) {
        if self.samples == 0 && !self.measured && prompt_token_us > 0 {
            self.prompt = prompt_line(f64::from(prompt_token_us), WORD_DOUBT);
        }
    }

    /// A prompt of so many uncached tokens was computed beside a batch. *Units*: ms.
    pub fn learn_prompt(&mut self, uncached: f64, batch: f64, took_ms: f64) {
        self.samples = self.samples.saturating_add(1);
        self.prompt.add(prompt_features(uncached, batch), took_ms);
    }

    /// A forecast met what happened. *Units*: ms, both from the forecast on.
    pub fn judge(&mut self, forecast_ms: f64, took_ms: f64) {
        let times = took_ms / forecast_ms.max(0.1);
        self.coverage.add(f64::from(u8::from(times <= self.spread())));
        self.error.add((1.0 - forecast_ms / took_ms.max(0.1)).abs());
        self.spread.add(times);
    }

    /// A step took so long beside so many. *Units*: ms.
    pub fn learn_step(&mut self, batch: f64, took_ms: f64) {
        let line = self.step.get_or_insert_with(|| Line::new([took_ms, 0.0], [took_ms, took_ms * 0.1]));
        let forecast = line.at([1.0, batch]).max(0.01);
        line.add([1.0, batch], took_ms);
        self.step_spread.add(took_ms / forecast);
    }

    /// From an offer to its answer. *Units*: ms.
    pub fn learn_trip(&mut self, took_ms: f64) {
        self.trip_ms.add(took_ms);
    }

    /// Computing so many tokens beside a batch, in the middle. *Units*: ms.
    pub fn prompt_ms(&self, uncached: f64, batch: f64) -> f64 {
        self.prompt.at(prompt_features(uncached, batch)).max(0.1)
    }

    /// A step beside so many others, nine times in ten at most; none before the first. *Units*: ms.
    pub fn step_ms(&self, batch: f64) -> Option<f64> {
        let spread = self.step_spread.get().unwrap_or(1.0).max(1.0);
        self.step.as_ref().map(|line| line.at([1.0, batch]) * spread)
    }

    /// There and back. *Units*: ms.
    pub fn trip_ms(&self) -> f64 {
        self.trip_ms.get().unwrap_or(TRIP_PRIOR_MS)
    }

    /// How many times the middle nine in ten take at most.
    pub fn spread(&self) -> f64 {
        self.spread.get().unwrap_or(SPREAD_PRIOR).max(SPREAD_MIN)
    }

    /// The share of forecasts that held, lately.
    pub fn coverage(&self) -> Option<f64> {
        self.coverage.get()
    }

    /// How far forecasts were off, lately, as a share of what it took.
    pub fn error(&self) -> Option<f64> {
        self.error.get()
    }
}

fn prompt_features(uncached: f64, batch: f64) -> [f64; 3] {
    let thousands = uncached / 1_000.0;
    [1.0, thousands, thousands * batch]
}

/// A line through samples, by recursive least squares.
#[derive(Clone, Debug)]
struct Line<const N: usize> {
    weights: [f64; N],
    /// How uncertain each pair of weights is.
    doubt: [[f64; N]; N],
    /// How uncertain all were at first: forgetting stops there, so that what is never seen is not doubted without bound.
    doubt_max: f64,
}

impl<const N: usize> Line<N> {
    fn new(weights: [f64; N], deviations: [f64; N]) -> Self {
        let mut doubt = [[0.0; N]; N];
        deviations.iter().enumerate().for_each(|(n, deviation)| doubt[n][n] = deviation * deviation);
        let doubt_max = deviations.iter().map(|deviation| deviation * deviation).sum();
        Self { weights, doubt, doubt_max }
    }

    fn at(&self, features: [f64; N]) -> f64 {
        self.weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum()
    }

    fn add(&mut self, features: [f64; N], sample: f64) {
        // A sample is believed to a ms and a twentieth.
        let noise = (1.0 + 0.05 * sample).powi(2);
        let spread: [f64; N] = std::array::from_fn(|n| (0..N).map(|m| self.doubt[n][m] * features[m]).sum());
        let doubt: f64 = (0..N).map(|n| self.doubt[n][n]).sum();
        let kept = if doubt < self.doubt_max { KEPT } else { 1.0 };
        let total = kept * noise + features.iter().zip(spread).map(|(feature, spread)| feature * spread).sum::<f64>();
        let error = sample - self.at(features);
        for n in 0..N {
            self.weights[n] += spread[n] / total * error;
            for (m, spread_m) in spread.iter().enumerate() {
                self.doubt[n][m] = (self.doubt[n][m] - spread[n] * spread_m / total) / kept;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand tokens take 100 ms, each sequence beside them adds a hundredth, and a start takes 5 ms.
    fn truth(uncached: f64, batch: f64) -> f64 {
        5.0 + uncached * 0.1 * (1.0 + 0.01 * batch)
    }

    #[test]
    fn a_cell_becomes_what_it_does_whatever_its_node_said() {
        for word in [50, 80, 120, 400] {
            let mut curve = Curve::default();
            curve.hear(word);
            for n in 0..50_u32 {
                let (uncached, batch) = (f64::from(n * 611 % 4_000 + 50), f64::from(n * 7 % 40));
                curve.learn_prompt(uncached, batch, truth(uncached, batch));
            }
            for (uncached, batch) in [(100.0, 0.0), (1_000.0, 20.0), (4_000.0, 5.0)] {
                let (told, real) = (curve.prompt_ms(uncached, batch), truth(uncached, batch));
                assert!((told / real - 1.0).abs() < 0.1, "said {word}: {told} for {real}");
            }
            curve.hear(1);
            assert!(curve.prompt_ms(1_000.0, 0.0) > 50.0, "a word after the fact counts nothing");
        }
    }

    #[test]
    fn a_cell_begins_as_its_node_measured_it_and_not_as_a_heartbeat_says() {
        let mut curve = Curve::default();
        let steps = [(1, 21_000), (8, 28_000), (32, 52_000)];
        let steps = steps.map(|(sequences, step_us)| StepTime { sequences, step_us }).to_vec();
        curve.begin(&Speed { prompt_token_us: 100, steps });
        curve.hear(9_000);
        assert!((90.0..120.0).contains(&curve.prompt_ms(1_000.0, 0.0)), "{}", curve.prompt_ms(1_000.0, 0.0));
        let step = curve.step_ms(16.0).unwrap();
        assert!((30.0..45.0).contains(&step), "{step}");
        curve.learn_prompt(1_000.0, 0.0, 200.0);
        let learnt = curve.prompt_ms(1_000.0, 0.0);
        curve.begin(&Speed { prompt_token_us: 5_000, steps: vec![] });
        assert_eq!(curve.prompt_ms(1_000.0, 0.0), learnt, "what it did counts more than what it says");
    }

    #[test]
    fn nine_in_ten_forecasts_hold_once_it_has_seen_enough() {
        let mut curve = Curve::default();
        let took = |n: u32| 100.0 * (0.7 + 0.8 * f64::from(n * 611 % 1_000) / 1_000.0);
        (0..2_000).for_each(|n| curve.judge(100.0, took(n)));
        let coverage = curve.coverage().unwrap();
        assert!((0.84..=0.96).contains(&coverage), "{coverage}");
        assert!((1.3..1.5).contains(&curve.spread()), "{}", curve.spread());
    }

    #[test]
    fn a_step_grows_with_its_batch() {
        let mut curve = Curve::default();
        assert_eq!(curve.step_ms(1.0), None);
        (0..100_u32).map(|n| f64::from(n * 7 % 16)).for_each(|batch| curve.learn_step(batch, 20.0 + batch));
        let step = curve.step_ms(30.0).unwrap();
        assert!((46.0..58.0).contains(&step), "{step}");
    }
}
