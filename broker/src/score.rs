//! A node's score card: how its work went lately, and what of that counts against it.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::NodeId;
use sqlx::PgConnection;

use crate::{Result, repo};

/// How far a score card looks back.
pub const LOOKS_BACK: TimeDelta = TimeDelta::days(7);

/// How a node's leases ended lately. A lease that its caller or the platform ended, or that a drain let end, counts for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As they should.
    pub done: u32,
    /// The node said that it could not.
    pub failed: u32,
    /// The node fell silent on the job.
    pub stalled: u32,
    /// The node went away.
    pub lost: u32,
    /// The node broke the protocol or went beyond the limit.
    pub broken: u32,
    /// Receipts that differ from what was delivered; those leases are counted above as well.
    pub mismatched: u32,
}

/// How a node does.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreCard {
    /// What it is made of.
    pub counts: Counts,
    /// The share of leases that ended as they should, with receipts that match; none before the first.
    pub reliability: Option<f64>,
    /// What counts against the node, a sentence each.
    pub reasons: Vec<String>,
}

/// A node's score card over the last days.
pub async fn card(conn: &mut PgConnection, node_id: NodeId, now: DateTime<Utc>) -> Result<ScoreCard> {
    Ok(ScoreCard::of(repo::node_score(conn, node_id, now - LOOKS_BACK).await?))
}

impl ScoreCard {
    fn of(counts: Counts) -> Self {
        let Counts { done, failed, stalled, lost, broken, mismatched } = counts;
        let all = done + failed + stalled + lost + broken;
        let well = done.saturating_sub(mismatched);
        let reasons = [
            (failed, "the node said that it could not do the job"),
            (stalled, "the node fell silent on the job"),
            (lost, "the node's connection was lost with the job"),
            (broken, "the node broke the protocol"),
            (mismatched, "the node's receipt differs from what was delivered"),
        ];
        let told = |(count, what): (u32, &str)| (count > 0).then(|| format!("{count} of {all} leases: {what}."));
        Self {
            counts,
            reliability: (all > 0).then(|| f64::from(well) / f64::from(all)),
            reasons: reasons.into_iter().filter_map(told).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_what_counts_against_a_node() {
        let card = ScoreCard::of(Counts { done: 18, lost: 2, mismatched: 3, ..Counts::default() });
        assert_eq!(card.reliability, Some(0.75));
        let reasons = [
            "2 of 20 leases: the node's connection was lost with the job.",
            "3 of 20 leases: the node's receipt differs from what was delivered.",
        ];
        assert_eq!(card.reasons, reasons);
        assert_eq!(ScoreCard::of(Counts::default()).reliability, None);
    }
}
