//! What is done for each block looks rows up by their keys, however small the tables were when its plans were made.

use std::sync::Arc;
use std::time::Duration;

use ledger::economics::Bucket;
use ledger::{AccountKey, Code, JournalEntry, JournalLine, Leaf};
use primitives::id::{Ids, JobId};
use primitives::money::Nanos;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::House;

/// Entries before the tables are analysed, and afterwards in so many rounds of so many at once.
const BEFORE: usize = 400;
const ROUNDS: usize = 30;
const TOGETHER: usize = 60;

/// Posts entries of one line at once, each of a leaf of its own or all of one.
async fn post(house: &Arc<House>, count: usize, one_leaf: bool) {
    let mut entries = JoinSet::new();
    for _ in 0..count {
        let house = house.clone();
        entries.spawn(async move {
            let bank = AccountKey::platform(Code::Bank, house.paid().unit);
            let (entry_id, reason) = (house.ids.next::<JobId>().0, "a test".to_owned());
            let product = if one_leaf { "all".to_owned() } else { entry_id.to_string() };
            let leaf = Some(Leaf::new(Bucket::Licence, &product));
            let line = JournalLine { debit: bank, credit: house.paid(), amount: Nanos(1), leaf };
            house.writer.post(JournalEntry { entry_id, lines: vec![line], month: None, reason }).await.unwrap();
        });
    }
    while let Some(posted) = entries.join_next().await {
        posted.unwrap();
    }
}

/// How many rows of each table were read by going through all of it, of blocks by whatever way, and of the leaves' indexes, once every
/// other connection has told and ended.
async fn read_through(conn: &mut PgConnection) -> [i64; 5] {
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let alone = async { while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut *conn).await.unwrap() > 0 {} };
    tokio::time::timeout(Duration::from_secs(20), alone).await.unwrap();
    let mut read = [0; 5];
    let figures = [
        ("seq_tup_read", "transfers"),
        ("seq_tup_read", "accounts"),
        ("seq_tup_read", "blocks"),
        ("idx_tup_fetch", "blocks"),
    ];
    for (read, (figure, table)) in read.iter_mut().zip(figures) {
        let query =
            format!("SELECT {figure} FROM pg_stat_user_tables WHERE schemaname = 'ledger' AND relname = '{table}'");
        *read = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&mut *conn).await.unwrap();
    }
    let leaves =
        "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE schemaname = 'ledger' AND relname = 'leaves'";
    read[4] = sqlx::query_scalar(leaves).fetch_one(&mut *conn).await.unwrap();
    read
}

async fn end(house: Arc<House>) -> PgConnection {
    let house = Arc::into_inner(house).unwrap();
    house.task.shutdown().await.unwrap();
    drop(house.writer);
    let options = house.pool.connect_options();
    house.pool.close().await;
    PgConnection::connect_with(&options).await.unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_block_reads_no_table_through(pool: PgPool) {
    let options = (*pool.connect_options()).clone();
    let house = Arc::new(House::open(pool).await);
    post(&house, BEFORE, true).await;
    sqlx::raw_sql("ANALYZE").execute(&house.pool).await.unwrap();
    let mut conn = end(house).await;
    let before = read_through(&mut conn).await;
    conn.close().await.unwrap();

    let house = House::open(PgPool::connect_with(options).await.unwrap()).await;
    let ids = Ids::seeded(house.clock.clone(), 8);
    let house = Arc::new(House { ids, ..house });
    for _ in 0..ROUNDS {
        post(&house, TOGETHER, false).await;
    }
    let mut conn = end(house).await;
    let after = read_through(&mut conn).await;
    // A start may, a few times; each of the blocks would have read at least what there was before.
    let [transfers, accounts, blocks, found, leaves] = [0, 1, 2, 3, 4].map(|figure| after[figure] - before[figure]);
    assert!(transfers < 3 * BEFORE as i64, "{transfers} rows of transfers");
    assert!(accounts < ROUNDS as i64, "{accounts} rows of accounts");
    // Each needs the one before.
    assert!(blocks + found < 5 * ROUNDS as i64, "{blocks} rows of blocks, and {found} by an index");
    assert!(leaves < 5 * BEFORE as i64, "{leaves} entries of the leaves' indexes");
}
