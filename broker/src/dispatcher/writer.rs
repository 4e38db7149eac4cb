//! The task that records leases and presences, so that the core never waits for the database.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::mpsc;

use super::{Answer, Command, Commands};
use crate::lease::{EndedLease, GrantedLease};
use crate::presence::{self, Presence};
use crate::receipt::{self, CheckedEnd, Mismatch};
use crate::trust::audit::{self, Audit};
use crate::{Result, repo};

/// Records written by one statement.
const BATCH_MAX: usize = 256;
/// How long a failed write waits for its next try.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Something to be recorded.
#[derive(Debug)]
pub(super) enum Write {
    /// A lease, before its work is sent.
    Grant(GrantedLease),
    /// The end of a lease, with the key that its receipt should be signed by.
    End { lease: Box<EndedLease>, public_key: Option<[u8; 32]> },
    /// That a node was there.
    Present(Presence),
    /// What an audit found.
    Audited(Box<Audit>),
}

/// Records what comes until nothing can come any more.
///
/// Within a batch grants go before ends: a lease's end comes after its grant, and a job's next grant after the answer on
/// its last. An end that could not be written is tried again; a grant is not, since its job waits for the answer.
pub(super) async fn run(pool: PgPool, mut writes: mpsc::UnboundedReceiver<Write>, commands: Commands) {
    let (mut batch, mut ends) = (Vec::with_capacity(BATCH_MAX), Vec::new());
    loop {
        let wait = if ends.is_empty() { Duration::MAX } else { RETRY_AFTER };
        let received = tokio::time::timeout(wait, writes.recv_many(&mut batch, BATCH_MAX)).await;
        let (mut grants, mut presences, mut audits) = (Vec::new(), Vec::new(), Vec::new());
        for write in batch.drain(..) {
            match write {
                Write::Grant(lease) => grants.push(lease),
                Write::End { lease, public_key } => ends.push(check(*lease, public_key)),
                Write::Present(presence) => presences.push(presence),
                Write::Audited(audit) => audits.push(*audit),
            }
        }
        if !grants.is_empty() {
            // Without a broker nobody waits for the answer.
            let _ = commands.send(Command::Recorded(record(&pool, &grants).await));
        }
        if !ends.is_empty() {
            match record_ends(&pool, &ends).await {
                Ok(()) => ends.clear(),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "lease ends wait to be recorded")
                }
            }
        }
        if !presences.is_empty()
            && let Err(error) = presence::extend(&pool, &presences).await
        {
            // The next ones make a short gap good; in a longer one nothing could be sold.
            tracing::warn!(error = &error as &dyn std::error::Error, "presences of nodes are not recorded");
        }
        if !audits.is_empty()
            && let Err(error) = audit::record(&pool, &audits).await
        {
            // As many more are to come as it takes.
            tracing::warn!(error = &error as &dyn std::error::Error, "audits are not recorded");
        }
        if received == Ok(0) {
            return report_unwritten(ends.len());
        }
    }
}

async fn record(pool: &PgPool, grants: &[GrantedLease]) -> Vec<Answer> {
    let recorded = match insert(pool, grants).await {
        Ok(recorded) => recorded,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "leases could not be recorded; their jobs fail");
            Vec::new()
        }
    };
    let answer = |lease: &GrantedLease| {
        let recorded = recorded.contains(&(lease.job_id, lease.epoch));
        Answer { job_id: lease.job_id, epoch: lease.epoch, recorded }
    };
    grants.iter().map(answer).collect()
}

async fn insert(pool: &PgPool, grants: &[GrantedLease]) -> Result<Vec<(primitives::id::JobId, u32)>> {
    repo::leases_insert(&mut *pool.acquire().await?, grants).await
}

async fn record_ends(pool: &PgPool, ends: &[CheckedEnd]) -> Result<()> {
    let mut conn = pool.acquire().await?;
    repo::leases_end(&mut conn, ends).await?;
    repo::receipts_insert(&mut conn, ends).await
}

fn check(lease: EndedLease, public_key: Option<[u8; 32]>) -> CheckedEnd {
    metrics::counter!("broker_leases_total", "outcome" => lease.outcome.as_str()).increment(1);
    let verdict = lease.receipt.as_ref().map(|signed| match &public_key {
        Some(public_key) => receipt::verify(signed, public_key, &lease),
        None => Err(Mismatch::Signature),
    });
    let mismatch = verdict.and_then(std::result::Result::err);
    if let Some(mismatch) = mismatch {
        metrics::counter!("broker_receipts_mismatched_total").increment(1);
        tracing::warn!(node.id = %lease.node_id, job.id = %lease.job_id, %mismatch, "a receipt differs from what was delivered");
    }
    CheckedEnd { lease, mismatch }
}

fn report_unwritten(ends: usize) {
    if ends > 0 {
        tracing::error!(leases = ends, "the ends of leases stay unrecorded");
    }
}
