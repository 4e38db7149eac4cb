//! What the database itself refuses, whoever asks.

use chrono::TimeDelta;
use sqlx::PgPool;

use crate::House;

/// A ledger with an open hold of 10 by the tenant's paid account, written by a writer that has gone.
async fn books(pool: PgPool) -> PgPool {
    let house = House::open(pool).await;
    house.grant(20, TimeDelta::days(1)).await;
    house.top_up(100, "bank-1").await;
    for amount in [30, 40] {
        let job = house.job(amount);
        house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
        if amount == 30 {
            house.writer.settle(house.settlement(job.job_id, 25, 10)).await.unwrap();
        }
    }
    house.task.shutdown().await.unwrap();
    house.pool
}

/// Runs a statement that must be refused with this in its message.
async fn refused(pool: &PgPool, because: &str, statement: &str) {
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(pool).await.err();
    let message = error.unwrap_or_else(|| panic!("taken: {statement}")).to_string();
    assert!(message.contains(because), "{statement}\n{message}");
}

/// A transfer by hand; `id` is the last part of its identifier.
fn insert(id: u8, kind: &str, debit: &str, credit: &str, amount: i64, more: &str) -> String {
    let more = if more.is_empty() { "NULL, NULL, NULL, NULL, NULL, NULL, NULL" } else { more };
    format!(
        "INSERT INTO ledger.transfers VALUES
        (0, 1000 + {id}, 0, '00000000-0000-7000-8000-{id:012}', '{kind}', ({debit}), ({credit}), {amount}, {more})"
    )
}

const PAID: &str = "SELECT id FROM ledger.accounts WHERE code = 2000 AND unit = 'USD'";
const REVENUE: &str = "SELECT id FROM ledger.accounts WHERE code = 4000";
const BANK: &str = "SELECT id FROM ledger.accounts WHERE code = 1000 AND unit = 'USD'";
/// The open hold on paid credit: 40.
const OPEN: &str = "(SELECT id FROM ledger.transfers t WHERE kind = 'pending'
    AND NOT EXISTS (SELECT FROM ledger.transfers r WHERE r.pending_id = t.id))";
const LEAF: &str = "'PRODUCTIVE', '00000000-0000-7000-8000-000000000001', 'm', '00000000-0000-7000-8000-000000000002',
    '00000000-0000-7000-8000-000000000003', 'inference'";

#[sqlx::test(migrations = "../migrations")]
async fn nothing_is_changed_or_removed(pool: PgPool) {
    let pool = books(pool).await;
    for table in ["transfers", "groups", "blocks", "usage_facts"] {
        for statement in ["UPDATE ledger.{} SET shard = 1", "DELETE FROM ledger.{}", "TRUNCATE ledger.{}"] {
            refused(&pool, "append-only", &statement.replace("{}", table)).await;
        }
    }
    for statement in ["DELETE FROM ledger.accounts", "TRUNCATE ledger.accounts", "DELETE FROM ledger.shards"] {
        refused(&pool, "append-only", statement).await;
    }
    refused(&pool, "moved by transfers alone", "UPDATE ledger.accounts SET credits_posted_nanos = 1").await;
}

#[sqlx::test(migrations = "../migrations")]
async fn an_account_is_not_overdrawn_and_a_hold_is_not_spent(pool: PgPool) {
    let pool = books(pool).await;
    // 100 paid, 5 of them charged, 40 held: 55 are left.
    refused(&pool, "accounts_no_overdraft", &insert(1, "posted", PAID, BANK, 56, "")).await;
    refused(&pool, "accounts_no_overdraft", &insert(1, "pending", PAID, REVENUE, 56, "")).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert(1, "posted", PAID, BANK, 55, ""))).execute(&pool).await.unwrap();
    refused(&pool, "accounts_no_overdraft", &insert(2, "posted", PAID, BANK, 1, "")).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_hold_is_resolved_once_and_for_no_more_than_it_holds(pool: PgPool) {
    let pool = books(pool).await;
    let capture = |id, amount| insert(id, "capture", PAID, REVENUE, amount, &format!("{OPEN}, {LEAF}"));
    let void =
        |amount| insert(2, "void", PAID, REVENUE, amount, &format!("{OPEN}, NULL, NULL, NULL, NULL, NULL, NULL"));
    refused(&pool, "does not fit the hold", &capture(1, 41)).await;
    refused(&pool, "does not fit the hold", &void(39)).await;
    refused(&pool, "does not fit the hold", &insert(1, "capture", BANK, REVENUE, 1, &format!("{OPEN}, {LEAF}"))).await;
    refused(&pool, "transfers_pending", &insert(1, "capture", PAID, REVENUE, 1, &format!("NULL, {LEAF}"))).await;
    let one_and_another = format!("{}, {}", capture(1, 10), capture(2, 10).split_once("VALUES").unwrap().1);
    refused(&pool, "transfers_resolve_once", &one_and_another).await;
    let resolved = "(SELECT pending_id FROM ledger.transfers WHERE kind = 'capture' LIMIT 1)";
    let of = |column: &str| format!("SELECT {column} FROM ledger.transfers WHERE kind = 'capture' LIMIT 1");
    let again = insert(1, "capture", &of("debit_account_id"), REVENUE, 1, &format!("{resolved}, {LEAF}"));
    refused(&pool, "transfers_resolve_once", &again).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(capture(1, 40))).execute(&pool).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn revenue_without_its_place_in_economics_is_refused(pool: PgPool) {
    let pool = books(pool).await;
    refused(&pool, "transfers_revenue", &insert(1, "posted", PAID, REVENUE, 1, "")).await;
    let unknown = LEAF.replace("PRODUCTIVE", "WINDFALL");
    refused(&pool, "transfers_bucket_check", &insert(1, "posted", PAID, REVENUE, 1, &format!("NULL, {unknown}"))).await;
    let without_node = LEAF.replace("'00000000-0000-7000-8000-000000000002'", "NULL");
    let statement = insert(1, "posted", PAID, REVENUE, 1, &format!("NULL, {without_node}"));
    refused(&pool, "transfers_productive", &statement).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn odd_transfers_are_refused(pool: PgPool) {
    let pool = books(pool).await;
    sqlx::raw_sql(
        "INSERT INTO ledger.accounts (id, shard, block_height, code, normal_side, no_overdraft, unit)
         VALUES (100000000009999999, 0, 1, 1000, 'debit', false, 'EUR')",
    )
    .execute(&pool)
    .await
    .unwrap();
    let euro = "SELECT 100000000009999999";
    refused(&pool, "one unit", &insert(1, "posted", BANK, euro, 1, "")).await;
    refused(&pool, "one unit", &insert(1, "posted", BANK, "SELECT 100000000000000777", 1, "")).await;
    refused(&pool, "transfers_two_accounts", &insert(1, "posted", BANK, BANK, 1, "")).await;
    refused(&pool, "amount_nanos", &insert(1, "posted", BANK, PAID, 0, "")).await;
    refused(&pool, "amount_nanos", &insert(1, "posted", BANK, PAID, -5, "")).await;
    refused(&pool, "out of range", &insert(1, "posted", BANK, PAID, i64::MAX, "")).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert(1, "posted", BANK, PAID, 1, ""))).execute(&pool).await.unwrap();
    let same_id = insert(1, "posted", BANK, PAID, 1, "").replace("1000 + 1", "2000");
    refused(&pool, "transfers_id", &same_id).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_chain_does_not_fork_and_an_older_epoch_is_refused(pool: PgPool) {
    let pool = books(pool).await;
    let post = |change: &str| {
        format!(
            "SELECT ledger.post_block(b, '{{}}', '{{}}', '{{}}', '{{}}')
             FROM (SELECT shard, {change} FROM ledger.blocks ORDER BY height DESC LIMIT 1) last,
             LATERAL (SELECT ROW(last.*)::ledger.blocks AS b) block"
        )
    };
    let block = |height: &str, epoch: &str, seq: &str, prev: &str| {
        post(&format!(
            "{height} AS height, {epoch} AS epoch, at, {seq} AS first_group_seq, groups_count, 0 AS accounts_count,
             0 AS transfers_count, 0 AS facts_count, accounts_total, open_from_seq, {prev} AS prev_hash,
             sha256(hash) AS hash"
        ))
    };
    let next_seq = "first_group_seq + groups_count";
    refused(&pool, "later epoch", &block("height + 1", "epoch - 1", next_seq, "hash")).await;
    refused(&pool, "does not follow", &block("height + 1", "epoch", next_seq, "sha256('x')")).await;
    refused(&pool, "does not follow", &block("height + 1", "epoch", "first_group_seq", "hash")).await;
    refused(&pool, "does not follow", &block("height + 2", "epoch", next_seq, "hash")).await;
    refused(&pool, "blocks_pkey", &block("1", "epoch", "1", "sha256('x')")).await;
    let fork = "
        INSERT INTO ledger.blocks
        SELECT shard, 99, epoch, at, first_group_seq, groups_count, accounts_count, transfers_count, facts_count,
            accounts_total, open_from_seq, prev_hash, sha256('x')
        FROM ledger.blocks WHERE height = 2";
    refused(&pool, "blocks_no_fork", fork).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(block("height + 1", "epoch", next_seq, "hash"))).execute(&pool).await.unwrap();
}
