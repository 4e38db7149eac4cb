//! What providers are owed, and what moved it.

use chrono::{DateTime, Utc};
use primitives::id::{NodeId, ProviderId};
use primitives::money::{Currency, Nanos};
use uuid::Uuid;

use crate::account::AccountId;

/// Transfers over what providers are owed, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayablePage {
    /// The transfers.
    pub lines: Vec<PayableLine>,
    /// The last transfer that was looked at: what to ask for as `after`. Nothing followed when it is what was asked for.
    pub read_to: i64,
}

/// One transfer over what a provider is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayableLine {
    /// The transfer's number.
    pub seq: i64,
    /// Whose.
    pub provider_id: ProviderId,
    /// In what.
    pub currency: Currency,
    /// The node that earned it, where one did.
    pub node_id: Option<NodeId>,
    /// The business event, such as `job_settle`.
    pub recipe: &'static str,
    /// What the event is about: a job, a reserve, a payout.
    pub link: Uuid,
    /// What it did to what the provider is owed: below zero where that fell.
    pub change: Nanos,
    /// When its block was made.
    pub at: DateTime<Utc>,
}

/// An account of a provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderAccount {
    /// Which.
    pub account: AccountId,
    /// The reserve or payout, where the code has such.
    pub lot: Option<Uuid>,
    /// What stands on it, as owed to the provider.
    pub balance: Nanos,
    /// When a reserve may be released.
    pub expires_at: Option<DateTime<Utc>>,
}
