//! Recipes: one for each business event, stating what it debits and credits.
//!
//! A recipe is a pure function from a request and what the books hold to the transfers of one linked group. Each group is known
//! by its link (a job, a lot, a top-up) and its recipe, and happens once. [`TEMPLATES`] is what people browse.

use std::fmt;

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub mod agency;
pub mod capacity;
pub mod contract;
pub mod credit;
pub mod dispute;
pub mod exchange;
pub mod expiry;
pub mod job;
pub mod journal;
pub mod licence;
pub mod pack;
pub mod payout;
pub mod postpaid;
pub mod provider;
pub mod purchase;
pub mod refund;
pub mod rental;
pub mod reversal;
pub mod state;
pub mod throughput;

use crate::account::{AccountKey, AccountState, Terms};
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
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
pub static TEMPLATES: [&Template; 49] = [
    &state::PERIOD_STATE,
    &state::ACCOUNT_STATE,
    &journal::JOURNAL_ENTRY,
    &reversal::REVERSAL,
    &capacity::CAPACITY,
    &job::HOLD,
    &job::SETTLE,
    &job::VOID,
    &agency::SETTLE_NET,
    &credit::TOP_UP,
    &credit::PROMO_GRANT,
    &credit::CARD_TOP_UP,
    &expiry::CREDIT_EXPIRY,
    &expiry::PROMO_EXPIRY,
    &credit::OVERRUN_COLLECTION,
    &payout::PROCESSOR_PAYOUT,
    &payout::PROCESSOR_PAYOUT_ARRIVED,
    &refund::CREDIT_REFUND,
    &refund::CREDIT_NOTE,
    &refund::REFUND_PAID,
    &dispute::DISPUTE_OPENED,
    &dispute::DISPUTE_LOST,
    &dispute::DISPUTE_WON,
    &throughput::THROUGHPUT_BUY,
    &throughput::THROUGHPUT_RECOGNITION,
    &throughput::SLA_CREDIT,
    &pack::PACK_BUY,
    &pack::PACK_DRAW,
    &pack::PACK_EXPIRY,
    &rental::RENTAL_HOLD,
    &rental::RENTAL_METER,
    &rental::RENTAL_END,
    &rental::RENTAL_BUY,
    &rental::RENTAL_RECOGNITION,
    &licence::LICENCE_INVOICE,
    &licence::LICENCE_RECOGNITION,
    &postpaid::POSTPAID_USAGE,
    &postpaid::INVOICE,
    &postpaid::INVOICE_PAYMENT,
    &postpaid::WRITE_OFF,
    &postpaid::RECOVERY,
    &provider::EARNING_RESERVE,
    &provider::EARNING_RELEASE,
    &provider::PROVIDER_PAYOUT,
    &provider::PROVIDER_PAYOUT_PAID,
    &provider::CLAWBACK,
    &provider::EARNING_FORFEIT,
    &exchange::CONVERSION,
    &exchange::EXCHANGE_DIFFERENCE,
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
    /// It places the hold of this link if there is anything to hold.
    MayPlace(Uuid),
    /// It resolves the hold of this link.
    Resolves(Uuid),
    /// It resolves the hold of this link if there is one.
    MayResolve(Uuid),
    /// It resolves the hold `of` one link and holds the rest `by` its own.
    Renews { of: Uuid, by: Uuid },
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

/// A request to the writer: a business event that wants to happen. Every recipe's request becomes one; as data it carries all
/// that the event says, so that another replica decides the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Request(Box<Event>);

impl Request {
    /// The group that it would become.
    pub(crate) fn key(&self) -> GroupKey {
        let recipe = self.recipe();
        GroupKey { link: recipe.link(), recipe: recipe.template().number }
    }

    /// The first eight bytes of SHA-256 of all that it says.
    pub(crate) fn body(&self) -> i64 {
        let mut out = Canonical::new();
        self.recipe().body(&mut out);
        let digest = out.digest();
        i64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
    }
}

/// Lists the events: each is told by its name on the wire, and becomes a request.
macro_rules! events {
    ($($module:ident::$event:ident)*) => {
        /// A business event, of one of the kinds that there are.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Event {
            $($event($module::$event),)*
        }

        impl Request {
            pub(crate) fn recipe(&self) -> &dyn Recipe {
                match &*self.0 {
                    $(Event::$event(recipe) => recipe,)*
                }
            }
        }

        $(
            impl From<$module::$event> for Request {
                fn from(recipe: $module::$event) -> Self {
                    Self(Box::new(Event::$event(recipe)))
                }
            }
        )*
    };
}

events! {
    agency::NetSettlement
    capacity::CapacityReport
    credit::CardTopUp
    credit::OverrunCollection
    credit::PromoGrant
    credit::TopUp
    dispute::DisputeLost
    dispute::DisputeOpened
    dispute::DisputeWon
    exchange::Conversion
    exchange::ExchangeDifference
    expiry::CreditExpiry
    expiry::PromoExpiry
    job::JobHold
    job::JobSettlement
    job::Void
    journal::JournalEntry
    licence::LicenceInvoice
    licence::LicenceRecognition
    pack::PackBuy
    pack::PackDraw
    pack::PackExpiry
    payout::ProcessorPayout
    payout::ProcessorPayoutArrival
    postpaid::Invoice
    postpaid::InvoicePayment
    postpaid::PostpaidUsage
    postpaid::Recovery
    postpaid::WriteOff
    provider::Clawback
    provider::EarningForfeit
    provider::EarningRelease
    provider::EarningReserve
    provider::ProviderPayout
    provider::ProviderPayoutPaid
    refund::CreditNote
    refund::CreditRefund
    refund::RefundPaid
    rental::RentalBuy
    rental::RentalEnd
    rental::RentalHold
    rental::RentalMeter
    rental::RentalRecognition
    reversal::Reversal
    state::AccountChange
    state::PeriodChange
    throughput::SlaCredit
    throughput::ThroughputBuy
    throughput::ThroughputRecognition
}

/// Refuses an amount that is not above zero.
pub(crate) fn positive(what: &'static str, amount: Nanos) -> Result<Nanos, Error> {
    if amount > Nanos::ZERO { Ok(amount) } else { Err(Error::BadAmount { what, amount }) }
}

/// Refuses an amount below zero.
pub(crate) fn not_negative(what: &'static str, amount: Nanos) -> Result<Nanos, Error> {
    if amount >= Nanos::ZERO { Ok(amount) } else { Err(Error::BadAmount { what, amount }) }
}

/// The sum of two amounts. *Errors*: [`Error::BadAmount`] for the second where no account could hold the sum.
pub(crate) fn plus(what: &'static str, amount: Nanos, more: Nanos) -> Result<Nanos, Error> {
    amount.checked_add(more).map_err(|_| Error::BadAmount { what, amount: more })
}

/// Transfers that debit and credit these sums, walked along side by side: each overlap is one transfer. Zeros post nothing; legs
/// over revenue and provider cost get the leaf. Both sides add up to the same by construction of the caller.
pub(crate) fn pair<const D: usize, const C: usize>(
    debits: [(AccountKey, Nanos); D],
    credits: [(AccountKey, Nanos); C],
    leaf: Option<&Leaf>,
) -> Vec<Draft> {
    let mut drafts = Vec::with_capacity(D + C);
    let mut credits = credits.into_iter().filter(|(_, amount)| *amount > Nanos::ZERO);
    let mut open = credits.next();
    for (debit, amount) in debits {
        let mut left = amount.0;
        while left > 0 {
            let (credit, due) = open.as_mut().expect("both sides add up to the same");
            let (credit, part) = (*credit, left.min(due.0));
            left -= part;
            due.0 -= part;
            if due.0 == 0 {
                open = credits.next();
            }
            let told = [debit.code, credit.code].iter().any(|code| code.revenue() || *code == Code::ProviderCost);
            drafts.push(Draft::posted(debit, credit, Nanos(part), leaf.filter(|_| told).cloned()));
        }
    }
    assert!(open.is_none(), "both sides add up to the same");
    drafts
}

#[cfg(test)]
mod tests;
