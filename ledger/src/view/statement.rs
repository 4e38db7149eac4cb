//! An account's statement.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use uuid::Uuid;

use crate::account::AccountId;
use crate::block::BlockRef;
use crate::chart::Side;
use crate::period::Month;
use crate::transfer::Kind;

/// A page of an account's history, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The account.
    pub account: AccountId,
    /// The transfers over it.
    pub lines: Vec<StatementLine>,
    /// Where the next page begins: what to ask for as `before`; none when this was the last.
    pub next: Option<i64>,
}

/// One transfer over an account, seen from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// The transfer's number.
    pub seq: i64,
    /// What it does.
    pub kind: Kind,
    /// The business event, such as `job_settle`.
    pub recipe: &'static str,
    /// What the event is about: a job, a lot, a payment.
    pub link: Uuid,
    /// Somebody else's name for it.
    pub reference: Option<String>,
    /// The account on the other side.
    pub counter_account: AccountId,
    /// Its name, such as `4000 inference revenue`.
    pub counter: String,
    /// The side of this account.
    pub side: Side,
    /// The transfer's amount; of a void what it releases.
    pub amount: Nanos,
    /// What it did to the balance: nothing where it only holds or releases. *Units*: as amounts, below zero where the balance fell.
    pub change: i128,
    /// What was posted once it was there, on the account's normal side.
    pub balance: i128,
    /// What open holds could still take of that.
    pub held: i128,
    /// The month that it is booked in.
    pub month: Month,
    /// When it happened.
    pub event_at: DateTime<Utc>,
    /// The block that keeps it.
    pub block: BlockRef,
    /// When it was posted.
    pub at: DateTime<Utc>,
}
