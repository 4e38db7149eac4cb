//! What became of requests, and the figures that are told of it.

use serde::Serialize;

use crate::kind::STEP_MAX_S;
use crate::scene::Run;
use crate::trace::Request;

/// What became of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Whose it was.
    pub tenant: usize,
    /// It was refused at once.
    pub refused: bool,
    /// When its first token was here. *Units*: seconds after it came.
    pub first_s: Option<f64>,
    /// When its last token was here. *Units*: seconds after it came.
    pub done_s: Option<f64>,
    /// Tokens of its prompt that a cache held.
    pub cached: u32,
}

impl Outcome {
    /// Whether both the first token and the steps after it were in time.
    pub fn kept(&self, request: &Request) -> bool {
        let (Some(first), Some(done)) = (self.first_s, self.done_s) else { return false };
        let steps = f64::from(request.output.max(2) - 1);
        first <= request.first_token_max_s && (done - first) / steps <= STEP_MAX_S + 1e-9
    }
}

/// The figures of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// *Units*: requests a second.
    pub rate: f64,
    pub requests: usize,
    /// The share of all requests that was inside the promise.
    pub kept: f64,
    /// The share that was refused at once.
    pub refused: f64,
    /// *Units*: seconds.
    pub first_token_p50_s: f64,
    pub first_token_p99_s: f64,
    /// First tokens by their promise: 1 is just in time.
    pub first_token_p99_of_promise: f64,
    /// *Units*: dollars a million tokens, prompt and output.
    pub cost_per_million: f64,
    /// Of prompt tokens.
    pub cached: f64,
    /// Between the tenant that was kept its promise most often and the one least often. *Units*: share of its requests.
    pub fairness_gap: f64,
    /// Of requests in four classes of length, from short to long, the share inside the promise.
    pub kept_by_length: [f64; 4],
    /// Of ours: the share of forecasts that held, of those that nine in ten should, and how far forecasts were off.
    pub forecasts: Option<(f64, f64)>,
}

impl Figures {
    pub fn of(rate: f64, requests: &[Request], run: &Run) -> Self {
        let outcomes = &run.outcomes;
        let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
        let pairs = || requests.iter().zip(outcomes);
        let kept = pairs().filter(|(request, outcome)| outcome.kept(request)).count();
        let firsts = sorted(outcomes.iter().filter_map(|outcome| outcome.first_s));
        let of_promise =
            sorted(pairs().filter_map(|(request, outcome)| Some(outcome.first_s? / request.first_token_max_s)));
        let served = || pairs().filter(|(_, outcome)| outcome.done_s.is_some());
        let tokens: f64 = served().map(|(request, _)| f64::from(request.input) + f64::from(request.output)).sum();
        let prompts: f64 = served().map(|(request, _)| f64::from(request.input)).sum();
        let cached: f64 = served().map(|(_, outcome)| f64::from(outcome.cached)).sum();
        let tenants = outcomes.iter().map(|outcome| outcome.tenant).max().map_or(0, |most| most + 1);
        let mut by_tenant = vec![(0, 0); tenants];
        let lengths = sorted(requests.iter().map(|request| f64::from(request.input)));
        let mut by_length = [(0, 0); 4];
        for (request, outcome) in pairs() {
            let quarter = (1..4).filter(|n| f64::from(request.input) > quantile(&lengths, f64::from(*n) / 4.0)).count();
            for (of, count) in [&mut by_tenant[outcome.tenant], &mut by_length[quarter]] {
                *of += 1;
                *count += usize::from(outcome.kept(request));
            }
        }
        let shares = || by_tenant.iter().filter(|(of, _)| *of >= 50).map(|(of, count)| share(*count, *of));
        Self {
            rate,
            requests: requests.len(),
            kept: share(kept, requests.len()),
            refused: share(outcomes.iter().filter(|outcome| outcome.refused).count(), requests.len()),
            first_token_p50_s: quantile(&firsts, 0.50),
            first_token_p99_s: quantile(&firsts, 0.99),
            first_token_p99_of_promise: quantile(&of_promise, 0.99),
            cost_per_million: run.cost / (tokens / 1e6).max(1e-9),
            cached: cached / prompts.max(1.0),
            fairness_gap: shares().fold(0.0, f64::max) - shares().fold(1.0, f64::min).min(1.0),
            kept_by_length: by_length.map(|(of, count)| share(count, of)),
            forecasts: run.forecasts,
        }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value that this share of the sorted values does not pass; 0 where there are none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
}
