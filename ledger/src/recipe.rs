//! Recipes: one for each business event, stating what it debits and credits.
//!
//! A recipe is a pure function from a request and what the books hold to the transfers of one linked group. Each group is known
//! by its link (a job, a lot, a top-up) and its recipe, and happens once. [`TEMPLATES`] is what people browse.

use std::fmt;

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use uuid::Uuid;

pub mod capacity;
pub mod credit;
pub mod job;
pub mod journal;
pub mod reversal;
pub mod state;

use crate::account::{AccountKey, AccountState, Terms};
use crate::books::Books;
use crate::canonical::Canonical;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::period::{Month, PeriodState};
use crate::transfer::Draft;

/// What a recipe does, for people: `tokengrid ledger recipes` prints them.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    /// The number stored.
    pub number: i16,
    /// The name; `ledger.recipes` has the same.
    pub name: &'static str,
    /// The business event.
    pub event: &'static str,
    /// What it debits and credits.
    pub legs: &'static [Leg],
}

/// One line of a template.
#[derive(Debug, PartialEq, Eq)]
pub struct Leg {
    /// The debited account.
    pub debit: &'static str,
    /// The credited account.
    pub credit: &'static str,
    /// How much.
    pub amount: &'static str,
}

/// Shorthand for a template's line.
pub(crate) const fn leg(debit: &'static str, credit: &'static str, amount: &'static str) -> Leg {
    Leg { debit, credit, amount }
}

/// Every recipe, by number.
pub static TEMPLATES: [&Template; 10] = [
    &state::PERIOD_STATE,
    &state::ACCOUNT_STATE,
    &journal::JOURNAL_ENTRY,
    &reversal::REVERSAL,
    &capacity::CAPACITY,
    &job::HOLD,
    &job::SETTLE,
    &job::VOID,
    &credit::TOP_UP,
    &credit::PROMO_GRANT,
];

/// What makes a group unique.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey {
    pub link: Uuid,
    pub recipe: i16,
}

impl GroupKey {
    /// The recipe's name.
    pub fn recipe_name(self) -> &'static str {
        name_of(self.recipe).unwrap_or("an unknown recipe")
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.recipe_name(), self.link)
    }
}

/// The name of the recipe of that number.
pub(crate) fn name_of(number: i16) -> Option<&'static str> {
    TEMPLATES.iter().find(|template| template.number == number).map(|template| template.name)
}

/// The number of the recipe of that name.
pub(crate) fn number_of(name: &str) -> Option<i16> {
    TEMPLATES.iter().find(|template| template.name == name).map(|template| template.number)
}

/// What a request has to do with a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnHold {
    /// Nothing.
    None,
    /// It places the hold of this link.
    Places(Uuid),
    /// It resolves the hold of this link.
    Resolves(Uuid),
}

/// A business event that knows its entry.
pub(crate) trait Recipe: fmt::Debug + Send + Sync {
    fn template(&self) -> &'static Template;

    /// What the event is about.
    fn link(&self) -> Uuid;

    /// All that it says, to tell a repetition from another request under the same key.
    fn body(&self, out: &mut Canonical);

    /// Whose accounts it touches; a resolved hold's owner goes without saying.
    fn owners(&self) -> Vec<Uuid>;

    fn on_hold(&self) -> OnHold {
        OnHold::None
    }

    /// When it happened; none for what happens by being decided.
    fn event_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// What it does to these books.
    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error>;
}

/// A group as a recipe writes it. One without drafts is a note.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub drafts: Vec<Draft>,
    pub usage: Vec<UsageDraft>,
    pub capacity: Vec<CapacityDraft>,
    pub states: Vec<(AccountKey, AccountState)>,
    pub period_states: Vec<(Month, PeriodState)>,
    /// The terms of accounts that it may open.
    pub terms: Vec<(AccountKey, Terms)>,
    /// When its hold may be voided.
    pub expires_at: Option<DateTime<Utc>>,
    /// The month that it is to be booked in, soft-closed or not; none for the month in which it happened, or the open one.
    pub month: Option<Month>,
    /// The head of the group that it takes back.
    pub reverses: Option<i64>,
    pub reference: Option<String>,
}

impl Entry {
    pub fn of(drafts: Vec<Draft>) -> Self {
        Self { drafts, ..Self::default() }
    }
}

/// A usage fact before its leaf has a number.
#[derive(Debug)]
pub(crate) struct UsageDraft {
    pub leaf: Leaf,
    pub segment: i16,
    pub quantity: i64,
    pub amount: Nanos,
    pub compute_ms: i32,
}

/// A capacity fact before its leaf has a number.
#[derive(Debug)]
pub(crate) struct CapacityDraft {
    pub leaf: Leaf,
    pub share_ppm: i32,
    pub rcu_milli: i32,
    pub from_at: DateTime<Utc>,
    pub to_at: DateTime<Utc>,
}

/// A request to the writer: a business event that wants to happen. Every recipe's request becomes one.
#[derive(Debug)]
pub struct Request(Box<dyn Recipe>);

impl<R: Recipe + 'static> From<R> for Request {
    fn from(recipe: R) -> Self {
        Self(Box::new(recipe))
    }
}

impl Request {
    pub(crate) fn recipe(&self) -> &dyn Recipe {
        &*self.0
    }

    /// The group that it would become.
    pub(crate) fn key(&self) -> GroupKey {
        GroupKey { link: self.0.link(), recipe: self.0.template().number }
    }

    /// The first eight bytes of SHA-256 of all that it says.
    pub(crate) fn body(&self) -> i64 {
        let mut out = Canonical::new();
        self.0.body(&mut out);
        let digest = out.digest();
        i64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
    }
}

/// Refuses an amount that is not above zero.
pub(crate) fn positive(what: &'static str, amount: Nanos) -> Result<Nanos, Error> {
    if amount > Nanos::ZERO { Ok(amount) } else { Err(Error::BadAmount { what, amount }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_has_a_number_and_a_name_of_its_own_and_says_what_it_does() {
        assert!(TEMPLATES.windows(2).all(|pair| pair[0].number < pair[1].number));
        let mut names: Vec<_> = TEMPLATES.iter().map(|template| template.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TEMPLATES.len());
        assert!(TEMPLATES.iter().all(|template| template.event.ends_with('.') && !template.legs.is_empty()));
    }
}
