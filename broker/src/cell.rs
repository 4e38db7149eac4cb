//! A cell: one model on one node, with its free slots, its price and how it has done so far.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::node_protocol::ServedModel;

use crate::ask::AskPrices;

/// One model on one connected node.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Prompt and output together. *Units*: tokens a job.
    pub context_tokens: u32,
    /// Jobs it may have at once.
    pub capacity: u32,
    /// Jobs offered to it or leased to it.
    pub in_flight: u32,
    /// What the provider asks.
    pub prices: AskPrices,
    /// No offers until then: it declined or ignored one.
    pub rests_until: Option<DateTime<Utc>>,
    /// How it has done.
    pub measured: Measured,
}

impl Cell {
    pub fn new(served: &ServedModel, prices: AskPrices, backlog: u32, measured: Measured) -> Self {
        Self {
            context_tokens: served.context_tokens,
            capacity: served.slots.saturating_add(backlog),
            in_flight: 0,
            prices,
            rests_until: None,
            measured,
        }
    }

    /// Jobs that could be offered to it now.
    pub fn slots_free(&self) -> u32 {
        if self.rests_until.is_some() { 0 } else { self.capacity.saturating_sub(self.in_flight) }
    }
}

/// How a cell has done: quantiles that move with every sample, so that memory does not grow.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// From commit to the first token, nine times in ten at most. *Units*: ms.
    pub first_token_ms: Quantile,
    /// Between frames, ninety-nine times in a hundred at most. *Units*: ms.
    pub gap_ms: Quantile,
    /// While it decodes, one sequence.
    pub pace: Pace,
    /// Leases that ended as they should, lately.
    pub reliability: Average,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            first_token_ms: Quantile::new(0.90),
            gap_ms: Quantile::new(0.99),
            pace: Pace::default(),
            reliability: Average::new(0.05),
        }
    }
}

/// How fast tokens come, over the latest frames together: frames that arrive at once say nothing each by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    ms: f64,
    tokens: f64,
}

impl Pace {
    /// What is left of a frame's weight when the next one comes: some fifty frames count.
    const KEPT: f64 = 0.98;
    /// Fewer tell nothing: the first of an answer come together.
    const TOKENS_MIN: f64 = 16.0;

    pub fn add(&mut self, ms: f64, tokens: usize) {
        self.ms = self.ms * Self::KEPT + ms;
        self.tokens = self.tokens * Self::KEPT + tokens as f64;
    }

    /// *Units*: tokens a second.
    pub fn get(self) -> Option<f64> {
        (self.tokens >= Self::TOKENS_MIN).then(|| 1_000.0 * self.tokens / self.ms.max(0.001))
    }
}

/// An estimate of a quantile: each sample above moves it up, each below moves it down, in the ratio that balances there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantile {
    share: f64,
    value: Option<f64>,
}

impl Quantile {
    /// How far one sample can move the estimate.
    const STEP: f64 = 0.1;

    pub fn new(share: f64) -> Self {
        Self { share, value: None }
    }

    pub fn add(&mut self, sample: f64) {
        let factor =
            |value| if sample > value { 1.0 + Self::STEP * self.share } else { 1.0 - Self::STEP * (1.0 - self.share) };
        // A floor, since a factor never leaves zero.
        self.value = Some(self.value.map_or(sample, |value| value * factor(value)).max(0.1));
    }

    pub fn get(&self) -> Option<f64> {
        self.value
    }
}

/// An average that forgets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Average {
    weight: f64,
    value: Option<f64>,
}

impl Average {
    pub fn new(weight: f64) -> Self {
        Self { weight, value: None }
    }

    pub fn add(&mut self, sample: f64) {
        self.value = Some(self.value.map_or(sample, |value| value + self.weight * (sample - value)));
    }

    pub fn get(&self) -> Option<f64> {
        self.value
    }
}

/// A span as a sample.
pub(crate) fn millis(span: TimeDelta) -> f64 {
    span.num_microseconds().map_or(f64::MAX, |micros| micros as f64 / 1_000.0)
}

/// A cell at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct CellSnapshot {
    /// The model.
    pub model: String,
    /// What the provider asks.
    pub prices: AskPrices,
    /// Jobs it may have at once.
    pub slots: u32,
    /// Jobs offered to it or leased to it.
    pub in_flight: u32,
    /// From commit to the first token, nine times in ten at most; none before the first job.
    pub first_token_ms: Option<f64>,
    /// While it decodes, one sequence; none until enough tokens came to tell.
    pub tokens_per_s: Option<f64>,
    /// The share of leases that ended as they should, lately; none before the first job.
    pub reliability: Option<f64>,
}

impl CellSnapshot {
    pub(crate) fn of(model: &str, cell: &Cell) -> Self {
        Self {
            model: model.to_owned(),
            prices: cell.prices,
            slots: cell.capacity,
            in_flight: cell.in_flight,
            first_token_ms: cell.measured.first_token_ms.get(),
            tokens_per_s: cell.measured.pace.get(),
            reliability: cell.measured.reliability.get(),
        }
    }
}

/// What a model's connected nodes offer together, at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelAvailability {
    /// The model.
    pub model: String,
    /// Nodes that take offers for it.
    pub nodes: u32,
    /// Jobs they may have at once.
    pub slots: u32,
    /// Jobs that could be offered now.
    pub slots_free: u32,
    /// Jobs that wait.
    pub queued: u32,
    /// The longest context at hand. *Units*: tokens.
    pub context_tokens_max: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_settles_where_its_share_of_samples_lies_below() {
        let mut quantile = Quantile::new(0.90);
        // A permutation of 0..1000, over and over: the 90th percentile is 900.
        (0..20_000_u32).for_each(|n| quantile.add(f64::from(n * 611 % 1_000)));
        let value = quantile.get().unwrap();
        assert!((800.0..1_000.0).contains(&value), "{value}");
    }

    #[test]
    fn a_quantile_leaves_zero() {
        let mut quantile = Quantile::new(0.90);
        quantile.add(0.0);
        (0..200).for_each(|_| quantile.add(50.0));
        assert!(quantile.get().unwrap() > 40.0);
    }

    #[test]
    fn a_pace_is_told_by_many_tokens_and_not_by_frames_that_come_together() {
        let mut pace = Pace::default();
        pace.add(0.1, 1);
        assert_eq!(pace.get(), None, "two tokens in one breath are no speed");
        // Four frames at once every 40 ms: a hundred tokens a second.
        (0..50).for_each(|_| [40.0, 0.0, 0.0, 0.0].into_iter().for_each(|ms| pace.add(ms, 1)));
        let speed = pace.get().unwrap();
        assert!((90.0..110.0).contains(&speed), "{speed}");
    }

    #[test]
    fn an_average_follows_its_samples() {
        let mut average = Average::new(0.5);
        assert_eq!(average.get(), None);
        average.add(1.0);
        average.add(0.0);
        assert_eq!(average.get(), Some(0.5));
    }
}
