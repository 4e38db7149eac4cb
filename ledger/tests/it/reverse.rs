//! What a reversal takes back, and what it does not.

use ledger::{Code, Error, GroupRef};
use primitives::id::JobId;
use primitives::money::{Currency, Nanos};
use sqlx::PgPool;

use crate::House;
use crate::story::{entry, wait_until};

#[sqlx::test(migrations = "../migrations")]
async fn what_moved_nothing_and_what_is_a_reversal_are_not_reversed(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    let job = house.job(60);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    let refused = |error: Error| assert!(matches!(error, Error::NothingToReverse { .. }), "{error}");
    // A hold moves nothing; nor does its end without a charge; nor is there a group within a group, or of no event.
    refused(house.writer.reverse(GroupRef::Event(job.job_id.0, "job_hold"), "no").await.unwrap_err());
    house.writer.void(job.job_id).await.unwrap();
    refused(house.writer.reverse(GroupRef::Event(job.job_id.0, "job_void"), "no").await.unwrap_err());
    refused(house.writer.reverse(GroupRef::Event(job.job_id.0, "job_settle"), "no").await.unwrap_err());
    refused(house.writer.reverse(GroupRef::Event(job.job_id.0, "no recipe"), "no").await.unwrap_err());
    refused(house.writer.reverse(GroupRef::Head(999), "no").await.unwrap_err());
    house.writer.post(house.capacity()).await.unwrap();
    let note = house.count("SELECT max(seq) FROM ledger.transfers").await;
    refused(house.writer.reverse(GroupRef::Head(note), "no").await.unwrap_err());
    // A reversal stands.
    house.writer.reverse(GroupRef::Head(1), "a wrong payment").await.unwrap();
    let reversal = house.count("SELECT max(seq) FROM ledger.transfers").await;
    refused(house.writer.reverse(GroupRef::Head(reversal), "no").await.unwrap_err());
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_was_given_and_is_spent_cannot_be_taken_back(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    let job = house.job(60);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    let error = house.writer.reverse(GroupRef::Head(1), "the card was stolen").await.unwrap_err();
    assert!(matches!(error, Error::Overdraft { available: Nanos(40), .. }), "{error}");
    house.writer.void(job.job_id).await.unwrap();
    house.writer.reverse(GroupRef::Head(1), "the card was stolen").await.unwrap();
    assert_eq!(house.balance().await.available, Nanos(0));
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_group_is_taken_back_once_and_a_repetition_gets_the_first_answer(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    let job = house.job(60);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    house.writer.settle(house.settlement(job.job_id, 36, 20)).await.unwrap();
    let settled = GroupRef::Event(job.job_id.0, "job_settle");
    let first = house.writer.reverse(settled, "the answer was empty").await.unwrap();
    assert_eq!(house.writer.reverse(settled, "the answer was empty").await.unwrap(), first);
    let house = house.reopen().await;
    assert_eq!(house.writer.reverse(settled, "the answer was empty").await.unwrap(), first);
    let error = house.writer.reverse(settled, "another reason").await.unwrap_err();
    assert!(matches!(error, Error::IdReused { recipe: "reversal", .. }), "{error}");
    // All of the money is back; what was used stays recorded.
    assert_eq!(house.balance().await.available, Nanos(100));
    let mut conn = house.pool.acquire().await.unwrap();
    let moved = ledger::trial_balance(&mut conn).await.unwrap();
    let standing = moved.iter().filter(|row| row.debits != row.credits).map(|row| row.account.as_str());
    assert_eq!(standing.collect::<Vec<_>>(), ["1000 bank", "2000 paid credits"]);
    assert_eq!(ledger::usage_facts(&mut conn, job.job_id).await.unwrap().len(), 2);
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn revenue_of_an_earlier_month_is_given_back_in_a_class_of_its_own(pool: PgPool) {
    let house = House::open(pool).await;
    entry(&house, Currency::USD, (Code::Receivable, Code::LicenceRevenue), 50, None).await.unwrap();
    wait_until(&house, "2026-12-02T00:00:00Z");
    house.writer.reverse(GroupRef::Head(1), "they never signed").await.unwrap();
    let buckets =
        "SELECT count(*) FROM ledger.journal WHERE bucket = 'PRIOR_PERIOD' AND of_period = 2611 AND period = 2612";
    assert_eq!(house.count(buckets).await, 1);
    assert_eq!(house.count("SELECT count(*) FROM ledger.journal WHERE reverses_seq = 1").await, 1);
    let unknown = GroupRef::Event(house.ids.next::<JobId>().0, "journal_entry");
    assert!(matches!(house.writer.reverse(unknown, "no").await, Err(Error::NothingToReverse { .. })));
    house.close().await;
}
