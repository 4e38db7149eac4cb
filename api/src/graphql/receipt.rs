//! A job's receipt: tokens × price = amount, the transfers that moved it, the block that keeps them, and who did it.

use async_graphql::{Context, ID, Object, SimpleObject};
use broker::job::JobRecord;
use broker::lease::Lease;
use chrono::{DateTime, Utc};
use ledger::{BlockRef, Kind, TransferView, UsageView};
use primitives::id::{JobId, PriceId};
use primitives::money::{self, Currency, Nanos};
use sqlx::PgConnection;

use super::cell::{Grade, grade};
use super::job::{FinishReason, JobStatus, find, prompt_tokens_charged};
use super::scalar::{BigInt, Decimal, Money, id};
use super::{caller, view};
use crate::error::Error;

/// Queries about what jobs cost.
#[derive(Default)]
pub struct ReceiptQuery;

/// What a job cost and why.
#[derive(SimpleObject)]
pub struct Receipt {
    /// Which job.
    job_id: ID,
    /// The model's name.
    model: String,
    /// How far the job is; the money is final once it has ended.
    status: JobStatus,
    /// Why the output ended, once it did well.
    finish_reason: Option<FinishReason>,
    /// The prompt's tokens that are charged.
    prompt_tokens: BigInt,
    /// Delivered tokens, all charged.
    completion_tokens: BigInt,
    /// What was counted, its price and what that makes; none while the job runs.
    lines: Vec<ReceiptLine>,
    /// The lowest grade that the job took.
    grade_asked: Grade,
    /// The lowest grade of the cells that worked on it; none before the first.
    grade: Option<Grade>,
    /// What was held for the worst case when the job began.
    hold: Money,
    /// What the job cost: the lines' sum.
    total: Money,
    /// What was held for the worst case and is free again, once the job has ended.
    hold_released: Option<Money>,
    /// Every transfer of the job, in order.
    transfers: Vec<Transfer>,
    /// The ledger's block that keeps the settlement, once there is one.
    block: Option<Block>,
    /// The nodes that worked on it, in order.
    segments: Vec<ReceiptSegment>,
    /// When the request came.
    received_at: DateTime<Utc>,
    /// When its first token was delivered.
    first_token_at: Option<DateTime<Utc>>,
    /// When it ended.
    ended_at: Option<DateTime<Utc>>,
}

/// One meter's part of a receipt.
#[derive(SimpleObject)]
pub struct ReceiptLine {
    /// What was counted: `input`, `cached_input`, `output` or `embedding`.
    meter: String,
    /// How many. *Units*: tokens.
    quantity: BigInt,
    /// The price that was pinned when the job was admitted.
    unit_price: UnitPrice,
    /// Quantity × price, rounded once, half to even.
    amount: Money,
}

/// A price of one meter.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct UnitPrice {
    /// For a million units, in major units of the currency; exact.
    pub per_million: Decimal,
    #[graphql(skip)]
    pub currency: Currency,
}

#[async_graphql::ComplexObject]
impl UnitPrice {
    /// Of what, such as "USD".
    async fn currency(&self) -> &str {
        self.currency.as_str()
    }
}

/// One balanced debit and credit of the ledger.
#[derive(SimpleObject)]
pub struct Transfer {
    /// Its identifier.
    id: ID,
    /// What it does.
    kind: TransferKind,
    /// The account that is debited, such as `2010 promo credits`.
    debit: String,
    /// The account that is credited.
    credit: String,
    /// How much.
    amount: Money,
    /// When its block was made.
    at: DateTime<Utc>,
}

/// What a transfer does.
#[derive(Clone, Copy, PartialEq, Eq, async_graphql::Enum)]
#[graphql(remote = "ledger::Kind")]
pub enum TransferKind {
    /// Moves money.
    Posted,
    /// Holds money until it is captured or voided.
    Pending,
    /// Moves at most what a hold holds, and releases the rest.
    Capture,
    /// Releases all that a hold holds.
    Void,
    /// Moves nothing and heads a group of facts alone.
    Note,
}

/// A block of the ledger's chain.
#[derive(SimpleObject)]
pub struct Block {
    /// Its place in the chain.
    height: BigInt,
    /// Its SHA-256, in hexadecimal: it covers the block before, and so everything before it.
    hash: String,
}

/// One node's part of a job.
#[derive(SimpleObject)]
pub struct ReceiptSegment {
    /// The lease's number within the job: 1 for the first node, then one more each time another goes on.
    epoch: i32,
    /// Which node.
    node_id: ID,
    /// The grade of its cell.
    grade: Option<Grade>,
    /// Tokens delivered by it, once the job has ended.
    tokens: Option<BigInt>,
    /// How its part ended, such as `done` or `lost`.
    outcome: Option<String>,
    /// When it got the job.
    granted_at: DateTime<Utc>,
    /// When its part ended.
    ended_at: Option<DateTime<Utc>>,
}

#[Object]
impl ReceiptQuery {
    /// The receipt of one of the tenant's jobs.
    #[graphql(complexity = "30 + child_complexity")]
    async fn receipt(&self, ctx: &Context<'_>, job_id: ID) -> Result<Option<Receipt>, Error> {
        let tenant_id = caller(ctx)?.tenant()?;
        let job_id: JobId = id("jobId", &job_id)?;
        let mut conn = view(ctx, tenant_id).await?;
        let job = find(&mut conn, tenant_id, job_id).await?;
        let usage = ledger::usage_facts(&mut conn, job_id).await?;
        let lines = lines(&mut conn, &usage, job.currency).await?;
        let transfers = ledger::link_transfers(&mut conn, job_id.0).await?;
        let leases = broker::lease::of_job(&mut conn, job_id).await?;
        let ended = job.ended_at.is_some();
        let segments = leases.into_iter().map(|lease| ReceiptSegment::new(lease, &usage, ended)).collect();
        Ok(Some(Receipt::new(job, lines, transfers, segments)?))
    }
}

/// One line for each meter and price: segments of one job are charged together.
async fn lines(conn: &mut PgConnection, usage: &[UsageView], currency: Currency) -> Result<Vec<ReceiptLine>, Error> {
    let mut sums: Vec<(&str, PriceId, i64, Nanos)> = vec![];
    for fact in usage {
        match sums.iter_mut().find(|(meter, price, ..)| *meter == fact.meter && *price == fact.price_id) {
            Some((_, _, quantity, amount)) => {
                *quantity += fact.quantity;
                *amount = sum(*amount, fact.amount)?;
            }
            None => sums.push((&fact.meter, fact.price_id, fact.quantity, fact.amount)),
        }
    }
    let mut lines = vec![];
    for (meter, price_id, quantity, amount) in sums {
        let price = billing::price::get(conn, price_id).await?.price;
        lines.push(ReceiptLine {
            meter: meter.to_owned(),
            quantity: BigInt(quantity),
            unit_price: UnitPrice { per_million: Decimal(price.to_decimal_per_million()), currency },
            amount: money::Money { amount, currency }.into(),
        });
    }
    Ok(lines)
}

fn sum(a: Nanos, b: Nanos) -> Result<Nanos, Error> {
    a.checked_add(b).map_err(|error| Error::Internal(error.into()))
}

impl Receipt {
    fn new(
        job: JobRecord,
        lines: Vec<ReceiptLine>,
        transfers: Vec<TransferView>,
        segments: Vec<ReceiptSegment>,
    ) -> Result<Self, Error> {
        let currency = job.currency;
        let money = |amount| Money::from(money::Money { amount, currency });
        let released = job.charge.map(|charge| job.hold.checked_sub(charge)).transpose();
        let settlement = transfers.iter().rev().find(|transfer| transfer.kind != Kind::Pending);
        Ok(Self {
            job_id: job.job_id.into(),
            status: job.status.into(),
            finish_reason: job.finish_reason.map(FinishReason::from),
            prompt_tokens: prompt_tokens_charged(&job).into(),
            completion_tokens: job.output_tokens.unwrap_or_default().into(),
            lines,
            total: money(job.charge.unwrap_or(Nanos::ZERO)),
            grade_asked: grade(job.grade),
            grade: segments.iter().filter_map(|segment| segment.grade).min(),
            hold: money(job.hold),
            hold_released: released.map_err(|error| Error::Internal(error.into()))?.map(money),
            block: settlement.map(|transfer| transfer.block.into()),
            transfers: transfers.into_iter().map(Transfer::from).collect(),
            segments,
            received_at: job.received_at,
            first_token_at: job.first_token_at,
            ended_at: job.ended_at,
            model: job.model,
        })
    }
}

impl From<BlockRef> for Block {
    fn from(block: BlockRef) -> Self {
        Self { height: BigInt(block.height), hash: block.hash_hex() }
    }
}

impl From<TransferView> for Transfer {
    fn from(transfer: TransferView) -> Self {
        Self {
            id: transfer.id.into(),
            kind: transfer.kind.into(),
            debit: transfer.debit,
            credit: transfer.credit,
            amount: money::Money { amount: transfer.amount, currency: transfer.currency }.into(),
            at: transfer.at,
        }
    }
}

impl ReceiptSegment {
    /// An ended job's tokens are those that were charged: its leases' own counts are written a moment later.
    fn new(lease: Lease, usage: &[UsageView], job_ended: bool) -> Self {
        let own = usage.iter().filter(|fact| u32::try_from(fact.segment) == Ok(lease.epoch) && fact.meter == "output");
        let charged = own.map(|fact| fact.quantity).sum::<i64>();
        Self {
            epoch: i32::try_from(lease.epoch).unwrap_or(i32::MAX),
            node_id: lease.node_id.into(),
            grade: lease.grade.map(grade),
            tokens: job_ended.then_some(BigInt(charged)),
            outcome: lease.outcome.map(|outcome| outcome.as_str().to_owned()),
            granted_at: lease.granted_at,
            ended_at: lease.ended_at,
        }
    }
}
