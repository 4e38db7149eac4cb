//! A lease: a node's time-limited right to one job. Its epoch is the fencing token.

use chrono::{DateTime, Utc};
use primitives::certificate::Grade;
use primitives::id::{JobId, NodeId, ProviderId, ReplicaId};
use primitives::node_protocol::SignedReceipt;
use sqlx::PgConnection;

use crate::{Result, repo};

/// A lease on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Of which job.
    pub job_id: JobId,
    /// 1 for the job's first lease, then one more each time.
    pub epoch: u32,
    /// Who has it.
    pub node_id: NodeId,
    /// Whose node.
    pub provider_id: ProviderId,
    /// The grade of the cell that it went to.
    pub grade: Option<Grade>,
    /// When the node took the job.
    pub granted_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: Option<LeaseOutcome>,
    /// Tokens delivered under it, once ended.
    pub output_tokens: Option<u32>,
}

/// A lease to be recorded before its work is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantedLease {
    /// Of which job.
    pub job_id: JobId,
    /// Its fencing token.
    pub epoch: u32,
    /// Who gets it.
    pub node_id: NodeId,
    /// Whose node.
    pub provider_id: ProviderId,
    /// The grade of the cell that it goes to.
    pub grade: Option<Grade>,
    /// When the node took the job.
    pub granted_at: DateTime<Utc>,
}

/// A recorded lease that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedLease {
    /// Of which job.
    pub job_id: JobId,
    /// Its fencing token.
    pub epoch: u32,
    /// Who had it.
    pub node_id: NodeId,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: LeaseOutcome,
    /// The job's prompt. *Units*: tokens, without resumed ones.
    pub prompt_tokens: u32,
    /// The ids delivered under it.
    pub delivered: Vec<u32>,
    /// The node's word on it, if it gave one.
    pub receipt: Option<SignedReceipt>,
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseOutcome {
    /// The node finished the job.
    Done,
    /// The node went on beyond the limit.
    Cut,
    /// The job was no longer wanted.
    Cancelled,
    /// The node said it could not.
    Failed,
    /// The node broke the protocol.
    Broken,
    /// The node fell silent on the job.
    Stalled,
    /// The node went away.
    Lost,
    /// The replica that gave it is gone.
    Abandoned,
}

impl LeaseOutcome {
    /// Every outcome.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Cut,
        Self::Cancelled,
        Self::Failed,
        Self::Broken,
        Self::Stalled,
        Self::Lost,
        Self::Abandoned,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cut => "cut",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Stalled => "stalled",
            Self::Lost => "lost",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A job's leases in order of epoch.
pub async fn of_job(conn: &mut PgConnection, job_id: JobId) -> Result<Vec<Lease>> {
    repo::leases_of(conn, job_id).await
}

/// Ends the open leases of a replica's jobs, which it left behind when it died; says how many. What they delivered is not known
/// here and counts as nothing: the ledger has what was charged.
pub async fn abandon(conn: &mut PgConnection, replica_id: ReplicaId, now: DateTime<Utc>) -> Result<u64> {
    repo::leases_abandon(conn, replica_id, now).await
}
