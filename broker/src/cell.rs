//! A cell: one model on one node, with its free slots, its price and how it has done so far.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::node_protocol::ServedModel;

use crate::ask::AskPrices;
use crate::sent::SentBlocks;

/// One model on one connected node.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Prompt and output together. *Units*: tokens a job.
    pub context_tokens: u32,
    /// Sequences that it decodes at once.
    pub slots: u32,
    /// Jobs it may have at once.
    pub capacity: u32,
    /// Jobs offered to it or leased to it.
    pub in_flight: u32,
    /// What the provider asks.
    pub prices: AskPrices,
    /// No offers until then: it declined or ignored one.
    pub rests_until: Option<DateTime<Utc>>,
    /// What was sent to it since it came.
    pub sent: SentBlocks,
    /// How it has done.
    pub measured: Measured,
}

impl Cell {
    pub fn new(served: &ServedModel, prices: AskPrices, backlog: u32, measured: Measured) -> Self {
        Self {
            context_tokens: served.context_tokens,
            slots: served.slots,
            capacity: served.slots.saturating_add(backlog),
            in_flight: 0,
            prices,
            rests_until: None,
            sent: SentBlocks::default(),
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

/// The tokens of one run since an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lap {
    since: DateTime<Utc>,
    tokens: usize,
}

impl Lap {
    pub fn begin(since: DateTime<Utc>) -> Self {
        Self { since, tokens: 0 }
    }
}

/// How fast tokens come, lap by lap: a frame by itself tells nothing, since several may arrive at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    ms: f64,
    tokens: f64,
}

impl Pace {
    /// A shorter lap tells how frames were bundled on their way, and not how fast they were made.
    const LAP_MS_MIN: f64 = 50.0;
    /// What is left of a lap's weight when the next one comes: some twenty laps count.
    const KEPT: f64 = 0.95;
    /// Fewer tell nothing.
    const TOKENS_MIN: f64 = 16.0;

    /// Takes the tokens of a frame into the lap, and the lap into account once it is long enough.
    pub fn add(&mut self, lap: &mut Lap, now: DateTime<Utc>, tokens: usize) {
        lap.tokens += tokens;
        let ms = millis(now - lap.since);
        if ms >= Self::LAP_MS_MIN {
            self.ms = self.ms * Self::KEPT + ms;
            self.tokens = self.tokens * Self::KEPT + lap.tokens as f64;
            *lap = Lap::begin(now);
        }
    }

    /// *Units*: tokens a second.
    pub fn get(self) -> Option<f64> {
        (self.tokens >= Self::TOKENS_MIN).then(|| 1_000.0 * self.tokens / self.ms)
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
    fn a_pace_is_told_by_long_laps_and_not_by_frames_that_come_together() {
        let mut now = DateTime::UNIX_EPOCH;
        let (mut pace, mut lap) = (Pace::default(), Lap::begin(now));
        // A whole answer in one breath: it waited somewhere.
        (0..100).for_each(|_| pace.add(&mut lap, now, 1));
        assert_eq!(pace.get(), None);
        // Four frames at once every 40 ms: a hundred tokens a second.
        lap = Lap::begin(now);
        for _ in 0..50 {
            now += TimeDelta::milliseconds(40);
            (0..4).for_each(|_| pace.add(&mut lap, now, 1));
        }
        let speed = pace.get().unwrap();
        assert!((80.0..120.0).contains(&speed), "{speed}");
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
