//! What moved providers' money, added up by day, node and event from the ledger's own transfers, each once and in order.

use chrono::{DateTime, NaiveDate, Utc};
use ledger::{PayableLine, PayablePage};
use primitives::id::{Ids, NodeId, ProviderId};
use primitives::money::{Currency, Nanos};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Result, holdback, repo};

/// A sum of transfers over what a provider is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderDay {
    /// Of which day, in UTC, by when the transfers were posted.
    pub day: NaiveDate,
    /// The node that earned it; none for what is no node's.
    pub node_id: Option<NodeId>,
    /// The business event, such as `job_settle`.
    pub recipe: String,
    /// What they did to what the provider is owed.
    pub change: Nanos,
    /// How many.
    pub transfers: i64,
}

/// Adds the next transfers of a shard to the days, and keeps back what new nodes earned; says whether there were any.
///
/// *Statements*: reads the ledger from where the last call ended, adds to `provider_days`, notes holdbacks, and moves the mark, in one
/// transaction of the caller's. *Locks*: the mark's row first, so that of two at once the second goes on from where the first ended.
pub async fn read(
    conn: &mut PgConnection,
    ids: &Ids,
    shard: i16,
    holdback: chrono::TimeDelta,
    now: DateTime<Utc>,
) -> std::result::Result<bool, Fault> {
    let after = repo::provider_days_read(conn, shard).await?;
    let PayablePage { lines, read_to } = ledger::payable_lines(conn, shard, after).await?;
    if read_to == after {
        return Ok(false);
    }
    repo::provider_days_add(conn, &sums(&lines)).await?;
    holdback::note(conn, ids, &lines, holdback, now).await?;
    repo::provider_days_read_to(conn, shard, read_to).await?;
    Ok(true)
}

/// What can go wrong while the ledger is read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Of the broker's rows.
    #[error(transparent)]
    Broker(#[from] crate::Error),
    /// Of the ledger's.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}

impl primitives::tx::Failure for Fault {
    fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Broker(error) => error.database(),
            Self::Ledger(error) => error.database(),
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Broker(error.into())
    }
}

/// One row to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub provider_id: ProviderId,
    pub currency: Currency,
    pub day: NaiveDate,
    pub node_id: Uuid,
    pub recipe: &'static str,
    pub change: i64,
    pub transfers: i64,
}

/// The sums of some transfers, in the order of their keys.
fn sums(lines: &[PayableLine]) -> Vec<Sum> {
    let mut sums: Vec<Sum> = vec![];
    for line in lines {
        let node_id = line.node_id.map_or(Uuid::nil(), |id| id.0);
        let day = line.at.date_naive();
        let same = |sum: &&mut Sum| {
            (sum.provider_id, sum.currency, sum.day, sum.node_id, sum.recipe)
                == (line.provider_id, line.currency, day, node_id, line.recipe)
        };
        match sums.iter_mut().find(same) {
            Some(sum) => {
                sum.change += line.change.0;
                sum.transfers += 1;
            }
            None => sums.push(Sum {
                provider_id: line.provider_id,
                currency: line.currency,
                day,
                node_id,
                recipe: line.recipe,
                change: line.change.0,
                transfers: 1,
            }),
        }
    }
    sums
}

/// A provider's sums of the days from `from` up to `to` (exclusive), the latest first; at most `limit`, from after `skip`.
pub async fn days(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    currency: Currency,
    (from, to): (NaiveDate, NaiveDate),
) -> Result<Vec<ProviderDay>> {
    repo::provider_days(conn, provider_id, currency, from, to).await
}

/// What each of a provider's nodes earned from jobs in all: sums of the same days.
pub async fn by_node(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    currency: Currency,
) -> Result<Vec<(NodeId, Nanos, i64)>> {
    repo::provider_nodes_total(conn, provider_id, currency).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_of_one_day_node_and_event_are_one_sum() {
        let line = |day: i64, node: Option<u128>, recipe, change| PayableLine {
            seq: 1,
            provider_id: ProviderId(Uuid::nil()),
            currency: Currency::USD,
            node_id: node.map(|n| NodeId(Uuid::from_u128(n))),
            recipe,
            link: Uuid::nil(),
            change: Nanos(change),
            at: DateTime::UNIX_EPOCH + chrono::TimeDelta::days(day),
        };
        let lines = [
            line(0, Some(1), "job_settle", 5),
            line(0, Some(1), "job_settle", 6),
            line(0, Some(2), "job_settle", 1),
            line(1, Some(1), "job_settle", 1),
            line(1, None, "provider_payout", -7),
        ];
        let told: Vec<_> = sums(&lines).into_iter().map(|sum| (sum.recipe, sum.change, sum.transfers)).collect();
        assert_eq!(
            told,
            [("job_settle", 11, 2), ("job_settle", 1, 1), ("job_settle", 1, 1), ("provider_payout", -7, 1)]
        );
    }
}
