//! The PostgreSQL that all sides share, each in a database of its own.

use std::path::PathBuf;

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use ::tests::bench::processor;

/// A cluster that runs already, and the databases that this process makes in it.
#[derive(Clone, Debug)]
pub struct Cluster {
    url: String,
    prefix: String,
    /// The process whose children do the work.
    pub postmaster: u32,
    /// A folder on the disk of its log, that we may write in.
    pub folder: PathBuf,
    /// Such as `15.18`.
    pub version: String,
    /// What matters of its settings: name and value.
    pub settings: Vec<(String, String)>,
}

/// Settings that decide how durable and how fast a PostgreSQL is.
const SETTINGS: &str = "
    SELECT name, current_setting(name)
    FROM pg_settings
    WHERE name IN (
        'fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'shared_buffers', 'max_wal_size',
        'checkpoint_timeout', 'autovacuum'
    )
    ORDER BY name";

impl Cluster {
    /// Looks at the cluster of `url`'s database.
    pub async fn reach(url: &str) -> anyhow::Result<Self> {
        let mut conn = PgConnection::connect(url).await.context("reaching PostgreSQL")?;
        let (backend, data, version): (i32, String, String) = sqlx::query_as(
            "SELECT pg_backend_pid(), current_setting('data_directory'), split_part(current_setting('server_version'), ' ', 1)",
        )
        .fetch_one(&mut conn)
        .await?;
        let settings = sqlx::query_as(SETTINGS).fetch_all(&mut conn).await?;
        let backend = u32::try_from(backend)?;
        Ok(Self {
            url: url.to_owned(),
            prefix: format!("bench_{}_", std::process::id()),
            postmaster: processor::parent_of(backend).context("PostgreSQL does not run on this machine")?,
            folder: PathBuf::from(data).parent().context("a cluster's folder has a parent")?.to_owned(),
            version,
            settings,
        })
    }

    /// The URL of one of our databases.
    pub fn url_of(&self, name: &str) -> String {
        let (base, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let server = base.rsplit_once('/').map_or(base, |(server, _)| server);
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{server}/{}{name}{mark}{query}", self.prefix)
    }

    /// Makes a database, empty or like another that nobody is connected to.
    pub async fn create(&self, name: &str, like: Option<&str>) -> anyhow::Result<()> {
        let prefix = &self.prefix;
        let template = like.map_or(String::new(), |like| format!(" TEMPLATE {prefix}{like}"));
        self.administer(format!("CREATE DATABASE {prefix}{name}{template}")).await
    }

    /// Removes all of ours, whoever is connected.
    pub async fn clean(&self) -> anyhow::Result<()> {
        let mut conn = PgConnection::connect(&self.url).await?;
        let names: Vec<String> = sqlx::query_scalar("SELECT datname FROM pg_database WHERE starts_with(datname, $1)")
            .bind(&self.prefix)
            .fetch_all(&mut conn)
            .await?;
        for name in names {
            conn.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
        }
        Ok(())
    }

    /// A connection to one of our databases.
    pub async fn connect(&self, name: &str) -> anyhow::Result<PgConnection> {
        PgConnection::connect(&self.url_of(name)).await.with_context(|| format!("connecting to the database of {name}"))
    }

    /// Writes out what is dirty, so that no side pays for another's.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        self.administer("CHECKPOINT".to_owned()).await
    }

    async fn administer(&self, statement: String) -> anyhow::Result<()> {
        let mut conn = PgConnection::connect(&self.url).await?;
        conn.execute(AssertSqlSafe(statement)).await?;
        Ok(())
    }
}
