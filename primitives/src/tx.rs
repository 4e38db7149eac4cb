//! Transactions that move no money: begun in one place, named, retried when the database asks for it.

use std::future::Future;
use std::pin::Pin;

use sqlx::{Connection, PgConnection, PgPool};

/// How often a transaction is tried before its conflict is handed to the caller.
const ATTEMPTS_MAX: u32 = 5;

/// A room's error, which may carry the database's.
pub trait Failure: From<sqlx::Error> {
    /// The database's error inside, if that is what failed.
    fn database(&self) -> Option<&sqlx::Error>;
}

impl Failure for sqlx::Error {
    fn database(&self) -> Option<&sqlx::Error> {
        Some(self)
    }
}

/// A transaction's body: boxed, since it may run more than once.
pub type Body<'c, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

/// Runs `body` in one transaction and commits it; the body may run again, so it touches nothing but the database.
///
/// `name` labels the log lines and metrics. *Errors*: what the body refuses rolls everything back; serialization
/// failures and deadlocks are tried again, at most five times in all.
pub async fn run_tx<T, E, F>(pool: &PgPool, name: &'static str, mut body: F) -> Result<T, E>
where
    E: Failure,
    F: for<'c> FnMut(&'c mut PgConnection) -> Body<'c, T, E>,
{
    let mut connection = pool.acquire().await?;
    let mut attempt = 1;
    loop {
        let error = match run_once(&mut connection, &mut body).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if attempt == ATTEMPTS_MAX || !error.database().is_some_and(is_conflict) {
            return Err(error);
        }
        tracing::debug!(tx.name = name, tx.attempt = attempt, "transaction conflicted and runs again");
        attempt += 1;
    }
}

async fn run_once<T, E, F>(connection: &mut PgConnection, body: &mut F) -> Result<T, E>
where
    E: Failure,
    F: for<'c> FnMut(&'c mut PgConnection) -> Body<'c, T, E>,
{
    let mut tx = connection.begin().await?;
    let value = body(&mut tx).await?;
    tx.commit().await?;
    Ok(value)
}

/// True for a serialization failure (40001) or a deadlock (40P01).
fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}
