//! What nobody could do better than: a bound on the rate, for a rule that knows the future.
//!
//! Every prompt is computed once: prefixes are never lost and are found wherever a job runs. The tenth of the requests that would
//! take the longest is left out. All nodes that can keep the pace work all the time as one, with empty batches, and nothing comes in
//! bunches. What is promised to requests is not looked at, so the bound may be out of reach.

use std::collections::HashSet;

use crate::kind::{Fleet, START_S, STEP_MAX_S};
use crate::search::KEPT_MIN;
use crate::trace::{BLOCK_TOKENS, Request};

/// The highest rate that the fleet's capacity allows. *Units*: requests a second.
pub fn rate(requests: &[Request], fleet: Fleet) -> f64 {
    let nodes: Vec<_> = fleet.nodes().into_iter().filter(|kind| kind.step(1) <= STEP_MAX_S).collect();
    let speed: f64 = nodes.iter().map(|kind| kind.prefill).sum();
    // A start costs a slow node the fewest tokens.
    let start = nodes.iter().map(|kind| kind.prefill * START_S).fold(f64::MAX, f64::min);
    let made: f64 = nodes.iter().map(|kind| kind.slots as f64 / kind.step(kind.slots)).sum();
    let mut seen = HashSet::new();
    let prompts = requests.iter().map(|request| {
        let cached = request.blocks.iter().filter(|block| !seen.insert(**block)).count() as u32 * BLOCK_TOKENS;
        start + f64::from(request.input - cached.min(request.input - 1))
    });
    let prompts = least(prompts.collect());
    let outputs = least(requests.iter().map(|request| f64::from(request.output - 1)).collect());
    let count = requests.len() as f64;
    (count * speed / prompts).min(count * made / outputs.max(1.0))
}

/// The sum of the nine in ten that are the least.
fn least(mut work: Vec<f64>) -> f64 {
    work.sort_by(f64::total_cmp);
    work.iter().take((work.len() as f64 * KEPT_MIN).ceil() as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_counts_a_prefix_once_and_leaves_the_longest_out() {
        let request =
            |input, block| Request { at_s: 0.0, input, output: 1, blocks: vec![block], first_token_max_s: 1.0 };
        let mut requests: Vec<Request> = (0..9).map(|_| request(512, 7)).collect();
        requests.push(request(100_000, 8));
        // Nine starts of 80 tokens' time, one whole prompt and eight of which one token is left.
        let expected = 10.0 * 16.0 * 16_000.0 / (9.0 * 80.0 + 512.0 + 8.0);
        assert!((rate(&requests, Fleet::Homo) - expected).abs() < 1.0, "{}", rate(&requests, Fleet::Homo));
    }
}
