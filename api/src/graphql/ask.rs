//! Asks: what a provider wants for a model on a node.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use primitives::id::{AskId, NodeId};
use primitives::money::AttoPrice;

use super::paging::{self, Page};
use super::receipt::UnitPrice;
use super::refusal::{Refusal, answer, refused_payloads};
use super::scalar::{Decimal, id};
use super::{caller, parts};
use crate::error::Error;
use crate::supply::{NewAsk, node_of};

/// Queries about asks.
#[derive(Default)]
pub struct AskQuery;

/// Changes of asks.
#[derive(Default)]
pub struct AskMutation;

/// A provider's prices for a model on a node; what was asked before stays on record.
#[derive(SimpleObject)]
pub struct Ask {
    /// Its identifier.
    id: ID,
    /// On which node.
    node_id: ID,
    /// The model's name.
    model: ID,
    /// For the prompt.
    input_price: UnitPrice,
    /// For the output.
    output_price: UnitPrice,
    /// In force from here until the next ask for the same model and node.
    valid_from: DateTime<Utc>,
}

/// An ask to be published.
#[derive(InputObject)]
pub struct AskPublishInput {
    /// On which node of the provider's.
    node_id: ID,
    /// The model's name.
    model: String,
    /// For a million tokens of the prompt, in US dollars; at most what tenants pay.
    input_per_million: Decimal,
    /// For a million tokens of the output, in US dollars; at most what tenants pay.
    output_per_million: Decimal,
    /// From when on; from now when absent.
    valid_from: Option<DateTime<Utc>>,
}

/// An ask that was published. What runs already is paid as it began.
#[derive(Default, SimpleObject)]
pub struct AskPublishPayload {
    /// The ask.
    ask: Option<Ask>,
    /// Why it was not published.
    refusal: Option<Refusal>,
}

refused_payloads! { AskPublishPayload }

#[Object]
impl AskQuery {
    /// The asks of one of the provider's nodes, newest first, those of before too; an operator sees every node's.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn asks(
        &self,
        ctx: &Context<'_>,
        node_id: ID,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, Ask>>, Error> {
        let owner = caller(ctx)?.steward()?;
        let node_id: NodeId = id("nodeId", &node_id)?;
        let page = Page::<AskId>::try_new(first, after.as_deref())?;
        let mut conn = parts(ctx).pool.acquire().await?;
        node_of(&mut conn, node_id, owner).await?;
        let asks = broker::ask::history(&mut conn, node_id, page.after, page.limit()).await?;
        Ok(Some(page.connection(asks.into_iter().map(Ask::from).collect(), |ask| ask.id.to_string())))
    }
}

#[Object]
impl AskMutation {
    /// Publishes an ask for a model on one of the provider's nodes.
    #[graphql(complexity = "50 + child_complexity")]
    async fn ask_publish(&self, ctx: &Context<'_>, input: AskPublishInput) -> Result<Option<AskPublishPayload>, Error> {
        answer(publish(ctx, input).await)
    }
}

async fn publish(ctx: &Context<'_>, input: AskPublishInput) -> Result<AskPublishPayload, Error> {
    let provider_id = caller(ctx)?.provider()?;
    let new = NewAsk {
        node_id: id("nodeId", &input.node_id)?,
        model: input.model,
        input: price("inputPerMillion", input.input_per_million)?,
        output: price("outputPerMillion", input.output_per_million)?,
        valid_from: input.valid_from,
    };
    let ask = parts(ctx).supply.publish_ask(provider_id, new).await?;
    Ok(AskPublishPayload { ask: Some(ask.into()), refusal: None })
}

fn price(param: &str, quote: Decimal) -> Result<AttoPrice, Error> {
    let message = "A price is zero or more, in US dollars for a million tokens, with at most 12 decimals.";
    AttoPrice::per_million(quote.0).map_err(|_| Error::invalid(param, message))
}

impl From<broker::ask::Ask> for Ask {
    fn from(ask: broker::ask::Ask) -> Self {
        let currency = ask.prices.currency;
        let unit = |price: AttoPrice| UnitPrice { per_million: Decimal(price.to_decimal_per_million()), currency };
        Self {
            id: ask.id.into(),
            node_id: ask.node_id.into(),
            model: ask.model.into(),
            input_price: unit(ask.prices.input),
            output_price: unit(ask.prices.output),
            valid_from: ask.valid_from,
        }
    }
}
