//! What the database lets each role do: the owner, the service, a tenant, somebody who can merely connect.
//!
//! Every test asks as a real login of the role, not as a superuser who plays it.

mod blocks;
mod privileges;
mod rows;

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::House;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// What the control plane logs in as.
    Service,
    /// The same login, as it reads for a tenant.
    Tenant,
    /// A login that nobody gave anything.
    Stranger,
}

impl Who {
    const ALL: [Self; 3] = [Self::Service, Self::Tenant, Self::Stranger];

    /// Connections of that role to the test's database.
    async fn connect(self, owner: &PgPool) -> PgPool {
        let login = match self {
            Self::Service | Self::Tenant => "tokengrid_test_service",
            Self::Stranger => "tokengrid_test_stranger",
        };
        make_logins(owner).await;
        let options = (*owner.connect_options()).clone().username(login);
        let pool = PgPoolOptions::new().max_connections(6).after_connect(move |conn, _| {
            Box::pin(async move {
                if self == Self::Tenant {
                    sqlx::raw_sql("SET ROLE tokengrid_tenant").execute(conn).await?;
                }
                Ok(())
            })
        });
        pool.connect_with(options).await.unwrap()
    }
}

/// Logins belong to the cluster, where other tests make the same ones.
async fn make_logins(owner: &PgPool) {
    sqlx::raw_sql(
        "DO $$
        BEGIN
            CREATE ROLE tokengrid_test_service LOGIN IN ROLE tokengrid_service;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$;
        DO $$
        BEGIN
            CREATE ROLE tokengrid_test_stranger LOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$",
    )
    .execute(owner)
    .await
    .unwrap();
}

impl House {
    /// The house with its writer and its reads as the service.
    async fn open_as_service(owner: &PgPool) -> Self {
        Self::open(Who::Service.connect(owner).await).await
    }
}

/// Why a statement is refused: its SQLSTATE and message. Panics when it is taken.
async fn refusal(pool: &PgPool, statement: &str) -> (String, String) {
    let mut conn = pool.acquire().await.unwrap();
    let error = run(&mut conn, statement).await.err().unwrap_or_else(|| panic!("taken: {statement}"));
    let error = error.into_database_error().unwrap_or_else(|| panic!("not the database's: {statement}"));
    (error.code().unwrap_or_default().into_owned(), error.message().to_owned())
}

/// Runs statements in a transaction of their own, which is rolled back.
async fn run(conn: &mut PgConnection, statement: &str) -> sqlx::Result<()> {
    let script = format!("BEGIN; {statement}; ROLLBACK");
    let done = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *conn).await.map(|_| ());
    if done.is_err() {
        sqlx::raw_sql("ROLLBACK").execute(conn).await?;
    }
    done
}

/// One value of one row.
async fn value<T>(pool: &PgPool, query: &str) -> T
where
    T: Send + Unpin + sqlx::Type<sqlx::Postgres> + for<'r> sqlx::Decode<'r, sqlx::Postgres>,
{
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(pool).await.unwrap()
}

/// The first column of every row.
async fn texts(pool: &PgPool, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(pool).await.unwrap()
}
