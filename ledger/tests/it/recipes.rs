//! Recipes on PostgreSQL: what people read of the books by SQL is what the program has, and holds that are no job's outlive a writer.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use ledger::recipe::TEMPLATES;
use ledger::{
    DisputeLost, DisputeOpened, Kind, PackBuy, PackExpiry, PaidBy, Purchase, RentalEnd, RentalHold, RentalMeter,
    RentalUse, Rented, TopUp, UsedPart, Writer, unit,
};
use primitives::clock::Clock;
use primitives::id::{Ids, JobId, NodeId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use sqlx::PgPool;

async fn names(pool: &PgPool, statement: &'static str) -> BTreeMap<i16, String> {
    let rows: Vec<(i16, String)> = sqlx::query_as(statement).fetch_all(pool).await.unwrap();
    rows.into_iter().collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn the_database_names_every_recipe_kind_and_unit_as_the_program_does(pool: PgPool) {
    let recipes = TEMPLATES.iter().map(|template| (template.number, template.name.to_owned())).collect();
    assert_eq!(names(&pool, "SELECT number, recipe FROM ledger.recipes").await, recipes);
    let kinds = Kind::ALL.iter().map(|kind| (kind.number(), kind.as_str().to_owned())).collect();
    assert_eq!(names(&pool, "SELECT number, kind FROM ledger.kinds").await, kinds);
    let units = unit::all().map(|(number, unit)| (number, unit.to_string())).collect();
    assert_eq!(names(&pool, "SELECT number, unit FROM ledger.units").await, units);
}

#[sqlx::test(migrations = "../migrations")]
async fn rentals_and_disputes_hold_across_writers_and_packs_move_two_units_in_one_group(pool: PgPool) {
    let noon: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
    let clock = Clock::manual(noon);
    let ids = Ids::seeded(clock.clone(), 7);
    let (tenant_id, provider_id, node_id): (TenantId, ProviderId, NodeId) = (ids.next(), ids.next(), ids.next());
    let [dispute_id, rental_id, pack_id] = [(); 3].map(|()| ids.next::<JobId>().0);
    let currency = Currency::USD;
    let (writer, task) = Writer::start(pool.clone(), clock.clone()).await.unwrap();
    let reference = "bank-1".to_owned();
    writer.post(TopUp { tenant_id, amount: Nanos(1_000), currency, reference }).await.unwrap();
    let expires_at = noon + TimeDelta::days(9);
    writer.post(RentalHold { rental_id, tenant_id, currency, amount: Nanos(500), expires_at }).await.unwrap();
    let dispute = || DisputeOpened { dispute_id, tenant_id, amount: Nanos(700), fee: Nanos(15), currency };
    writer.post(dispute()).await.unwrap();
    let meter = |period, charge| RentalMeter {
        rental_id,
        period,
        tenant_id,
        charge: Nanos(charge),
        rented: Rented { node_id, provider_id, used_for: RentalUse::Bare },
        shares: Vec::new(),
        event_at: noon,
    };
    writer.post(meter(1, 200)).await.unwrap();
    drop(writer);
    task.shutdown().await.unwrap();

    let (writer, task) = Writer::start(pool.clone(), clock.clone()).await.unwrap();
    let open = ledger::open_holds(&mut pool.acquire().await.unwrap(), ledger::SHARD).await.unwrap();
    assert!(open.len() == 2 && open.iter().all(|hold| !hold.of_a_job()), "{open:?}");
    writer.post(dispute()).await.unwrap();
    writer.post(meter(2, 100)).await.unwrap();
    writer.post(RentalEnd { rental_id, period: 2, tenant_id }).await.unwrap();
    writer.post(DisputeLost { dispute_id, tenant_id, currency, used_part: UsedPart::Owed }).await.unwrap();
    let purchase = Purchase { tenant_id, currency, net: Nanos(150), tax: Nanos(9), paid_by: PaidBy::Credit };
    writer.post(PackBuy { pack_id, tokens: 1_000, expires_at: Some(noon), purchase }).await.unwrap();
    let lapse = ledger::Lapse::Breakage;
    writer.post(PackExpiry { pack_id, tenant_id, currency, lapse }).await.unwrap();
    drop(writer);
    task.shutdown().await.unwrap();

    let balance = "SELECT sum(credits_posted - debits_posted)::bigint FROM ledger.accounts WHERE code = $1";
    // 1000 paid in, 300 metered, 500 lost to the dispute that could freeze no more, 159 for the pack.
    for (code, wanted) in
        [(2000, 41), (4020, 300), (1130, -200), (1120, 0), (2020, 0), (8010, 0), (8030, 1_000), (4050, 150)]
    {
        let is: i64 = sqlx::query_scalar(balance).bind(code).fetch_one(&pool).await.unwrap();
        assert_eq!(is, wanted, "{code}");
    }
    let held = "SELECT sum(debits_pending)::bigint FROM ledger.accounts";
    let held: i64 = sqlx::query_scalar(held).fetch_one(&pool).await.unwrap();
    assert_eq!(held, 0);
    let mut conn = pool.acquire().await.unwrap();
    let found = ledger::proof::verify(&mut conn, |_, _| {}).await.unwrap();
    assert!(found.passed(), "{found:?}");
}
