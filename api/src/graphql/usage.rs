//! What was used: where the money goes, by day, model, key or project.

use std::collections::HashMap;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, Object, SimpleObject};
use broker::job::Grouping;
use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{ApiKeyId, ProjectId, TenantId};
use primitives::money;
use sqlx::PgConnection;
use uuid::Uuid;

use super::paging::{self, Page};
use super::scalar::{BigInt, Money};
use super::{caller, view};
use crate::error::Error;
use crate::{CURRENCY, repo};

/// The longest period.
const DAYS_MAX: i64 = 366;
/// What work without a key is called.
const CONSOLE: &str = "console";

/// Queries about use.
#[derive(Default)]
pub struct UsageQuery;

/// What usage is summed over.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub enum UsageGroup {
    /// The day of its end, in UTC.
    Day,
    /// The model.
    Model,
    /// The key that asked.
    ApiKey,
    /// The project.
    Project,
}

/// What was used, summed up over one thing.
#[derive(SimpleObject)]
pub struct Usage {
    /// What it is summed over: the day (such as `2026-11-23`), the model, or the identifier of the key or project; null for
    /// what no key asked for.
    key: Option<String>,
    /// Its name for people.
    name: String,
    /// Jobs that ended.
    jobs: BigInt,
    /// Prompt tokens that were charged.
    input_tokens: BigInt,
    /// Of those, the ones that a node's cache held.
    cached_input_tokens: BigInt,
    /// Output tokens that were charged.
    output_tokens: BigInt,
    /// What they cost.
    amount: Money,
    #[graphql(skip)]
    cursor: String,
}

#[Object]
impl UsageQuery {
    /// What was used from one instant up to another (at most 366 days), grouped, in the order of the keys.
    #[graphql(complexity = "20 + paging::cost(first, child_complexity)")]
    async fn usage(
        &self,
        ctx: &Context<'_>,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        group_by: UsageGroup,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, Usage>>, Error> {
        let tenant_id = caller(ctx)?.tenant()?;
        if from >= to || to - from > TimeDelta::days(DAYS_MAX) {
            return Err(Error::invalid("to", format!("`to` must be after `from`, by at most {DAYS_MAX} days.")));
        }
        let page = Page::<String>::try_new(first, after.as_deref())?;
        let mut conn = view(ctx, tenant_id).await?;
        let grouping = Grouping::from(group_by);
        let after = page.after.as_deref();
        let sums = broker::job::usage(&mut conn, tenant_id, (from, to), grouping, after, page.limit()).await?;
        let ids = sums.iter().filter_map(|sum| sum.key.parse().ok()).collect::<Vec<Uuid>>();
        let names = names(&mut conn, tenant_id, group_by, &ids).await?;
        let usage = sums.into_iter().map(|sum| Usage::of(sum, group_by, &names)).collect();
        Ok(Some(page.connection(usage, |usage| usage.cursor.clone())))
    }
}

/// What people call the keys or projects.
async fn names(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    group: UsageGroup,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, String>, Error> {
    let names = match group {
        UsageGroup::Day | UsageGroup::Model => vec![],
        UsageGroup::ApiKey => repo::api_key_names(conn, tenant_id, ids).await?,
        UsageGroup::Project => repo::project_names(conn, tenant_id, ids).await?,
    };
    Ok(names.into_iter().collect())
}

impl Usage {
    fn of(sum: broker::job::Usage, group: UsageGroup, names: &HashMap<Uuid, String>) -> Self {
        let uuid = sum.key.parse::<Uuid>().ok();
        let name = uuid.and_then(|uuid| names.get(&uuid).cloned());
        let (key, name) = match (group, uuid) {
            (UsageGroup::Day | UsageGroup::Model, _) => (Some(sum.key.clone()), sum.key.clone()),
            (_, None) => (None, CONSOLE.to_owned()),
            (UsageGroup::ApiKey, Some(uuid)) => (Some(ApiKeyId(uuid).to_string()), name.unwrap_or_default()),
            (UsageGroup::Project, Some(uuid)) => (Some(ProjectId(uuid).to_string()), name.unwrap_or_default()),
        };
        Self {
            key,
            name,
            jobs: BigInt(sum.jobs),
            input_tokens: BigInt(sum.input_tokens),
            cached_input_tokens: BigInt(sum.cached_tokens),
            output_tokens: BigInt(sum.output_tokens),
            amount: money::Money { amount: sum.charge, currency: CURRENCY }.into(),
            cursor: sum.key,
        }
    }
}

impl From<UsageGroup> for Grouping {
    fn from(group: UsageGroup) -> Self {
        match group {
            UsageGroup::Day => Self::Day,
            UsageGroup::Model => Self::Model,
            UsageGroup::ApiKey => Self::Key,
            UsageGroup::Project => Self::Project,
        }
    }
}
