//! An audit: what a job's output says of the node that made it, by the word of another node.

use std::fmt;

use chrono::{DateTime, Utc};
use primitives::id::{JobId, NodeId, ProviderId};
use primitives::node_protocol::Sampling;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::{Result, repo};

/// Keeps this use of the key apart from others.
const LABEL: &[u8] = b"tokengrid audit v1\0";

/// Which jobs are audited: a share of them, which no node can foresee.
#[derive(Clone, Default)]
pub struct AuditRules {
    /// The same on every replica; nodes do not know it.
    pub key: [u8; 32],
    /// Of the jobs of nodes on probation. *Units*: millionths.
    pub probation_ppm: u32,
    /// Of the jobs of other nodes. *Units*: millionths.
    pub active_ppm: u32,
}

impl AuditRules {
    /// Whether a lease is audited: by a keyed digest of its name, so that the same one always is or never.
    pub fn picks(&self, job_id: JobId, epoch: u32, on_probation: bool) -> bool {
        let share = if on_probation { self.probation_ppm } else { self.active_ppm };
        let mut digest = Sha256::new().chain_update(LABEL).chain_update(self.key);
        digest.update(job_id.0.as_bytes());
        digest.update(epoch.to_le_bytes());
        let digest = digest.finalize();
        let drawn = u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"));
        drawn % 1_000_000 < u64::from(share)
    }
}

impl fmt::Debug for AuditRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key: _, probation_ppm, active_ppm } = self;
        f.debug_struct("AuditRules")
            .field("probation_ppm", probation_ppm)
            .field("active_ppm", active_ppm)
            .finish_non_exhaustive()
    }
}

/// What was found of one lease. Of prompt and output it keeps digests alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Of which job.
    pub job_id: JobId,
    /// Under which lease.
    pub epoch: u32,
    /// Whose output it was.
    pub node_id: NodeId,
    /// Whose node.
    pub provider_id: ProviderId,
    /// Who replayed it.
    pub referee_id: NodeId,
    /// The model's name.
    pub model: String,
    /// The prompt's length.
    pub prompt_tokens: u32,
    /// SHA-256 over the prompt's ids, each four bytes little-endian, in hexadecimal.
    pub prompt_sha256: String,
    /// Likewise over all ids that the lease delivered: the receipt's.
    pub output_sha256: String,
    /// How its tokens should have been drawn.
    pub sampling: Sampling,
    /// Of its tokens that were a choice, from the first on; there is one at least. *Units*: probability.
    pub slacks: Vec<f32>,
    /// When.
    pub audited_at: DateTime<Utc>,
}

/// Keeps what audits found.
pub(crate) async fn record(pool: &PgPool, audits: &[Audit]) -> Result<()> {
    let mut conn = pool.acquire().await?;
    for audit in audits {
        metrics::counter!("broker_audits_total").increment(1);
        repo::audit_insert(&mut conn, audit).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_rule_picks_its_share_and_nobody_without_the_key_knows_which() {
        let rules = |key| AuditRules { key: [key; 32], probation_ppm: 50_000, active_ppm: 5_000 };
        let picked = |key, on_probation| -> Vec<u128> {
            (0..20_000).filter(|n| rules(key).picks(JobId(Uuid::from_u128(*n)), 1, on_probation)).collect()
        };
        let (new, old) = (picked(1, true), picked(1, false));
        assert!((900..1_100).contains(&new.len()) && (70..130).contains(&old.len()), "{} {}", new.len(), old.len());
        assert!(old.iter().all(|n| new.contains(n)));
        assert_eq!(picked(1, true), new);
        let both = picked(2, true).iter().filter(|n| new.contains(n)).count();
        assert!(both < 100, "{both}");
        let none = AuditRules { probation_ppm: 0, active_ppm: 0, ..rules(1) };
        assert!(!none.picks(JobId(Uuid::from_u128(old[0])), 1, true));
    }
}
