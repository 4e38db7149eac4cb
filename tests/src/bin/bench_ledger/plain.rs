//! The plain row-locking ledger, as most teams write it; `plain.sql` is all of it.

use primitives::clock::Clock;
use primitives::id::{Ids, TransferId};
use sqlx::types::{Decimal, Uuid};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::connections::{Connections, Seat};
use crate::load::{CHARGE, HOLD, Ledger, OPENING, SHARE, TRANSFER};

/// What it is, for the table's notes.
pub const NOTE: &str = "two entries a transfer, NUMERIC, SELECT … FOR UPDATE in the order of ids, one prepared call of a \
                        function for each transfer, hold or settlement";
/// The numbers of the platform's own accounts; those of the load are from 0 up.
const REVENUE: i64 = -1;
const COST: i64 = -2;
const PROVIDER: i64 = -3;
const EQUITY: i64 = -4;

/// A transfer from equity to each account of the load.
const OPENING_BALANCES: &str = "
    WITH opened AS MATERIALIZED (
        SELECT id, gen_random_uuid() AS transfer_id FROM accounts WHERE id >= 0
    ),
    written AS (
        INSERT INTO transfers (id, amount, created_at) SELECT transfer_id, $2, $3 FROM opened
    ),
    entered AS (
        INSERT INTO entries (transfer_id, account_id, amount)
        SELECT transfer_id, id, $2 FROM opened
        UNION ALL
        SELECT transfer_id, $1, -$2 FROM opened
    )
    UPDATE accounts
    SET balance = CASE WHEN id >= 0 THEN $2 WHEN id = $1 THEN -$2 * (SELECT count(*) FROM opened) ELSE 0 END";

/// What must never be found, and how to look.
const CHECKS: [(&str, &str); 4] = [
    ("balances that are not the sum of their entries", UNEQUAL_BALANCES),
    ("transfers whose entries are not two that cancel out", UNBALANCED_TRANSFERS),
    ("accounts below zero", "SELECT count(*) FROM accounts WHERE NOT may_overdraw AND balance - held < 0"),
    ("holds without an end", "SELECT count(*) FROM accounts WHERE held <> 0"),
];
const UNEQUAL_BALANCES: &str = "
    SELECT count(*)
    FROM accounts
    LEFT JOIN (SELECT account_id, sum(amount) AS total FROM entries GROUP BY account_id) AS sums
        ON sums.account_id = accounts.id
    WHERE accounts.balance <> coalesce(sums.total, 0)";
const UNBALANCED_TRANSFERS: &str = "
    SELECT count(*)
    FROM transfers
    LEFT JOIN (SELECT transfer_id, sum(amount) AS total, count(*) AS entries FROM entries GROUP BY transfer_id) AS sums
        ON sums.transfer_id = transfers.id
    WHERE sums.total IS DISTINCT FROM 0 OR sums.entries IS DISTINCT FROM 2";

/// The ledger in one database.
pub struct Plain {
    connections: Connections,
    ids: Ids,
    clock: Clock,
}

impl Plain {
    /// Makes its tables, and opens `accounts` with a balance each.
    pub async fn open(url: &str, accounts: usize, connections: usize) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let plain =
            Self { connections: Connections::open(url, connections).await?, ids: Ids::random(clock.clone()), clock };
        let mut conn = PgConnection::connect(url).await?;
        conn.execute(include_str!("plain.sql")).await?;
        sqlx::query(
            "INSERT INTO accounts (id, name, may_overdraw)
             SELECT id, 'account ' || id, id < 0 FROM generate_series($1, $2) AS id",
        )
        .bind(EQUITY)
        .bind(i64::try_from(accounts)? - 1)
        .execute(&mut conn)
        .await?;
        sqlx::query(OPENING_BALANCES)
            .bind(EQUITY)
            .bind(dollars(OPENING))
            .bind(plain.clock.now())
            .execute(&mut conn)
            .await?;
        conn.execute("VACUUM ANALYZE").await?;
        Ok(plain)
    }

    /// What is wrong with its books, if anything; `answered` transfers and jobs were acknowledged, besides the opening.
    pub async fn faults(url: &str, answered: u64) -> anyhow::Result<Vec<String>> {
        let mut conn = PgConnection::connect(url).await?;
        let mut faults = Vec::new();
        for (what, query) in CHECKS {
            let found: i64 = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut conn).await?;
            if found > 0 {
                faults.push(format!("plain ledger: {found} {what}"));
            }
        }
        // A settlement is two transfers, and each account's opening is one.
        let kept: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM transfers) - (SELECT count(*) FROM holds)
                  - (SELECT count(*) FROM accounts WHERE id >= 0)",
        )
        .fetch_one(&mut conn)
        .await?;
        if kept != i64::try_from(answered)? {
            faults.push(format!("plain ledger: {answered} were acknowledged and {kept} are there"));
        }
        Ok(faults)
    }

    fn uuid(&self) -> Uuid {
        self.ids.next::<TransferId>().0
    }
}

impl Ledger for Plain {
    type Seat = Seat;

    async fn seat(&self) -> Seat {
        self.connections.seat().await
    }

    async fn transfer(&self, seat: &mut Seat, from: usize, to: usize) -> anyhow::Result<()> {
        sqlx::query("SELECT transfer($1, $2, $3, $4, $5)")
            .bind(self.uuid())
            .bind(from as i64)
            .bind(to as i64)
            .bind(dollars(TRANSFER))
            .bind(self.clock.now())
            .execute(seat.conn())
            .await?;
        Ok(())
    }

    async fn job(&self, seat: &mut Seat, payer: usize) -> anyhow::Result<()> {
        let hold = self.uuid();
        sqlx::query("SELECT hold($1, $2, $3, $4)")
            .bind(hold)
            .bind(payer as i64)
            .bind(dollars(HOLD))
            .bind(self.clock.now())
            .execute(seat.conn())
            .await?;
        sqlx::query("SELECT settle($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(hold)
            .bind(self.uuid())
            .bind(dollars(CHARGE))
            .bind(REVENUE)
            .bind(self.uuid())
            .bind(dollars(SHARE))
            .bind(COST)
            .bind(PROVIDER)
            .bind(self.clock.now())
            .execute(seat.conn())
            .await?;
        Ok(())
    }
}

fn dollars(nanos: i64) -> Decimal {
    Decimal::new(nanos, 9)
}
