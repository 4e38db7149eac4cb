//! Every way in which the ledger refuses.

use primitives::id::{JobId, TenantId};
use primitives::money::Nanos;
use primitives::tx::Failure;
use uuid::Uuid;

use crate::account::AccountId;

/// Why the ledger did not do as asked; nothing changed, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
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
        what: &'static str,
        /// The amount.
        amount: Nanos,
    },
    /// The job has no open hold: none was placed, or it was settled or voided.
    #[error("{job_id} has no open hold")]
    NoOpenHold {
        /// The job.
        job_id: JobId,
    },
    /// A hold is settled for another tenant than the one who placed it.
    #[error("the hold of {job_id} is not {tenant_id}'s")]
    StrangersHold {
        /// The job.
        job_id: JobId,
        /// Who it was settled for.
        tenant_id: TenantId,
    },
    /// The charge is more than was held.
    #[error("{job_id} is charged {charge} and holds {held}")]
    ChargeAboveHold {
        /// The job.
        job_id: JobId,
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
    // Conflict: try again, or do not.
    /// The same event was posted before with another body.
    #[error("{recipe} of {link} was posted before with another body")]
    IdReused {
        /// The job, lot or top-up.
        link: Uuid,
        /// The business event.
        recipe: &'static str,
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
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        row: String,
    },
    /// The database failed, or refused what the writer had allowed.
    #[error("the ledger's database failed")]
    Database(#[from] sqlx::Error),
}

impl Failure for Error {
    fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}
