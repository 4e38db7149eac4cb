//! What providers earn: read from the ledger as it is posted, kept back while a node is new, released at its time.

use broker::earning::{self, Fault};
use broker::holdback::{self, HoldbackState};
use ledger::{SHARD, Writer};
use primitives::tx::run_tx;

use super::Supply;
use crate::PRODUCT_LINE;

/// Pieces of the ledger read in one go.
const PIECES_MAX: u32 = 100;

impl Supply {
    /// Adds up what the ledger has posted since the last time, and keeps back, releases or forfeits what is due.
    ///
    /// Safe to repeat and to run twice at once: each transfer is read once, and the ledger knows each of these by its id.
    pub async fn bring_earnings_on(&self, ledger: &Writer) -> anyhow::Result<()> {
        for _ in 0..PIECES_MAX {
            let (ids, kept_for, now) = (self.ids.clone(), self.rules.holdback, self.clock.now());
            let read = run_tx(&self.pool, "earnings_read", |conn| {
                let ids = ids.clone();
                Box::pin(async move { earning::read(conn, &ids, SHARD, kept_for, now).await })
            });
            let more: Result<bool, Fault> = read.await;
            if !more? {
                break;
            }
        }
        self.reserve(ledger).await?;
        self.release(ledger).await?;
        self.forfeit(ledger).await
    }

    async fn reserve(&self, ledger: &Writer) -> anyhow::Result<()> {
        let due = holdback::due(&mut *self.pool.acquire().await?).await?;
        for holdback in due {
            let state = match ledger.post(holdback.reserve()).await {
                Ok(_) => HoldbackState::Reserved,
                // Paid out or taken back in the few seconds since it was earned.
                Err(ledger::Error::Overdraft { .. } | ledger::Error::NothingLeft { .. }) => HoldbackState::Refused,
                Err(error) => return Err(error.into()),
            };
            let change = (HoldbackState::Due, state);
            let conn = &mut *self.pool.acquire().await?;
            holdback::change(conn, holdback.reserve_id, change, self.clock.now()).await?;
        }
        Ok(())
    }

    async fn forfeit(&self, ledger: &Writer) -> anyhow::Result<()> {
        let forfeited = holdback::forfeit(&mut *self.pool.acquire().await?).await?;
        for holdback in forfeited {
            ledger.post(holdback.request(PRODUCT_LINE)).await?;
            let change = (HoldbackState::Reserved, HoldbackState::Forfeited);
            let conn = &mut *self.pool.acquire().await?;
            holdback::change(conn, holdback.reserve_id, change, self.clock.now()).await?;
        }
        Ok(())
    }

    async fn release(&self, ledger: &Writer) -> anyhow::Result<()> {
        let lapsed = holdback::lapsed(&mut *self.pool.acquire().await?, self.clock.now()).await?;
        for holdback in lapsed {
            match ledger.post(holdback.release()).await {
                Ok(_) => {}
                // The writer's clock is a little behind.
                Err(ledger::Error::NotLapsed { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            let change = (HoldbackState::Reserved, HoldbackState::Released);
            let conn = &mut *self.pool.acquire().await?;
            holdback::change(conn, holdback.reserve_id, change, self.clock.now()).await?;
        }
        Ok(())
    }
}
