//! A database of the test's own, in the cluster that `DATABASE_URL` names.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// An empty database; dropped with the value, whoever is still connected.
#[derive(Debug)]
pub struct Database {
    cluster_url: String,
    name: String,
}

impl Database {
    /// Makes it.
    pub async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tokengrid_test_{}_{number}", std::process::id());
        let database = Self { cluster_url: from_environment("DATABASE_URL"), name };
        // One of that name is left from a test that was killed.
        database.drop_it().await.expect("an old test's database can be dropped");
        database.administer("CREATE DATABASE").await.expect("DATABASE_URL's user may create databases");
        database
    }

    /// A name that no other test's database has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn url(&self) -> String {
        let (base, query) = self.cluster_url.split_once('?').map_or((self.cluster_url.as_str(), ""), |parts| parts);
        let (server, _) = base.rsplit_once('/').expect("DATABASE_URL names a database: postgres://…/NAME");
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{server}/{}{mark}{query}", self.name)
    }

    /// Where it is for what serves: a login that is a member of `tokengrid_service` alone, which `cargo xtask test` has made.
    pub fn service_url(&self) -> String {
        let url = self.url();
        let mark = if url.contains('?') { '&' } else { '?' };
        // The last of several users counts.
        format!("{url}{mark}user=tokengrid_control_plane")
    }

    /// A connection of the owner's, to look at rows.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("the test's database can be connected to")
    }

    async fn drop_it(&self) -> sqlx::Result<()> {
        let mut connection = PgConnection::connect(&self.cluster_url).await?;
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        connection.execute(AssertSqlSafe(statement)).await.map(|_| ())
    }

    async fn administer(&self, statement: &str) -> sqlx::Result<()> {
        let mut connection = PgConnection::connect(&self.cluster_url).await?;
        connection.execute(AssertSqlSafe(format!("{statement} {}", self.name))).await.map(|_| ())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A drop cannot wait in the test's runtime, so it has one of its own.
        let dropped = std::thread::scope(|scope| {
            let dropping = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime can be made").block_on(self.drop_it())
            });
            dropping.join()
        });
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!("the database {} is left behind: {dropped:?}", self.name);
        }
    }
}

/// A variable that `cargo xtask test` sets.
#[expect(clippy::disallowed_methods, reason = "cargo's test programs have no command line of their own")]
pub fn from_environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`, which sets it"))
}
