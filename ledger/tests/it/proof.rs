//! What the verifier finds after somebody with all rights has been at the tables.

use chrono::TimeDelta;
use ledger::proof::{Verification, verify};
use sqlx::PgPool;

use crate::House;

/// Three jobs, then a change behind the triggers' back.
async fn after(pool: PgPool, change: &'static str) -> Verification {
    let house = House::open(pool).await;
    house.grant(20, TimeDelta::days(1)).await;
    for amount in [10, 20, 30] {
        house.top_up(amount, &format!("bank-{amount}")).await;
        let job = house.job(amount);
        house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
        house.writer.settle(house.settlement(job.job_id, amount - 1, 3)).await.unwrap();
    }
    let House { pool, task, .. } = house;
    task.shutdown().await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    let before = verify(&mut conn, |_, _| {}).await.unwrap();
    assert!(before.passed(), "{before:?}");
    assert_eq!((before.blocks, before.facts), (10, 6));
    sqlx::raw_sql("SET session_replication_role = replica").execute(&mut *conn).await.unwrap();
    sqlx::raw_sql(change).execute(&mut *conn).await.unwrap();
    sqlx::raw_sql("SET session_replication_role = origin").execute(&mut *conn).await.unwrap();
    verify(&mut conn, |_, _| {}).await.unwrap()
}

/// The height of the block that is named.
fn named(found: &Verification) -> Option<i64> {
    found.bad_blocks.first().map(|bad| bad.height)
}

#[sqlx::test(migrations = "../migrations")]
async fn a_changed_amount_names_its_block_and_accounts(pool: PgPool) {
    let change = "
        UPDATE ledger.transfers SET amount_nanos = amount_nanos - 1
        WHERE kind = 'capture' AND group_seq = (SELECT seq FROM ledger.groups WHERE block_height = 7 AND shard = 0)";
    let found = after(pool, change).await;
    assert_eq!(named(&found), Some(7), "{found:?}");
    // The gift and the payment that were captured, and revenue.
    assert_eq!(found.wrong_balances.len(), 3, "{found:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn the_verifier_tells_how_far_it_is(pool: PgPool) {
    after(pool.clone(), "SELECT 1").await;
    let mut steps = vec![];
    verify(&mut pool.acquire().await.unwrap(), |done, all| steps.push((done, all))).await.unwrap();
    assert_eq!(steps, [(10, 10)]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_changed_usage_fact_names_its_block(pool: PgPool) {
    let change = "
        UPDATE ledger.usage_facts SET quantity = quantity + 1
        WHERE meter = 'input' AND group_seq = (SELECT seq FROM ledger.groups WHERE block_height = 4 AND shard = 0)";
    assert_eq!(named(&after(pool, change).await), Some(4));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_changed_group_names_its_block(pool: PgPool) {
    let change = "UPDATE ledger.groups SET event_at = event_at + interval '1 microsecond' WHERE block_height = 3";
    assert_eq!(named(&after(pool, change).await), Some(3));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_changed_block_is_named(pool: PgPool) {
    let change = "UPDATE ledger.blocks SET at = at + interval '1 microsecond' WHERE height = 5";
    assert_eq!(named(&after(pool, change).await), Some(5));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_changed_account_names_the_block_that_opened_it(pool: PgPool) {
    let change = "UPDATE ledger.accounts SET expires_at = expires_at + interval '1 day' WHERE code = 2010";
    assert_eq!(named(&after(pool, change).await), Some(1));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_removed_block_is_missed(pool: PgPool) {
    assert_eq!(named(&after(pool, "DELETE FROM ledger.blocks WHERE height = 6").await), Some(6));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cut_off_end_is_missed_by_its_rows(pool: PgPool) {
    assert_eq!(named(&after(pool, "DELETE FROM ledger.blocks WHERE height = 10").await), Some(10));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_changed_balance_names_its_account(pool: PgPool) {
    let change = "UPDATE ledger.accounts SET credits_posted_nanos = credits_posted_nanos + 1 WHERE code = 2000";
    let found = after(pool, change).await;
    assert_eq!(named(&found), None);
    assert_eq!(found.wrong_balances.len(), 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_requests_give_the_same_hash_on_any_day_and_machine(pool: PgPool) {
    let found = after(pool, "SELECT 1").await;
    let heads: Vec<String> = found.heads.iter().map(|(shard, head)| format!("{shard} {head:?}")).collect();
    insta::assert_snapshot!(heads.join("\n"), @"0 block 10 b353ed64e381d4c3b98db29c329c4f946b90979dd24c189f6ec33ce39f2d1869");
}
