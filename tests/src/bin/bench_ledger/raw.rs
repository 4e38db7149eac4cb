//! Bare insertions: rows of about 120 bytes with one unique index, a thousand a commit; what no ledger on a table can pass.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::tests::bench::processor::Spent;
use primitives::clock::Clock;
use primitives::id::{Ids, TransferId};
use sqlx::types::Uuid;
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use crate::sample::Sample;

/// What it is, for the table's notes.
pub const NOTE: &str = "rows of 120 bytes with one unique index, 1,000 a commit, one prepared statement with arrays, two \
                        connections";
const BATCH: usize = 1_000;
const CONNECTIONS: usize = 2;

const TABLE: &str = "
    CREATE TABLE rows (
        seq bigint NOT NULL,
        id uuid NOT NULL UNIQUE,
        debit_account_id bigint NOT NULL,
        credit_account_id bigint NOT NULL,
        amount bigint NOT NULL,
        link_id uuid NOT NULL,
        pending_id uuid NOT NULL,
        created_at timestamptz NOT NULL
    )";
const INSERT: &str = "
    INSERT INTO rows
    SELECT rows.seq, rows.id, rows.seq % 10000, rows.seq % 9999, 1000, rows.id, rows.id, $3
    FROM unnest($1::bigint[], $2::uuid[]) AS rows (seq, id)";

/// The table's database.
pub struct Raw {
    url: String,
    ids: Ids,
    clock: Clock,
}

impl Raw {
    /// Makes the table.
    pub async fn open(url: String) -> anyhow::Result<Self> {
        PgConnection::connect(&url).await?.execute(TABLE).await?;
        let clock = Clock::system();
        Ok(Self { url, ids: Ids::random(clock.clone()), clock })
    }

    /// Rows a second.
    pub async fn measure(self: &Arc<Self>, warm_up: Duration, window: Duration, server: u32) -> anyhow::Result<Sample> {
        let opens = Instant::now() + warm_up;
        let closes = opens + window;
        let mut inserters = JoinSet::new();
        for _ in 0..CONNECTIONS {
            inserters.spawn(self.clone().insert(opens, closes));
        }
        tokio::time::sleep_until(opens.into()).await;
        let before = Spent::now(server);
        tokio::time::sleep_until(closes.into()).await;
        let spent = Spent::now(server).since(before);
        let mut rows = 0.0;
        while let Some(inserted) = inserters.join_next().await {
            rows += inserted??;
        }
        Ok(Sample { rate: rows / window.as_secs_f64(), ..Sample::default() }.with_cpu(rows, spent))
    }

    /// Inserts until `closes`, and tells the rows of the window; a batch that reaches over an edge counts by its part inside.
    async fn insert(self: Arc<Self>, opens: Instant, closes: Instant) -> anyhow::Result<f64> {
        let mut conn = PgConnection::connect(&self.url).await?;
        let mut rows = 0.0;
        let mut seq = 0;
        while Instant::now() < closes {
            let began = Instant::now();
            let seqs: Vec<i64> = (seq..seq + BATCH as i64).collect();
            let ids: Vec<Uuid> = (0..BATCH).map(|_| self.ids.next::<TransferId>().0).collect();
            sqlx::query(INSERT).bind(seqs).bind(ids).bind(self.clock.now()).execute(&mut conn).await?;
            seq += BATCH as i64;
            let ended = Instant::now();
            let inside = ended.min(closes).saturating_duration_since(began.max(opens));
            rows += BATCH as f64 * inside.as_secs_f64() / (ended - began).as_secs_f64();
        }
        Ok(rows)
    }
}
