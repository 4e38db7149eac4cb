//! Reading for a tenant: row-level security answers, so that a wrong query shows nobody else's rows.

use primitives::id::TenantId;
use sqlx::{PgPool, Postgres, Transaction};

/// Begins a transaction that sees one tenant's rows and changes none, whatever is asked in it; it ends when it is dropped.
///
/// It moves no money and holds no lock, so it needs no `run_tx`. Role and tenant are the transaction's own: the connection goes
/// back as it came. What can be seen is in `migrations/0008_roles.sql`.
pub async fn tenant_view(pool: &PgPool, tenant_id: TenantId) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut view = pool.begin_with("BEGIN READ ONLY").await?;
    sqlx::query!(
        r#"
        SELECT
            set_config('tokengrid.tenant_id', $1, TRUE) AS "tenant!",
            -- Policies make a plan look dear; compiling it costs a thousand times what running it does.
            set_config('jit', 'off', TRUE) AS "jit!",
            set_config('role', 'tokengrid_tenant', TRUE) AS "role!"
        "#,
        tenant_id.0.to_string(),
    )
    .fetch_one(&mut *view)
    .await?;
    Ok(view)
}
