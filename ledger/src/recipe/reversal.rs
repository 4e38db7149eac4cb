//! Reversals: a group is taken back by another, once.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Entry, Recipe, Template, leg};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::economics::Bucket;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::period::Month;
use crate::transfer::{Draft, SEQS_PER_SHARD, named_link};

pub(crate) static REVERSAL: Template = Template {
    number: 4,
    name: "reversal",
    event: "A group was wrong: what it moved is moved back, in the month that is open.",
    legs: &[leg("what the group credited", "what the group debited", "each of its amounts")],
};

/// Takes a group back: every amount that it moved is moved the other way. Holds are not touched.
///
/// Made by [`Writer::reverse`](crate::Writer::reverse), which reads the group: it never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reversal {
    /// The group's first transfer.
    pub of: i64,
    /// The month that it was booked in.
    pub month: Month,
    /// What it moved, in its order.
    pub lines: Vec<ReversalLine>,
    /// Why.
    pub reason: String,
}

/// What one transfer of the group moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReversalLine {
    pub debit: AccountKey,
    pub credit: AccountKey,
    pub amount: Nanos,
    pub leaf: Option<Leaf>,
}

impl Recipe for Reversal {
    fn template(&self) -> &'static Template {
        &REVERSAL
    }

    /// Named by the group, so that it is reversed once.
    fn link(&self) -> Uuid {
        named_link(&[b"reversal", &self.of.to_le_bytes(), &SEQS_PER_SHARD.to_le_bytes()])
    }

    fn body(&self, out: &mut Canonical) {
        out.i64(self.of);
        out.text(&self.reason);
    }

    fn owners(&self) -> Vec<Uuid> {
        self.lines.iter().flat_map(|line| [line.debit.owner, line.credit.owner]).flatten().collect()
    }

    fn entry(&self, _: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        if self.lines.is_empty() {
            return Err(Error::NothingToReverse { seq: self.of });
        }
        // Revenue of an earlier month is given back in a class of its own, so that this month's value is not deflated.
        let earlier = self.month < Month::of(now);
        let leaf = |line: &ReversalLine| {
            let leaf = line.leaf.clone()?;
            let revenue = line.debit.code.revenue() || line.credit.code.revenue();
            if earlier && revenue && leaf.of_period.is_none() {
                return Some(Leaf { bucket: Bucket::PriorPeriod, of_period: Some(self.month), ..leaf });
            }
            Some(leaf)
        };
        let back = |line: &ReversalLine| Draft::posted(line.credit, line.debit, line.amount, leaf(line));
        // The last first: what paid for it is there again before it is needed.
        let drafts = self.lines.iter().rev().map(back).collect();
        Ok(Entry { reverses: Some(self.of), reference: Some(self.reason.clone()), ..Entry::of(drafts) })
    }
}
