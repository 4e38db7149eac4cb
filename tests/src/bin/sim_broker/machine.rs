//! The physics of one node: one prefill at a time, and a batch that decodes beside it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::kind::Kind;
use crate::prefixes::Prefixes;
use crate::trace::BLOCK_TOKENS;

/// What tells one piece of work from another.
pub type Key = u64;

/// Work that a node has.
#[derive(Clone, Debug)]
pub struct Task {
    pub key: Key,
    pub input: u32,
    /// Tokens to make.
    pub output: u32,
    pub blocks: Vec<u64>,
}

/// What a node did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Did {
    /// The prompt is computed and its first token made; so many of its tokens were in the cache.
    First { key: Key, cached: u32 },
    /// So many tokens are made now.
    Made { key: Key, tokens: u32 },
    /// All its tokens are made.
    Done { key: Key },
}

/// One node.
#[derive(Debug)]
pub struct Machine {
    pub kind: &'static Kind,
    pub prefixes: Prefixes,
    waiting: VecDeque<Task>,
    prefilling: Option<Prefill>,
    decoding: BTreeMap<Key, Decode>,
    /// When each sequence tells next, in steps.
    marks: BTreeSet<(u64, Key)>,
    /// Steps since the beginning, in thousandths.
    steps: u64,
    /// A part of a thousandth that was passed. *Units*: µs.
    at: u64,
    /// Tokens between two words about a sequence.
    frame: u32,
    /// What its time was worth. *Units*: dollars.
    pub cost: f64,
}

#[derive(Debug)]
struct Prefill {
    task: Task,
    cached: u32,
    began: u64,
    ends: u64,
}

#[derive(Debug)]
struct Decode {
    /// Where its second token's step began, in thousandths of steps.
    from: u64,
    output: u32,
    told: u32,
    began: u64,
}

const PER_STEP: u64 = 1_000;

impl Machine {
    /// An empty node that tells of each sequence every `frame` tokens.
    pub fn new(kind: &'static Kind, frame: u32, tells_blocks: bool) -> Self {
        Self {
            kind,
            prefixes: Prefixes::new(kind.blocks, tells_blocks),
            waiting: VecDeque::new(),
            prefilling: None,
            decoding: BTreeMap::new(),
            marks: BTreeSet::new(),
            steps: 0,
            at: 0,
            frame,
            cost: 0.0,
        }
    }

    /// Takes work in. *Units*: `now` in µs, as everywhere here.
    pub fn take(&mut self, now: u64, task: Task) {
        self.pass(now);
        self.waiting.push_back(task);
        self.begin(now);
    }

    /// Forgets work, wherever it stands.
    pub fn cancel(&mut self, now: u64, key: Key) {
        self.pass(now);
        self.waiting.retain(|task| task.key != key);
        if self.prefilling.as_ref().is_some_and(|prefill| prefill.task.key == key)
            && let Some(prefill) = self.prefilling.take()
        {
            self.charge_prefill(now - prefill.began);
        }
        if let Some(decode) = self.decoding.remove(&key) {
            self.marks.retain(|(_, of)| *of != key);
            self.charge_decode(now - decode.began);
        }
        self.begin(now);
    }

    /// Loses everything.
    pub fn crash(&mut self, now: u64) {
        self.pass(now);
        self.waiting.clear();
        self.prefilling = None;
        self.decoding.clear();
        self.marks.clear();
        self.prefixes.forget();
    }

    /// When it does something next.
    pub fn next(&self) -> Option<u64> {
        let prefill = self.prefilling.as_ref().map(|prefill| prefill.ends);
        let mark = self.marks.first().map(|(mark, _)| {
            let left = mark.saturating_sub(self.steps) as f64 / PER_STEP as f64;
            self.at + (left * self.step_us()).ceil() as u64
        });
        prefill.into_iter().chain(mark).min()
    }

    /// What it does until `now`, which is not later than what [`Machine::next`] said.
    pub fn act(&mut self, now: u64) -> Vec<Did> {
        self.pass(now);
        let mut did = vec![];
        while let Some((mark, key)) = self.marks.first().copied().filter(|(mark, _)| *mark <= self.steps) {
            self.marks.remove(&(mark, key));
            let Some(decode) = self.decoding.get_mut(&key) else { continue };
            decode.told = 1 + ((mark - decode.from) / PER_STEP) as u32;
            let told = decode.told;
            if told >= decode.output {
                let began = decode.began;
                self.decoding.remove(&key);
                self.charge_decode(now - began);
                did.push(Did::Done { key });
            } else {
                did.push(Did::Made { key, tokens: told });
                self.mark(key);
            }
        }
        if self.prefilling.as_ref().is_some_and(|prefill| prefill.ends <= now)
            && let Some(Prefill { task, cached, began, .. }) = self.prefilling.take()
        {
            self.charge_prefill(now - began);
            self.prefixes.hold(&task.blocks);
            did.push(Did::First { key: task.key, cached });
            if task.output <= 1 {
                did.push(Did::Done { key: task.key });
            } else {
                let decode = Decode { from: self.steps, output: task.output, told: 1, began: now };
                self.decoding.insert(task.key, decode);
                self.mark(task.key);
            }
        }
        self.begin(now);
        did
    }

    /// Sequences that decode.
    pub fn batch(&self) -> usize {
        self.decoding.len()
    }

    /// Work that waits for its prefill.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn mark(&mut self, key: Key) {
        let Some(decode) = self.decoding.get(&key) else { return };
        let next = decode.told.saturating_add(self.frame).min(decode.output);
        self.marks.insert((decode.from + u64::from(next - 1) * PER_STEP, key));
    }

    fn step_us(&self) -> f64 {
        self.kind.step(self.decoding.len()) * 1e6
    }

    /// The batch decodes until `now`.
    fn pass(&mut self, now: u64) {
        if !self.decoding.is_empty() {
            self.steps += ((now - self.at) as f64 / self.step_us() * PER_STEP as f64).round() as u64;
        }
        self.at = now;
    }

    fn begin(&mut self, now: u64) {
        if self.prefilling.is_some() || self.decoding.len() >= self.kind.slots {
            return;
        }
        let Some(task) = self.waiting.pop_front() else { return };
        let matched = self.prefixes.matched(&task.blocks);
        self.prefixes.hold(&task.blocks[..matched]);
        let cached = (matched as u32 * BLOCK_TOKENS).min(task.input - 1);
        let takes = self.kind.prefill_s(task.input - cached, self.decoding.len());
        self.prefilling = Some(Prefill { task, cached, began: now, ends: now + (takes * 1e6) as u64 });
    }

    fn charge_prefill(&mut self, us: u64) {
        self.cost += self.kind.price / 3.6e9 * us as f64;
    }

    fn charge_decode(&mut self, us: u64) {
        self.cost += self.kind.price / 3.6e9 * us as f64 / self.kind.slots as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Fleet;

    fn run(machine: &mut Machine) -> Vec<(u64, Did)> {
        let mut all = vec![];
        while let Some(at) = machine.next() {
            all.extend(machine.act(at).into_iter().map(|did| (at, did)));
        }
        all
    }

    fn task(key: Key, input: u32, output: u32, blocks: &[u64]) -> Task {
        Task { key, input, output, blocks: blocks.to_vec() }
    }

    #[test]
    fn a_node_takes_the_time_that_its_kind_says() {
        let mut machine = Machine::new(Fleet::Homo.nodes()[0], 32, false);
        machine.take(0, task(1, 1_600, 101, &[]));
        let did = run(&mut machine);
        assert_eq!(did[0], (105_000, Did::First { key: 1, cached: 0 }));
        assert_eq!(did[1].1, Did::Made { key: 1, tokens: 33 });
        let (end, last) = did[did.len() - 1];
        assert_eq!(last, Did::Done { key: 1 });
        assert!(end.abs_diff(105_000 + 100 * 12_250) < 1_000, "{end}");
        let expected = (0.105 + 1.225 / 64.0) / 3_600.0;
        assert!((machine.cost - expected).abs() < expected / 100.0, "{}", machine.cost);
    }

    #[test]
    fn a_prefix_is_computed_once_and_prefills_take_turns() {
        let mut machine = Machine::new(Fleet::Homo.nodes()[0], u32::MAX, false);
        machine.take(0, task(1, 1_024, 1, &[5, 6]));
        machine.take(0, task(2, 1_024, 1, &[5, 7]));
        let firsts: Vec<_> =
            run(&mut machine).into_iter().filter(|(_, did)| matches!(did, Did::First { .. })).collect();
        assert_eq!(firsts, [(69_000, Did::First { key: 1, cached: 0 }), (106_000, Did::First { key: 2, cached: 512 })]);
    }

    #[test]
    fn a_full_node_lets_work_wait_and_a_cancelled_one_makes_room() {
        let mut machine = Machine::new(Fleet::Mix5.nodes()[47], u32::MAX, false);
        (1..=3).for_each(|key| machine.take(0, task(key, 1, 1_000, &[])));
        machine.act(9_000);
        machine.act(18_100);
        assert_eq!((machine.batch(), machine.waiting()), (2, 1));
        machine.cancel(20_000, 1);
        assert_eq!((machine.batch(), machine.waiting()), (1, 0));
    }
}
