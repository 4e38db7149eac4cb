//! Holds: an owner's credit set aside for an event until it is settled, voided or expired.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::account::AccountKey;
use crate::block::BlockRef;
use crate::chart::Code;
use crate::error::Error;

/// What one credit lot gives to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPart {
    /// The pending transfer.
    pub seq: i64,
    /// The lot.
    pub debit: AccountKey,
    /// Where the money will go.
    pub credit: AccountKey,
    /// How much of the lot.
    pub amount: Nanos,
}

/// A hold that was decided; nothing of the event may leave before [`Hold::durable`] says that it is kept.
#[derive(Debug)]
pub struct Hold {
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

/// A hold that is neither settled nor voided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// The job, rental or dispute that it is for.
    pub link: Uuid,
    /// The lots, in the order in which they are spent; at least one.
    pub parts: Vec<HoldPart>,
    /// When the sweeper may void it.
    pub expires_at: DateTime<Utc>,
    /// The epoch of the writer that placed it.
    pub epoch: i64,
}

impl OpenHold {
    /// All that is held.
    pub fn amount(&self) -> Nanos {
        Nanos(self.parts.iter().map(|part| part.amount.0).sum())
    }

    /// True for a job's: it dies with the control plane that ran the job, as a rental or a dispute does not.
    pub(crate) fn of_a_job(&self) -> bool {
        self.parts.iter().all(|part| part.credit.code == Code::InferenceRevenue)
    }

    /// Whose credit it is.
    pub(crate) fn owner(&self) -> Option<Uuid> {
        self.parts.first().and_then(|part| part.debit.owner)
    }
}
