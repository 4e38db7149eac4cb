//! Convictions: nodes that were found to run another model than they say, on what evidence, and what their providers say to it.

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use broker::trust::conviction::{self as trust, Conviction as Record};
use chrono::{DateTime, Utc};
use primitives::id::ConvictionId;

use super::paging::{self, Page};
use super::refusal::{Refusal, answer, refused_payloads};
use super::scalar::id;
use super::{caller, parts};
use crate::error::Error;

/// Queries about convictions.
#[derive(Default)]
pub struct ConvictionQuery;

/// Changes of convictions.
#[derive(Default)]
pub struct ConvictionMutation;

/// A node that was found to run another model than it says.
#[derive(SimpleObject)]
pub struct Conviction {
    /// Its identifier.
    id: ID,
    /// The node.
    node_id: ID,
    /// The provider whose it is.
    provider_id: ID,
    /// The model's name.
    model: ID,
    /// Why, as a sentence.
    reason: String,
    /// What it rests on, a JSON document: the node's signed word on what it is, its signed receipts, what replaying its output found,
    /// and the rule. Of prompts and outputs it has digests alone.
    evidence: String,
    /// How far it is.
    state: ConvictionState,
    /// When; the node was suspended then.
    convicted_at: DateTime<Utc>,
    /// Until when the provider may appeal; then it is upheld by itself.
    appeal_until: DateTime<Utc>,
    /// What the provider says to it.
    appeal: Option<String>,
    /// When it did.
    appealed_at: Option<DateTime<Utc>>,
    /// Why it was upheld or overturned.
    decision: Option<String>,
    /// When it was.
    decided_at: Option<DateTime<Utc>>,
}

/// How far a conviction is.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "broker::trust::conviction::ConvictionState")]
pub enum ConvictionState {
    /// The provider may appeal.
    Open,
    /// An operator is to decide.
    Appealed,
    /// It stands: what was kept back of the node's earnings is forfeited.
    Upheld,
    /// It was wrong: the node goes on where it was.
    Overturned,
}

/// An appeal against a conviction.
#[derive(InputObject)]
pub struct AppealCreateInput {
    /// The conviction.
    conviction_id: ID,
    /// What there is to say: 1 to 2,000 characters.
    text: String,
}

/// An appeal that was made.
#[derive(Default, SimpleObject)]
pub struct AppealCreatePayload {
    /// The conviction as it is now.
    conviction: Option<Conviction>,
    /// Why nothing was changed.
    refusal: Option<Refusal>,
}

/// A conviction to be decided, whether it was appealed or not.
#[derive(InputObject)]
pub struct AppealDecideInput {
    /// The conviction.
    conviction_id: ID,
    /// True overturns it: the node goes on where it was. False upholds it: what was kept back is forfeited.
    overturn: bool,
    /// Why, for the provider: 1 to 500 characters.
    reason: String,
}

/// A conviction that was decided.
#[derive(Default, SimpleObject)]
pub struct AppealDecidePayload {
    /// The conviction as it is now.
    conviction: Option<Conviction>,
    /// Why nothing was changed.
    refusal: Option<Refusal>,
}

refused_payloads! { AppealCreatePayload AppealDecidePayload }

#[Object]
impl ConvictionQuery {
    /// Convictions, newest first: a provider's own, and all for operators.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn convictions(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, Conviction>>, Error> {
        let owner = caller(ctx)?.steward()?;
        let page = Page::<ConvictionId>::try_new(first, after.as_deref())?;
        let mut conn = parts(ctx).pool.acquire().await?;
        let rows = trust::page(&mut conn, owner, page.after, page.limit()).await?;
        Ok(Some(page.connection(rows.into_iter().map(Conviction::from).collect(), |it| it.id.to_string())))
    }
}

#[Object]
impl ConvictionMutation {
    /// Appeals against a conviction of one of the provider's nodes, in its time: nothing is forfeited before an operator has decided.
    #[graphql(complexity = "50 + child_complexity")]
    async fn appeal_create(
        &self,
        ctx: &Context<'_>,
        input: AppealCreateInput,
    ) -> Result<Option<AppealCreatePayload>, Error> {
        let made = appeal(ctx, input).await;
        answer(made.map(|conviction| AppealCreatePayload { conviction: Some(conviction), refusal: None }))
    }

    /// Upholds or overturns a conviction.
    #[graphql(complexity = "50 + child_complexity")]
    async fn appeal_decide(
        &self,
        ctx: &Context<'_>,
        input: AppealDecideInput,
    ) -> Result<Option<AppealDecidePayload>, Error> {
        let decided = decide(ctx, input).await;
        answer(decided.map(|conviction| AppealDecidePayload { conviction: Some(conviction), refusal: None }))
    }
}

async fn appeal(ctx: &Context<'_>, input: AppealCreateInput) -> Result<Conviction, Error> {
    let owner = caller(ctx)?.provider()?;
    let conviction_id = id("convictionId", &input.conviction_id)?;
    Ok(parts(ctx).supply.appeal(owner, conviction_id, &input.text).await?.into())
}

async fn decide(ctx: &Context<'_>, input: AppealDecideInput) -> Result<Conviction, Error> {
    let user_id = caller(ctx)?.operator()?;
    let conviction_id = id("convictionId", &input.conviction_id)?;
    let decided = parts(ctx).supply.decide_appeal(conviction_id, input.overturn, &input.reason, user_id);
    Ok(decided.await?.into())
}

impl From<Record> for Conviction {
    fn from(conviction: Record) -> Self {
        Self {
            id: conviction.id.into(),
            node_id: conviction.node_id.into(),
            provider_id: conviction.provider_id.into(),
            model: ID(conviction.model),
            reason: conviction.reason,
            evidence: conviction.evidence.to_string(),
            state: conviction.state.into(),
            convicted_at: conviction.convicted_at,
            appeal_until: conviction.appeal_until,
            appeal: conviction.appeal,
            appealed_at: conviction.appealed_at,
            decision: conviction.decision,
            decided_at: conviction.decided_at,
        }
    }
}
