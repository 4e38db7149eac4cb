//! What a report of the books says of facts that do not agree, tested by making them disagree.

use chrono::TimeDelta;
use ledger::economics::{Assumptions, Basis, Bucket, Error, Question, Report, View};
use ledger::{AccountKey, CapacityUse, Closing, Code, Dimensions, Leaf, PeriodState, UsageFact};
use serde_json::Value;
use sqlx::PgPool;

use crate::books::{House, cny, fact, node_id, provider_id, question, tenant_id};

const MONTHS: [&str; 2] = ["2026-10", "2026-11"];
const NOON: &str = "2026-11-20T12:00:00Z";

fn dimensions() -> Dimensions {
    let (model, product_line) = ("small".to_owned(), "inference".to_owned());
    Dimensions { tenant_id: tenant_id("acme"), model, product_line }
}

fn leaf(bucket: Bucket) -> Leaf {
    Leaf {
        tenant_id: Some(tenant_id("acme")),
        model: Some("small".to_owned()),
        node_id: Some(node_id("n-1")),
        provider_id: Some(provider_id("prov")),
        ..Leaf::new(bucket, "inference")
    }
}

/// A ledger with a tenant's credit and, where asked for, a node that served a model for a day.
async fn house(pool: PgPool, deployed: bool) -> House {
    let house = House::open(pool, NOON).await;
    house.top_up("acme", 1_000_000).await;
    if deployed {
        let (from, to) = (house.clock.now() - TimeDelta::days(1), house.clock.now());
        house.deploy("n-1", "prov", from, to, vec![(500_000, CapacityUse::Model("small".to_owned()))], 1_000).await;
    }
    house
}

async fn serve(house: &House, tokens: i64, amount: i64, compute_ms: i32) -> uuid::Uuid {
    let usage = vec![UsageFact { compute_ms, ..fact("n-1", "prov", "output", tokens, amount) }];
    house.serve(dimensions(), usage, house.clock.now()).await
}

fn json(report: &Report) -> Value {
    serde_json::from_str(&serde_json::to_string(report).unwrap()).unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn usage_without_capacity_or_time_passes_through_and_says_so(pool: PgPool) {
    for (deployed, reason) in
        [(false, "no capacity was reported for it"), (true, "its time of computing was not recorded")]
    {
        let pool = pool.clone();
        if deployed {
            let house = House::open(pool, NOON).await;
            let (from, to) = (house.clock.now() - TimeDelta::days(1), house.clock.now());
            house.deploy("n-1", "prov", from, to, vec![(500_000, CapacityUse::Model("small".to_owned()))], 1_000).await;
            check_passed(&house, reason, 2).await;
            house.close().await;
        } else {
            let house = house(pool, false).await;
            check_passed(&house, reason, 1).await;
            house.close().await;
        }
    }
}

async fn check_passed(house: &House, reason: &str, jobs: i128) {
    serve(house, 12, 30, 0).await;
    let report = json(&house.report(MONTHS).await.unwrap());
    let row = &report["passed_through"][0];
    assert_eq!((row["reason"].as_str().unwrap(), row["raw_tokens"].as_i64()), (reason, i64::try_from(12 * jobs).ok()));
    let earned = format!("0.{:09}", 30 * jobs);
    assert_eq!(report["buckets"]["2026-11"]["PASS_THROUGH"], earned.as_str());
    assert_eq!(report["identity"]["2026-11"]["T_etok"]["milli"], 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn revenue_without_its_tokens_is_refused_by_its_leaf(pool: PgPool) {
    let house = house(pool, true).await;
    serve(&house, 12, 30, 1_000).await;
    assert!(house.report(MONTHS).await.is_ok());
    let stranger = Leaf { tenant_id: Some(tenant_id("beta")), ..leaf(Bucket::Productive) };
    let (debit, credit) = (
        AccountKey::owned(Code::Receivable, tenant_id("beta"), cny()),
        AccountKey::platform(Code::InferenceRevenue, cny()),
    );
    house.book(debit, credit, 7, stranger, None).await;
    let refusal = house.report(MONTHS).await.unwrap_err();
    assert!(
        matches!(&refusal, Error::Unreconciled { slice, ledger: 7, .. } if slice.contains(&tenant_id("beta").to_string())),
        "{refusal}"
    );
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_usage_row_behind_the_writers_back_is_found_by_its_leaf(pool: PgPool) {
    let house = house(pool, true).await;
    serve(&house, 12, 30, 1_000).await;
    let insert = "INSERT INTO ledger.usage_facts SELECT seq, quantity, 5, leaf_id, compute_ms, 9, segment FROM ledger.usage_facts";
    sqlx::query(insert).execute(&house.pool).await.unwrap();
    let refusal = house.report(MONTHS).await.unwrap_err();
    assert!(
        matches!(&refusal, Error::Uncharged { leaf, usage: 35, ledger: 30 } if leaf.contains("small")),
        "{refusal}"
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_taken_back_in_its_month_was_refunded_and_a_leaf_below_zero_is_an_adjustment(pool: PgPool) {
    let house = house(pool, true).await;
    let job = serve(&house, 12, 30, 1_000).await;
    serve(&house, 5, 10, 500).await;
    let (off, purse) = (
        AccountKey::platform(Code::RefundsAllowed, cny()),
        AccountKey::owned(Code::PaidCredits, tenant_id("acme"), cny()),
    );
    // Of forty charged, thirty are taken back with their job, and eleven more by hand.
    let reverse = "
        INSERT INTO ledger.transfers
        SELECT
            (SELECT max(seq) + 1 FROM ledger.transfers), credit_account_id, debit_account_id, amount, 0, 0, leaf_id, 1, 4,
            period, NULL, NULL, NULL, seq, gen_random_uuid(), 0, NULL
        FROM ledger.transfers
        WHERE link_id = $1 AND recipe = 11";
    house.book(off, purse, 11, leaf(Bucket::Productive), None).await;
    sqlx::query(reverse).bind(job).execute(&house.pool).await.unwrap();
    let report = json(&house.report(MONTHS).await.unwrap());
    assert_eq!(report["raw_tokens_2026-11"]["refunded"], 12);
    assert_eq!(report["raw_tokens_2026-11"]["effective"], 5);
    assert_eq!(report["buckets"]["2026-11"]["ADJUSTMENT"], "-0.000000001");
    assert_eq!(report["buckets"]["2026-11"].get("PRODUCTIVE"), None);
}

#[sqlx::test(migrations = "../migrations")]
async fn sums_hold_140_trillion_tokens_a_day_for_ten_years(pool: PgPool) {
    const TOKENS: i64 = 140_000_000_000_000 * 3_653;
    let house = house(pool, true).await;
    for _ in 0..20 {
        serve(&house, TOKENS, 3, 1_000).await;
    }
    let report = house.report(MONTHS).await.unwrap();
    let printed = serde_json::to_string(&report).unwrap();
    assert!(printed.contains(&format!("\"effective\":{}", i128::from(TOKENS) * 20)), "more than 64 bits: {printed}");
    assert!(printed.contains(&format!("\"milli\":{}", i128::from(TOKENS) * 20_000)));
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn revenue_in_another_currency_is_refused(pool: PgPool) {
    let house = house(pool, true).await;
    let usd = primitives::money::Currency::USD;
    let leaf = Leaf { tenant_id: Some(tenant_id("acme")), ..Leaf::new(Bucket::Licence, "licence") };
    let (debit, credit) =
        (AccountKey::owned(Code::Receivable, tenant_id("acme"), usd), AccountKey::platform(Code::LicenceRevenue, usd));
    house.book(debit, credit, 7, leaf, None).await;
    let refusal = house.records(MONTHS, View::AsPosted).await.unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "2026-11 has amounts in USD: a report in another currency needs a rate, and none is known"
    );
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn other_bases_need_a_node_that_somebody_described(pool: PgPool) {
    let house = house(pool, true).await;
    serve(&house, 12, 30, 1_000).await;
    let records = house.records(MONTHS, View::AsPosted).await.unwrap();
    let node = node_id("n-1").to_string();
    let described = format!(
        r#"{{"nodes": {{"{node}": {{"capex": "876", "life_hours": 8760, "power_w": 500, "pue_milli": 1200, "market_rental_per_h": "1"}}}}}}"#
    );
    let described: Assumptions = serde_json::from_str(&described).unwrap();
    // Half of the node for a day: 24 × 0.5 of 1 RCU, of 0.1 a depreciated hour, of 0.6 kW.
    let scales = [
        (Basis::Rcu, "S_iu_rcu_h", "12.000000"),
        (Basis::Depreciation, "S_iu_depreciation", "1.200000"),
        (Basis::Energy, "S_iu_kwh", "7.200000"),
    ];
    for (basis, name, scale) in scales {
        let question = Question { basis, ..question() };
        let report = json(&Report::of_ledger(&records, &described, &question).unwrap());
        assert_eq!(report["identity"]["2026-11"][name]["dec"], scale);
        let refused = Report::of_ledger(&records, &Assumptions::default(), &question);
        assert_eq!(refused.is_err(), basis != Basis::Rcu);
    }
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_closed_month_says_stays_unless_it_is_restated(pool: PgPool) {
    let house = house(pool, true).await;
    serve(&house, 12, 30, 1_000).await;
    house.clock.advance(TimeDelta::days(30));
    for (month, state) in MONTHS.into_iter().flat_map(|month| [(month, PeriodState::Soft), (month, PeriodState::Hard)])
    {
        let change_id = house.ids.next::<primitives::id::JobId>().into();
        house.writer.close_period(Closing::new(change_id, month.parse().unwrap(), state, "closed")).await.unwrap();
    }
    let posted = house.records(MONTHS, View::AsPosted).await.unwrap();
    let from: chrono::DateTime<chrono::Utc> = "2026-11-25T00:00:00Z".parse().unwrap();
    let late = vec![(250_000, CapacityUse::Model("small".to_owned()))];
    house.deploy("n-1", "prov", from, from + TimeDelta::days(1), late, 1_000).await;
    serve(&house, 7, 20, 1_000).await;
    assert_eq!(house.records(MONTHS, View::AsPosted).await.unwrap(), posted);
    let restated = house.records(MONTHS, View::Restated).await.unwrap();
    assert_eq!((&restated.usage, &restated.revenue), (&posted.usage, &posted.revenue));
    // A day of half a node, and the late day of a quarter.
    let day = 86_400_000_000_i128;
    assert_eq!(posted.capacity[0].share_us, 500_000 * day);
    assert_eq!(restated.capacity[0].share_us, 750_000 * day);
    let next = house.records(["2026-11", "2026-12"], View::AsPosted).await.unwrap();
    assert_eq!(next.usage.iter().map(|row| row.quantity).sum::<i128>(), 19);
    house.close().await;
}
