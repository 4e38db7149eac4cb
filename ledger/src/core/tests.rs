//! What the core decides, request by request.

mod checkpoints;
mod entry;
mod group;
mod lot;
mod model;
mod month;
mod settlement;
mod state;

use chrono::TimeDelta;
use primitives::id::{JobId, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};

use self::model::{history, replay};
use super::*;
use crate::account::Priority;
use crate::chart::Code;
use crate::economics::Bucket;
use crate::economics::tokens::Waste;
use crate::recipe::capacity::{CapacityReport, CapacityShare, CapacityUse};
use crate::recipe::credit::{PromoGrant, TopUp};
use crate::recipe::job::{Dimensions, JobHold, JobSettlement, Overrun, ProviderShare, UsageFact, Void};
use crate::recipe::journal::{JournalEntry, JournalLine};
use crate::recipe::state::{AccountChange, PeriodChange};

fn noon() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn uuid(kind: u8, number: u8) -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 | u128::from(kind) << 8 | u128::from(number))
}

fn tenant(number: u8) -> TenantId {
    TenantId(uuid(1, number))
}

fn job(number: u8) -> JobId {
    JobId(uuid(2, number))
}

fn hold(job_number: u8, tenant_number: u8, amount: i64) -> Request {
    Request::from(JobHold {
        job_id: job(job_number),
        tenant_id: tenant(tenant_number),
        currency: Currency::USD,
        amount: Nanos(amount),
        expires_at: noon() + TimeDelta::hours(1),
    })
}

/// A job whose charge is shared among as many nodes as there are amounts.
fn settlement(job_number: u8, tenant_number: u8, amounts: &[i64]) -> JobSettlement {
    let usage = (0..).zip(amounts).map(|(segment, amount)| UsageFact {
        segment,
        node_id: NodeId(uuid(3, segment as u8)),
        provider_id: ProviderId(uuid(4, segment as u8)),
        meter: "output".into(),
        quantity: 7,
        price_id: PriceId(uuid(5, 0)),
        amount: Nanos(*amount),
        waste: None,
        compute_ms: 70,
    });
    let shares = (0..).zip(amounts).map(|(segment, amount)| ProviderShare {
        provider_id: ProviderId(uuid(4, segment as u8)),
        node_id: NodeId(uuid(3, segment as u8)),
        segment,
        amount: Nanos(amount / 2),
    });
    JobSettlement {
        job_id: job(job_number),
        charge: Nanos(amounts.iter().sum()),
        overrun: Overrun::Refuse,
        shares: shares.collect(),
        usage: usage.collect(),
        dimensions: Dimensions {
            tenant_id: tenant(tenant_number),
            model: "spark-1".into(),
            product_line: "inference".into(),
        },
        event_at: noon(),
    }
}

fn settle(job_number: u8, tenant_number: u8, amounts: &[i64]) -> Request {
    settlement(job_number, tenant_number, amounts).into()
}

/// The same, where the tenant owes what its hold does not cover.
fn settle_or_owe(job_number: u8, tenant_number: u8, amounts: &[i64]) -> Request {
    JobSettlement { overrun: Overrun::Owe, ..settlement(job_number, tenant_number, amounts) }.into()
}

fn void(job_number: u8) -> Request {
    Void { link: job(job_number).0 }.into()
}

fn grant(lot: u8, tenant_number: u8, amount: i64, lapses_in_hours: Option<i64>) -> Request {
    Request::from(PromoGrant {
        tenant_id: tenant(tenant_number),
        lot_id: uuid(6, lot),
        amount: Nanos(amount),
        currency: Currency::USD,
        expires_at: lapses_in_hours.map(|hours| noon() + TimeDelta::hours(hours)),
    })
}

fn top_up(number: u32, tenant_number: u8, amount: i64) -> Request {
    let reference = format!("bank-{number}");
    Request::from(TopUp { tenant_id: tenant(tenant_number), amount: Nanos(amount), currency: Currency::USD, reference })
}

fn paid(tenant_number: u8) -> AccountKey {
    AccountKey::owned(Code::PaidCredits, tenant(tenant_number), Currency::USD)
}

fn bank() -> AccountKey {
    AccountKey::platform(Code::Bank, Currency::USD)
}

fn line(debit: AccountKey, credit: AccountKey, amount: i64) -> JournalLine {
    JournalLine { debit, credit, amount: Nanos(amount), leaf: None }
}

fn journal(number: u8, lines: &[JournalLine], month: Option<&str>) -> JournalEntry {
    let month = month.map(|month| month.parse().unwrap());
    JournalEntry { entry_id: uuid(7, number), lines: lines.to_vec(), month, reason: "found at the audit".into() }
}

fn period(number: u8, month: &str, state: PeriodState) -> Request {
    let (change_id, month) = (uuid(8, number), month.parse().unwrap());
    PeriodChange { change_id, month, state, reason: "the month is over".into() }.into()
}

fn account_state(number: u8, account: AccountKey, state: AccountState) -> Request {
    AccountChange { change_id: uuid(9, number), account, state, reason: "asked by the tenant".into() }.into()
}

fn empty() -> Core {
    Core::new(0, 1, Tip::genesis(0), Books::default())
}

/// Decides as the writer does, in a database where nothing else is.
fn decide(core: &mut Core, request: &Request) -> Result<Decision, Error> {
    decide_at(core, request, noon())
}

fn decide_at(core: &mut Core, request: &Request, now: DateTime<Utc>) -> Result<Decision, Error> {
    let needs = core.needs(request, false);
    core.learn(needs, Knowledge::default());
    core.decide(request, now)
}

/// A core that decided all of these.
fn after(requests: impl IntoIterator<Item = Request>) -> Core {
    let mut core = empty();
    for request in requests {
        decide(&mut core, &request).unwrap();
    }
    core
}

fn refuse(core: &mut Core, request: impl Into<Request>) -> Error {
    decide(core, &request.into()).unwrap_err()
}

fn available(core: &Core, tenant_number: u8) -> i128 {
    let credit = |account: &&Account| matches!(account.key.code, Code::PaidCredits | Code::PromoCredits);
    core.books.accounts_of(tenant(tenant_number).0, Currency::USD).filter(credit).map(Account::available).sum()
}

/// What a tenant used beyond its holds.
fn owed(core: &Core, tenant_number: u8) -> i128 {
    let key = AccountKey::owned(Code::OverrunReceivable, tenant(tenant_number), Currency::USD);
    core.books.account(&key).map_or(0, Account::available)
}

/// What a group did, as `debit > credit amount kind`.
fn told(core: &Core, from: usize) -> Vec<String> {
    let name = |id: i64| AccountId(id).code().unwrap().number();
    let row = |row: &TransferRow| {
        let kind = Kind::from_number(row.kind).unwrap().as_str();
        format!("{} > {} {} {kind}", name(row.debit_account_id), name(row.credit_account_id), row.amount)
    };
    core.draft.rows.transfers[from..].iter().map(row).collect()
}

/// The month that the last group is booked in.
fn booked_in(core: &Core) -> i16 {
    core.draft.rows.transfers.iter().rev().find_map(|row| row.period).unwrap()
}

/// The leaf of that number, while nothing is sealed.
fn leaf(core: &Core, id: Option<i32>) -> &LeafRow {
    core.draft.rows.leaves.iter().find(|leaf| Some(leaf.id) == id).unwrap()
}
