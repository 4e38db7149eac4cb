//! Capacity facts: what nodes were ready for, posted to the ledger once an hour is over.

use anyhow::Context;
use broker::presence::{self, Presence, Unreported};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use futures_util::future::join_all;
use ledger::{CapacityReport, CapacityShare, CapacityUse, Writer};
use primitives::clock::Clock;
use sqlx::PgPool;

/// An hour is reported this long after its end: longer than presences take to be written.
const SETTLES_AFTER: TimeDelta = TimeDelta::minutes(2);
/// What was reported in full is forgotten this long after it ended.
const KEPT_FOR: TimeDelta = TimeDelta::days(7);
/// Presences reported in one step.
const STEP: u32 = 500;

/// Posts what nodes were ready for in the hours that are over: one report for each node, hour and stretch of being there, so one
/// an hour for a node that stays. Tells how many.
///
/// Safe to repeat and to run twice at once: a report is known by its node and the instant at which it begins, and a presence's
/// mark says up to where it is reported. What was left undone while nothing ran is done by the next run.
pub async fn report_capacity(pool: &PgPool, clock: &Clock, ledger: &Writer) -> anyhow::Result<usize> {
    let now = clock.now();
    let edge = (now - SETTLES_AFTER).duration_trunc(TimeDelta::hours(1)).context("the clock is out of range")?;
    let mut conn = pool.acquire().await?;
    let mut reports = 0;
    loop {
        let unreported = presence::unreported(&mut conn, edge, STEP).await?;
        if unreported.is_empty() {
            break;
        }
        let mut parts = vec![];
        for Unreported { began_at, part } in unreported {
            parts.extend(hours(part)?.into_iter().map(|hour| (began_at, hour)));
        }
        // All at once, so that they share blocks; their marks in order, so that none is passed over.
        let posts = join_all(parts.iter().map(|(_, hour)| ledger.post(report(hour.clone())))).await;
        for ((began_at, Presence { node_id, to_at, .. }), posted) in parts.into_iter().zip(posts) {
            match posted {
                Ok(_) => reports += 1,
                // It was reported with another end, which stands; nothing is counted twice.
                Err(ledger::Error::IdReused { .. }) => {
                    tracing::warn!(node.id = %node_id, "a node's capacity was reported otherwise before");
                }
                Err(error) => return Err(error.into()),
            }
            presence::reported(&mut conn, node_id, began_at, to_at).await?;
        }
    }
    presence::forget(&mut conn, now - KEPT_FOR).await?;
    Ok(reports)
}

/// A presence cut at the full hours.
fn hours(mut rest: Presence) -> anyhow::Result<Vec<Presence>> {
    let mut hours = vec![];
    while rest.from_at < rest.to_at {
        let to_at = hour_after(rest.from_at)?.min(rest.to_at);
        hours.push(Presence { to_at, ..rest.clone() });
        rest.from_at = to_at;
    }
    Ok(hours)
}

fn hour_after(at: DateTime<Utc>) -> anyhow::Result<DateTime<Utc>> {
    let hour = TimeDelta::hours(1);
    Ok(at.duration_trunc(hour).context("a presence is out of range")? + hour)
}

fn report(hour: Presence) -> CapacityReport {
    let Presence { node_id, provider_id, from_at, to_at, rcu_milli, shares } = hour;
    let share = |share: presence::ModelShare| CapacityShare {
        share_ppm: share.share_ppm,
        used_for: CapacityUse::Model(share.model),
    };
    let shares = shares.into_iter().map(share).collect();
    CapacityReport { node_id, provider_id, from_at, to_at, rcu_milli, shares }
}

#[cfg(test)]
mod tests {
    use primitives::id::{NodeId, ProviderId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_presence_is_cut_at_full_hours_and_nothing_of_it_is_lost() {
        let at = |minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let cut = |from, to| -> Vec<_> {
            let presence = Presence {
                node_id: NodeId(Uuid::nil()),
                provider_id: ProviderId(Uuid::nil()),
                from_at: at(from),
                to_at: at(to),
                rcu_milli: 1,
                shares: vec![],
            };
            hours(presence).unwrap().iter().map(|hour| (hour.from_at, hour.to_at)).collect()
        };
        assert_eq!(cut(10, 20), [(at(10), at(20))]);
        assert_eq!(cut(0, 60), [(at(0), at(60))]);
        assert_eq!(cut(50, 190), [(at(50), at(60)), (at(60), at(120)), (at(120), at(180)), (at(180), at(190))]);
    }
}
