//! What happens in the simulated world: tenants with little money and many wishes.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{JobId, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use uuid::Uuid;

use crate::account::{AccountKey, AccountState};
use crate::chart::Code;
use crate::economics::tokens::Waste;
use crate::period::{Month, PeriodState};
use crate::recipe::Request;
use crate::recipe::credit::{PromoGrant, TopUp};
use crate::recipe::job::{Dimensions, JobHold, JobSettlement, Overrun, ProviderShare, UsageFact, Void};
use crate::recipe::journal::{JournalEntry, JournalLine};
use crate::recipe::state::{AccountChange, PeriodChange};

const TENANTS: u64 = 4;
const PROVIDERS: u64 = 3;

/// Something somebody asks for; it can be asked again, word for word or nearly.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Grant { number: u64, tenant: u64, amount: i64, expires_at: DateTime<Utc> },
    TopUp { number: u64, tenant: u64, amount: i64 },
    Hold { job: u64, tenant: u64, amount: i64, expires_at: DateTime<Utc> },
    Settle { job: u64, tenant: u64, amounts: Vec<i64>, late: bool, overrun: Overrun, at: DateTime<Utc> },
    Void { job: u64 },
    VoidLink { link: Uuid },
    Move { number: u64, from: u64, to: u64, amount: i64 },
    Freeze { number: u64, tenant: u64, state: AccountState },
    Close { number: u64, month: Month, state: PeriodState },
}

/// The wishes of one world.
#[derive(Debug)]
pub(super) struct Workload {
    next: u64,
    /// Jobs that were asked for, with their tenant and what they wanted to hold.
    jobs: Vec<(u64, u64, i64)>,
}

impl Workload {
    pub fn new() -> Self {
        Self { next: 1, jobs: Vec::new() }
    }

    /// The next wish.
    pub fn wish(&mut self, random: &mut ChaCha20Rng, now: DateTime<Utc>) -> Wish {
        let number = self.next;
        self.next += 1;
        let tenant = below(random, TENANTS);
        let amount = 1 + below(random, 60) as i64;
        match below(random, 100) {
            0..8 => {
                let expires_at = now + TimeDelta::minutes(below(random, 120) as i64);
                Wish::Grant { number, tenant, amount, expires_at }
            }
            8..18 => Wish::TopUp { number, tenant, amount },
            18..52 => {
                self.jobs.push((number, tenant, amount));
                Wish::Hold { job: number, tenant, amount, expires_at: now + TimeDelta::minutes(20) }
            }
            52..82 => self.settle(random, now),
            82..88 => Wish::Void { job: self.job(random).0 },
            88..94 => Wish::Move { number, from: tenant, to: below(random, TENANTS), amount },
            94..97 => {
                let state = [AccountState::Open, AccountState::Frozen][below(random, 2) as usize];
                Wish::Freeze { number, tenant, state }
            }
            _ => {
                let month = Month::of(now - TimeDelta::days(20 * below(random, 4) as i64));
                let state = [PeriodState::Open, PeriodState::Soft, PeriodState::Hard][below(random, 3) as usize];
                Wish::Close { number, month, state }
            }
        }
    }

    fn job(&self, random: &mut ChaCha20Rng) -> (u64, u64, i64) {
        if self.jobs.is_empty() {
            return (u64::MAX, 0, 1);
        }
        // Mostly a young one: the others are over.
        let back = below(random, 8).min(self.jobs.len() as u64 - 1) as usize;
        self.jobs[self.jobs.len() - 1 - back]
    }

    fn settle(&self, random: &mut ChaCha20Rng, now: DateTime<Utc>) -> Wish {
        let (job, tenant, held) = self.job(random);
        let tenant = if below(random, 20) == 0 { (tenant + 1) % TENANTS } else { tenant };
        let amounts = (0..1 + below(random, 3)).map(|_| below(random, held as u64 * 2 / 3 + 2) as i64).collect();
        let overrun = if below(random, 3) == 0 { Overrun::Owe } else { Overrun::Refuse };
        let at = now - TimeDelta::seconds(below(random, 3_000_000) as i64 * i64::from(below(random, 6) == 0));
        Wish::Settle { job, tenant, amounts, late: below(random, 5) == 0, overrun, at }
    }
}

impl Wish {
    /// The same wish, a little different.
    pub fn altered(&self) -> Self {
        let mut other = self.clone();
        match &mut other {
            Self::Grant { amount, .. }
            | Self::TopUp { amount, .. }
            | Self::Hold { amount, .. }
            | Self::Move { amount, .. } => *amount += 1,
            Self::Settle { amounts, .. } => amounts.push(1),
            Self::Freeze { state, .. } => *state = AccountState::Closed,
            Self::Close { state, .. } => *state = PeriodState::Open,
            Self::Void { .. } | Self::VoidLink { .. } => {}
        }
        other
    }

    /// Whose purse it spends.
    pub fn payer(&self) -> Option<Uuid> {
        match self {
            Self::Hold { tenant, .. } => Some(tenant_id(*tenant).0),
            _ => None,
        }
    }

    /// How much of it.
    pub fn amount(&self) -> Option<i64> {
        match self {
            Self::Hold { amount, .. } => Some(*amount),
            _ => None,
        }
    }

    pub fn request(&self) -> Request {
        let currency = Currency::USD;
        match self.clone() {
            Self::Grant { number, tenant, amount, expires_at } => {
                let (tenant_id, lot_id, amount) = (tenant_id(tenant), id(6, number), Nanos(amount));
                PromoGrant { tenant_id, lot_id, amount, currency, expires_at: Some(expires_at) }.into()
            }
            Self::TopUp { number, tenant, amount } => {
                let reference = format!("bank-{number}");
                TopUp { tenant_id: tenant_id(tenant), amount: Nanos(amount), currency, reference }.into()
            }
            Self::Hold { job, tenant, amount, expires_at } => {
                let (job_id, tenant_id, amount) = (JobId(id(2, job)), tenant_id(tenant), Nanos(amount));
                JobHold { job_id, tenant_id, currency, amount, expires_at }.into()
            }
            Self::Settle { job, tenant, amounts, late, overrun, at } => {
                settlement(job, tenant_id(tenant), &amounts, late, overrun, at).into()
            }
            Self::Void { job } => Void { link: id(2, job) }.into(),
            Self::VoidLink { link } => Void { link }.into(),
            Self::Move { number, from, to, amount } => {
                let paid = |tenant| AccountKey::owned(Code::PaidCredits, tenant_id(tenant), currency);
                let line = JournalLine { debit: paid(from), credit: paid(to), amount: Nanos(amount), leaf: None };
                let (entry_id, reason) = (id(7, number), "a gift among friends".to_owned());
                JournalEntry { entry_id, lines: vec![line], month: None, reason }.into()
            }
            Self::Freeze { number, tenant, state } => {
                let account = AccountKey::owned(Code::PaidCredits, tenant_id(tenant), currency);
                AccountChange { change_id: id(8, number), account, state, reason: "a doubt".to_owned() }.into()
            }
            Self::Close { number, month, state } => {
                PeriodChange { change_id: id(9, number), month, state, reason: "the month is over".to_owned() }.into()
            }
        }
    }
}

fn settlement(
    job: u64,
    tenant_id: TenantId,
    amounts: &[i64],
    late: bool,
    overrun: Overrun,
    event_at: DateTime<Utc>,
) -> JobSettlement {
    let line = |(segment, &amount): (i16, &i64)| UsageFact {
        segment,
        node_id: NodeId(id(3, segment as u64)),
        provider_id: ProviderId(id(4, segment as u64 % PROVIDERS)),
        meter: "output".into(),
        quantity: amount,
        price_id: PriceId(id(5, 0)),
        amount: Nanos(amount),
        waste: late.then_some(Waste::SloMiss),
        compute_ms: 7,
    };
    let share = |(segment, &amount): (i16, &i64)| ProviderShare {
        provider_id: ProviderId(id(4, segment as u64 % PROVIDERS)),
        node_id: NodeId(id(3, segment as u64)),
        segment,
        amount: Nanos(amount / 2),
    };
    JobSettlement {
        job_id: JobId(id(2, job)),
        charge: Nanos(amounts.iter().sum()),
        overrun,
        shares: (0..).zip(amounts).map(share).collect(),
        usage: (0..).zip(amounts).map(line).collect(),
        dimensions: Dimensions { tenant_id, model: "spark-1".into(), product_line: "inference".into() },
        event_at,
    }
}

fn tenant_id(number: u64) -> TenantId {
    TenantId(id(1, number))
}

fn id(kind: u64, number: u64) -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 | u128::from(kind) << 56 | u128::from(number))
}

/// A number from 0 up to, without, `limit`.
pub(super) fn below(random: &mut ChaCha20Rng, limit: u64) -> u64 {
    random.next_u64() % limit
}
