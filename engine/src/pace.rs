//! How fast steps go, and from that when a new request's first token may be expected: pure.

use std::time::Duration;

use primitives::node_protocol::Outlook;

/// How much the latest value counts.
const LEARNING: f64 = 0.1;

/// What stands between a new request and its first token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Sequences that run.
    pub running: usize,
    /// Slots that nobody runs in.
    pub slots_free: usize,
    /// Sequences that wait.
    pub waiting: usize,
    /// Tokens that all of them are still to be fed before their next draw, as far as no cache is known to hold them.
    pub prompt_tokens: usize,
}

/// What was measured of late; nothing at first.
#[derive(Debug, Default)]
pub struct Pace {
    /// *Units*: seconds.
    step: Average,
    /// *Units*: seconds of a step that feeds prompts, by their tokens; those who decode in it come along.
    prompt_token: Average,
    /// *Units*: tokens.
    output: Average,
}

#[derive(Debug, Default)]
struct Average(Option<f64>);

impl Average {
    fn learn(&mut self, value: f64) {
        self.0 = Some(self.0.map_or(value, |before| before + LEARNING * (value - before)));
    }
}

impl Pace {
    /// A step took so long and fed so many tokens of prompts.
    pub fn learn_step(&mut self, took: Duration, prompt_tokens: usize) {
        self.step.learn(took.as_secs_f64());
        if prompt_tokens > 0 {
            self.prompt_token.learn(took.as_secs_f64() / prompt_tokens as f64);
        }
    }

    /// An output ended by itself after so many tokens.
    pub fn learn_output(&mut self, tokens: u32) {
        self.output.learn(f64::from(tokens));
    }

    /// When the first token of a request that comes now may be expected, if enough is known. Outputs are taken to end at any
    /// moment alike, whatever they have made: nobody knows their length, and their limits say little of it. Prompts are fed
    /// while others wait for a slot.
    pub fn outlook(&self, ahead: Ahead) -> Option<Outlook> {
        let (step, prompt_token) = (self.step.0?, self.prompt_token.0?);
        let prompts = ahead.prompt_tokens as f64 * prompt_token;
        let endings = (ahead.waiting + 1).saturating_sub(ahead.slots_free);
        let slot =
            if endings == 0 { 0.0 } else { self.output.0? * step * endings as f64 / ahead.running.max(1) as f64 };
        // A cast of a float stops at the largest number.
        let (turn_ms, prompt_token_us) = ((prompts.max(slot) * 1e3) as u32, (prompt_token * 1e6) as u32);
        Some(Outlook { turn_ms, prompt_token_us, loading_ms: 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Instant;

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::prefix::Prefix;
    use crate::scheduler::{Limits, Rank, Scheduler, SequenceId};

    /// A machine of which every step takes 5 ms and every token in it 1 ms.
    fn step_time(tokens: usize) -> Duration {
        Duration::from_millis(5 + tokens as u64)
    }

    fn first_token(outlook: Outlook, prompt_tokens: usize) -> Duration {
        let prompt = Duration::from_micros(u64::from(outlook.prompt_token_us) * prompt_tokens as u64);
        Duration::from_millis(outlook.turn_ms.into()) + prompt
    }

    #[test]
    fn of_what_was_never_measured_nothing_is_said() {
        let mut pace = Pace::default();
        assert_eq!(pace.outlook(Ahead::default()), None);
        pace.learn_step(step_time(100), 100);
        assert_eq!(pace.outlook(Ahead { waiting: 1, slots_free: 1, ..Ahead::default() }), None, "how long outputs are");
        let free = pace.outlook(Ahead { slots_free: 1, ..Ahead::default() }).unwrap();
        assert_eq!(first_token(free, 100), step_time(100));
    }

    #[test]
    fn what_is_expected_is_near_what_comes() {
        let limits =
            Limits { slots_max: 4, waiting_max: 1000, step_tokens_max: 64, chunk_tokens_max: 32, token_interval: None };
        let (mut scheduler, mut pace) = (Scheduler::new(limits, 0), Pace::default());
        let mut generator = ChaCha8Rng::seed_from_u64(7);
        let (start, mut time, mut next) = (Instant::now(), Duration::ZERO, 0);
        // When each came, what it was told then, and how many tokens it may still draw.
        let mut told: BTreeMap<SequenceId, (Duration, Option<Duration>)> = BTreeMap::new();
        let mut left: BTreeMap<SequenceId, u64> = BTreeMap::new();
        let (mut expected, mut came, mut answered) = (Duration::ZERO, Duration::ZERO, 0);
        while answered < 400 {
            // As many as keep it busy, in bursts that make some of them wait.
            if left.len() < 12 && generator.next_u32() % 20 == 0 {
                for _ in 0..generator.next_u32() % 8 {
                    let tokens = 10 + generator.next_u32() as usize % 90;
                    let outlook = pace.outlook(scheduler.ahead(0));
                    told.insert(next, (time, outlook.map(|outlook| first_token(outlook, tokens))));
                    left.insert(next, 5 + u64::from(generator.next_u32() % 50));
                    scheduler.admit(next, Rank::default(), Prefix::new(None, vec![0; tokens])).unwrap();
                    next += 1;
                }
            }
            let parts = scheduler.plan(start + time).parts;
            let prompt_tokens = parts.iter().filter(|part| part.tokens > 1).map(|part| part.tokens).sum();
            let took = step_time(parts.iter().map(|part| part.tokens).sum());
            time += took;
            pace.learn_step(took, prompt_tokens);
            for part in parts.into_iter().filter(|part| part.draws) {
                if let Some((arrived, Some(first_token))) = told.remove(&part.id) {
                    expected += first_token;
                    came += time - arrived;
                    answered += 1;
                }
                let more = left.get_mut(&part.id).unwrap();
                *more -= 1;
                if *more == 0 {
                    left.remove(&part.id);
                    scheduler.remove(part.id);
                    pace.learn_output(30);
                } else {
                    scheduler.push(part.id, 0);
                }
            }
        }
        let ratio = expected.as_secs_f64() / came.as_secs_f64();
        assert!((0.75..1.5).contains(&ratio), "{ratio} of {came:?}");
    }
}
