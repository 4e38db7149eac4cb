//! A cell: one model on one node, with its free slots, its price, the prompts ahead of a new one, and how it has done so far.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use primitives::certificate::Grade;
use primitives::id::JobId;
use primitives::node_protocol::{Outlook, ServedModel};

use crate::ask::AskPrices;
use crate::curve::Curve;
use crate::held_blocks::HeldBlocks;
use crate::job::Class;
use crate::queue::Lane;
use crate::sent::SentBlocks;
use crate::standing::Standing;

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
    /// Of those, the ones that give way to a job that somebody waits for.
    gives_way: BTreeSet<JobId>,
    /// A job of a higher class takes the slot of a lower.
    preempts: bool,
    /// It declares to let no job wait longer for its turn, if it does. *Units*: ms.
    turn_ms_max: Option<f64>,
    /// Until its weights are in memory, by its node's last word. *Units*: ms.
    loading_ms: f64,
    /// By its own word it has as much as it takes until then.
    busy_until: Option<DateTime<Utc>>,
    /// What the provider asks.
    pub prices: AskPrices,
    /// How near it is to the original; jobs that ask for more do not come here, and none come to a cell without one.
    pub grade: Grade,
    /// It says that it is the reference.
    pub reference: bool,
    /// Its node is new: it gets a small share of the work while others could do it.
    pub on_trial: bool,
    /// No offers until then: it declined or ignored one, or failed too often.
    pub rests_until: Option<DateTime<Utc>>,
    /// What was sent to it since it came.
    pub sent: SentBlocks,
    /// How it has done.
    pub measured: Measured,
    /// Which prefixes it has computed.
    pub held: HeldBlocks,
    /// Jobs whose first token has not come, in the order they were offered.
    ahead: Vec<Ahead>,
    /// When its last first token came. *Units*: ms, by [`instant_ms`].
    freed_ms: f64,
}

/// A job that waits on its node for its first token.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    job_id: JobId,
    uncached: f64,
    /// When the node has its work, as far as is known. *Units*: ms, by [`instant_ms`].
    arrives_ms: f64,
    offered_ms: f64,
    /// When its first token was expected. *Units*: ms, by [`instant_ms`].
    expected_ms: f64,
    /// The weights were not in memory yet: it tells nothing of how fast they are.
    loads: bool,
}

/// When a cell could begin a job that is offered now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Turn {
    /// Until it begins to compute the prompt. *Units*: ms.
    pub begins_ms: f64,
    /// Of that, what is not the way there. *Units*: ms.
    pub waits_ms: f64,
    /// Sequences beside it then.
    pub batch: f64,
}

impl Cell {
    pub fn new(served: &ServedModel, prices: AskPrices, backlog: u32, mut measured: Measured) -> Self {
        if let Some(speed) = &served.speed {
            measured.curve.begin(speed);
        }
        Self {
            context_tokens: served.context_tokens,
            slots: served.slots,
            capacity: served.slots.saturating_add(backlog),
            in_flight: 0,
            gives_way: BTreeSet::new(),
            preempts: served.preempts,
            turn_ms_max: served.turn_ms_max.map(f64::from),
            loading_ms: 0.0,
            busy_until: None,
            prices,
            grade: Grade::None,
            reference: false,
            on_trial: false,
            rests_until: None,
            sent: SentBlocks::default(),
            measured,
            held: HeldBlocks::default(),
            ahead: Vec::new(),
            freed_ms: f64::MIN,
        }
    }

    /// Takes over what its node may be given.
    pub fn stand(&mut self, standing: &Standing, model: &str) {
        self.grade = standing.grade(model).unwrap_or(Grade::None);
        self.reference = standing.references.contains(model);
        self.on_trial = standing.on_probation;
    }

    /// When a job's prompt would be begun if it were offered now; `record_ms` is what a lease's record takes.
    pub fn turn(&self, now_ms: f64, record_ms: f64) -> Turn {
        let trip_ms = self.measured.curve.trip_ms();
        let arrives_ms = now_ms + trip_ms + record_ms + trip_ms / 2.0;
        let batch = f64::from(self.in_flight);
        // What the node did by now is told half a trip later.
        let mut free_ms = self.freed_ms - trip_ms / 2.0;
        for ahead in &self.ahead {
            let ends_ms = free_ms.max(ahead.arrives_ms) + self.measured.curve.prompt_ms(ahead.uncached, batch);
            free_ms = ends_ms.max(now_ms - trip_ms / 2.0);
        }
        let begins_ms = free_ms.max(arrives_ms) - now_ms;
        Turn { begins_ms, waits_ms: begins_ms - (arrives_ms - now_ms), batch }
    }

    /// From an offer to the first token, in the middle. *Units*: ms.
    pub fn first_token_ms(&self, turn: Turn, uncached: f64) -> f64 {
        let curve = &self.measured.curve;
        turn.begins_ms + self.loading_ms + curve.prompt_ms(uncached, turn.batch) + curve.trip_ms() / 2.0
    }

    /// How a job that comes now sees it.
    pub fn lane(&self, now_ms: f64, record_ms: f64) -> Lane {
        let (turn, curve) = (self.turn(now_ms, record_ms), &self.measured.curve);
        let start_ms = curve.prompt_ms(0.0, turn.batch);
        let token_ms = (curve.prompt_ms(1_000.0, turn.batch) - start_ms).max(0.0) / 1_000.0;
        Lane {
            free_ms: turn.begins_ms,
            start_ms,
            token_ms,
            back_ms: curve.trip_ms() / 2.0,
            slots_free: self.capacity.saturating_sub(self.in_flight),
            slots: self.capacity,
        }
    }

    /// True when one more sequence would get its tokens as quickly as it wants, as far as is known.
    pub fn keeps_pace(&self, step_max: Option<TimeDelta>) -> bool {
        let batch = self.in_flight.min(self.slots.max(1) - 1) + 1;
        let step_ms = self.measured.curve.step_ms(f64::from(batch));
        step_max.is_none_or(|most| step_ms.is_none_or(|step_ms| step_ms <= millis(most)))
    }

    /// Its node tells what may be expected.
    pub fn hear(&mut self, outlook: Outlook) {
        self.loading_ms = outlook.loading_ms.into();
        self.measured.curve.hear(outlook.prompt_token_us);
    }

    /// A job is offered: it is ahead of all that come later.
    pub fn put_ahead(&mut self, job_id: JobId, uncached: f64, now_ms: f64, record_ms: f64) {
        let turn = self.turn(now_ms, record_ms);
        let expected_ms = now_ms + self.first_token_ms(turn, uncached);
        let arrives_ms = now_ms + turn.begins_ms - turn.waits_ms;
        let loads = self.loading_ms > 0.0;
        self.ahead.push(Ahead { job_id, uncached, arrives_ms, offered_ms: now_ms, expected_ms, loads });
        self.in_flight += 1;
    }

    /// A job that can wait is offered. Where it gives way it is ahead of none that somebody waits for.
    pub fn put_aside(&mut self, job_id: JobId) {
        self.gives_way.insert(job_id);
        self.in_flight += 1;
    }

    /// Whether a job of this class gives way here.
    pub fn lets_pass(&self, class: Class) -> bool {
        self.preempts && class == Class::Batch
    }

    /// Whether one that gives way may be doing so now: it shows no sign of life then.
    pub fn is_overfull(&self) -> bool {
        self.in_flight > self.slots
    }

    /// The node says that it is too busy until then.
    pub fn decline_until(&mut self, until: DateTime<Utc>) {
        self.busy_until = Some(until);
    }

    /// Whether it declares how long a job may wait for its turn.
    pub fn declares(&self) -> bool {
        self.turn_ms_max.is_some()
    }

    /// By how much a job that comes now would wait longer for its turn than this cell declares, behind so many others of the
    /// queue. Nothing where it does not, or where nothing is declared. *Units*: ms.
    pub fn past_declared_ms(&self, now: DateTime<Utc>, record_ms: f64, queued: Queued) -> Option<f64> {
        let most_ms = self.turn_ms_max.filter(|_| self.capacity > 0)?;
        if let Some(until) = self.busy_until.filter(|until| *until > now) {
            return Some(millis(until - now));
        }
        let now_ms = instant_ms(now);
        let lane = self.lane(now_ms, record_ms);
        let prompts_ms =
            self.turn(now_ms, record_ms).waits_ms + queued.jobs * lane.start_ms + queued.tokens * lane.token_ms;
        let slots_short = queued.jobs + 1.0 - f64::from(self.room(Class::Interactive));
        let slots_ms = slots_short.max(0.0) * queued.job_ms / f64::from(self.slots.max(1));
        let waits_ms = prompts_ms.max(slots_ms);
        (waits_ms > most_ms).then_some(waits_ms - most_ms)
    }

    /// The node has answered: the trip is measured.
    pub fn accepted(&mut self, job_id: JobId, now_ms: f64) {
        if let Some(ahead) = self.ahead.iter().find(|ahead| ahead.job_id == job_id) {
            self.measured.curve.learn_trip(now_ms - ahead.offered_ms);
        }
    }

    /// A job's work is on its way.
    pub fn committed(&mut self, job_id: JobId, now_ms: f64) {
        let trip_ms = self.measured.curve.trip_ms();
        if let Some(ahead) = self.ahead.iter_mut().find(|ahead| ahead.job_id == job_id) {
            ahead.arrives_ms = now_ms + trip_ms / 2.0;
        }
    }

    /// A job's first token is here, and tells how fast its prompt was computed.
    pub fn first_token(&mut self, job_id: JobId, now_ms: f64) {
        let Some(place) = self.ahead.iter().position(|ahead| ahead.job_id == job_id) else { return };
        let ahead = self.ahead.remove(place);
        let curve = &mut self.measured.curve;
        let began_ms = (ahead.arrives_ms + curve.trip_ms() / 2.0).max(self.freed_ms);
        self.freed_ms = now_ms;
        if ahead.loads {
            return;
        }
        if place == 0 {
            let batch = f64::from(self.in_flight).max(1.0) - 1.0;
            curve.learn_prompt(ahead.uncached, batch, (now_ms - began_ms).max(0.1));
        }
        curve.judge(ahead.expected_ms - ahead.offered_ms, now_ms - ahead.offered_ms);
    }

    /// A job is gone from the node, whatever it had done.
    pub fn gone(&mut self, job_id: JobId) {
        self.ahead.retain(|ahead| ahead.job_id != job_id);
        self.gives_way.remove(&job_id);
        self.in_flight -= 1;
    }

    /// Sequences that decode.
    pub fn decoding(&self) -> u32 {
        self.in_flight - u32::try_from(self.ahead.len()).unwrap_or(self.in_flight)
    }

    /// What is asked for a token of the prompt and one of the output, to compare by. *Units*: atto-units of the currency.
    pub fn asks(&self) -> (f64, f64) {
        (self.prices.input.attos() as f64, self.prices.output.attos() as f64)
    }

    /// Jobs of a class that could be offered to it now.
    pub fn slots_free(&self, class: Class) -> u32 {
        if self.rests_until.is_some() { 0 } else { self.room(class) }
    }

    /// The same, were it not at rest. What gives way stands in nobody's way.
    fn room(&self, class: Class) -> u32 {
        let passed = if class == Class::Interactive { self.gives_way.len() } else { 0 };
        self.capacity.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX)).saturating_sub(self.in_flight)
    }
}

/// What of the queue stands before a job that comes now at one of its cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    pub jobs: f64,
    /// Of their prompts.
    pub tokens: f64,
    /// What a job of the model takes, lately. *Units*: ms.
    pub job_ms: f64,
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
    /// How fast it is.
    pub curve: Curve,
    /// Leases that failed, one after the other.
    pub failures: u32,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            first_token_ms: Quantile::new(0.90),
            gap_ms: Quantile::new(0.99),
            pace: Pace::default(),
            reliability: Average::new(0.05),
            curve: Curve::default(),
            failures: 0,
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

    /// Takes the tokens of a frame into the lap, and the lap into account once it is long enough; then it tells what a token
    /// took in it. *Units*: ms.
    pub fn add(&mut self, lap: &mut Lap, now: DateTime<Utc>, tokens: usize) -> Option<f64> {
        lap.tokens += tokens;
        let ms = millis(now - lap.since);
        if ms < Self::LAP_MS_MIN {
            return None;
        }
        let token_ms = ms / lap.tokens.max(1) as f64;
        self.ms = self.ms * Self::KEPT + ms;
        self.tokens = self.tokens * Self::KEPT + lap.tokens as f64;
        *lap = Lap::begin(now);
        Some(token_ms)
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

    /// One that is believed to be so much before the first sample.
    pub fn starting(share: f64, value: f64) -> Self {
        Self { share, value: Some(value) }
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

/// An instant as a number that spans can be added to. *Units*: ms.
pub(crate) fn instant_ms(at: DateTime<Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1_000.0
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
    /// The share of first tokens that came within the forecast that nine in ten should keep, lately; none before the first.
    pub forecast_coverage: Option<f64>,
    /// How far forecasts of first tokens were off, lately, as a share of what it took; none before the first.
    pub forecast_error: Option<f64>,
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
            forecast_coverage: cell.measured.curve.coverage(),
            forecast_error: cell.measured.curve.error(),
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
        for _ in 0..100 {
            pace.add(&mut lap, now, 1);
        }
        assert_eq!(pace.get(), None);
        // Four frames at once every 40 ms: a hundred tokens a second.
        lap = Lap::begin(now);
        for _ in 0..50 {
            now += TimeDelta::milliseconds(40);
            for _ in 0..4 {
                pace.add(&mut lap, now, 1);
            }
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
