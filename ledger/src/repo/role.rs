//! What the database lets whoever is connected do with the books.

use sqlx::PgConnection;

use crate::error::Error;

/// The connected role's name, when it could change the books by hand; none for a role that can only post blocks.
///
/// Asked at a program's start: the books are as safe as the role it holds.
pub async fn loose_role(conn: &mut PgConnection) -> Result<Option<String>, Error> {
    let role = sqlx::query_scalar!(
        r#"
        SELECT CURRENT_USER::text AS "role!"
        FROM pg_namespace s
        WHERE s.nspname = 'ledger'
            AND (
                -- A superuser has every privilege, and so this one; an owner of anything may give itself what it lacks.
                has_schema_privilege(s.oid, 'CREATE')
                OR EXISTS (
                    SELECT
                    FROM pg_class c
                    WHERE c.relnamespace = s.oid
                        AND c.relkind IN ('r', 'p', 'v')
                        AND (
                            pg_has_role(c.relowner, 'MEMBER')
                            OR has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                            OR has_any_column_privilege(c.oid, 'INSERT, UPDATE, REFERENCES')
                        )
                )
                OR EXISTS (
                    SELECT FROM pg_proc p WHERE p.pronamespace = s.oid AND pg_has_role(p.proowner, 'MEMBER')
                )
            )
        "#
    )
    .fetch_optional(conn)
    .await?;
    Ok(role)
}
