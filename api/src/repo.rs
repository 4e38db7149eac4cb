//! All the SQL of the room `api`: who is asking.

use chrono::{DateTime, Utc};
use primitives::id::{ApiKeyId, EmailChallengeId, ProjectId, ProviderId, SessionId, TenantId, UserId};
use primitives::money::Nanos;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::challenge::{Challenge, Purpose, Row};
use crate::identity::{ApiKey, KeyOwner, Role, SignupCredit, User};

mod tenant_view;

pub use tenant_view::tenant_view;

/// Inserts a tenant with the credit it was promised.
pub async fn tenant_insert(
    conn: &mut PgConnection,
    id: TenantId,
    name: &str,
    credit: SignupCredit,
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO api.tenants (id, name, created_at, signup_credit_nanos, signup_credit_expires_at)
        VALUES ($1, $2, $3, $4, $5)
        "#,
        id.0,
        name,
        at,
        credit.amount.0,
        credit.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lists tenants whose sign-up credit is not in the ledger yet, at most 100.
pub async fn tenants_to_credit(conn: &mut PgConnection) -> sqlx::Result<Vec<(TenantId, SignupCredit)>> {
    let rows = sqlx::query!(
        r#"
        SELECT id AS "id: TenantId", signup_credit_nanos AS "amount: Nanos", signup_credit_expires_at AS expires_at
        FROM api.tenants
        WHERE credited_at IS NULL
        ORDER BY id
        LIMIT 100
        "#,
    )
    .fetch_all(conn)
    .await?;
    let credit = |amount, expires_at| SignupCredit { amount, expires_at };
    Ok(rows.into_iter().map(|row| (row.id, credit(row.amount, row.expires_at))).collect())
}

/// Notes that a tenant's sign-up credit is in the ledger.
pub async fn tenant_credited(conn: &mut PgConnection, id: TenantId, at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE api.tenants SET credited_at = $2 WHERE id = $1 AND credited_at IS NULL", id.0, at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Inserts a person; false when the address is taken.
pub async fn user_insert(conn: &mut PgConnection, user: &User, at: DateTime<Utc>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO api.users (id, email, password_hash, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (email) DO NOTHING",
        user.id.0,
        user.email,
        user.password_hash,
        at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Finds a person by address (in lower case).
pub async fn user_find(conn: &mut PgConnection, email: &str) -> sqlx::Result<Option<User>> {
    sqlx::query_as!(User, r#"SELECT id AS "id: UserId", email, password_hash FROM api.users WHERE email = $1"#, email)
        .fetch_optional(conn)
        .await
}

/// Gets a person.
pub async fn user_get(conn: &mut PgConnection, id: UserId) -> sqlx::Result<User> {
    sqlx::query_as!(User, r#"SELECT id AS "id: UserId", email, password_hash FROM api.users WHERE id = $1"#, id.0)
        .fetch_one(conn)
        .await
}

/// Keeps others from changing what a person may do until the transaction ends. *Locks*: the person's row.
pub async fn user_lock(conn: &mut PgConnection, id: UserId) -> sqlx::Result<()> {
    sqlx::query_scalar!(r#"SELECT id AS "id: UserId" FROM api.users WHERE id = $1 FOR UPDATE"#, id.0)
        .fetch_one(conn)
        .await?;
    Ok(())
}

/// Gives a person a new password; none when there is no such person.
pub async fn user_set_password(
    conn: &mut PgConnection,
    email: &str,
    password_hash: &str,
) -> sqlx::Result<Option<UserId>> {
    sqlx::query_scalar!(
        r#"UPDATE api.users SET password_hash = $2 WHERE email = $1 RETURNING id AS "id: UserId""#,
        email,
        password_hash,
    )
    .fetch_optional(conn)
    .await
}

/// Gives a person a role.
pub async fn role_insert(conn: &mut PgConnection, user_id: UserId, role: Role) -> sqlx::Result<()> {
    let (tenant_id, provider_id, word) = match role {
        Role::TenantOwner(id) => (Some(id.0), None, "owner"),
        Role::ProviderOwner(id) => (None, Some(id.0), "owner"),
        Role::Operator => (None, None, "operator"),
    };
    sqlx::query!(
        "INSERT INTO api.roles (user_id, tenant_id, provider_id, role) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        user_id.0,
        tenant_id,
        provider_id,
        word,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lists a person's roles, oldest first; a person has few.
pub async fn roles(conn: &mut PgConnection, user_id: UserId) -> sqlx::Result<Vec<Role>> {
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id AS "tenant_id: TenantId", provider_id AS "provider_id: ProviderId"
        FROM api.roles
        WHERE user_id = $1
        ORDER BY id
        LIMIT 100
        "#,
        user_id.0,
    )
    .fetch_all(conn)
    .await?;
    let role = |(tenant, provider)| match (tenant, provider) {
        (Some(id), _) => Role::TenantOwner(id),
        (_, Some(id)) => Role::ProviderOwner(id),
        (None, None) => Role::Operator,
    };
    Ok(rows.into_iter().map(|row| role((row.tenant_id, row.provider_id))).collect())
}

/// Gets a tenant's name.
pub async fn tenant_name(conn: &mut PgConnection, id: TenantId) -> sqlx::Result<String> {
    sqlx::query_scalar!("SELECT name FROM api.tenants WHERE id = $1", id.0).fetch_one(conn).await
}

/// Inserts a project.
pub async fn project_insert(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    id: ProjectId,
    name: &str,
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO api.projects (id, tenant_id, name, created_at) VALUES ($1, $2, $3, $4)",
        id.0,
        tenant_id.0,
        name,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lists a tenant's projects, oldest first, at most 100.
pub async fn projects(conn: &mut PgConnection, tenant_id: TenantId) -> sqlx::Result<Vec<(ProjectId, String)>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: ProjectId", name FROM api.projects WHERE tenant_id = $1 ORDER BY id LIMIT 100"#,
        tenant_id.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// What people call some of a tenant's projects.
pub async fn project_names(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, String)>> {
    let rows =
        sqlx::query!("SELECT id, name FROM api.projects WHERE tenant_id = $1 AND id = ANY ($2)", tenant_id.0, ids)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// What people call some of a tenant's keys.
pub async fn api_key_names(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, String)>> {
    let rows =
        sqlx::query!("SELECT id, name FROM api.api_keys WHERE tenant_id = $1 AND id = ANY ($2)", tenant_id.0, ids)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// Inserts a key; only the secret's hash is kept.
pub async fn api_key_insert(
    conn: &mut PgConnection,
    key: &ApiKey,
    secret_sha256: &[u8; 32],
    created_by: UserId,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO api.api_keys
            (id, tenant_id, project_id, name, secret_sha256, hint, created_by, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        "#,
        key.id.0,
        key.tenant_id.0,
        key.project_id.0,
        key.name,
        secret_sha256,
        key.hint,
        created_by.0,
        key.created_at,
        key.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds who owns a key that is good at this instant.
pub async fn api_key_owner(
    conn: &mut PgConnection,
    secret_sha256: &[u8; 32],
    at: DateTime<Utc>,
) -> sqlx::Result<Option<KeyOwner>> {
    sqlx::query_as!(
        KeyOwner,
        r#"
        SELECT id AS "key_id: ApiKeyId", tenant_id AS "tenant_id: TenantId", project_id AS "project_id: ProjectId"
        FROM api.api_keys
        WHERE secret_sha256 = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
        "#,
        secret_sha256,
        at,
    )
    .fetch_optional(conn)
    .await
}

/// Notes a key's use.
pub async fn api_key_touch(conn: &mut PgConnection, id: ApiKeyId, at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE api.api_keys SET last_used_at = $2 WHERE id = $1", id.0, at).execute(conn).await?;
    Ok(())
}

/// Revokes a tenant's key; false when there is none, or it was revoked before.
pub async fn api_key_revoke(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    id: ApiKeyId,
    at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE api.api_keys SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant_id.0,
        id.0,
        at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A page of a tenant's keys, newest first, those before `before` when given.
pub async fn api_keys(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    before: Option<ApiKeyId>,
    limit: i64,
) -> sqlx::Result<Vec<ApiKey>> {
    sqlx::query_as!(
        ApiKey,
        r#"
        SELECT
            id AS "id: ApiKeyId", tenant_id AS "tenant_id: TenantId", project_id AS "project_id: ProjectId",
            name, hint, created_at, expires_at, revoked_at, last_used_at
        FROM api.api_keys
        WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC
        LIMIT $3
        "#,
        tenant_id.0,
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Inserts a session.
pub async fn session_insert(
    conn: &mut PgConnection,
    id: SessionId,
    user_id: UserId,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO api.sessions (id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        id.0,
        user_id.0,
        created_at,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds the person of a session that is good at this instant.
pub async fn session_user(conn: &mut PgConnection, id: SessionId, at: DateTime<Utc>) -> sqlx::Result<Option<UserId>> {
    sqlx::query_scalar!(
        r#"
        SELECT user_id AS "user_id: UserId"
        FROM api.sessions
        WHERE id = $1 AND revoked_at IS NULL AND expires_at > $2
        "#,
        id.0,
        at,
    )
    .fetch_optional(conn)
    .await
}

/// Ends a session.
pub async fn session_revoke(conn: &mut PgConnection, id: SessionId, at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE api.sessions SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", id.0, at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends all sessions of a person.
pub async fn sessions_revoke(conn: &mut PgConnection, user_id: UserId, at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE api.sessions SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL", user_id.0, at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Inserts a challenge.
pub async fn challenge_insert(
    conn: &mut PgConnection,
    challenge: Challenge,
    row: &Row,
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (password_hash, tenant_name) = match &row.purpose {
        Purpose::SignUp { password_hash, tenant_name } => (Some(password_hash), Some(tenant_name)),
        Purpose::PasswordReset => (None, None),
    };
    sqlx::query!(
        r#"
        INSERT INTO api.email_challenges
            (id, email, code_mac, attempts_left, password_hash, tenant_name, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        challenge.id.0,
        row.email,
        row.code_mac,
        row.attempts_left,
        password_hash,
        tenant_name,
        at,
        challenge.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes one attempt from a challenge that can still be met at this instant; none when it cannot.
pub async fn challenge_attempt(
    conn: &mut PgConnection,
    id: EmailChallengeId,
    at: DateTime<Utc>,
) -> sqlx::Result<Option<Row>> {
    let row = sqlx::query!(
        r#"
        UPDATE api.email_challenges
        SET attempts_left = attempts_left - 1
        WHERE id = $1 AND used_at IS NULL AND attempts_left > 0 AND expires_at > $2
        RETURNING email, code_mac, attempts_left, password_hash, tenant_name
        "#,
        id.0,
        at,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Row {
        email: row.email,
        code_mac: row.code_mac,
        attempts_left: row.attempts_left,
        purpose: match (row.password_hash, row.tenant_name) {
            (Some(password_hash), Some(tenant_name)) => Purpose::SignUp { password_hash, tenant_name },
            _ => Purpose::PasswordReset,
        },
    }))
}

/// Marks a challenge as used; false when it was before.
pub async fn challenge_use(conn: &mut PgConnection, id: EmailChallengeId, at: DateTime<Utc>) -> sqlx::Result<bool> {
    let done = sqlx::query!("UPDATE api.email_challenges SET used_at = $2 WHERE id = $1 AND used_at IS NULL", id.0, at)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets challenges that were over before an instant, at most 1,000.
pub async fn challenges_forget(conn: &mut PgConnection, before: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM api.email_challenges
        WHERE id IN (SELECT id FROM api.email_challenges WHERE expires_at < $1 ORDER BY expires_at LIMIT 1000)
        "#,
        before,
    )
    .execute(conn)
    .await?;
    Ok(())
}
