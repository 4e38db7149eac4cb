//! What a tenant has and what things cost.

use std::convert::Infallible;
use std::str::FromStr;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use broker::cell::ModelAvailability;
use broker::model::Model as Registered;
use chrono::{DateTime, Utc};
use ledger::Code;
use primitives::money::{self, AttoPrice};
use sqlx::PgConnection;

use super::cell::{Grade, grade};
use super::paging::{self, Page};
use super::receipt::UnitPrice;
use super::scalar::{BigInt, Decimal, Money};
use super::{caller, parts, view};
use crate::CURRENCY;
use crate::error::Error;

/// Queries about money and prices.
#[derive(Default)]
pub struct BillingQuery;

/// A tenant's credit.
#[derive(SimpleObject)]
pub struct Balance {
    /// Credit that has not lapsed, open holds not yet taken off.
    posted: Money,
    /// What running jobs hold for their worst case.
    pending: Money,
    /// What can be spent: posted less pending.
    available: Money,
    /// Where the credit comes from, in the order in which it is spent; lapsed lots last.
    lots: Vec<CreditLot>,
}

/// Credit that came at once and lapses at once.
#[derive(SimpleObject)]
pub struct CreditLot {
    /// Where it comes from.
    kind: CreditKind,
    /// What is left of it, open holds not yet taken off.
    amount: Money,
    /// When the rest lapses, if ever.
    expires_at: Option<DateTime<Utc>>,
    /// True once it has lapsed: it pays for nothing new.
    lapsed: bool,
}

/// Where credit comes from.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub enum CreditKind {
    /// It was paid for.
    Paid,
    /// It was given.
    Promo,
}

/// A model that can be asked for.
#[derive(SimpleObject)]
pub struct Model {
    /// Its name in requests, such as `spark-1`.
    id: ID,
    /// Its name for people.
    name: String,
    /// What it is for.
    kind: ModelKind,
    /// Prompt and output together.
    context_tokens: BigInt,
    /// The grade of a request that names none.
    grade: Grade,
    /// The highest output limit of a request.
    output_tokens_max: BigInt,
    /// What the prompt costs; null when the model is not for sale.
    input_price: Option<UnitPrice>,
    /// What those of its tokens cost that a node's cache holds; null when that is no less.
    cached_input_price: Option<UnitPrice>,
    /// What the output costs; null when the model is not for sale.
    output_price: Option<UnitPrice>,
    /// What a token costs that is read for an embedding; null where it makes none, or is not for sale.
    embedding_price: Option<UnitPrice>,
    /// Nodes that serve it now; none means that a request would wait or be refused.
    nodes: i32,
    /// Jobs that could begin at once.
    slots_free: i32,
}

/// What a model is for.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "broker::model::ModelKind")]
pub enum ModelKind {
    /// It goes on from a prompt.
    Generation,
    /// It tells texts' meanings as vectors.
    Embedding,
}

/// A model's name as a cursor.
struct ModelName(String);

impl FromStr for ModelName {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self(name.to_owned()))
    }
}

#[Object]
impl BillingQuery {
    /// The tenant's credit now.
    #[graphql(complexity = "10 + child_complexity")]
    async fn balance(&self, ctx: &Context<'_>) -> Result<Option<Balance>, Error> {
        let tenant_id = caller(ctx)?.tenant()?;
        let mut conn = view(ctx, tenant_id).await?;
        let balance = ledger::balance(&mut conn, tenant_id, CURRENCY, parts(ctx).clock.now()).await?;
        Ok(Some(balance.into()))
    }

    /// The models on offer, by name, with the prices in force.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn models(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, Model>>, Error> {
        caller(ctx)?;
        let page = Page::<ModelName>::try_new(first, after.as_deref())?;
        let available = parts(ctx).broker.models().await;
        let mut conn = parts(ctx).pool.acquire().await?;
        let after = page.after.as_ref().map(|ModelName(name)| name.as_str());
        let mut models = vec![];
        for model in broker::model::list(&mut conn, after, page.limit()).await? {
            let served = available.iter().find(|available| available.model == model.id);
            models.push(priced(&mut conn, model, served, parts(ctx).clock.now()).await?);
        }
        Ok(Some(page.connection(models, |model| model.id.to_string())))
    }
}

async fn priced(
    conn: &mut PgConnection,
    model: Registered,
    served: Option<&ModelAvailability>,
    now: DateTime<Utc>,
) -> Result<Model, Error> {
    let prices = match billing::price::in_force(conn, &model.id, CURRENCY, now).await {
        Ok(prices) => Some(prices),
        Err(billing::Error::NoPrice { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let embedding = match billing::price::of_embeddings(conn, &model.id, CURRENCY, now).await {
        Ok(price) => Some(price.price),
        Err(billing::Error::NoPrice { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let unit =
        |price: AttoPrice| UnitPrice { per_million: Decimal(price.to_decimal_per_million()), currency: CURRENCY };
    Ok(Model {
        id: model.id.into(),
        name: model.name,
        kind: model.kind.into(),
        context_tokens: model.context_tokens.into(),
        grade: grade(model.grade_default),
        output_tokens_max: model.output_tokens_max.into(),
        input_price: prices.as_ref().map(|prices| unit(prices.input.price)),
        cached_input_price: prices.as_ref().and_then(|prices| Some(unit(prices.cached_input?.price))),
        output_price: prices.as_ref().map(|prices| unit(prices.output.price)),
        embedding_price: embedding.map(unit),
        nodes: count(served.map_or(0, |served| served.nodes)),
        slots_free: count(served.map_or(0, |served| served.slots_free)),
    })
}

/// A small number for people.
pub fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl From<ledger::Balance> for Balance {
    fn from(balance: ledger::Balance) -> Self {
        let money = |amount| money::Money { amount, currency: balance.currency }.into();
        let lots = balance.lots.iter().map(|lot| CreditLot {
            kind: if lot.code == Code::PaidCredits { CreditKind::Paid } else { CreditKind::Promo },
            amount: money(lot.posted),
            expires_at: lot.expires_at,
            lapsed: lot.lapsed,
        });
        Self {
            posted: money(balance.posted),
            pending: money(balance.pending),
            available: money(balance.available),
            lots: lots.collect(),
        }
    }
}
