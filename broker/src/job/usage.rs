//! What a tenant used: jobs that ended, their tokens and what they cost, summed up.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::Nanos;
use sqlx::PgConnection;

use crate::{Result, repo};

/// What usage is summed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// The day of the end, in UTC.
    Day,
    /// The model.
    Model,
    /// The key that asked; one sum is for all that no key asked for.
    Key,
    /// The project.
    Project,
}

impl Grouping {
    /// The word for it in queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Model => "model",
            Self::Key => "key",
            Self::Project => "project",
        }
    }
}

/// One sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// A day as `2026-11-23`, a model's name, or a UUID; empty for what no key asked for.
    pub key: String,
    /// Jobs that ended.
    pub jobs: i64,
    /// Prompt tokens that were charged.
    pub input_tokens: i64,
    /// Of those, the ones that a cache held.
    pub cached_tokens: i64,
    /// Output tokens that were charged.
    pub output_tokens: i64,
    /// What they cost.
    pub charge: Nanos,
}

/// A tenant's usage from one instant up to another, ordered by key, those after `after` when given; at most `limit`.
pub async fn usage(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    period: (DateTime<Utc>, DateTime<Utc>),
    grouping: Grouping,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Usage>> {
    repo::jobs_usage(conn, tenant_id, period, grouping, after, limit).await
}
