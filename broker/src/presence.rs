//! A presence: a stretch of time in which a node was connected and took work; what its capacity is counted from.
//!
//! It ends where the node was last heard. A running one is told every few seconds, so that much of it may be lost when the
//! control plane dies; a node that is back soon counts as if it had never been away, so that much may be counted too much.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{NodeId, ProviderId};
use primitives::node_protocol::NodeDescriptor;
use primitives::tx::run_tx;
use sqlx::{PgConnection, PgPool};

use crate::{Result, repo};

/// How often running presences are told.
pub const TOLD_EVERY: TimeDelta = TimeDelta::seconds(10);
/// A node that is back within this was never away.
pub const GAP_MAX: TimeDelta = TimeDelta::seconds(30);

/// All of a node. *Units*: millionths.
const WHOLE_PPM: u64 = 1_000_000;
/// The nominal capacity of one thread of a general-purpose processor, which is the reference unit. *Units*: thousandths.
const THREAD_RCU_MILLI: u32 = 1_000;
/// More threads than any machine has.
const THREADS_MAX: u32 = 65_536;

/// That a node was there, able to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Which node.
    pub node_id: NodeId,
    /// Whose.
    pub provider_id: ProviderId,
    /// From when.
    pub from_at: DateTime<Utc>,
    /// Until when.
    pub to_at: DateTime<Utc>,
    /// The whole node's nominal capacity. *Units*: thousandths of the reference unit.
    pub rcu_milli: i32,
    /// The models that it served, each with its share of the node; together all of it.
    pub shares: Vec<ModelShare>,
}

/// What of a node a model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelShare {
    /// The model.
    pub model: String,
    /// How much. *Units*: millionths of the node.
    pub share_ppm: i32,
}

/// The part of a recorded presence that no report has yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreported {
    /// When the presence began, which with its node names it.
    pub began_at: DateTime<Utc>,
    /// The part.
    pub part: Presence,
}

/// A node's nominal capacity: its threads, each of which is one reference unit.
///
/// Nominal and not measured, so that faster software shows as efficiency and not as scale. A node computes on its processor's
/// threads alone; a chip of another kind will need its own entry here. *Units*: thousandths of the reference unit.
pub(crate) fn rcu_milli(descriptor: &NodeDescriptor) -> i32 {
    let threads = descriptor.threads.clamp(1, THREADS_MAX);
    i32::try_from(threads * THREAD_RCU_MILLI).expect("the most threads were bounded")
}

/// What of a node each model has: its part of all slots. Rounded down, and the first has what is left.
pub(crate) fn shares(slots: &[(&str, u32)]) -> Vec<ModelShare> {
    let all: u64 = slots.iter().map(|&(_, slots)| u64::from(slots)).sum();
    let share = |&(model, slots): &(&str, u32)| {
        let share_ppm = (u64::from(slots) * WHOLE_PPM).checked_div(all)?;
        (share_ppm > 0).then(|| ModelShare { model: model.to_owned(), share_ppm: share_ppm as i32 })
    };
    let mut shares: Vec<ModelShare> = slots.iter().filter_map(share).collect();
    let given: i32 = shares.iter().map(|share| share.share_ppm).sum();
    if let Some(first) = shares.first_mut() {
        first.share_ppm += WHOLE_PPM as i32 - given;
    }
    shares
}

/// Records that nodes were there; what follows a recorded presence of the same kind within [`GAP_MAX`] makes it longer.
/// Saying it twice changes nothing, and no node is there twice at once.
pub async fn extend(pool: &PgPool, presences: &[Presence]) -> Result<()> {
    run_tx(pool, "presences_extend", |conn| {
        let presences = presences.to_vec();
        Box::pin(async move { repo::presences_extend(conn, &presences).await })
    })
    .await
}

/// The parts of presences before `edge` that are not marked as reported, at most `limit`.
pub async fn unreported(conn: &mut PgConnection, edge: DateTime<Utc>, limit: u32) -> Result<Vec<Unreported>> {
    repo::presences_unreported(conn, edge, limit).await
}

/// Marks a presence as reported up to `to_at`; a mark never goes back.
pub async fn reported(
    conn: &mut PgConnection,
    node_id: NodeId,
    began_at: DateTime<Utc>,
    to_at: DateTime<Utc>,
) -> Result<()> {
    repo::presences_reported(conn, node_id, began_at, to_at).await
}

/// Forgets what was reported in full and ended before an instant; says how many.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64> {
    repo::presences_forget(conn, before).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_slots_and_fill_the_node() {
        let of = |slots: &[(&str, u32)]| -> Vec<(String, i32)> {
            shares(slots).into_iter().map(|share| (share.model, share.share_ppm)).collect()
        };
        assert_eq!(of(&[("a", 32)]), [("a".into(), 1_000_000)]);
        assert_eq!(
            of(&[("a", 1), ("b", 1), ("c", 1)]),
            [("a".into(), 333_334), ("b".into(), 333_333), ("c".into(), 333_333)]
        );
        assert_eq!(of(&[("a", 0), ("b", 4)]), [("b".into(), 1_000_000)]);
        assert_eq!(of(&[("a", 0)]), []);
        assert_eq!(of(&[]), []);
    }
}
