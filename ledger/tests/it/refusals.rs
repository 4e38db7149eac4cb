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

/// A column's value in SQL.
type Column<'a> = (&'a str, &'a str);

/// A transfer by hand after the last one, as SQL; `more` sets what is null or otherwise else.
fn insert(place: u8, kind: i16, debit: &str, credit: &str, amount: i64, more: &[Column<'_>]) -> String {
    let columns: String = more.iter().map(|(column, _)| format!(", {column}")).collect();
    let values: String = more.iter().map(|(_, value)| format!(", ({value})")).collect();
    format!(
        "INSERT INTO ledger.transfers
            (seq, kind, debit_account_id, credit_account_id, amount, debit_prev_seq, credit_prev_seq{columns})
        SELECT (SELECT max(seq) FROM ledger.transfers) + {place}, {kind}, ({debit}), ({credit}), {amount}, 0, 0{values}"
    )
}

async fn taken(pool: &PgPool, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(pool).await.unwrap();
}

const POSTED: i16 = 1;
const PENDING: i16 = 2;
const CAPTURE: i16 = 3;
const VOID: i16 = 4;
const NOTE: i16 = 5;
const PAID: &str = "SELECT id FROM ledger.accounts WHERE code = 2000 AND unit = 'USD'";
const REVENUE: &str = "SELECT id FROM ledger.accounts WHERE code = 4000";
const BANK: &str = "SELECT id FROM ledger.accounts WHERE code = 1000 AND unit = 'USD'";
const COST: &str = "SELECT id FROM ledger.accounts WHERE code = 5000";
/// The open hold on paid credit: 40.
const OPEN: Column<'static> = (
    "pending_seq",
    "SELECT seq FROM ledger.transfers t WHERE kind = 2 AND NOT EXISTS (SELECT FROM ledger.transfers r WHERE r.pending_seq = t.seq)",
);
/// The hold that was captured.
const RESOLVED: Column<'static> = ("pending_seq", "SELECT min(pending_seq) FROM ledger.transfers WHERE kind = 3");
const LEAF: Column<'static> = ("leaf_id", "1");
/// What makes a transfer the first of a group.
const HEAD: [Column<'static>; 4] =
    [("link_id", "gen_random_uuid()"), ("recipe", "3::smallint"), ("body", "1"), ("period", "2611::smallint")];

#[sqlx::test(migrations = "../migrations")]
async fn nothing_is_changed_or_removed(pool: PgPool) {
    let pool = books(pool).await;
    for (table, column) in [
        ("transfers", "seq"),
        ("blocks", "shard"),
        ("leaves", "shard"),
        ("usage_facts", "seq"),
        ("capacity_facts", "seq"),
        ("account_states", "seq"),
        ("period_states", "seq"),
        ("checkpoints", "seq"),
        ("months", "period"),
        ("late_groups", "period"),
        ("units", "scale"),
        ("recipes", "number"),
        ("kinds", "number"),
    ] {
        refused(&pool, "append-only", &format!("UPDATE ledger.{table} SET {column} = 1")).await;
        refused(&pool, "append-only", &format!("DELETE FROM ledger.{table}")).await;
        refused(&pool, "append-only", &format!("TRUNCATE ledger.{table} CASCADE")).await;
    }
    for table in ["accounts", "shards", "month_totals"] {
        refused(&pool, "append-only", &format!("DELETE FROM ledger.{table}")).await;
        refused(&pool, "append-only", &format!("TRUNCATE ledger.{table}")).await;
    }
    for column in ["credits_posted", "debits_pending", "last_seq", "transfers_count", "priority"] {
        refused(&pool, "moved by transfers alone", &format!("UPDATE ledger.accounts SET {column} = 1")).await;
    }
    refused(&pool, "moved by transfers alone", "UPDATE ledger.accounts SET state = 'frozen', floor = 0").await;
    refused(&pool, "moved by transfers alone", "UPDATE ledger.month_totals SET debits = 1").await;
    refused(&pool, "moved by transfers alone", "INSERT INTO ledger.month_totals VALUES (0, 2611, 1, 1, 1)").await;
}

#[sqlx::test(migrations = "../migrations")]
async fn an_account_is_not_overdrawn_and_a_hold_is_not_spent(pool: PgPool) {
    let pool = books(pool).await;
    // 100 paid, 5 of them charged, 40 held: 55 are left.
    refused(&pool, "accounts_no_overdraft", &insert(1, POSTED, PAID, BANK, 56, &[])).await;
    refused(&pool, "accounts_no_overdraft", &insert(1, PENDING, PAID, REVENUE, 56, &[])).await;
    taken(&pool, &insert(1, POSTED, PAID, BANK, 55, &[])).await;
    refused(&pool, "accounts_no_overdraft", &insert(1, POSTED, PAID, BANK, 1, &[])).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_frozen_account_does_not_fall_below_its_floor_and_a_closed_one_stays_empty(pool: PgPool) {
    let pool = books(pool).await;
    let state = |state: &str, floor: &str| {
        format!("INSERT INTO ledger.account_states SELECT max(seq), ({PAID}), '{state}', {floor} FROM ledger.transfers")
    };
    refused(&pool, "accounts_closed_empty", &state("closed", "NULL")).await;
    refused(&pool, "account_states_check", &state("open", "5")).await;
    refused(&pool, "account_states_check", &state("frozen", "NULL")).await;
    refused(&pool, "account_states_state_check", &state("asleep", "NULL")).await;
    taken(&pool, &state("frozen", "55")).await;
    refused(&pool, "accounts_no_overdraft", &insert(1, POSTED, PAID, BANK, 1, &[])).await;
    refused(&pool, "accounts_no_overdraft", &insert(1, PENDING, PAID, REVENUE, 1, &[])).await;
    taken(&pool, &insert(1, CAPTURE, PAID, REVENUE, 40, &[OPEN, LEAF])).await;
    taken(&pool, &insert(1, POSTED, BANK, PAID, 1, &[])).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_floor_below_zero_is_for_accounts_that_may_be_below_zero(pool: PgPool) {
    let pool = books(pool).await;
    let freeze = |account: &str, floor: i64| {
        format!(
            "INSERT INTO ledger.account_states SELECT max(seq), ({account}), 'frozen', {floor} FROM ledger.transfers"
        )
    };
    taken(&pool, &freeze(PAID, -10)).await;
    refused(&pool, "accounts_no_overdraft", &insert(1, POSTED, PAID, BANK, 56, &[])).await;
    // The bank has 100, pays them and 20 more, and is frozen there.
    taken(&pool, &insert(1, POSTED, COST, BANK, 120, &[])).await;
    refused(&pool, "accounts_no_overdraft", &freeze(BANK, -19)).await;
    taken(&pool, &freeze(BANK, -20)).await;
    refused(&pool, "accounts_no_overdraft", &insert(1, POSTED, COST, BANK, 1, &[])).await;
    taken(&pool, &insert(1, POSTED, BANK, COST, 1, &[])).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_hold_is_resolved_once_and_for_no_more_than_it_holds(pool: PgPool) {
    let pool = books(pool).await;
    let capture = |place, amount| insert(place, CAPTURE, PAID, REVENUE, amount, &[OPEN, LEAF]);
    refused(&pool, "does not fit the hold", &capture(1, 41)).await;
    for amount in [39, 41] {
        refused(&pool, "does not fit the hold", &insert(1, VOID, PAID, REVENUE, amount, &[OPEN])).await;
    }
    refused(&pool, "accounts_debits_pending_check", &insert(1, CAPTURE, BANK, REVENUE, 1, &[OPEN, LEAF])).await;
    let no_hold = ("pending_seq", "1");
    refused(&pool, "does not fit the hold", &insert(1, VOID, PAID, REVENUE, 1, &[no_hold])).await;
    let nothing = ("pending_seq", "987654321");
    refused(&pool, "null value", &insert(1, VOID, PAID, REVENUE, 1, &[nothing])).await;
    refused(&pool, "transfers_pending", &insert(1, CAPTURE, PAID, REVENUE, 1, &[LEAF])).await;
    refused(&pool, "transfers_pending", &insert(1, POSTED, PAID, BANK, 1, &[OPEN])).await;
    let two = capture(2, 10);
    let one_and_another = format!("{} UNION ALL SELECT {}", capture(1, 10), two.split_once("SELECT ").unwrap().1);
    refused(&pool, "transfers_resolve_once", &one_and_another).await;
    let of = |column: &str| format!("SELECT {column} FROM ledger.transfers WHERE kind = 3 ORDER BY seq LIMIT 1");
    let again = insert(1, CAPTURE, &of("debit_account_id"), REVENUE, 1, &[RESOLVED, LEAF]);
    refused(&pool, "transfers_resolve_once", &again).await;
    // Another's hold is not resolved, even by an account that holds as much.
    let strangers = ("pending_seq", OPEN.1.replacen("SELECT seq", "SELECT min(seq)", 1));
    taken(&pool, &insert(1, PENDING, BANK, REVENUE, 100, &[])).await;
    let of_bank = insert(1, CAPTURE, BANK, REVENUE, 1, &[(strangers.0, &strangers.1), LEAF]);
    refused(&pool, "does not fit the hold", &of_bank).await;
    taken(&pool, &insert(1, CAPTURE, PAID, REVENUE, 40, &[(strangers.0, &strangers.1), LEAF])).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn revenue_without_its_place_in_economics_is_refused(pool: PgPool) {
    let pool = books(pool).await;
    refused(&pool, "transfers_revenue", &insert(1, POSTED, PAID, REVENUE, 1, &[])).await;
    refused(&pool, "transfers_revenue", &insert(1, POSTED, REVENUE, PAID, 1, &[])).await;
    refused(&pool, "transfers_revenue", &insert(1, CAPTURE, PAID, REVENUE, 1, &[OPEN])).await;
    refused(&pool, "a leaf does not exist", &insert(1, POSTED, PAID, REVENUE, 1, &[("leaf_id", "999")])).await;
    let leaf = |bucket: &str, columns: &str, values: &str| {
        format!(
            "INSERT INTO ledger.leaves (shard, id, product_line, bucket{columns}) VALUES (0, 999, 'inference', '{bucket}'{values})"
        )
    };
    refused(&pool, "leaves_bucket_check", &leaf("WINDFALL", "", "")).await;
    let uuid = "'00000000-0000-7000-8000-000000000001'";
    for bucket in ["PRODUCTIVE", "NON_EFFECTIVE"] {
        refused(&pool, "leaves_productive", &leaf(bucket, ", model, provider_id", &format!(", 'm', {uuid}"))).await;
    }
    refused(&pool, "leaves_waste_check", &leaf("BREAKAGE", ", waste", ", 'laziness'")).await;
    refused(&pool, "leaves_prior_period", &leaf("PRIOR_PERIOD", "", "")).await;
    refused(&pool, "leaves_prior_period", &leaf("BREAKAGE", ", of_period", ", 2610")).await;
    taken(&pool, &leaf("PRIOR_PERIOD", ", of_period", ", 2610")).await;
    taken(&pool, &insert(1, POSTED, PAID, REVENUE, 1, &[("leaf_id", "999")])).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn odd_transfers_are_refused(pool: PgPool) {
    let pool = books(pool).await;
    taken(
        &pool,
        "INSERT INTO ledger.accounts (id, block_height, code, normal_side, no_overdraft, unit, priority)
         VALUES (100097800000000999, 1, 1000, 'debit', false, 'EUR', 50)",
    )
    .await;
    let (euro, nobody, strangers) =
        ("SELECT 100097800000000999", "SELECT 200084000000000999", "SELECT 200084001000000999");
    refused(&pool, "transfers_one_unit", &insert(1, POSTED, BANK, euro, 1, &[])).await;
    refused(&pool, "transfers_one_unit", &insert(1, POSTED, BANK, strangers, 1, &[])).await;
    refused(&pool, "accounts do not exist", &insert(1, POSTED, BANK, nobody, 1, &[])).await;
    refused(&pool, "transfers_amount", &insert(1, POSTED, BANK, BANK, 1, &[])).await;
    for amount in [0, -5, i64::MIN] {
        refused(&pool, "transfers_amount", &insert(1, POSTED, BANK, PAID, amount, &[])).await;
    }
    refused(&pool, "out of range", &insert(1, POSTED, BANK, PAID, i64::MAX, &[])).await;
    refused(&pool, "transfers_kind_check", &insert(1, 6, BANK, PAID, 1, &[])).await;
    let other_shard = insert(1, POSTED, BANK, PAID, 1, &[]).replace(") + 1,", ") + 1000000000000000,");
    refused(&pool, "transfers_one_unit", &other_shard).await;
    refused(&pool, "transfers_pkey", &insert(0, POSTED, BANK, PAID, 1, &[])).await;
    // A note moves nothing, and a group says all of what it is or nothing.
    refused(&pool, "transfers_amount", &insert(1, NOTE, "0", "0", 0, &[])).await;
    refused(&pool, "transfers_amount", &insert(1, NOTE, "0", "0", 1, &HEAD)).await;
    refused(&pool, "transfers_amount", &insert(1, NOTE, BANK, PAID, 0, &HEAD)).await;
    for missing in 0..HEAD.len() {
        let some: Vec<_> =
            HEAD.iter().enumerate().filter(|(place, _)| *place != missing).map(|(_, column)| *column).collect();
        refused(&pool, "transfers_head", &insert(1, POSTED, BANK, PAID, 1, &some)).await;
    }
    for stray in [
        ("event_at", "'2026-11-23T12:00:00Z'"),
        ("expires_at", "'2026-11-23T12:00:00Z'"),
        ("reverses_seq", "1"),
        ("reference", "'x'"),
    ] {
        refused(&pool, "transfers_head", &insert(1, POSTED, BANK, PAID, 1, &[stray])).await;
    }
    for month in ["2600::smallint", "2613::smallint", "(-1)::smallint", "10001::smallint"] {
        let head = [HEAD[0], HEAD[1], HEAD[2], ("period", month)];
        refused(&pool, "transfers_period_check", &insert(1, NOTE, "0", "0", 0, &head)).await;
    }
    taken(&pool, &insert(1, NOTE, "0", "0", 0, &HEAD)).await;
    taken(&pool, &insert(1, POSTED, BANK, PAID, 1, &[])).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn an_event_happens_once_and_is_taken_back_once(pool: PgPool) {
    let pool = books(pool).await;
    let first = "SELECT link_id FROM ledger.transfers WHERE recipe = 20";
    let again = |recipe| insert(1, POSTED, BANK, PAID, 1, &[("link_id", first), ("recipe", recipe), HEAD[2], HEAD[3]]);
    refused(&pool, "transfers_once", &again("20::smallint")).await;
    taken(&pool, &again("3::smallint")).await;
    let back = insert(1, POSTED, PAID, BANK, 1, &[HEAD.as_slice(), &[("reverses_seq", "2")]].concat());
    taken(&pool, &back).await;
    refused(&pool, "transfers_reverse_once", &back).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn nothing_is_booked_in_a_month_that_is_closed_for_good(pool: PgPool) {
    let pool = books(pool).await;
    let close = |state: &str| {
        format!("INSERT INTO ledger.period_states SELECT max(seq), 2610, '{state}' FROM ledger.transfers")
    };
    let october = insert(1, POSTED, BANK, PAID, 1, &[HEAD[0], HEAD[1], HEAD[2], ("period", "2610::smallint")]);
    taken(&pool, &close("soft")).await;
    taken(&pool, &october).await;
    taken(&pool, &close("hard")).await;
    refused(&pool, "period 2610 is closed", &october).await;
    taken(&pool, &insert(1, POSTED, BANK, PAID, 1, &HEAD)).await;
    refused(&pool, "period_states_state_check", &close("ajar")).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_chain_does_not_fork_and_an_older_epoch_is_refused(pool: PgPool) {
    let pool = books(pool).await;
    let post = |change: &str| {
        format!(
            "SELECT ledger.post_block(b, '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')
             FROM (SELECT shard, {change} FROM ledger.blocks ORDER BY height DESC LIMIT 1) last,
             LATERAL (SELECT ROW(last.*)::ledger.blocks AS b) block"
        )
    };
    let rest = "transfers_count, 0 AS accounts_count, 0 AS leaves_count, 0 AS usage_count, 0 AS capacity_count,
        0 AS states_count, 0 AS periods_count";
    let block = |height: &str, epoch: &str, at: &str, seq: &str, totals: &str, prev: &str| {
        post(&format!(
            "{height} AS height, {epoch} AS epoch, {at} AS at, {seq} AS first_seq, {rest}, {totals}, open_from_seq,
             {prev} AS prev_hash, sha256(hash) AS hash"
        ))
    };
    let (next_seq, totals) = ("first_seq + transfers_count", "accounts_total, leaves_total");
    refused(&pool, "later epoch", &block("height + 1", "epoch - 1", "at", next_seq, totals, "hash")).await;
    refused(&pool, "does not follow", &block("height + 1", "epoch", "at", next_seq, totals, "sha256('x')")).await;
    refused(&pool, "does not follow", &block("height + 1", "epoch", "at", "first_seq", totals, "hash")).await;
    refused(&pool, "does not follow", &block("height + 2", "epoch", "at", next_seq, totals, "hash")).await;
    let earlier = "at - interval '1 microsecond'";
    refused(&pool, "does not follow", &block("height + 1", "epoch", earlier, next_seq, totals, "hash")).await;
    for totals in ["accounts_total + 1, leaves_total", "accounts_total, leaves_total + 1"] {
        refused(&pool, "does not follow", &block("height + 1", "epoch", "at", next_seq, totals, "hash")).await;
    }
    refused(&pool, "blocks_pkey", &block("1", "epoch", "at", "1", totals, "sha256('x')")).await;
    let fork = |first_seq: &str, prev_hash: &str| {
        format!(
            "INSERT INTO ledger.blocks
             SELECT shard, 99, epoch, at, {first_seq}, {rest}, {totals}, open_from_seq, {prev_hash}, sha256('x')
             FROM ledger.blocks WHERE height = 2"
        )
    };
    refused(&pool, "blocks_no_fork", &fork("first_seq + 1000", "prev_hash")).await;
    refused(&pool, "blocks_first_seq", &fork("first_seq", "sha256('y')")).await;
    refused(&pool, "blocks_shard", &fork("1000000000000001", "sha256('y')")).await;
    taken(&pool, &block("height + 1", "epoch", "at", next_seq, totals, "hash")).await;
}
