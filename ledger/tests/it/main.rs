//! The ledger on PostgreSQL, tested by trying to break it.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod crash;
mod periods;
mod plaintext;
mod plans;
mod proof;
mod reads;
mod recipes;
mod refusals;
mod replicas;
mod reverse;
mod roles;
mod sim;
mod story;
mod writer;

use chrono::{DateTime, TimeDelta, Utc};
use ledger::{
    AccountChange, AccountKey, AccountState, CapacityReport, CapacityShare, CapacityUse, Closing, Code, Dimensions,
    JobHold, JobSettlement, Overrun, PeriodState, PromoGrant, ProviderShare, TopUp, UsageFact, Writer, WriterTask,
};
use primitives::clock::Clock;
use primitives::id::{Ids, JobId, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use sqlx::PgPool;

/// A running ledger with one tenant, one provider and one node, on a clock that stands still.
struct House {
    pool: PgPool,
    clock: Clock,
    ids: Ids,
    writer: Writer,
    task: WriterTask,
    tenant_id: TenantId,
    provider_id: ProviderId,
    node_id: NodeId,
}

impl House {
    async fn open(pool: PgPool) -> Self {
        let noon: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
        let clock = Clock::manual(noon);
        let ids = Ids::seeded(clock.clone(), 7);
        let (writer, task) = Writer::start(pool.clone(), clock.clone()).await.unwrap();
        let (tenant_id, provider_id, node_id) = (ids.next(), ids.next(), ids.next());
        Self { pool, clock, ids, writer, task, tenant_id, provider_id, node_id }
    }

    /// Ends the writer and starts the next one.
    async fn reopen(self) -> Self {
        self.task.shutdown().await.unwrap();
        let (writer, task) = Writer::start(self.pool.clone(), self.clock.clone()).await.unwrap();
        Self { writer, task, ..self }
    }

    /// Ends the writer with its books proven.
    async fn close(self) {
        self.task.shutdown().await.unwrap();
        let mut conn = self.pool.acquire().await.unwrap();
        let found = ledger::proof::verify(&mut conn, |_, _| {}).await.unwrap();
        assert!(found.passed(), "{found:?}");
        for row in ledger::trial_balance(&mut conn).await.unwrap() {
            assert!(row.debits >= 0 && row.credits >= 0, "{row:?}");
        }
    }

    async fn top_up(&self, amount: i64, reference: &str) {
        let (tenant_id, currency, reference) = (self.tenant_id, Currency::USD, reference.to_owned());
        self.writer.top_up(TopUp { tenant_id, amount: Nanos(amount), currency, reference }).await.unwrap();
    }

    async fn grant(&self, amount: i64, lapses_in: TimeDelta) {
        let grant = PromoGrant {
            tenant_id: self.tenant_id,
            lot_id: self.ids.next::<JobId>().0,
            amount: Nanos(amount),
            currency: Currency::USD,
            expires_at: Some(self.clock.now() + lapses_in),
        };
        self.writer.grant_promo(grant).await.unwrap();
    }

    fn job(&self, amount: i64) -> JobHold {
        JobHold {
            job_id: self.ids.next(),
            tenant_id: self.tenant_id,
            currency: Currency::USD,
            amount: Nanos(amount),
            expires_at: self.clock.now() + TimeDelta::minutes(10),
        }
    }

    fn settlement(&self, job_id: JobId, charge: i64, share: i64) -> JobSettlement {
        let Self { tenant_id, provider_id, node_id, .. } = *self;
        let price_id = PriceId(uuid::Uuid::from_u128(1));
        let line = |meter: &str, quantity, amount| UsageFact {
            segment: 0,
            node_id,
            provider_id,
            meter: meter.into(),
            quantity,
            price_id,
            amount: Nanos(amount),
            waste: None,
            compute_ms: 40,
        };
        JobSettlement {
            job_id,
            charge: Nanos(charge),
            overrun: Overrun::Refuse,
            shares: vec![ProviderShare { provider_id, node_id, segment: 0, amount: Nanos(share) }],
            usage: vec![line("output", 12, charge - charge / 3), line("input", 30, charge / 3)],
            dimensions: Dimensions { tenant_id, model: "spark-1".into(), product_line: "inference".into() },
            event_at: self.clock.now(),
        }
    }

    /// The tenant's payments.
    fn paid(&self) -> AccountKey {
        AccountKey::owned(Code::PaidCredits, self.tenant_id, Currency::USD)
    }

    async fn set_account(&self, account: AccountKey, state: AccountState) {
        let change = AccountChange { change_id: self.ids.next::<JobId>().0, account, state, reason: "a test".into() };
        self.writer.post(change).await.unwrap();
    }

    async fn set_period(&self, month: &str, state: PeriodState) {
        let closing = Closing::new(self.ids.next::<JobId>().0, month.parse().unwrap(), state, "a test");
        // Whatever is open may have been so for ages.
        let (clearing_age_max, hold_age_max) = (TimeDelta::days(9_999), TimeDelta::days(9_999));
        self.writer.close_period(Closing { clearing_age_max, hold_age_max, ..closing }).await.unwrap();
    }

    /// The hour before now, in which the node served a model with all it has.
    fn capacity(&self) -> CapacityReport {
        CapacityReport {
            node_id: self.node_id,
            provider_id: self.provider_id,
            from_at: self.clock.now() - TimeDelta::hours(1),
            to_at: self.clock.now(),
            rcu_milli: 1_000,
            shares: vec![CapacityShare { share_ppm: 1_000_000, used_for: CapacityUse::Model("spark-1".into()) }],
        }
    }

    async fn balance(&self) -> ledger::Balance {
        let mut conn = self.pool.acquire().await.unwrap();
        ledger::balance(&mut conn, self.tenant_id, Currency::USD, self.clock.now()).await.unwrap()
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.unwrap()
    }
}
