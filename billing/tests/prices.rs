//! The price book, on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use billing::{Error, Meter, NewPrice, price};
use chrono::{DateTime, TimeDelta, Utc};
use primitives::clock::Clock;
use primitives::id::Ids;
use primitives::money::{AttoPrice, Currency};
use sqlx::PgPool;

fn today() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn new_price(meter: Meter, quote: &str, valid_from: DateTime<Utc>) -> NewPrice {
    let price = AttoPrice::per_million(quote.parse().unwrap()).unwrap();
    NewPrice { model: "m".into(), meter, currency: Currency::USD, price, valid_from }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_pays_the_price_in_force_at_its_instant(pool: PgPool) {
    let ids = Ids::seeded(Clock::manual(today()), 1);
    let mut conn = pool.acquire().await.unwrap();
    let tomorrow = today() + TimeDelta::days(1);
    for (meter, quote, from) in
        [(Meter::Input, "1", today()), (Meter::Output, "4", today()), (Meter::Output, "5", tomorrow)]
    {
        price::insert(&mut conn, ids.next(), &new_price(meter, quote, from), today()).await.unwrap();
    }
    let mut output_at = async |at| {
        let prices = price::in_force(&mut conn, "m", Currency::USD, at).await.unwrap();
        prices.output.price.to_decimal_per_million().to_string()
    };
    assert_eq!(output_at(today()).await, "4");
    assert_eq!(output_at(tomorrow - TimeDelta::microseconds(1)).await, "4");
    assert_eq!(output_at(tomorrow).await, "5");
    let before = price::in_force(&mut conn, "m", Currency::USD, today() - TimeDelta::seconds(1)).await;
    assert!(matches!(before, Err(Error::NoPrice { .. })));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_past_is_not_priced_anew(pool: PgPool) {
    let ids = Ids::seeded(Clock::manual(today()), 1);
    let mut conn = pool.acquire().await.unwrap();
    let late = new_price(Meter::Input, "1", today() - TimeDelta::seconds(1));
    assert!(matches!(price::insert(&mut conn, ids.next(), &late, today()).await, Err(Error::PriceInThePast { .. })));
    price::insert(&mut conn, ids.next(), &new_price(Meter::Input, "1", today()), today()).await.unwrap();
    let again = new_price(Meter::Input, "2", today());
    assert!(matches!(price::insert(&mut conn, ids.next(), &again, today()).await, Err(Error::PriceExists { .. })));
    for statement in
        ["UPDATE billing.prices SET atto_per_unit = 1", "DELETE FROM billing.prices", "TRUNCATE billing.prices"]
    {
        let refused = sqlx::query(statement).execute(&mut *conn).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{statement}: {refused}");
    }
}
