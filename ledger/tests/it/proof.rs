//! What the verifier finds after somebody with all rights has been at the tables.

use chrono::TimeDelta;
use ledger::proof::{Verification, verify};
use ledger::{AccountState, PeriodState};
use sqlx::PgPool;

use crate::House;

/// Three jobs, some capacity, an account frozen and a month closed, then a change behind the triggers' back.
async fn after(pool: PgPool, change: &'static str) -> Verification {
    let house = House::open(pool).await;
    house.grant(20, TimeDelta::days(1)).await;
    for amount in [10, 20, 30] {
        house.top_up(amount, &format!("bank-{amount}")).await;
        let job = house.job(amount);
        house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
        house.writer.settle(house.settlement(job.job_id, amount - 1, 3)).await.unwrap();
    }
    house.writer.post(house.capacity()).await.unwrap();
    house.set_account(house.paid(), AccountState::Frozen).await;
    house.set_period("2026-10", PeriodState::Soft).await;
    let House { pool, task, .. } = house;
    task.shutdown().await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    let before = verify(&mut conn, |_, _| {}).await.unwrap();
    assert!(before.passed(), "{before:?}");
    assert_eq!((before.blocks, before.facts), (13, 6));
    sqlx::raw_sql("SET session_replication_role = replica").execute(&mut *conn).await.unwrap();
    sqlx::raw_sql(change).execute(&mut *conn).await.unwrap();
    sqlx::raw_sql("SET session_replication_role = origin").execute(&mut *conn).await.unwrap();
    verify(&mut conn, |_, _| {}).await.unwrap()
}

/// The height of the block that is named.
fn named(found: &Verification) -> Option<i64> {
    found.bad_blocks.first().map(|bad| bad.height)
}

/// The transfers of a block, for a condition.
macro_rules! of_block {
    ($height:literal) => {
        concat!(
            "seq >= (SELECT first_seq FROM ledger.blocks WHERE height = ",
            $height,
            ") AND seq < (SELECT first_seq + transfers_count FROM ledger.blocks WHERE height = ",
            $height,
            ")"
        )
    };
}

#[sqlx::test(migrations = "../migrations")]
async fn a_changed_amount_names_its_block_and_accounts(pool: PgPool) {
    let change = concat!("UPDATE ledger.transfers SET amount = amount - 1 WHERE kind = 3 AND ", of_block!(7));
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
    assert_eq!(steps, [(13, 13)]);
}

/// A test that changes something in a block and wants that block named.
macro_rules! names_its_block {
    ($($name:ident: $height:literal, $change:expr;)*) => {$(
        #[sqlx::test(migrations = "../migrations")]
        async fn $name(pool: PgPool) {
            let found = after(pool, $change).await;
            assert_eq!(named(&found), Some($height), "{found:?}");
        }
    )*};
}

names_its_block! {
    a_changed_usage_fact_names_its_block: 4,
        concat!("UPDATE ledger.usage_facts SET quantity = quantity + 1 WHERE line = 0 AND ", of_block!(4));
    a_removed_usage_fact_names_its_block: 7, concat!("DELETE FROM ledger.usage_facts WHERE line = 1 AND ", of_block!(7));
    a_changed_head_of_a_group_names_its_block: 4,
        concat!("UPDATE ledger.transfers SET event_at = event_at + interval '1 us' WHERE link_id IS NOT NULL AND ", of_block!(4));
    a_group_in_another_month_names_its_block: 4,
        concat!("UPDATE ledger.transfers SET period = period - 1 WHERE link_id IS NOT NULL AND ", of_block!(4));
    another_reference_names_its_block: 2, "UPDATE ledger.transfers SET reference = 'bank-11' WHERE reference = 'bank-10'";
    a_transfer_between_other_accounts_names_its_block: 2,
        concat!(
            "UPDATE ledger.transfers SET credit_account_id = (SELECT id FROM ledger.accounts WHERE code = 2010) WHERE ",
            of_block!(2)
        );
    a_removed_transfer_names_its_block: 7,
        concat!("DELETE FROM ledger.transfers WHERE link_id IS NULL AND kind = 1 AND leaf_id IS NOT NULL AND ", of_block!(7));
    a_changed_history_names_its_block: 7,
        concat!("UPDATE ledger.transfers SET debit_prev_seq = 1 WHERE kind = 3 AND ", of_block!(7));
    a_changed_leaf_names_the_block_that_wrote_it: 4, "UPDATE ledger.leaves SET bucket = 'NON_EFFECTIVE' WHERE id = 1";
    a_removed_leaf_names_the_block_that_wrote_it: 4, "DELETE FROM ledger.leaves WHERE id = 2";
    changed_capacity_names_its_block: 11, "UPDATE ledger.capacity_facts SET share_ppm = share_ppm - 1";
    a_changed_state_names_its_block: 12, "UPDATE ledger.account_states SET state = 'open', floor = NULL";
    a_changed_floor_of_a_state_names_its_block: 12, "UPDATE ledger.account_states SET floor = floor - 1";
    a_month_opened_behind_our_back_names_its_block: 13, "UPDATE ledger.period_states SET state = 'open'";
    a_changed_count_names_its_block: 9, "UPDATE ledger.blocks SET leaves_total = leaves_total + 1 WHERE height = 9";
    an_added_row_is_missed_by_all_blocks: 14,
        "INSERT INTO ledger.leaves (shard, id, bucket, product_line) VALUES (0, 999, 'BREAKAGE', 'inference')";
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
    assert_eq!(named(&after(pool, "DELETE FROM ledger.blocks WHERE height = 13").await), Some(13));
}

/// A test that changes what is derived: the blocks are good, and one account is not.
macro_rules! names_its_account {
    ($($name:ident: $change:expr;)*) => {$(
        #[sqlx::test(migrations = "../migrations")]
        async fn $name(pool: PgPool) {
            let found = after(pool, $change).await;
            assert_eq!((named(&found), found.wrong_balances.len()), (None, 1), "{found:?}");
        }
    )*};
}

names_its_account! {
    a_changed_balance_names_its_account: "UPDATE ledger.accounts SET credits_posted = credits_posted + 1 WHERE code = 2000";
    a_changed_pending_balance_names_its_account: "UPDATE ledger.accounts SET credits_pending = 1 WHERE code = 4000";
    a_changed_last_transfer_names_its_account: "UPDATE ledger.accounts SET last_seq = last_seq - 1 WHERE code = 2000";
    a_changed_number_of_transfers_names_its_account:
        "UPDATE ledger.accounts SET transfers_count = transfers_count + 1 WHERE code = 4000";
    an_account_opened_behind_our_back_is_named: "UPDATE ledger.accounts SET state = 'open', floor = NULL WHERE code = 2000";
    a_lowered_floor_names_its_account: "UPDATE ledger.accounts SET floor = floor - 1 WHERE code = 2000";
    an_account_frozen_behind_our_back_is_named: "UPDATE ledger.accounts SET state = 'frozen', floor = 0 WHERE code = 2010";
    a_checkpoint_that_nobody_made_names_its_account:
        "INSERT INTO ledger.checkpoints SELECT id, last_seq, 0, 0, 0, 0 FROM ledger.accounts WHERE code = 2000";
}

/// A test that changes what is derived of a month: the blocks and accounts are good, and one month is not.
macro_rules! names_its_month {
    ($($name:ident: $change:expr;)*) => {$(
        #[sqlx::test(migrations = "../migrations")]
        async fn $name(pool: PgPool) {
            let found = after(pool, $change).await;
            assert_eq!((named(&found), found.wrong_balances.len()), (None, 0), "{found:?}");
            assert_eq!(found.wrong_months, ["2026-11".parse().unwrap()]);
        }
    )*};
}

names_its_month! {
    a_changed_total_names_its_month: "UPDATE ledger.month_totals SET credits = credits + 1 WHERE code_unit = 2000840";
    a_removed_total_names_its_month: "DELETE FROM ledger.month_totals WHERE code_unit = 2000840";
    a_total_that_nobody_booked_names_its_month: "INSERT INTO ledger.month_totals VALUES (0, 2611, 9900840, 1, 1)";
    another_first_group_names_its_month: "UPDATE ledger.months SET first_seq = first_seq + 1";
    a_group_that_is_not_late_names_its_month: "INSERT INTO ledger.late_groups VALUES (2611, 1)";
}

/// A bank with 512 transfers, then a change behind the triggers' back.
async fn after_many(pool: PgPool, change: &'static str) -> Verification {
    let house = House::open(pool).await;
    let mut paying = tokio::task::JoinSet::new();
    for number in 0..512 {
        let (writer, tenant_id, currency) = (house.writer.clone(), house.ids.next(), house.paid().unit);
        let (amount, reference) = (primitives::money::Nanos(1), format!("bank-{number}"));
        paying.spawn(async move { writer.top_up(ledger::TopUp { tenant_id, amount, currency, reference }).await });
    }
    assert!(paying.join_all().await.iter().all(Result::is_ok));
    house.task.shutdown().await.unwrap();
    let mut conn = house.pool.acquire().await.unwrap();
    assert!(verify(&mut conn, |_, _| {}).await.unwrap().passed());
    sqlx::raw_sql("SET session_replication_role = replica").execute(&mut *conn).await.unwrap();
    let changed = sqlx::raw_sql(change).execute(&mut *conn).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    verify(&mut conn, |_, _| {}).await.unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_changed_checkpoint_names_its_account(pool: PgPool) {
    let change = "UPDATE ledger.checkpoints SET debits_posted = debits_posted - 1 WHERE debits_posted = 256";
    let found = after_many(pool, change).await;
    assert_eq!((named(&found), found.wrong_balances.len()), (None, 1), "{found:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_removed_checkpoint_names_its_account(pool: PgPool) {
    let found = after_many(pool, "DELETE FROM ledger.checkpoints WHERE debits_posted = 512").await;
    assert_eq!((named(&found), found.wrong_balances.len()), (None, 1), "{found:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_requests_give_the_same_hash_on_any_day_and_machine(pool: PgPool) {
    let found = after(pool, "SELECT 1").await;
    let heads: Vec<String> = found.heads.iter().map(|(shard, head)| format!("{shard} {head:?}")).collect();
    insta::assert_snapshot!(heads.join("\n"), @"0 block 13 bd7edd77332ec016d67bd66cb978eaeb1cc390c2b16f28bef46f4cc765dff0a1");
}
