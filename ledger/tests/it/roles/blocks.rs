//! Bad input by raw SQL: blocks that the service posts by hand, past every check of ours, and rows that nobody may insert.

use chrono::TimeDelta;
use ledger::PeriodState;
use sqlx::PgPool;

use super::{Who, refusal, value};
use crate::House;

const PAID: &str = "(SELECT id FROM ledger.accounts WHERE code = 2000)";
const BANK: &str = "(SELECT id FROM ledger.accounts WHERE code = 1000)";
const REVENUE: &str = "(SELECT id FROM ledger.accounts WHERE code = 4000)";
/// The open hold on paid credit, of 40, and the one that was captured.
const OPEN: &str = "(SELECT seq FROM ledger.transfers t WHERE kind = 2
    AND NOT EXISTS (SELECT FROM ledger.transfers r WHERE r.pending_seq = t.seq))";
const CAPTURED: &str = "(SELECT pending_seq FROM ledger.transfers WHERE kind = 3)";

/// A transfer of a block made by hand. The first of a block heads a group of its own event.
#[derive(Clone)]
struct Row {
    debit: String,
    credit: String,
    amount: i64,
    kind: i16,
    pending: String,
    leaf: &'static str,
    period: i16,
    link: String,
    recipe: i16,
}

impl Row {
    fn posted(debit: &str, credit: &str, amount: i64) -> Self {
        let link = "'00000000-0000-7000-8000-00000000abcd'".to_owned();
        let (debit, credit, pending) = (debit.to_owned(), credit.to_owned(), "NULL".to_owned());
        Self { debit, credit, amount, kind: 1, pending, leaf: "NULL", period: 2611, link, recipe: 3 }
    }

    fn capture(hold: &str, amount: i64) -> Self {
        Self { kind: 3, pending: hold.to_owned(), leaf: "1", ..Self::posted(PAID, REVENUE, amount) }
    }

    /// As SQL, `place` rows after the last one there is.
    fn sql(&self, place: usize) -> String {
        let Self { debit, credit, amount, kind, pending, leaf, period, link, recipe } = self;
        let head = if place == 0 {
            format!("{recipe}, {period}, {pending}, NULL, NULL, NULL, {link}, 7, NULL")
        } else {
            format!("NULL, NULL, {pending}, NULL, NULL, NULL, NULL, NULL, NULL")
        };
        format!(
            "ROW(b.first_seq + b.transfers_count + {place}, {debit}, {credit}, {amount}, 0, 0, {leaf}, {kind}, {head})::ledger.transfers"
        )
    }
}

/// How a block made by hand differs from the one that should come next.
struct Next {
    height: &'static str,
    epoch: &'static str,
    first_seq: &'static str,
    prev_hash: &'static str,
}

const NEXT: Next = Next {
    height: "b.height + 1",
    epoch: "b.epoch",
    first_seq: "b.first_seq + b.transfers_count",
    prev_hash: "b.hash",
};

/// The call that posts a block of these rows.
fn post(next: &Next, rows: &[Row]) -> String {
    let transfers: Vec<String> = rows.iter().enumerate().map(|(place, row)| row.sql(place)).collect();
    let (count, transfers) = (rows.len(), transfers.join(", "));
    let Next { height, epoch, first_seq, prev_hash } = next;
    format!(
        "SELECT ledger.post_block(
            ROW(0, {height}, {epoch}, b.at, {first_seq}, {count}, 0, 0, 0, 0, 0, 0,
                b.accounts_total, b.leaves_total, b.open_from_seq, {prev_hash}, sha256(b.hash))::ledger.blocks,
            '{{}}', '{{}}', ARRAY[{transfers}]::ledger.transfers[], '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')
        FROM ledger.blocks b ORDER BY b.height DESC LIMIT 1"
    )
}

/// Everything that is in the books.
async fn fingerprint(owner: &PgPool) -> String {
    let everything = "SELECT md5(
        (SELECT string_agg(a::text, ' ' ORDER BY a.id) FROM ledger.accounts a)
        || (SELECT string_agg(t::text, ' ' ORDER BY t.seq) FROM ledger.transfers t)
        || (SELECT string_agg(b::text, ' ' ORDER BY b.height) FROM ledger.blocks b))";
    value(owner, everything).await
}

/// Books with 75 paid and not spent, 40 of them held, and October closed; its writer has gone.
async fn books(owner: &PgPool) -> PgPool {
    let house = House::open_as_service(owner).await;
    house.top_up(100, "bank-1").await;
    for amount in [30, 40] {
        let job = house.job(amount);
        house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
        if amount == 30 {
            house.writer.settle(house.settlement(job.job_id, 25, 10)).await.unwrap();
        }
    }
    house.set_period("2026-10", PeriodState::Hard).await;
    house.clock.advance(TimeDelta::seconds(1));
    house.task.shutdown().await.unwrap();
    house.pool
}

/// What must not be posted, why, and by which SQLSTATE.
fn bad_blocks() -> Vec<(&'static str, &'static str, String)> {
    let one = |code, because, row: Row| (code, because, post(&NEXT, &[row]));
    let posted = Row::posted;
    let used = "(SELECT link_id FROM ledger.transfers WHERE recipe = 11)".to_owned();
    let euro = "(200097800000000001)";
    let order = |next: Next| post(&next, &[posted(BANK, PAID, 1)]);
    vec![
        one("23514", "accounts_no_overdraft", posted(PAID, BANK, 36)),
        one("23514", "accounts_no_overdraft", Row { kind: 2, ..posted(PAID, REVENUE, 36) }),
        ("23514", "accounts_no_overdraft", post(&NEXT, &[posted(PAID, BANK, 20), posted(PAID, BANK, 16)])),
        one("TG002", "does not fit the hold", Row::capture(OPEN, 41)),
        one("TG002", "does not fit the hold", Row { kind: 4, ..Row::capture(OPEN, 39) }),
        // What was never held cannot be released.
        one("23514", "pending_check", Row::capture("1", 1)),
        one("23505", "transfers_resolve_once", Row::capture(CAPTURED, 1)),
        ("23505", "transfers_resolve_once", post(&NEXT, &[Row::capture(OPEN, 10), Row::capture(OPEN, 10)])),
        one("23514", "transfers_one_unit", posted(BANK, euro, 1)),
        one("TG003", "do not exist", posted(BANK, &format!("({PAID} + 777)"), 1)),
        one("TG003", "leaf does not exist", Row { leaf: "999", ..posted(BANK, PAID, 1) }),
        one("23514", "transfers_revenue", posted(PAID, REVENUE, 1)),
        one("23514", "transfers_amount", posted(BANK, PAID, 0)),
        one("23514", "transfers_amount", posted(BANK, PAID, -5)),
        one("23514", "transfers_amount", posted(BANK, BANK, 5)),
        one("22003", "out of range", posted(BANK, PAID, i64::MAX)),
        one("TG006", "is closed", Row { period: 2610, ..posted(BANK, PAID, 1) }),
        one("23505", "transfers_once", Row { link: used, recipe: 11, ..posted(BANK, PAID, 1) }),
        ("TG004", "later epoch", order(Next { epoch: "b.epoch - 1", ..NEXT })),
        ("TG004", "later epoch", order(Next { epoch: "b.epoch + 1", ..NEXT })),
        ("TG005", "does not follow", order(Next { prev_hash: "sha256('x')", ..NEXT })),
        ("TG005", "does not follow", order(Next { height: "b.height + 2", ..NEXT })),
        ("TG005", "does not follow", order(Next { first_seq: "b.first_seq", ..NEXT })),
        ("23505", "blocks_pkey", order(Next { height: "1", prev_hash: "sha256('x')", ..NEXT })),
    ]
}

#[sqlx::test(migrations = "../migrations")]
async fn a_bad_block_is_refused_by_name_and_changes_nothing_whoever_posts_it(owner: PgPool) {
    let service = books(&owner).await;
    let before = fingerprint(&owner).await;
    for (code, because, statement) in bad_blocks() {
        for pool in [&service, &owner] {
            let (got, message) = refusal(pool, &statement).await;
            assert!(got == code && message.contains(because), "wanted {code} {because}\n{got} {message}\n{statement}");
        }
        for who in [Who::Tenant, Who::Stranger] {
            assert_eq!(refusal(&who.connect(&owner).await, &statement).await.0, "42501", "{who:?}: {statement}");
        }
    }
    assert_eq!(fingerprint(&owner).await, before);
    // The form is right: a good one is taken.
    for rows in [&[Row::posted(BANK, PAID, 1)][..], &[Row::capture(OPEN, 40)], &[Row::posted(PAID, BANK, 35)]] {
        let script = format!("BEGIN; {}; ROLLBACK", post(&NEXT, rows));
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&service).await.unwrap();
    }
    assert_eq!(fingerprint(&owner).await, before);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_block_that_is_well_formed_and_wrongly_hashed_is_found_by_the_verifier(owner: PgPool) {
    let service = books(&owner).await;
    let script = post(&NEXT, &[Row::posted(BANK, PAID, 1)]);
    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&service).await.unwrap();
    let found = ledger::proof::verify(&mut service.acquire().await.unwrap(), |_, _| {}).await.unwrap();
    let last: i64 = value(&owner, "SELECT max(height) FROM ledger.blocks").await;
    assert_eq!(found.bad_blocks.first().map(|bad| bad.height), Some(last), "{found:?}");
}
