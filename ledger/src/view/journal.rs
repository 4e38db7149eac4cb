//! The journal's groups.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use uuid::Uuid;

use crate::account::AccountId;
use crate::block::BlockRef;
use crate::period::Month;
use crate::transfer::Kind;

/// One business event in the books: the transfers that stand or fall together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalGroup {
    /// Its first transfer; groups are paged by it.
    pub seq: i64,
    /// What it is about: a job, a lot, a payment.
    pub link: Uuid,
    /// The business event, such as `job_settle`.
    pub recipe: &'static str,
    /// Somebody else's name for it, or why it was booked.
    pub reference: Option<String>,
    /// The month that it is booked in.
    pub month: Month,
    /// When it happened.
    pub event_at: DateTime<Utc>,
    /// The first transfer of the group that it takes back.
    pub reverses_seq: Option<i64>,
    /// The block that keeps it.
    pub block: BlockRef,
    /// When it was posted.
    pub at: DateTime<Utc>,
    /// What it moved, in its order; none of a note.
    pub lines: Vec<GroupLine>,
}

/// One transfer of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLine {
    /// The transfer's number.
    pub seq: i64,
    /// What it does.
    pub kind: Kind,
    /// The debited account.
    pub debit: AccountId,
    /// The credited account.
    pub credit: AccountId,
    /// How much.
    pub amount: Nanos,
    pub(crate) leaf_id: Option<i32>,
}

impl GroupLine {
    /// True when it moves its amount, and does not only hold or release it.
    pub fn moves(&self) -> bool {
        matches!(self.kind, Kind::Posted | Kind::Capture)
    }
}
