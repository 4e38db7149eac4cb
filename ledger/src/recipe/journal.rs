//! Journal entries: what finance books by hand, between any accounts.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Entry, Recipe, Template, leg, positive};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::period::Month;
use crate::transfer::Draft;

/// How many lines one entry has at most.
const LINES_MAX: usize = 1_000;

pub(crate) static JOURNAL_ENTRY: Template = Template {
    number: 3,
    name: "journal_entry",
    event: "Finance books by hand: an adjustment, an opening balance, a correction. It may go into a soft-closed month.",
    legs: &[leg("any account", "any other account of the same unit", "each line's amount")],
};

/// Books by hand between any accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The entry, once.
    pub entry_id: Uuid,
    /// What it moves; at least one line, at most a thousand.
    pub lines: Vec<JournalLine>,
    /// The month that it is booked in; none for the open one.
    pub month: Option<Month>,
    /// Why: who reads the books in ten years has only this.
    pub reason: String,
}

/// One line of a journal entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// The debited account.
    pub debit: AccountKey,
    /// The credited account.
    pub credit: AccountKey,
    /// How much.
    pub amount: Nanos,
    /// Where it belongs; a line over a revenue account needs it.
    pub leaf: Option<Leaf>,
}

impl Recipe for JournalEntry {
    fn template(&self) -> &'static Template {
        &JOURNAL_ENTRY
    }

    fn link(&self) -> Uuid {
        self.entry_id
    }

    fn body(&self, out: &mut Canonical) {
        out.count(self.lines.len());
        for line in &self.lines {
            out.key(&line.debit);
            out.key(&line.credit);
            out.i64(line.amount.0);
            out.option(line.leaf.as_ref(), Canonical::leaf);
        }
        out.option(self.month.map(Month::number), Canonical::i16);
        out.text(&self.reason);
    }

    fn owners(&self) -> Vec<Uuid> {
        self.lines.iter().flat_map(|line| [line.debit.owner, line.credit.owner]).flatten().collect()
    }

    fn entry(&self, _: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        if self.lines.is_empty() || self.lines.len() > LINES_MAX {
            return Err(Error::BadEntry { reason: "it needs one line at least, and a thousand at most" });
        }
        if self.reason.trim().is_empty() {
            return Err(Error::BadEntry { reason: "it needs a reason" });
        }
        let draft = |line: &JournalLine| {
            let revenue = line.debit.code.revenue() || line.credit.code.revenue();
            if revenue && line.leaf.is_none() {
                return Err(Error::NoLeaf { debit: line.debit.code, credit: line.credit.code });
            }
            Ok(Draft::posted(line.debit, line.credit, positive("journal line", line.amount)?, line.leaf.clone()))
        };
        let drafts = self.lines.iter().map(draft).collect::<Result<_, _>>()?;
        Ok(Entry { month: self.month, reference: Some(self.reason.clone()), ..Entry::of(drafts) })
    }
}
