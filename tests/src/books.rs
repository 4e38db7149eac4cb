//! Whether the money is right, read from the tables as an auditor would.

use primitives::id::{JobId, TenantId};
use sqlx::PgConnection;

use crate::wait::eventually;

/// A tenant's paid and promo credits together. *Units*: nanos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Posted.
    pub posted: i64,
    /// Held for jobs.
    pub pending: i64,
}

/// A job as its record has it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct JobRow {
    /// Which.
    pub job_id: JobId,
    /// `admitted`, `streaming`, `done`, `failed`, `cancelled` or `voided`.
    pub status: String,
    /// Counted by the platform.
    pub prompt_tokens: i64,
    /// Counted by the platform, once the job has ended.
    pub output_tokens: Option<i64>,
    /// Why the output ended.
    pub finish_reason: Option<String>,
    /// Why it failed.
    pub error_code: Option<String>,
    /// The worst case. *Units*: nanos.
    pub hold_nanos: i64,
    /// What was paid, once the job has ended. *Units*: nanos.
    pub charge_nanos: Option<i64>,
}

/// Waits until every job and lease has ended and no hold is open.
pub async fn settled(connection: &mut PgConnection) {
    let open = "SELECT (SELECT count(*) FROM broker.jobs WHERE ended_at IS NULL)
                     + (SELECT count(*) FROM broker.leases WHERE ended_at IS NULL)
                     + (SELECT count(*) FROM ledger.accounts WHERE debits_pending + credits_pending > 0)";
    eventually("every job and lease ended and every hold was released", async || {
        (number(connection, open).await == 0).then_some(())
    })
    .await;
}

/// Panics unless jobs, usage and money say the same.
pub async fn check(connection: &mut PgConnection) {
    for (promise, violations) in PROMISES {
        let found = number(connection, violations).await;
        assert_eq!(found, 0, "{promise}; exceptions: {found}");
    }
}

/// Promises, and how many things break each.
const PROMISES: [(&str, &str); 11] = [
    ("every job has ended", "SELECT count(*) FROM broker.jobs WHERE ended_at IS NULL"),
    ("every lease has ended", "SELECT count(*) FROM broker.leases WHERE ended_at IS NULL"),
    ("nothing is held any more", "SELECT count(*) FROM ledger.accounts WHERE debits_pending + credits_pending <> 0"),
    (
        "no account that may not be overdrawn is",
        "SELECT count(*) FROM ledger.accounts
         WHERE no_overdraft AND (credits_posted - debits_posted) * CASE normal_side WHEN 'credit' THEN 1 ELSE -1 END < 0",
    ),
    (
        "debits equal credits in every currency",
        "SELECT count(*) FROM (
             SELECT unit FROM ledger.accounts GROUP BY unit HAVING sum(debits_posted) <> sum(credits_posted)
         ) AS unbalanced",
    ),
    (
        "an account's balance is what its transfers make of it",
        "SELECT count(*)
         FROM ledger.accounts
         LEFT JOIN (
             SELECT id, sum(debits) AS debits, sum(credits) AS credits
             FROM ledger.journal
             CROSS JOIN LATERAL (
                 VALUES (debit_account_id, amount, 0), (credit_account_id, 0, amount)
             ) AS legs (id, debits, credits)
             WHERE kind IN ('posted', 'capture')
             GROUP BY id
         ) AS moved USING (id)
         WHERE debits_posted <> coalesce(debits, 0) OR credits_posted <> coalesce(credits, 0)",
    ),
    (
        "every revenue leg has its class",
        "SELECT count(*)
         FROM ledger.journal
         WHERE kind IN ('posted', 'capture')
            AND (debit_code BETWEEN 4000 AND 4999 OR credit_code BETWEEN 4000 AND 4999)
            AND bucket IS NULL",
    ),
    (
        "every transfer is in the journal",
        "SELECT (SELECT count(*) FROM ledger.transfers) - (SELECT count(*) FROM ledger.journal)",
    ),
    (
        "a job's charge is the sum of its usage, and delivered tokens are billed once",
        "SELECT count(*)
         FROM broker.jobs
         LEFT JOIN (
             SELECT
                 link_id AS job_id,
                 sum(usage_facts.amount) AS amount,
                 sum(quantity) FILTER (WHERE meter = 'output') AS output,
                 sum(quantity) FILTER (WHERE meter IN ('input', 'cached_input', 'embedding')) AS input
             FROM ledger.usage_facts
             JOIN ledger.transfers USING (seq)
             JOIN ledger.leaves ON leaves.id = usage_facts.leaf_id AND leaves.shard = seq / 1000000000000000
             GROUP BY link_id
         ) AS used USING (job_id)
         WHERE coalesce(charge_nanos, 0) <> coalesce(amount, 0)
            OR coalesce(output_tokens, 0) <> coalesce(output, 0)
            OR coalesce(input, 0) NOT IN (0, prompt_tokens)",
    ),
    (
        "what a job charges is what its tenant's credits paid for it, and never more than its hold",
        "SELECT count(*)
         FROM broker.jobs
         LEFT JOIN (
             SELECT link_id AS job_id, sum(amount) AS amount
             FROM ledger.journal
             WHERE kind IN ('capture', 'posted') AND debit_code IN (2000, 2010)
             GROUP BY link_id
         ) AS captured USING (job_id)
         WHERE coalesce(charge_nanos, 0) <> coalesce(amount, 0) OR coalesce(charge_nanos, 0) > hold_nanos",
    ),
    (
        "a delivered token belongs to one lease, unless a power cut took the lease's own count",
        "SELECT count(*)
         FROM broker.jobs
         JOIN (
             SELECT job_id, sum(output_tokens) AS delivered
             FROM broker.leases
             GROUP BY job_id
             HAVING bool_and(outcome <> 'abandoned')
         ) AS leased USING (job_id)
         WHERE status IN ('done', 'cancelled') AND output_tokens <> delivered",
    ),
];

/// Every job, oldest first.
pub async fn jobs(connection: &mut PgConnection) -> Vec<JobRow> {
    sqlx::query_as("SELECT * FROM broker.jobs ORDER BY job_id").fetch_all(connection).await.expect("jobs can be read")
}

/// One job.
pub async fn job(connection: &mut PgConnection, job_id: &str) -> JobRow {
    let id: JobId = job_id.parse().expect("a job's id");
    let query = sqlx::query_as("SELECT * FROM broker.jobs WHERE job_id = $1").bind(id.0);
    query.fetch_one(connection).await.expect("the job is on record")
}

/// How many leases a job had.
pub async fn leases(connection: &mut PgConnection, job_id: &str) -> i64 {
    let id: JobId = job_id.parse().expect("a job's id");
    let query = sqlx::query_scalar("SELECT count(*) FROM broker.leases WHERE job_id = $1").bind(id.0);
    query.fetch_one(connection).await.expect("leases can be counted")
}

/// What a tenant has and what of it is held.
pub async fn balance(connection: &mut PgConnection, tenant_id: TenantId) -> Balance {
    let (posted, pending) = sqlx::query_as(
        "SELECT
             coalesce(sum(credits_posted - debits_posted), 0)::bigint,
             coalesce(sum(debits_pending), 0)::bigint
         FROM ledger.accounts
         WHERE owner_id = $1 AND code IN (2000, 2010)",
    )
    .bind(tenant_id.0)
    .fetch_one(connection)
    .await
    .expect("accounts can be read");
    Balance { posted, pending }
}

/// The oldest tenant, which is the seed's.
pub async fn demo_tenant(connection: &mut PgConnection) -> TenantId {
    let query = sqlx::query_scalar("SELECT id FROM api.tenants ORDER BY id LIMIT 1");
    query.fetch_one(connection).await.expect("the seed made a tenant")
}

/// The answer of a query that gives one number.
pub async fn number(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap_or_else(|error| panic!("{error}: {sql}"))
}
