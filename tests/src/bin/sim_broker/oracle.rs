//! Looks on from outside and counts what went wrong with tokens: lost, doubled or billed to the wrong account.

use std::collections::HashMap;

use broker::job::{JobEvent, Segment};
use broker::lease::{EndedLease, LeaseOutcome};
use serde::Serialize;

/// What the oracle saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub jobs: u64,
    /// Jobs that ended as they should, with every token.
    pub whole: u64,
    /// Jobs whose consumer got less than the whole output and was told that it ended well.
    pub short: u64,
    /// Jobs that failed honestly, and were told so.
    pub failed: u64,
    pub refused: u64,
    /// Jobs that went on at another node.
    pub resumed: u64,
    pub tokens: u64,
    /// Tokens that are billed and did not reach the consumer.
    pub lost: u64,
    /// Tokens that reached the consumer twice, or that are not of the one true output.
    pub doubled: u64,
    /// Tokens of segments that are not the ones delivered under their lease, and prompts billed twice.
    pub misbilled: u64,
    /// Jobs without an end, or with more than one.
    pub endless: u64,
}

impl Seen {
    /// What the core promises to be 0 whatever comes.
    pub fn faults(&self) -> u64 {
        self.short + self.lost + self.doubled + self.misbilled + self.endless
    }
}

/// What the oracle remembers of a job until its end.
#[derive(Debug, Default)]
struct Open {
    received: u32,
    leases: HashMap<u32, u32>,
}

/// Follows every job from its first event to its end.
#[derive(Debug, Default)]
pub struct Oracle {
    open: HashMap<usize, Open>,
    pub seen: Seen,
}

impl Oracle {
    /// A lease is over, which is told before its job's end.
    pub fn lease(&mut self, request: usize, lease: &EndedLease) {
        let open = self.open.entry(request).or_default();
        let delivered = u32::try_from(lease.delivered.len()).unwrap_or(u32::MAX);
        if open.leases.insert(lease.epoch, delivered).is_some() {
            self.seen.misbilled += u64::from(delivered) + 1;
        }
        self.seen.resumed += u64::from(!matches!(lease.outcome, LeaseOutcome::Done | LeaseOutcome::Cancelled));
    }

    /// Something came of a job whose one true n-th token is `token(n)`, of which there are `whole`.
    pub fn event(&mut self, request: usize, event: &JobEvent, whole: u32, prompt: u32, token: impl Fn(u32) -> u32) {
        match event {
            JobEvent::Placed { .. } | JobEvent::Vector(_) => {}
            JobEvent::Tokens { ids, .. } => {
                let open = self.open.entry(request).or_default();
                for id in ids {
                    if *id != token(open.received) {
                        self.seen.doubled += 1;
                    }
                    open.received += 1;
                }
                self.seen.tokens += ids.len() as u64;
            }
            JobEvent::Ended(outcome) => self.ended(request, &outcome.segments, Some(whole), prompt),
            JobEvent::Failed { segments, .. } => self.ended(request, segments, None, prompt),
        }
    }

    fn ended(&mut self, request: usize, segments: &[Segment], whole: Option<u32>, prompt: u32) {
        let Open { received, leases } = self.open.remove(&request).unwrap_or_default();
        self.seen.jobs += 1;
        let billed: u32 = segments.iter().map(|segment| segment.output_tokens).sum();
        self.seen.lost += u64::from(billed.saturating_sub(received));
        self.seen.misbilled += u64::from(received.saturating_sub(billed));
        for segment in segments {
            let delivered = leases.get(&segment.epoch).copied().unwrap_or(0);
            self.seen.misbilled += u64::from(segment.output_tokens.abs_diff(delivered));
        }
        let prompts: u32 = segments.iter().map(|segment| segment.prompt_tokens).sum();
        self.seen.misbilled += u64::from(prompts.saturating_sub(prompt));
        match whole {
            Some(whole) if received == whole => self.seen.whole += 1,
            Some(whole) if received > whole => self.seen.doubled += u64::from(received - whole),
            Some(_) => self.seen.short += 1,
            None => self.seen.failed += 1,
        }
    }

    /// The run is over: a job that is still open has no end.
    pub fn close(&mut self, refused: u64, expected: u64) {
        self.seen.refused = refused;
        self.seen.endless += expected.abs_diff(self.seen.jobs + refused);
    }
}
