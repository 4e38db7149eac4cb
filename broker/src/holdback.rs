//! Holdbacks: what new nodes earn is kept back for a time, in case it has to be given back.
//!
//! A holdback is noted in the transaction that reads its transfers, so each transfer is in one. Then the ledger is asked to reserve
//! it, and at its time to release it: both requests are known by the holdback's id, so asking twice does it once.

use chrono::{DateTime, TimeDelta, Utc};
use ledger::economics::Bucket;
use ledger::{EarningForfeit, EarningRelease, EarningReserve, Leaf, PayableLine};
use primitives::id::{Ids, NodeId, ProviderId};
use primitives::money::{Currency, Nanos};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Result, repo};

/// The event that earns.
pub const EARNED_BY: &str = "job_settle";
/// Holdbacks brought on at once.
const STEP: u32 = 500;

/// An amount kept back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdback {
    /// The ledger's reserve.
    pub reserve_id: Uuid,
    /// Whose.
    pub provider_id: ProviderId,
    /// The node that earned it.
    pub node_id: NodeId,
    /// In what.
    pub currency: Currency,
    /// How much.
    pub amount: Nanos,
    /// When it is released.
    pub release_at: DateTime<Utc>,
    /// How far it is.
    pub state: HoldbackState,
}

/// A holdback of a node that was convicted for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forfeit {
    /// The ledger's reserve.
    pub reserve_id: Uuid,
    /// Whose.
    pub provider_id: ProviderId,
    /// The node that earned it.
    pub node_id: NodeId,
    /// The model that it was convicted of; what it earned by others is posted there as well.
    pub model: String,
    /// In what.
    pub currency: Currency,
}

impl Forfeit {
    /// What the ledger is asked for: the cost of what the node did is taken off again.
    pub fn request(&self, product_line: &str) -> EarningForfeit {
        let Self { reserve_id, provider_id, node_id, currency, .. } = *self;
        let leaf = Leaf {
            model: Some(self.model.clone()),
            provider_id: Some(provider_id),
            node_id: Some(node_id),
            ..Leaf::new(Bucket::Productive, product_line)
        };
        EarningForfeit { reserve_id, provider_id, currency, leaf }
    }
}

/// How far a holdback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldbackState {
    /// The ledger is still to reserve it.
    Due,
    /// It is kept back.
    Reserved,
    /// It is the provider's again.
    Released,
    /// Its node was convicted: it stays with the platform.
    Forfeited,
    /// There was not so much left to keep back: it was paid out or taken back before.
    Refused,
}

impl HoldbackState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Due, Self::Reserved, Self::Released, Self::Forfeited, Self::Refused];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Reserved => "reserved",
            Self::Released => "released",
            Self::Forfeited => "forfeited",
            Self::Refused => "refused",
        }
    }
}

impl Holdback {
    /// What the ledger is asked for first.
    pub fn reserve(&self) -> EarningReserve {
        let Self { reserve_id, provider_id, currency, amount, release_at, .. } = *self;
        EarningReserve { reserve_id, provider_id, amount, currency, release_at }
    }

    /// What the ledger is asked for at its time.
    pub fn release(&self) -> EarningRelease {
        let Self { reserve_id, provider_id, currency, .. } = *self;
        EarningRelease { reserve_id, provider_id, currency }
    }
}

/// Notes one holdback for each node that was new when it earned some of these transfers.
pub(crate) async fn note(
    conn: &mut PgConnection,
    ids: &Ids,
    lines: &[PayableLine],
    kept_for: TimeDelta,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut nodes: Vec<Uuid> = lines.iter().filter_map(|line| line.node_id).map(|id| id.0).collect();
    nodes.sort_unstable();
    nodes.dedup();
    for (node_id, until) in repo::nodes_probation(conn, &nodes).await? {
        let earned = lines.iter().filter(|line| {
            line.node_id == Some(node_id) && line.recipe == EARNED_BY && until.is_none_or(|until| line.at < until)
        });
        let mut holdbacks: Vec<(Holdback, i64)> = vec![];
        for line in earned {
            match holdbacks.iter_mut().find(|(holdback, _)| holdback.currency == line.currency) {
                Some((holdback, seq_to)) => {
                    holdback.amount.0 += line.change.0;
                    *seq_to = line.seq;
                }
                None => {
                    let holdback = Holdback {
                        reserve_id: Uuid::from(ids.next::<primitives::id::TransferId>()),
                        provider_id: line.provider_id,
                        node_id,
                        currency: line.currency,
                        amount: line.change,
                        release_at: now + kept_for,
                        state: HoldbackState::Due,
                    };
                    holdbacks.push((holdback, line.seq));
                }
            }
        }
        for (holdback, seq_to) in holdbacks {
            repo::holdback_insert(conn, &holdback, seq_to, now).await?;
        }
    }
    Ok(())
}

/// Those that the ledger is still to reserve.
pub async fn due(conn: &mut PgConnection) -> Result<Vec<Holdback>> {
    repo::holdbacks_due(conn, STEP).await
}

/// Those that are reserved and whose time is over, but for those of convicted nodes.
pub async fn lapsed(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Holdback>> {
    repo::holdbacks_lapsed(conn, now, STEP).await
}

/// Those that are reserved and forfeited.
pub async fn forfeit(conn: &mut PgConnection) -> Result<Vec<Forfeit>> {
    repo::holdbacks_forfeit(conn, STEP).await
}

/// Notes how far a holdback is; one that is as far already stays.
pub async fn change(
    conn: &mut PgConnection,
    reserve_id: Uuid,
    (from, to): (HoldbackState, HoldbackState),
    now: DateTime<Utc>,
) -> Result<()> {
    repo::holdback_change(conn, reserve_id, from, to, now).await
}

/// A provider's holdbacks that are not released, the next to be released first; at most `limit`.
pub async fn open(conn: &mut PgConnection, provider_id: ProviderId, limit: u32) -> Result<Vec<Holdback>> {
    repo::holdbacks_of(conn, provider_id, limit).await
}
