//! When a month may be closed, and what closing it keeps.

use chrono::TimeDelta;
use ledger::plaintext::{Detail, Format};
use ledger::{Closing, Code, Error, Month, PeriodState};
use primitives::id::JobId;
use primitives::money::Currency;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::House;
use crate::plaintext::export;
use crate::story::{entry, events, live, wait_until};

const USD: Currency = Currency::USD;

fn closing(house: &House, month: &str, state: PeriodState) -> Closing {
    Closing::new(house.ids.next::<JobId>().0, month.parse().unwrap(), state, "the month's end")
}

async fn close(house: &House, month: &str, state: PeriodState) -> Result<ledger::BlockRef, Error> {
    house.writer.close_period(closing(house, month, state)).await
}

async fn reasons(house: &House, month: &str, state: PeriodState) -> Vec<String> {
    match close(house, month, state).await {
        Err(Error::PeriodUnsettled { month: refused, reasons }) => {
            assert_eq!(refused.to_string(), month);
            reasons
        }
        other => panic!("{other:?}"),
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_month_that_runs_is_not_closed(pool: PgPool) {
    let house = House::open(pool).await;
    for month in ["2026-11", "2026-12"] {
        let refused = close(&house, month, PeriodState::Soft).await;
        assert!(matches!(refused, Err(Error::PeriodRunning { .. })), "{refused:?}");
    }
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_unsettled_is_told_all_at_once_and_settles_in_the_soft_closed_month(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(1_000, "bank-1").await;
    entry(&house, USD, (Code::Bank, Code::Suspense), 7, None).await.unwrap();
    entry(&house, USD, (Code::ProcessorClearing, Code::TaxPayable), 30, None).await.unwrap();
    let job = house.job(60);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    wait_until(&house, "2026-12-03T09:00:00Z");
    let hold = format!("1 holds placed by 2026-11-30T23:59:59.999999+00:00 are open, the oldest for {}", job.job_id.0);
    assert_eq!(reasons(&house, "2026-11", PeriodState::Soft).await, std::slice::from_ref(&hold));
    let all = reasons(&house, "2026-11", PeriodState::Hard).await;
    assert_eq!(all[..2], ["suspense in USD is -7".to_owned(), hold]);
    assert!(all[2].starts_with("1010 processor clearing (") && all[2].ends_with(" has 30 USD since 2026-11-23"));
    assert!(all[3].starts_with("9910 suspense (") && all[3].ends_with(" has -7 USD since 2026-11-23"));
    assert_eq!(all.len(), 4);

    house.writer.void(job.job_id).await.unwrap();
    close(&house, "2026-11", PeriodState::Soft).await.unwrap();
    // What is settled in December does not settle November's suspense; an adjusting entry does.
    entry(&house, USD, (Code::Bank, Code::ProcessorClearing), 30, None).await.unwrap();
    entry(&house, USD, (Code::Suspense, Code::Rounding), 7, None).await.unwrap();
    assert_eq!(reasons(&house, "2026-11", PeriodState::Hard).await, ["suspense in USD is -7"]);
    entry(&house, USD, (Code::Suspense, Code::Rounding), 7, Some("2026-11")).await.unwrap();
    entry(&house, USD, (Code::Rounding, Code::Suspense), 7, None).await.unwrap();
    close(&house, "2026-11", PeriodState::Hard).await.unwrap();
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_young_on_a_clearing_account_or_on_hold_does_not_keep_a_month_open(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(1_000, "bank-1").await;
    wait_until(&house, "2026-11-30T12:00:00Z");
    entry(&house, USD, (Code::ProcessorClearing, Code::TaxPayable), 30, None).await.unwrap();
    house.writer.hold(house.job(60)).await.unwrap().durable().await.unwrap();
    wait_until(&house, "2026-12-01T00:00:00Z");
    let strict = Closing { clearing_age_max: TimeDelta::hours(1), ..closing(&house, "2026-11", PeriodState::Hard) };
    assert!(matches!(house.writer.close_period(strict).await, Err(Error::PeriodUnsettled { .. })));
    let strict = Closing { hold_age_max: TimeDelta::hours(1), ..closing(&house, "2026-11", PeriodState::Soft) };
    assert!(matches!(house.writer.close_period(strict).await, Err(Error::PeriodUnsettled { .. })));
    close(&house, "2026-11", PeriodState::Hard).await.unwrap();
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_month_is_not_closed_past_what_is_in_its_way(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(1_000, "bank-1").await;
    wait_until(&house, "2026-12-01T00:00:00Z");
    let change = serde_json::json!({ "period_change": {
        "change_id": house.ids.next::<JobId>().0, "month": 2611, "state": "hard", "reason": "read from data",
    }});
    let request: ledger::Request = serde_json::from_value(change).unwrap();
    let refused = house.writer.post(request).await.unwrap_err();
    assert!(matches!(refused, Error::BadEvent { recipe: "period_state", .. }), "{refused}");
    assert_eq!(house.count("SELECT count(*) FROM ledger.period_states").await, 0);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn months_are_closed_for_good_in_their_order_and_never_opened_again(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(1_000, "bank-1").await;
    wait_until(&house, "2027-01-15T00:00:00Z");
    close(&house, "2026-11", PeriodState::Soft).await.unwrap();
    assert_eq!(reasons(&house, "2026-12", PeriodState::Hard).await, ["2026-11 is not closed for good"]);
    let november = closing(&house, "2026-11", PeriodState::Hard);
    let first = house.writer.close_period(november.clone()).await.unwrap();
    close(&house, "2026-12", PeriodState::Hard).await.unwrap();
    // Who did not hear the answer asks again.
    assert_eq!(house.writer.close_period(november.clone()).await.unwrap(), first);
    let other = Closing { reason: "another".into(), ..november };
    assert!(matches!(house.writer.close_period(other).await, Err(Error::IdReused { .. })));

    let closed = |result: Result<ledger::BlockRef, Error>| assert!(matches!(result, Err(Error::PeriodClosed { .. })));
    let month: Month = "2026-11".parse().unwrap();
    closed(close(&house, "2026-11", PeriodState::Soft).await);
    closed(house.writer.reopen_period(house.ids.next::<JobId>().0, month, "a mistake").await);
    closed(entry(&house, USD, (Code::Bank, Code::Rounding), 1, Some("2026-11")).await);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_soft_closed_month_takes_facts_again_once_it_is_reopened(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(1_000, "bank-1").await;
    wait_until(&house, "2026-12-02T00:00:00Z");
    let late = || async {
        let job = house.job(10);
        house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
        let mut settlement = house.settlement(job.job_id, 10, 0);
        settlement.event_at = "2026-11-30T23:00:00Z".parse().unwrap();
        house.writer.settle(settlement).await.unwrap();
        let mut conn = house.pool.acquire().await.unwrap();
        let groups = ledger::link_groups(&mut conn, job.job_id.0, 0, 9).await.unwrap();
        (groups[1].month.to_string(), groups[1].event_at.date_naive().to_string())
    };
    let november = || ("2026-11".to_owned(), "2026-11-30".to_owned());
    assert_eq!(late().await, november());
    close(&house, "2026-11", PeriodState::Soft).await.unwrap();
    assert_eq!(late().await, ("2026-12".to_owned(), "2026-11-30".to_owned()));
    let (change_id, month) = (house.ids.next::<JobId>().0, "2026-11".parse().unwrap());
    house.writer.reopen_period(change_id, month, "a node came back").await.unwrap();
    assert_eq!(late().await, november());
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_database_itself_keeps_a_closed_month_closed(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(1_000, "bank-1").await;
    wait_until(&house, "2026-12-02T00:00:00Z");
    close(&house, "2026-11", PeriodState::Hard).await.unwrap();
    // A transfer, a note, and the state itself.
    let refused = [
        "INSERT INTO ledger.transfers
         SELECT 900, debit_account_id, credit_account_id, 1, seq, seq, NULL, 1, 3, 2611, NULL, NULL, NULL, NULL,
             gen_random_uuid(), 1, NULL
         FROM ledger.transfers WHERE seq = 1",
        "INSERT INTO ledger.transfers
         SELECT 900, 0, 0, 0, 0, 0, NULL, 5, 5, 2611, NULL, NULL, NULL, NULL, gen_random_uuid(), 1, NULL",
        "INSERT INTO ledger.period_states VALUES (900, 2611, 'open')",
        "INSERT INTO ledger.period_states VALUES (900, 2610, 'open'), (900, 2611, 'soft')",
    ];
    for statement in refused {
        let error = sqlx::query(statement).execute(&house.pool).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("TG006"), "{statement}: {error}");
    }
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_closed_month_has_the_same_bytes_for_ever(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(9_000_000_000, "a start").await;
    live(&house, &events(21, 80)).await;
    wait_until(&house, "2026-12-03T00:00:00Z");
    house.writer.void_expired().await.unwrap();
    // Whatever stands on clearing accounts is brought to zero within the month.
    let mut conn = house.pool.acquire().await.unwrap();
    for row in ledger::unsettled(&mut conn, ledger::AccountId(0), 100).await.unwrap() {
        let amount = i64::try_from(row.balance.abs()).unwrap();
        let (debit, credit) = (row.key.code, Code::Bank);
        let pair = if row.balance < 0 { (debit, credit) } else { (credit, debit) };
        entry(&house, row.key.unit, pair, amount, Some("2026-11")).await.unwrap();
    }
    close(&house, "2026-11", PeriodState::Hard).await.unwrap();
    let november: Month = "2026-11".parse().unwrap();
    let mut told = Vec::new();
    for format in [Format::Hledger, Format::Beancount] {
        for detail in [Detail::Full, Detail::Daily] {
            told.push((format, detail, export(&mut conn, format, detail, Some(november)).await));
        }
    }
    let trial = ledger::trial_balance_of(&mut conn, november).await.unwrap();

    // More of the same, accounts that November never knew, a late fact of November's, and the next month closed.
    live(&house, &events(22, 80)).await;
    entry(&house, "JPY".parse().unwrap(), (Code::Bank, Code::TaxPayable), 5, None).await.unwrap();
    let job = house.job(10);
    house.top_up(1_000, "more").await;
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    let mut settlement = house.settlement(job.job_id, 10, 3);
    settlement.event_at = "2026-11-30T23:00:00Z".parse().unwrap();
    house.writer.settle(settlement).await.unwrap();
    wait_until(&house, "2027-01-09T00:00:00Z");
    house.writer.void_expired().await.unwrap();
    close(&house, "2026-12", PeriodState::Soft).await.unwrap();
    live(&house, &events(23, 80)).await;
    for (format, detail, text) in told {
        let again = export(&mut conn, format, detail, Some(november)).await;
        assert_eq!(again, text, "{format:?} {detail:?}");
        assert_eq!(Sha256::digest(&again), Sha256::digest(&text));
    }
    assert_eq!(ledger::trial_balance_of(&mut conn, november).await.unwrap(), trial);
    // The late fact is in December's file, with its own day beside the day that it is booked on.
    let december = export(&mut conn, Format::Hledger, Detail::Full, Some(november.next())).await;
    let late = december.lines().find(|line| line.contains("event:2026-11-30T23:00:00.000000Z")).unwrap();
    assert!(late.starts_with("2026-12-01 job_settle  ; seq:"), "{late}");
    drop(conn);
    house.close().await;
}
