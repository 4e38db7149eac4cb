//! Recipes: one for each business event, stating what it debits and credits.
//!
//! A recipe is a pure function from a request and what is known to the transfers of one linked group. Each group is known
//! by its link (a job, a lot, a top-up) and its recipe's name, and happens once.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub mod credit;
pub mod job;

use self::credit::{PromoGrant, TopUp};
use self::job::{JobHold, JobSettlement, JobVoid};
use crate::row::Canonical;

/// A request to the writer: a business event that wants to happen.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Hold(JobHold),
    Settle(JobSettlement),
    Void(JobVoid),
    Promo(PromoGrant),
    TopUp(TopUp),
}

/// What makes a group unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey {
    pub link: Uuid,
    pub recipe: &'static str,
}

/// The names of all recipes, as stored.
pub(crate) const NAMES: [&str; 5] = [job::HOLD, job::SETTLE, job::VOID, credit::PROMO_GRANT, credit::TOP_UP];

impl Request {
    /// The group that it would become.
    pub fn key(&self) -> GroupKey {
        let (link, recipe) = match self {
            Self::Hold(hold) => (hold.job_id.0, job::HOLD),
            Self::Settle(settlement) => (settlement.job_id.0, job::SETTLE),
            Self::Void(void) => (void.job_id.0, job::VOID),
            Self::Promo(grant) => (grant.lot_id, credit::PROMO_GRANT),
            Self::TopUp(top_up) => (top_up.link(), credit::TOP_UP),
        };
        GroupKey { link, recipe }
    }

    /// SHA-256 of all that it says, to tell a repetition from another request under the same key.
    pub fn body_hash(&self) -> [u8; 32] {
        let mut body = Canonical(Sha256::new());
        match self {
            Self::Hold(hold) => hold.write(&mut body),
            Self::Settle(settlement) => settlement.write(&mut body),
            Self::Void(_) => {}
            Self::Promo(grant) => grant.write(&mut body),
            Self::TopUp(top_up) => top_up.write(&mut body),
        }
        body.0.finalize().into()
    }

    /// When it happened; `now` for what happens by being decided.
    pub fn event_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Settle(settlement) => settlement.event_at,
            Self::Hold(_) | Self::Void(_) | Self::Promo(_) | Self::TopUp(_) => now,
        }
    }
}
