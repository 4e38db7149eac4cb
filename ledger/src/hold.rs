//! Holds: an owner's credit set aside for an event until it is settled, voided or expired.

use std::fmt;

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::account::AccountKey;
use crate::block::BlockRef;
use crate::chart::Code;
use crate::error::Error;
use crate::recipe::Request;
use crate::replica::letter::Kept;
use crate::writer::route::Route;

/// What one credit lot gives to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct Hold {
    /// The lots, in the order in which they are spent, as they were decided first.
    pub parts: Vec<HoldPart>,
    /// Where the writer of this process tells; none once that has ended, or where another replica's told.
    pub(crate) durable: Option<oneshot::Receiver<Result<BlockRef, Error>>>,
    pub(crate) block: Option<BlockRef>,
    /// How to ask again when the writer ended before it told.
    pub(crate) again: Option<(Route, Request)>,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("parts", &self.parts).field("block", &self.block).finish_non_exhaustive()
    }
}

impl Hold {
    /// Waits until the hold's block is committed, and names it; may be asked again.
    ///
    /// When the writer ends before it tells, the next one is asked for the same hold.
    ///
    /// *Errors*: the hold is not there after all: [`Error::IdReused`], [`Error::InsufficientFunds`] at the next writer, or a broken
    /// database; [`Error::Stopped`] leaves it open whether it is.
    pub async fn durable(&mut self) -> Result<BlockRef, Error> {
        if let Some(block) = self.block {
            return Ok(block);
        }
        if let Some(durable) = &mut self.durable {
            match durable.await.unwrap_or(Err(Error::Stopped)) {
                Ok(block) => return Ok(*self.block.insert(block)),
                Err(Error::Stopped) => self.durable = None,
                Err(error) => {
                    (self.durable, self.again) = (None, None);
                    return Err(error);
                }
            }
        }
        let Some((route, request)) = &self.again else { return Err(Error::Stopped) };
        let block = route.ask(request.clone()).await?;
        Ok(*self.block.insert(block))
    }

    /// A hold that is durable already.
    pub(crate) fn kept(Kept { block, parts }: Kept) -> Self {
        Self { parts, durable: None, block: Some(block), again: None }
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

    /// True for a job's: it dies with the replica that ran the job, as a rental or a dispute does not.
    pub fn of_a_job(&self) -> bool {
        self.parts.iter().all(|part| part.credit.code == Code::InferenceRevenue)
    }

    /// Whose credit it is.
    pub(crate) fn owner(&self) -> Option<Uuid> {
        self.parts.first().and_then(|part| part.debit.owner)
    }
}
