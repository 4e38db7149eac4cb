//! What the simulator does to a real database.

use sqlx::PgPool;

use crate::error::Error;

/// Ends every other connection to this database, and tells how many there were.
pub(crate) async fn terminate_others(pool: &PgPool) -> Result<u64, Error> {
    let ended = sqlx::query_scalar!(
        r#"
        SELECT count(pg_terminate_backend(pid)) AS "ended!"
        FROM pg_stat_activity
        WHERE datname = current_database()
            AND pid <> pg_backend_pid()
            AND backend_type = 'client backend'
        "#
    )
    .fetch_one(pool)
    .await?;
    Ok(u64::try_from(ended).unwrap_or_default())
}
