//! Which tokens go into the next step: pure, without a model and without a clock of its own.
//!
//! Sequences join and leave at every step. A running sequence decodes one token each step, before anything else; prompts fill
//! the rest of the step's budget in chunks, by priority and then by arrival. So a long prompt delays running streams by a
//! chunk at a time, never by its whole length, and cannot keep them from decoding.
//!
//! Slots are kept dense (0 up to the number of running sequences) since the backend computes neighbouring slots together: a
//! hole is filled by the next that waits, else by the sequence of the last slot, whose cache then moves. (Measured: sixteen
//! sequences in every second slot decode at a third of the speed of sixteen in a row; a move costs about one step.)

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Names a sequence for the time of its life; later ones are greater.
pub type SequenceId = u64;

/// The bounds of one engine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sequences in the batch at once.
    pub slots_max: usize,
    /// Sequences that wait for a slot.
    pub waiting_max: usize,
    /// Tokens of one step, at least `slots_max`.
    pub step_tokens_max: usize,
    /// Tokens of one prompt in one step, at least 1.
    pub chunk_tokens_max: usize,
    /// The least time between two tokens of one sequence.
    pub token_interval: Option<Duration>,
}

/// What one step does, in this order: the moves, then all parts in one batch.
#[derive(Debug, Default)]
pub struct Step {
    /// Caches to copy into an empty slot; the old slot is empty afterwards.
    pub moves: Vec<Move>,
    /// The batch, by rising slot.
    pub parts: Vec<Part>,
    /// When there will be work again, if there is none now but sequences are paced.
    pub wake_at: Option<Instant>,
}

/// A sequence changes its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The slot it leaves.
    pub from: usize,
    /// The slot it takes.
    pub to: usize,
}

/// One sequence's part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which sequence.
    pub id: SequenceId,
    /// Where its cache is.
    pub slot: usize,
    /// How many of its tokens are fed.
    pub tokens: usize,
    /// Whether a token is drawn after the last of them.
    pub draws: bool,
}

/// No room for another sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Every sequence that waits or runs.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    /// By falling priority, then by arrival.
    waiting: VecDeque<Entry>,
    /// By slot.
    running: Vec<Option<Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: SequenceId,
    priority: u8,
    /// Tokens still to be fed before the first draw; 0 while decoding.
    prefill_left: usize,
    /// The next token is not drawn before.
    not_before: Option<Instant>,
}

impl Scheduler {
    /// An empty schedule.
    pub fn new(limits: Limits) -> Self {
        assert!(limits.step_tokens_max >= limits.slots_max && limits.chunk_tokens_max > 0, "every sequence can go on");
        Self { limits, waiting: VecDeque::new(), running: Vec::new() }
    }

    /// Puts a sequence behind all of its priority or above; `prefill_tokens` are fed before its first draw.
    ///
    /// # Errors
    /// When as many sequences live as slots and queue hold together.
    pub fn admit(&mut self, id: SequenceId, priority: u8, prefill_tokens: usize) -> Result<(), Full> {
        if self.running() + self.waiting.len() >= self.limits.slots_max + self.limits.waiting_max {
            return Err(Full);
        }
        let place = self.waiting.partition_point(|before| before.priority >= priority);
        self.waiting.insert(place, Entry { id, priority, prefill_left: prefill_tokens, not_before: None });
        Ok(())
    }

    /// Forgets a sequence; if it ran, gives the slot whose cache is to be emptied.
    pub fn remove(&mut self, id: SequenceId) -> Option<usize> {
        self.waiting.retain(|entry| entry.id != id);
        let slot = self.running.iter().position(|entry| entry.is_some_and(|entry| entry.id == id))?;
        self.running[slot] = None;
        Some(slot)
    }

    /// How many sequences hold a slot.
    pub fn running(&self) -> usize {
        self.running.iter().flatten().count()
    }

    /// Decides the next step and takes it as done.
    pub fn plan(&mut self, now: Instant) -> Step {
        let moves = self.fill_slots();
        let mut parts = Vec::new();
        let mut budget = self.limits.step_tokens_max;
        for (slot, entry) in self.running.iter().enumerate() {
            let Some(entry) = entry else { continue };
            if entry.prefill_left == 0 && entry.not_before.is_none_or(|instant| instant <= now) {
                parts.push(Part { id: entry.id, slot, tokens: 1, draws: true });
                budget -= 1;
            }
        }
        let mut prefilling: Vec<(usize, &mut Entry)> = self
            .running
            .iter_mut()
            .enumerate()
            .filter_map(|(slot, entry)| Some((slot, entry.as_mut()?)))
            .filter(|(_, entry)| entry.prefill_left > 0)
            .collect();
        prefilling.sort_by_key(|(_, entry)| (u8::MAX - entry.priority, entry.id));
        for (slot, entry) in prefilling {
            let tokens = entry.prefill_left.min(self.limits.chunk_tokens_max).min(budget);
            if tokens == 0 {
                break;
            }
            budget -= tokens;
            entry.prefill_left -= tokens;
            parts.push(Part { id: entry.id, slot, tokens, draws: entry.prefill_left == 0 });
        }
        parts.sort_by_key(|part| part.slot);
        if let Some(interval) = self.limits.token_interval {
            for part in parts.iter().filter(|part| part.draws) {
                self.running[part.slot].as_mut().expect("parts are of running sequences").not_before =
                    Some(now + interval);
            }
        }
        let wake_at =
            parts.is_empty().then(|| self.running.iter().flatten().filter_map(|entry| entry.not_before).min());
        Step { moves, parts, wake_at: wake_at.flatten() }
    }

    /// Gives free slots to those that wait, and closes the holes that are left.
    fn fill_slots(&mut self) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut slot = 0;
        while slot < self.limits.slots_max {
            if slot == self.running.len() {
                let Some(entry) = self.waiting.pop_front() else { break };
                self.running.push(Some(entry));
            } else if self.running[slot].is_none() {
                self.running[slot] = self.waiting.pop_front();
                if self.running[slot].is_none() {
                    // Nobody waits: the last one moves here, unless only holes follow.
                    let last = self.running.pop().flatten();
                    if slot < self.running.len() && last.is_some() {
                        moves.push(Move { from: self.running.len(), to: slot });
                        self.running[slot] = last;
                    }
                    continue;
                }
            }
            slot += 1;
        }
        moves
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn limits() -> Limits {
        Limits { slots_max: 4, waiting_max: 3, step_tokens_max: 20, chunk_tokens_max: 8, token_interval: None }
    }

    fn part(id: SequenceId, slot: usize, tokens: usize, draws: bool) -> Part {
        Part { id, slot, tokens, draws }
    }

    #[test]
    fn running_sequences_decode_beside_a_long_prompt_that_comes_in_chunks() {
        let mut scheduler = Scheduler::new(limits());
        let now = Instant::now();
        scheduler.admit(1, 0, 3).unwrap();
        assert_eq!(scheduler.plan(now).parts, [part(1, 0, 3, true)]);
        scheduler.admit(2, 0, 18).unwrap();
        assert_eq!(scheduler.plan(now).parts, [part(1, 0, 1, true), part(2, 1, 8, false)]);
        assert_eq!(scheduler.plan(now).parts, [part(1, 0, 1, true), part(2, 1, 8, false)]);
        assert_eq!(scheduler.plan(now).parts, [part(1, 0, 1, true), part(2, 1, 2, true)]);
        assert_eq!(scheduler.plan(now).parts, [part(1, 0, 1, true), part(2, 1, 1, true)]);
    }

    #[test]
    fn prompts_share_the_budget_in_the_order_they_came() {
        let mut scheduler = Scheduler::new(limits());
        for id in 1..=4 {
            scheduler.admit(id, 0, 8).unwrap();
        }
        let first = scheduler.plan(Instant::now()).parts;
        assert_eq!(first, [part(1, 0, 8, true), part(2, 1, 8, true), part(3, 2, 4, false)]);
    }

    #[test]
    fn a_higher_priority_goes_first_and_equals_keep_their_order() {
        let mut scheduler = Scheduler::new(Limits { slots_max: 1, ..limits() });
        for (id, priority) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
            scheduler.admit(id, priority, 1).unwrap();
        }
        let order: Vec<SequenceId> = (0..4)
            .map(|_| {
                let id = scheduler.plan(Instant::now()).parts[0].id;
                scheduler.remove(id);
                id
            })
            .collect();
        assert_eq!(order, [3, 4, 1, 2]);
    }

    #[test]
    fn a_full_engine_refuses() {
        let mut scheduler = Scheduler::new(limits());
        for id in 0..7 {
            scheduler.admit(id, 0, 1).unwrap();
        }
        assert_eq!(scheduler.admit(7, 0, 1), Err(Full));
        scheduler.remove(0);
        assert_eq!(scheduler.admit(7, 0, 1), Ok(()));
    }

    #[test]
    fn a_hole_is_filled_by_the_next_that_waits_else_by_the_last_that_runs() {
        let mut scheduler = Scheduler::new(limits());
        let now = Instant::now();
        for id in 0..5 {
            scheduler.admit(id, 0, 1).unwrap();
        }
        scheduler.plan(now);
        assert_eq!(scheduler.remove(1), Some(1));
        assert_eq!(scheduler.plan(now).moves, [], "sequence 4 takes slot 1");
        assert_eq!(scheduler.remove(0), Some(0));
        assert_eq!(scheduler.remove(3), Some(3));
        let step = scheduler.plan(now);
        assert_eq!(step.moves, [Move { from: 2, to: 0 }]);
        assert_eq!(step.parts, [part(2, 0, 1, true), part(4, 1, 1, true)]);
    }

    #[test]
    fn a_paced_sequence_waits_for_its_instant_and_says_which() {
        let interval = Duration::from_millis(50);
        let mut scheduler = Scheduler::new(Limits { token_interval: Some(interval), ..limits() });
        let now = Instant::now();
        scheduler.admit(1, 0, 2).unwrap();
        assert_eq!(scheduler.plan(now).parts.len(), 1);
        let idle = scheduler.plan(now + interval / 2);
        assert_eq!((idle.parts.len(), idle.wake_at), (0, Some(now + interval)));
        assert_eq!(scheduler.plan(now + interval).parts, [part(1, 0, 1, true)]);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Admit { priority: u8, prefill: usize },
        Leave(prop::sample::Index),
        Step,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            2 => (0_u8..3, 1_usize..40).prop_map(|(priority, prefill)| Act::Admit { priority, prefill }),
            1 => any::<prop::sample::Index>().prop_map(Act::Leave),
            3 => Just(Act::Step),
        ];
        proptest::collection::vec(act, 1..120)
    }

    proptest! {
        #[test]
        fn every_step_keeps_the_promises(acts in acts()) {
            let limits = limits();
            let mut scheduler = Scheduler::new(limits);
            let now = Instant::now();
            // What the backend would hold: per slot, the sequence; per sequence, what is left to prefill and its slot.
            let mut live: BTreeMap<SequenceId, (usize, Option<usize>)> = BTreeMap::new();
            for (id, act) in (0..).zip(acts) {
                match act {
                    Act::Admit { priority, prefill } => {
                        let room = live.len() < limits.slots_max + limits.waiting_max;
                        prop_assert_eq!(scheduler.admit(id, priority, prefill).is_ok(), room);
                        if room {
                            live.insert(id, (prefill, None));
                        }
                    }
                    Act::Leave(index) if !live.is_empty() => {
                        let id = *live.keys().nth(index.index(live.len())).unwrap();
                        let (_, slot) = live.remove(&id).unwrap();
                        let freed = scheduler.remove(id);
                        prop_assert!(slot.is_none() || freed == slot);
                    }
                    Act::Leave(_) => prop_assert_eq!(scheduler.remove(id), None),
                    Act::Step => {
                        let decoding: Vec<SequenceId> =
                            live.iter().filter(|(_, (left, slot))| *left == 0 && slot.is_some()).map(|(id, _)| *id).collect();
                        let step = scheduler.plan(now);
                        for Move { from, to } in step.moves {
                            prop_assert!(live.values().all(|(_, slot)| *slot != Some(to)), "moved onto a sequence");
                            // One that has not begun has no cache that moves.
                            if let Some(moved) = live.values_mut().find(|(_, slot)| *slot == Some(from)) {
                                moved.1 = Some(to);
                            }
                        }
                        prop_assert!(step.parts.iter().map(|part| part.tokens).sum::<usize>() <= limits.step_tokens_max);
                        prop_assert!(step.parts.is_sorted_by(|a, b| a.slot < b.slot), "one part a slot, in order");
                        prop_assert_eq!(step.parts.is_empty(), live.is_empty(), "work while anyone lives");
                        prop_assert_eq!(scheduler.running(), live.len().min(limits.slots_max), "no slot idles while one waits");
                        for id in decoding {
                            prop_assert!(step.parts.iter().any(|part| part.id == id), "every running stream goes on");
                        }
                        for part in step.parts {
                            let (left, slot) = live.get_mut(&part.id).unwrap();
                            prop_assert!(slot.is_none_or(|slot| slot == part.slot), "a cache is where its sequence is");
                            prop_assert!(part.slot < scheduler.running(), "slots are dense");
                            *slot = Some(part.slot);
                            if *left == 0 {
                                prop_assert_eq!((part.tokens, part.draws), (1, true));
                            } else {
                                prop_assert!(part.tokens <= limits.chunk_tokens_max && part.tokens <= *left);
                                *left -= part.tokens;
                                prop_assert_eq!(part.draws, *left == 0);
                            }
                        }
                    }
                }
            }
        }
    }
}
