//! What readers of the ledger see.

mod journal;
mod provider;
mod statement;
mod trial;

pub use journal::{GroupLine, JournalGroup};
pub use provider::{PayableLine, PayablePage, ProviderAccount};
pub use statement::{Statement, StatementLine};
pub use trial::{AccountTotals, TrialRow, Unsettled};

use chrono::{DateTime, Utc};
use primitives::id::{NodeId, PriceId, ProviderId, TransferId};
use primitives::money::{Currency, Nanos};
use uuid::Uuid;

use crate::account::AccountId;
use crate::block::BlockRef;
use crate::chart::Code;
use crate::transfer::Kind;

/// A tenant's credit in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The currency.
    pub currency: Currency,
    /// Credit of lots that have not lapsed, open holds not yet taken off.
    pub posted: Nanos,
    /// What open holds take.
    pub pending: Nanos,
    /// What may be held or spent: posted less pending.
    pub available: Nanos,
    /// The lots, in the order in which they are spent; lapsed ones last.
    pub lots: Vec<Lot>,
}

/// One credit lot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lot {
    /// Its account.
    pub account: AccountId,
    /// Paid or promo credits.
    pub code: Code,
    /// The grant; none for paid credit.
    pub lot_id: Option<Uuid>,
    /// What is left, open holds not yet taken off.
    pub posted: Nanos,
    /// What open holds take.
    pub pending: Nanos,
    /// When it lapses.
    pub expires_at: Option<DateTime<Utc>>,
    /// True once it has lapsed: it pays for no new hold.
    pub lapsed: bool,
}

/// One transfer, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferView {
    /// Its identifier.
    pub id: TransferId,
    /// What it does.
    pub kind: Kind,
    /// The business event that wrote it, such as `job_settle`.
    pub recipe: String,
    /// The debited account, such as `2010 promo credits`.
    pub debit: String,
    /// The credited account.
    pub credit: String,
    /// How much; what a void releases.
    pub amount: Nanos,
    /// The currency.
    pub currency: Currency,
    /// The block that keeps it.
    pub block: BlockRef,
    /// When its block was made.
    pub at: DateTime<Utc>,
}

/// Tokens that a job used, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageView {
    /// The lease's epoch: 1 for the first node, then one more each time another went on.
    pub segment: i16,
    /// What was metered, such as `input`.
    pub meter: String,
    /// The model.
    pub model: String,
    /// The node that did it.
    pub node_id: NodeId,
    /// Its provider.
    pub provider_id: ProviderId,
    /// How many. *Units*: the meter's, tokens for now.
    pub quantity: i64,
    /// The price that it was charged at.
    pub price_id: PriceId,
    /// What it was charged.
    pub amount: Nanos,
    /// Why it is not effective; none when it is.
    pub waste: Option<String>,
    /// How long the deployment worked for it. *Units*: milliseconds.
    pub compute_ms: i32,
    /// When.
    pub event_at: DateTime<Utc>,
}
