//! What a provider earns: now, by day, by node, by job; and its statement, which is the ledger's own account.

use std::str::FromStr;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use broker::earning::{self, ProviderDay};
use broker::holdback::{self, EARNED_BY, Holdback as Kept, HoldbackState as State};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use ledger::{AccountId, Code, PAGE_MAX, StatementLine};
use primitives::id::{JobId, ProviderId};
use primitives::money::{self, Nanos};
use sqlx::PgConnection;

use super::paging::{self, Page};
use super::receipt::Block;
use super::scalar::{BigInt, Money};
use super::{caller, parts};
use crate::CURRENCY;
use crate::error::Error;

/// The longest statement.
const DAYS_MAX: i64 = 92;
/// Holdbacks that are shown.
const HOLDBACKS_MAX: u32 = 100;

/// Queries about earnings.
#[derive(Default)]
pub struct EarningsQuery;

/// What a provider is owed and where it comes from.
#[derive(SimpleObject)]
pub struct ProviderBalance {
    /// What it is owed and could be paid: earned, less what was kept back, paid out or taken back.
    owed: Money,
    /// What is kept back for a time.
    kept_back: Money,
    /// What it earned today (in UTC), to a few seconds.
    earned_today: Money,
    /// What each node earned in all, by node.
    nodes: Vec<NodeEarnings>,
    /// What is kept back, the next to be released first; the first hundred.
    holdbacks: Vec<Holdback>,
}

/// What a node earned in all.
#[derive(SimpleObject)]
pub struct NodeEarnings {
    /// Which node.
    node_id: ID,
    /// What it earned.
    earned: Money,
    /// By so many parts of jobs.
    jobs: BigInt,
}

/// What a new node earned, kept back for a time.
#[derive(SimpleObject)]
pub struct Holdback {
    /// The node that earned it.
    node_id: ID,
    /// How much.
    amount: Money,
    /// When it is the provider's again.
    release_at: DateTime<Utc>,
    /// How far it is.
    state: HoldbackState,
}

/// How far a holdback is.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "broker::holdback::HoldbackState")]
pub enum HoldbackState {
    /// The ledger is about to reserve it.
    Due,
    /// It is kept back.
    Reserved,
    /// It is the provider's again.
    Released,
    /// The node was convicted: it stays with the platform.
    Forfeited,
    /// There was not so much left to keep back.
    Refused,
}

/// A provider's account of some days: what it was owed before, what moved that, what it is owed after.
#[derive(SimpleObject)]
pub struct ProviderStatement {
    /// The first day's begin, in UTC.
    from: DateTime<Utc>,
    /// The last day's end, in UTC; now where that is later.
    to: DateTime<Utc>,
    /// What was owed before.
    opening: Money,
    /// What was owed after.
    closing: Money,
    /// What moved it, by day, node and event; the latest day first.
    days: Vec<ProviderDayLine>,
    /// True when the opening and the days make the closing to the last unit. False only while the last seconds are added up.
    ties: bool,
}

/// Transfers of one day, node and event, added up.
#[derive(SimpleObject)]
pub struct ProviderDayLine {
    /// The day, such as `2026-11-23`, in UTC.
    day: String,
    /// The node that earned it; null for what is no node's.
    node_id: Option<ID>,
    /// The business event, such as `job_settle`, `earning_reserve` or `provider_payout`.
    event: String,
    /// What it did to what the provider is owed; below zero where that fell.
    change: Money,
    /// How many transfers.
    transfers: BigInt,
}

/// One transfer over what the provider is owed.
#[derive(SimpleObject)]
pub struct ProviderTransfer {
    /// The business event, such as `job_settle`.
    event: String,
    /// The job that earned it, where one did.
    job_id: Option<ID>,
    /// The account on the other side, such as `5000 provider cost`.
    counter: String,
    /// What it did to what the provider is owed; below zero where that fell.
    change: Money,
    /// What was owed after it.
    balance: Money,
    /// When it was posted.
    at: DateTime<Utc>,
    /// The ledger's block that keeps it.
    block: Block,
    #[graphql(skip)]
    seq: i64,
}

/// A transfer's number as a cursor.
struct Seq(i64);

impl FromStr for Seq {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[Object]
impl EarningsQuery {
    /// What the provider is owed now, and where it comes from.
    #[graphql(complexity = "30 + child_complexity")]
    async fn provider_balance(&self, ctx: &Context<'_>) -> Result<Option<ProviderBalance>, Error> {
        let provider_id = caller(ctx)?.provider()?;
        let (mut conn, now) = (parts(ctx).pool.acquire().await?, parts(ctx).clock.now());
        let owed = total(&mut conn, provider_id, Code::ProviderPayable).await?;
        let kept_back = total(&mut conn, provider_id, Code::ProviderReserve).await?;
        let today = (now.date_naive(), now.date_naive() + TimeDelta::days(1));
        let days = earning::days(&mut conn, provider_id, CURRENCY, today).await?;
        let earned = days.iter().filter(|day| day.recipe == EARNED_BY).map(|day| day.change);
        let nodes = earning::by_node(&mut conn, provider_id, CURRENCY).await?;
        let holdbacks = holdback::open(&mut conn, provider_id, HOLDBACKS_MAX).await?;
        Ok(Some(ProviderBalance {
            owed: money(owed),
            kept_back: money(kept_back),
            earned_today: money(sum(earned)?),
            nodes: nodes
                .into_iter()
                .map(|(node_id, earned, jobs)| NodeEarnings {
                    node_id: node_id.into(),
                    earned: money(earned),
                    jobs: BigInt(jobs),
                })
                .collect(),
            holdbacks: holdbacks.into_iter().map(Holdback::from).collect(),
        }))
    }

    /// The provider's statement of whole days in UTC, at most 92: by default the last 30, today among them.
    #[graphql(complexity = "200 + child_complexity")]
    async fn provider_statement(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "An instant of the first day.")] from: Option<DateTime<Utc>>,
        #[graphql(desc = "An instant of the last day.")] to: Option<DateTime<Utc>>,
    ) -> Result<Option<ProviderStatement>, Error> {
        let provider_id = caller(ctx)?.provider()?;
        let now = parts(ctx).clock.now();
        let last = to.unwrap_or(now).date_naive();
        let first = from.map_or_else(|| last - TimeDelta::days(29), |from| from.date_naive());
        if first > last || (last - first).num_days() >= DAYS_MAX {
            return Err(Error::invalid("from", format!("A statement is of 1 to {DAYS_MAX} days.")));
        }
        let mut conn = parts(ctx).pool.acquire().await?;
        Ok(Some(statement(&mut conn, provider_id, (first, last + TimeDelta::days(1)), now).await?))
    }

    /// The transfers over what the provider is owed, newest first: its earnings by job among them.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn provider_transfers(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, ProviderTransfer>>, Error> {
        let provider_id = caller(ctx)?.provider()?;
        let page = Page::<Seq>::try_new(first, after.as_deref())?;
        let mut conn = parts(ctx).pool.acquire().await?;
        let lines = match payable(&mut conn, provider_id).await? {
            Some((account, _)) => {
                let limit = u16::try_from(page.limit()).unwrap_or(PAGE_MAX);
                ledger::statement(&mut conn, account, page.after.as_ref().map(|seq| seq.0), limit).await?.lines
            }
            None => vec![],
        };
        let lines = lines.into_iter().map(ProviderTransfer::try_from).collect::<Result<_, _>>()?;
        Ok(Some(page.connection(lines, |line| line.seq.to_string())))
    }
}

/// A statement of the days from the first up to the second, which is not among them.
async fn statement(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    (first, end): (NaiveDate, NaiveDate),
    now: DateTime<Utc>,
) -> Result<ProviderStatement, Error> {
    let begin = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    // What was posted before the day begins: the clock's finest step earlier.
    let before = |day| begin(day) - TimeDelta::microseconds(1);
    let days = earning::days(conn, provider_id, CURRENCY, (first, end)).await?;
    let account = payable(conn, provider_id).await?.map(|(account, _)| account);
    let opening = balance_as_of(conn, account, before(first)).await?;
    let closing = balance_as_of(conn, account, before(end)).await?;
    let moved: i128 = days.iter().map(|day| i128::from(day.change.0)).sum();
    let ties = i128::from(opening.0) + moved == i128::from(closing.0);
    Ok(ProviderStatement {
        from: begin(first),
        to: begin(end).min(now),
        opening: money(opening),
        closing: money(closing),
        days: days.into_iter().map(ProviderDayLine::from).collect(),
        ties,
    })
}

/// The account of what a provider is owed, once it was owed anything, and what is on it.
async fn payable(conn: &mut PgConnection, provider_id: ProviderId) -> Result<Option<(AccountId, Nanos)>, Error> {
    let accounts = ledger::provider_accounts(conn, provider_id, Code::ProviderPayable, CURRENCY, 1).await?;
    Ok(accounts.first().map(|account| (account.account, account.balance)))
}

async fn balance_as_of(conn: &mut PgConnection, account: Option<AccountId>, at: DateTime<Utc>) -> Result<Nanos, Error> {
    let Some(account) = account else { return Ok(Nanos::ZERO) };
    let totals = ledger::totals_as_of(conn, account, at).await?;
    let balance = totals.map_or(0, |totals| totals.balance());
    i64::try_from(balance).map(Nanos).map_err(|error| Error::Internal(error.into()))
}

/// What stands on all of a provider's accounts of a code.
async fn total(conn: &mut PgConnection, provider_id: ProviderId, code: Code) -> Result<Nanos, Error> {
    let total = ledger::provider_total(conn, provider_id, code, CURRENCY).await?;
    Ok(total)
}

fn sum(amounts: impl Iterator<Item = Nanos>) -> Result<Nanos, Error> {
    let mut amounts = amounts;
    let sum = amounts.try_fold(Nanos::ZERO, Nanos::checked_add);
    sum.map_err(|error| Error::Internal(error.into()))
}

fn money(amount: Nanos) -> Money {
    money::Money { amount, currency: CURRENCY }.into()
}

impl From<Kept> for Holdback {
    fn from(kept: Kept) -> Self {
        Self {
            node_id: kept.node_id.into(),
            amount: money::Money { amount: kept.amount, currency: kept.currency }.into(),
            release_at: kept.release_at,
            state: State::into(kept.state),
        }
    }
}

impl From<ProviderDay> for ProviderDayLine {
    fn from(day: ProviderDay) -> Self {
        Self {
            day: day.day.to_string(),
            node_id: day.node_id.map(ID::from),
            event: day.recipe,
            change: money(day.change),
            transfers: BigInt(day.transfers),
        }
    }
}

impl TryFrom<StatementLine> for ProviderTransfer {
    type Error = Error;

    fn try_from(line: StatementLine) -> Result<Self, Error> {
        let amount = |amount: i128| i64::try_from(amount).map(Nanos).map_err(|error| Error::Internal(error.into()));
        Ok(Self {
            event: line.recipe.to_owned(),
            job_id: (line.recipe == EARNED_BY).then(|| JobId(line.link).into()),
            counter: line.counter,
            change: money(amount(line.change)?),
            balance: money(amount(line.balance)?),
            at: line.at,
            block: line.block.into(),
            seq: line.seq,
        })
    }
}
