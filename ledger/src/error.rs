//! Every way in which the ledger refuses.

mod word;

use primitives::id::{JobId, NodeId, TenantId};
use primitives::money::{Currency, Nanos};
use primitives::tx::Failure;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::word::Word;
use self::word::word;
use crate::account::AccountId;
use crate::chart::Code;
use crate::period::Month;

/// Why the ledger did not do as asked; nothing changed, unless the variant says otherwise.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    // Refused: the caller's doing.
    /// The tenant's credit does not cover the hold.
    #[error("{tenant_id} needs {needed} and has {available}")]
    InsufficientFunds {
        /// Who pays.
        tenant_id: TenantId,
        /// What was asked for.
        needed: Nanos,
        /// What was there.
        available: Nanos,
    },
    /// An amount that is zero or negative where it must not be.
    #[error("{amount} is no amount for a {what}")]
    BadAmount {
        /// What it was for.
        #[serde(deserialize_with = "word")]
        what: Word,
        /// The amount.
        amount: Nanos,
    },
    /// There is no open hold: none was placed, or it was settled or voided.
    #[error("{link} has no open hold")]
    NoOpenHold {
        /// The job, rental or dispute.
        link: Uuid,
    },
    /// A hold is settled for another tenant than the one who placed it.
    #[error("the hold of {link} is not {tenant_id}'s")]
    StrangersHold {
        /// What it is for.
        link: Uuid,
        /// Who it was settled for.
        tenant_id: TenantId,
    },
    /// The charge is more than was held.
    #[error("{link} is charged {charge} and holds {held}")]
    ChargeAboveHold {
        /// What it is for.
        link: Uuid,
        /// What was held.
        held: Nanos,
        /// What was to be charged.
        charge: Nanos,
    },
    /// The usage does not add up to the charge, names one meter of a segment twice, or counts below zero.
    #[error("the usage of {job_id} does not explain its charge of {charge}")]
    UsageMismatch {
        /// The job.
        job_id: JobId,
        /// What was to be charged.
        charge: Nanos,
    },
    /// A transfer would take an account below zero.
    #[error("account {account} has only {available} available")]
    Overdraft {
        /// The account.
        account: AccountId,
        /// What it has.
        available: Nanos,
    },
    /// A balance would leave the range that an account can hold.
    #[error("account {account} cannot hold that much")]
    OutOfRange {
        /// The account.
        account: AccountId,
    },
    /// A unit that no account is kept in.
    #[error("no account is kept in {unit}")]
    UnknownUnit {
        /// The unit.
        unit: Currency,
    },
    /// A transfer between two units: money changes currency through clearing accounts alone.
    #[error("{debit} cannot become {credit} in one transfer")]
    TwoUnits {
        /// The unit of the debited account.
        debit: Currency,
        /// The unit of the credited account.
        credit: Currency,
    },
    /// A transfer from an account to itself.
    #[error("a transfer of {code} to itself moves nothing")]
    OneAccount {
        /// The account's code.
        code: Code,
    },
    /// An account that was never opened.
    #[error("there is no account {code} of {owner:?}")]
    UnknownAccount {
        /// The code.
        code: Code,
        /// The owner.
        owner: Option<Uuid>,
    },
    /// The account pays for nothing while it is frozen.
    #[error("account {account} is frozen")]
    AccountFrozen {
        /// The account.
        account: AccountId,
    },
    /// The account is closed for good.
    #[error("account {account} is closed")]
    AccountClosed {
        /// The account.
        account: AccountId,
    },
    /// Only an empty account can be closed.
    #[error("account {account} is not empty")]
    AccountNotEmpty {
        /// The account.
        account: AccountId,
    },
    /// Nothing can be booked in that month any more, or yet.
    #[error("{month} is closed")]
    PeriodClosed {
        /// The month.
        month: Month,
    },
    /// A month is closed after its end, not before.
    #[error("{month} has not ended")]
    PeriodRunning {
        /// The month.
        month: Month,
    },
    /// A month has something that must be looked at before it is closed.
    #[error("{month} cannot be closed: {}", .reasons.join("; "))]
    PeriodUnsettled {
        /// The month.
        month: Month,
        /// What is in the way.
        reasons: Vec<String>,
    },
    /// A journal entry that says too little, or too much.
    #[error("this is no journal entry: {reason}")]
    BadEntry {
        /// What is wrong.
        #[serde(deserialize_with = "word")]
        reason: Word,
    },
    /// A revenue leg without its bucket and dimensions.
    #[error("{debit} → {credit} is revenue and needs its bucket and dimensions")]
    NoLeaf {
        /// The debited account's code.
        debit: Code,
        /// The credited account's code.
        credit: Code,
    },
    /// There is no such group, or it moved nothing.
    #[error("transfer {seq} heads no group that could be reversed")]
    NothingToReverse {
        /// The group's first transfer.
        seq: i64,
    },
    /// Shares of a node that are none, or more than the node, or a time that does not go forward.
    #[error("what is reported of {node_id} is no capacity")]
    BadCapacity {
        /// The node.
        node_id: NodeId,
    },
    /// Nothing is left of what was to be taken, or it was never there.
    #[error("nothing is left on {code} of {owner:?}")]
    NothingLeft {
        /// The account's code.
        code: Code,
        /// The owner; none for the platform's own.
        owner: Option<Uuid>,
    },
    /// A lot or a reserve lapses at its time, not before.
    #[error("account {account} has not reached its time")]
    NotLapsed {
        /// The account.
        account: AccountId,
    },
    /// An event that says what cannot be.
    #[error("this is no {recipe}: {reason}")]
    BadEvent {
        /// The business event.
        #[serde(deserialize_with = "word")]
        recipe: Word,
        /// What is wrong.
        #[serde(deserialize_with = "word")]
        reason: Word,
    },
    /// A report is in one currency, and no rate is known for revenue, costs or usage in another.
    #[error("{month} has amounts in {currency}: a report in another currency needs a rate, and none is known")]
    ForeignRevenue {
        /// The month.
        month: Month,
        /// The other currency.
        currency: Currency,
    },
    // Conflict: try again, or do not.
    /// Something of the account is held; it can lapse once the hold is resolved.
    #[error("an open hold takes of account {account}")]
    StillHeld {
        /// The account.
        account: AccountId,
    },
    /// The same event was posted before with another body.
    #[error("{recipe} of {link} was posted before with another body")]
    IdReused {
        /// The job, lot or top-up.
        link: Uuid,
        /// The business event.
        #[serde(deserialize_with = "word")]
        recipe: Word,
    },
    /// The shard has a writer that lives.
    #[error("shard {shard} has a running writer")]
    WriterRunning {
        /// The shard.
        shard: i16,
    },
    /// The database did not answer; nothing was decided.
    #[error("the ledger's database does not answer")]
    Unavailable,
    /// The writer has stopped; whether the request is kept is known once the next one runs.
    #[error("the ledger's writer has stopped")]
    Stopped,
    // Broken: ours.
    /// Another writer took the shard over; this one stops.
    #[error("shard {shard} was taken over from the writer of epoch {epoch}")]
    Deposed {
        /// The shard.
        shard: i16,
        /// The epoch of the writer that stops.
        epoch: i64,
    },
    /// A row that does not mean anything.
    #[error("row {row} of {table} has a bad {column}")]
    BadRow {
        /// The table.
        #[serde(deserialize_with = "word")]
        table: Word,
        /// The column.
        #[serde(deserialize_with = "word")]
        column: Word,
        /// The row's key.
        row: String,
    },
    /// The database failed, or refused what the writer had allowed.
    #[error("the ledger's database failed")]
    #[serde(skip)]
    Database(#[from] sqlx::Error),
    /// The writer of another replica failed in a way that has no name here; its own log has the cause.
    #[error("the ledger's writer failed at another replica: {message}")]
    Elsewhere {
        /// What it said.
        message: String,
    },
}

impl Error {
    /// The refusal as another replica is told of it: what has no name there is told in words.
    pub(crate) fn for_others(self) -> Self {
        match self {
            Self::Database(error) => Self::Elsewhere { message: error.to_string() },
            error => error,
        }
    }
}

impl Failure for Error {
    fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}
