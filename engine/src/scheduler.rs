//! Which tokens go into the next step: pure, without a model and without a clock of its own.
//!
//! Sequences join and leave at every step. A running sequence decodes one token each step, before anything else; prompts fill
//! the rest of the step's budget in chunks. So a long prompt delays running streams by a chunk at a time, never by its whole
//! length, and cannot keep them from decoding.
//!
//! # Order
//!
//! Among those that wait: the higher priority, then who has begun already, then whose salt was served least, then the earlier
//! deadline, then who came first. One of a higher priority than one that runs takes its slot when no other is left: the
//! running one waits again, and later goes on from its saved state, or from as much of it as is still held.
//!
//! # Prefixes
//!
//! A sequence begins with the longest prefix that the [cache](crate::prefix_cache) holds. If a running one is just being fed
//! a longer one, it waits for that instead of computing the same again: of a burst of requests with one long beginning, one
//! computes it and the others copy.
//!
//! # Slots
//!
//! Slots are kept dense (0 up to the number of running sequences) since the backend computes neighbouring slots together: a
//! hole is filled by the next that waits, else by the sequence of the last slot, whose cache then moves. (Measured: sixteen
//! sequences in every second slot decode at a third of the speed of sixteen in a row.)

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use primitives::kv_block::{BLOCK_TOKENS, BlockName};

use crate::backend::llama::SavedId;
use crate::pace::Ahead;
use crate::prefix::Prefix;
use crate::prefix_cache::{Act, Found, PrefixCache};
use crate::share::Shares;

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

/// What a sequence may expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rank {
    /// Higher goes first.
    pub priority: u8,
    /// A client already reads its output.
    pub begun: bool,
    /// When its first token is wanted. Missing it ends nothing.
    pub due: Option<Instant>,
}

/// What one step does, in this order: the acts, then all parts in one batch.
#[derive(Debug, Default)]
pub struct Step {
    /// What happens to the caches.
    pub acts: Vec<Act>,
    /// Sequences that took a slot, and how many of their tokens it already holds.
    pub begun: Vec<(SequenceId, usize)>,
    /// Sequences that lost theirs.
    pub preempted: usize,
    /// The batch, by rising slot.
    pub parts: Vec<Part>,
    /// When there will be work again, if there is none now but sequences are paced.
    pub wake_at: Option<Instant>,
}

/// One sequence's part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which sequence.
    pub id: SequenceId,
    /// Where its cache is.
    pub slot: usize,
    /// The position of the first of its tokens that is fed.
    pub from: usize,
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
    waiting: Vec<Waiting>,
    /// By slot.
    running: Vec<Option<Entry>>,
    cache: PrefixCache,
    shares: Shares,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    prefix: Prefix,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: SequenceId,
    rank: Rank,
    /// Its salt's name.
    root: BlockName,
    /// The next token is not drawn before.
    not_before: Option<Instant>,
}

impl Scheduler {
    /// An empty schedule, with room for saved states of so many tokens together.
    pub fn new(limits: Limits, saved_tokens_max: usize) -> Self {
        assert!(limits.step_tokens_max >= limits.slots_max && limits.chunk_tokens_max > 0, "every sequence can go on");
        Self {
            limits,
            waiting: Vec::new(),
            running: Vec::new(),
            cache: PrefixCache::new(limits.slots_max, saved_tokens_max),
            shares: Shares::default(),
        }
    }

    /// A sequence waits; the tokens of its prefix are fed, as far as no cache holds them, before its first draw.
    ///
    /// # Errors
    /// When as many sequences live as slots and queue hold together.
    pub fn admit(&mut self, id: SequenceId, rank: Rank, prefix: Prefix) -> Result<(), Full> {
        if self.running() + self.waiting.len() >= self.limits.slots_max + self.limits.waiting_max {
            return Err(Full);
        }
        let root = prefix.root();
        self.shares.enter(root);
        self.waiting.push(Waiting { entry: Entry { id, rank, root, not_before: None }, prefix });
        Ok(())
    }

    /// A token was drawn for a running sequence, and it goes on.
    pub fn push(&mut self, id: SequenceId, token: u32) {
        if let Some(slot) = self.slot(id) {
            self.cache.push(slot, token);
        }
    }

    /// Forgets a sequence; what it was fed may be of use to others.
    pub fn remove(&mut self, id: SequenceId) {
        if let Some(slot) = self.forget(id) {
            self.cache.leave(slot);
        }
    }

    /// Forgets a sequence and empties its slot, whose content is in doubt.
    pub fn remove_in_doubt(&mut self, id: SequenceId) {
        if let Some(slot) = self.forget(id) {
            self.cache.forget(slot);
        }
    }

    /// Forgets a saved state that proved useless.
    pub fn forget_saved(&mut self, saved: SavedId) {
        self.cache.forget_saved(saved);
    }

    /// The sequence that runs in a slot.
    pub fn sequence_in(&self, slot: usize) -> Option<SequenceId> {
        self.running.get(slot).copied().flatten().map(|entry| entry.id)
    }

    /// How many sequences hold a slot.
    pub fn running(&self) -> usize {
        self.running.iter().flatten().count()
    }

    /// What stands before a sequence of this priority that would come now: those below it give way.
    pub fn ahead(&self, priority: u8) -> Ahead {
        let stands = |entry: &Entry| entry.rank.priority >= priority;
        let running = self.running.iter().flatten().filter(|entry| stands(entry)).count();
        let being_fed = (0..self.running.len()).filter(|&slot| self.running[slot].as_ref().is_some_and(stands));
        let being_fed = being_fed.map(|slot| self.cache.left(slot)).filter(|&left| left > 1);
        let waiting = self.waiting.iter().filter(|waiting| stands(&waiting.entry));
        let prompts = waiting.clone().map(|waiting| {
            let found = self.cache.find(&waiting.prefix, &[]);
            let held = found.hit.map_or(0, |hit| hit.tokens).max(found.coming.map_or(0, |coming| coming.tokens));
            waiting.prefix.len() - held
        });
        Ahead {
            running,
            slots_free: self.limits.slots_max - running,
            waiting: waiting.count(),
            prompt_tokens: being_fed.chain(prompts).sum(),
        }
    }

    /// Blocks that the caches now hold or no longer hold, in order, since this was last asked.
    pub fn take_block_changes(&mut self) -> Vec<(BlockName, bool)> {
        self.cache.take_changes()
    }

    /// Tokens of all saved states.
    pub fn saved_tokens(&self) -> usize {
        self.cache.saved_tokens()
    }

    /// Decides the next step and takes it as done.
    pub fn plan(&mut self, now: Instant) -> Step {
        let (begun, preempted) = self.fill_slots();
        self.close_holes();
        let acts = self.cache.take_acts();
        let mut parts = self.parts(now);
        parts.sort_by_key(|part| part.slot);
        for part in parts.iter().filter(|part| part.draws) {
            let entry = self.running[part.slot].as_mut().expect("parts are of running sequences");
            entry.not_before = self.limits.token_interval.map(|interval| now + interval);
            entry.rank.begun = true;
            self.shares.charge_output(entry.root);
        }
        let wake_at =
            parts.is_empty().then(|| self.running.iter().flatten().filter_map(|entry| entry.not_before).min());
        Step { acts, begun, preempted, parts, wake_at: wake_at.flatten() }
    }

    /// One token of everyone who has but one to feed, then chunks of prompts while the budget lasts.
    fn parts(&mut self, now: Instant) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut budget = self.limits.step_tokens_max;
        let mut prompts = Vec::new();
        for (slot, entry) in self.running.iter().enumerate() {
            let Some(entry) = *entry else { continue };
            if self.cache.left(slot) > 1 {
                let served = self.shares.served(entry.root);
                prompts.push((Reverse(entry.rank.priority), !entry.rank.begun, served, entry.id, slot));
            } else if entry.not_before.is_none_or(|instant| instant <= now) {
                budget -= 1;
                parts.push(Part { id: entry.id, slot, from: self.cache.feed(slot, 1), tokens: 1, draws: true });
            }
        }
        prompts.sort_unstable();
        for (.., id, slot) in prompts {
            let tokens = self.cache.left(slot).min(self.limits.chunk_tokens_max).min(budget);
            if tokens == 0 {
                break;
            }
            budget -= tokens;
            let from = self.cache.feed(slot, tokens);
            parts.push(Part { id, slot, from, tokens, draws: self.cache.left(slot) == 0 });
        }
        parts
    }

    /// Gives slots to those that wait, in their order; tells how many lost theirs.
    fn fill_slots(&mut self) -> (Vec<(SequenceId, usize)>, usize) {
        let (mut begun, mut preempted) = (Vec::new(), 0);
        let mut held_back = BTreeSet::new();
        while let Some(index) = self.next_waiting(&held_back) {
            let Waiting { entry, prefix } = &self.waiting[index];
            let mut homes = self.homes();
            let victim = if homes.is_empty() { self.victim(entry.rank.priority) } else { None };
            homes.extend(victim);
            let Some(&first) = homes.first() else { break };
            let found = self.cache.find(prefix, &homes);
            if self.is_held_back(entry, found) {
                held_back.insert(entry.id);
                continue;
            }
            if let Some(slot) = victim {
                self.preempt(slot);
                preempted += 1;
            }
            let Waiting { entry, prefix } = self.waiting.swap_remove(index);
            let slot = found.hit.and_then(|hit| hit.slot()).filter(|slot| homes.contains(slot)).unwrap_or(first);
            let tokens = prefix.len();
            self.cache.begin(slot, prefix, found.hit);
            let held = self.cache.held(slot);
            self.shares.charge_input(entry.root, tokens - held);
            begun.push((entry.id, held));
            if slot == self.running.len() {
                self.running.push(Some(entry));
            } else {
                self.running[slot] = Some(entry);
            }
        }
        (begun, preempted)
    }

    /// Who goes next of those that wait and are not held back.
    fn next_waiting(&self, held_back: &BTreeSet<SequenceId>) -> Option<usize> {
        let waiting = self.waiting.iter().enumerate().filter(|(_, waiting)| !held_back.contains(&waiting.entry.id));
        let next = waiting.min_by_key(|(_, Waiting { entry, .. })| {
            let Rank { priority, begun, due } = entry.rank;
            (Reverse(priority), !begun, self.shares.served(entry.root), due.is_none(), due, entry.id)
        });
        next.map(|(index, _)| index)
    }

    /// Slots that one more sequence can take without leaving a hole below it that is not there already.
    fn homes(&self) -> Vec<usize> {
        let end = self.running.len();
        let holes = (0..end).filter(|&slot| self.running[slot].is_none());
        holes.chain((end < self.limits.slots_max).then_some(end)).collect()
    }

    /// Whose slot a sequence of this priority may take: the lowest priority below it, and of those who came last.
    fn victim(&self, priority: u8) -> Option<usize> {
        let running = self.running.iter().enumerate().filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)));
        let below = running.filter(|(_, entry)| entry.rank.priority < priority);
        below.min_by_key(|(_, entry)| (entry.rank.priority, Reverse(entry.id))).map(|(slot, _)| slot)
    }

    /// Whether a running sequence of no lower priority is about to be fed a longer prefix than is held now.
    fn is_held_back(&self, entry: &Entry, found: Found) -> bool {
        let Some(coming) = found.coming else { return false };
        let holder = self.running.get(coming.slot).copied().flatten();
        coming.tokens >= found.hit.map_or(0, |hit| hit.tokens) + BLOCK_TOKENS
            && holder.is_some_and(|holder| holder.rank.priority >= entry.rank.priority)
    }

    /// Takes a sequence's slot away: it waits again.
    fn preempt(&mut self, slot: usize) {
        let entry = self.running[slot].take().expect("only a running sequence loses its slot");
        let prefix = self.cache.leave(slot);
        self.waiting.push(Waiting { entry, prefix });
    }

    /// Moves the last ones into the holes that are left.
    fn close_holes(&mut self) {
        let mut slot = 0;
        while slot < self.running.len() {
            if self.running[slot].is_some() {
                slot += 1;
            } else if let Some(Some(last)) = self.running.pop() {
                self.cache.move_slot(self.running.len(), slot);
                self.running[slot] = Some(last);
            }
        }
    }

    fn slot(&self, id: SequenceId) -> Option<usize> {
        self.running.iter().position(|entry| entry.is_some_and(|entry| entry.id == id))
    }

    /// Takes a sequence out; gives the slot it had.
    fn forget(&mut self, id: SequenceId) -> Option<usize> {
        let slot = self.slot(id);
        let entry = match slot {
            Some(slot) => self.running[slot].take(),
            None => {
                let index = self.waiting.iter().position(|waiting| waiting.entry.id == id);
                index.map(|index| self.waiting.swap_remove(index).entry)
            }
        };
        if let Some(entry) = entry {
            self.shares.leave(entry.root);
        }
        slot
    }
}

#[cfg(test)]
mod tests;
