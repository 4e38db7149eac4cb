//! Holds: a tenant's credit set aside for a job until it is settled, voided or expired.

use chrono::{DateTime, Utc};
use primitives::id::{JobId, TenantId, TransferId};
use primitives::money::{Currency, Nanos};
use tokio::sync::oneshot;

use crate::account::{AccountId, AccountKey};
use crate::block::BlockRef;
use crate::error::Error;

/// What one credit lot gives to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPart {
    /// The pending transfer.
    pub transfer_id: TransferId,
    /// The lot's account.
    pub account: AccountId,
    /// How much of the lot.
    pub amount: Nanos,
}

/// A hold that was decided; nothing of the job may leave before [`Hold::durable`] says that it is kept.
#[derive(Debug)]
pub struct Hold {
    /// The job.
    pub job_id: JobId,
    /// The lots, in the order in which they are spent.
    pub parts: Vec<HoldPart>,
    pub(crate) durable: oneshot::Receiver<Result<BlockRef, Error>>,
    pub(crate) block: Option<BlockRef>,
}

impl Hold {
    /// Waits until the hold's block is committed, and names it; may be asked again.
    ///
    /// *Errors*: the hold is not there after all: [`Error::IdReused`] or a broken database; [`Error::Stopped`] leaves it
    /// open whether it is, and the next writer voids it.
    pub async fn durable(&mut self) -> Result<BlockRef, Error> {
        if let Some(block) = self.block {
            return Ok(block);
        }
        let block = (&mut self.durable).await.map_err(|_| Error::Stopped)??;
        self.block = Some(block);
        Ok(block)
    }
}

/// A job's hold that is neither settled nor voided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// The job.
    pub job_id: JobId,
    /// Whose credit it is.
    pub tenant_id: TenantId,
    /// The currency.
    pub currency: Currency,
    /// The lots, in the order in which they are spent.
    pub parts: Vec<HoldPart>,
    /// When the sweeper may void it.
    pub expires_at: DateTime<Utc>,
    /// The epoch of the writer that placed it.
    pub epoch: i64,
    /// The group that placed it.
    pub(crate) group_seq: i64,
    /// The accounts of the parts, in the same order.
    pub(crate) lots: Vec<AccountKey>,
}

impl OpenHold {
    /// All that is held.
    pub fn amount(&self) -> Nanos {
        Nanos(self.parts.iter().map(|part| part.amount.0).sum())
    }
}
