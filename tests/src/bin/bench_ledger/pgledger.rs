//! pgledger, from its own SQL file: a transfer is one call, so is the hold of a job, and so is its settlement of three legs.

use std::path::PathBuf;

use anyhow::Context;
use sqlx::types::Decimal;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::connections::{Connections, Seat};
use crate::load::{CHARGE, HOLD, Ledger, OPENING, SHARE, TRANSFER};

/// What it is, for the table's notes.
pub const NOTE: &str = "its own SQL, one prepared call an event; a job is 4 of its transfers in 2 calls: the hold to an \
                        account beside the payer's, then charge, release and the provider's share";
/// What it wants to find, relative to its own file.
const VENDORED: [&str; 2] =
    ["vendor/scoville-pgsql-ulid/ulid-to-uuid.sql", "vendor/scoville-pgsql-ulid/uuid-to-ulid.sql"];

/// Its SQL, in the order in which it is run.
#[derive(Clone, Debug)]
pub struct Source(Vec<String>);

impl Source {
    /// Reads the file, and what it needs of the folder beside it.
    pub fn read(file: PathBuf) -> anyhow::Result<Self> {
        let read =
            |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
        let own = read(&file)?;
        let folder = file.parent().map(PathBuf::from).unwrap_or_default();
        let vendored = VENDORED.map(|name| folder.join(name));
        let mut scripts = Vec::new();
        if !own.contains("FUNCTION uuid_to_ulid") {
            for path in &vendored {
                scripts.push(read(path).context("pgledger needs the functions for ULIDs that its repository keeps")?);
            }
        }
        scripts.push(own);
        Ok(Self(scripts))
    }
}

/// The ledger in one database.
#[derive(Debug)]
pub struct Pgledger {
    connections: Connections,
    /// Ids of the load's accounts, and of the accounts for what each has on hold.
    accounts: Vec<String>,
    held: Vec<String>,
    revenue: String,
    cost: String,
    provider: String,
}

impl Pgledger {
    /// Runs its SQL, and opens `accounts` with a balance each.
    pub async fn open(url: &str, source: &Source, accounts: usize, connections: usize) -> anyhow::Result<Self> {
        let mut conn = PgConnection::connect(url).await?;
        for script in &source.0 {
            conn.execute(AssertSqlSafe(script.clone())).await.context("running pgledger's SQL")?;
        }
        let platform = create(&mut conn, 4, true).await?;
        let owned = create(&mut conn, accounts, false).await?;
        let held = create(&mut conn, accounts, false).await?;
        let [revenue, cost, provider, equity] = platform.try_into().map_err(|_| anyhow::anyhow!("four accounts"))?;
        // A few at a time: every transfer of one transaction leaves a version of equity's row behind.
        for some in owned.chunks(100) {
            sqlx::query(
                "SELECT count(*) FROM unnest($2::text[]) AS account, pgledger_create_transfer($1, account, $3)",
            )
            .bind(&equity)
            .bind(some)
            .bind(dollars(OPENING))
            .execute(&mut conn)
            .await?;
        }
        conn.execute("VACUUM ANALYZE").await?;
        let connections = Connections::open(url, connections).await?;
        Ok(Self { connections, accounts: owned, held, revenue, cost, provider })
    }

    /// What is wrong with its books, if anything.
    pub async fn faults(url: &str) -> anyhow::Result<Vec<String>> {
        let mut conn = PgConnection::connect(url).await?;
        let left: Decimal =
            sqlx::query_scalar("SELECT sum(balance) FROM pgledger_accounts_view").fetch_one(&mut conn).await?;
        Ok(if left.is_zero() { vec![] } else { vec![format!("pgledger: balances add up to {left}, not to zero")] })
    }
}

impl Ledger for Pgledger {
    type Seat = Seat;

    async fn seat(&self) -> Seat {
        self.connections.seat().await
    }

    async fn transfer(&self, seat: &mut Seat, from: usize, to: usize) -> anyhow::Result<()> {
        move_once(seat.conn(), &self.accounts[from], &self.accounts[to], TRANSFER).await
    }

    async fn job(&self, seat: &mut Seat, payer: usize) -> anyhow::Result<()> {
        let (payer, held) = (&self.accounts[payer], &self.held[payer]);
        move_once(seat.conn(), payer, held, HOLD).await?;
        sqlx::query(
            "SELECT id FROM pgledger_create_transfers(
                 ($1, $2, $3)::transfer_request, ($1, $4, $5)::transfer_request, ($6, $7, $8)::transfer_request
             )",
        )
        .bind(held)
        .bind(&self.revenue)
        .bind(dollars(CHARGE))
        .bind(payer)
        .bind(dollars(HOLD - CHARGE))
        .bind(&self.cost)
        .bind(&self.provider)
        .bind(dollars(SHARE))
        .execute(seat.conn())
        .await?;
        Ok(())
    }
}

async fn move_once(conn: &mut PgConnection, from: &str, to: &str, nanos: i64) -> anyhow::Result<()> {
    sqlx::query("SELECT id FROM pgledger_create_transfer($1, $2, $3)")
        .bind(from)
        .bind(to)
        .bind(dollars(nanos))
        .execute(conn)
        .await?;
    Ok(())
}

async fn create(conn: &mut PgConnection, count: usize, may_overdraw: bool) -> anyhow::Result<Vec<String>> {
    let ids = sqlx::query_scalar(
        "SELECT account.id
         FROM generate_series(1, $1) AS number, pgledger_create_account('account ' || number, 'USD', $2) AS account",
    )
    .bind(i64::try_from(count)?)
    .bind(may_overdraw)
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

fn dollars(nanos: i64) -> Decimal {
    Decimal::new(nanos, 9)
}
