//! Cells and their certificates on record.

use chrono::{DateTime, Utc};
use primitives::certificate::{Certificate, Grade};
use primitives::id::{CellId, CertificateId, NodeId, ProviderId, UserId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Row;
use crate::capability::{CellKey, CellRecord, CellState, CertificateRecord};
use crate::{Error, Result};

struct CellRow {
    id: CellId,
    model: String,
    reference_sha256: String,
    weights_sha256: String,
    quantisation: String,
    engine: String,
    chip: String,
    features: Vec<String>,
    provider_id: Option<ProviderId>,
    state: String,
    reason: String,
    grade: Option<String>,
    certificate_id: Option<CertificateId>,
    expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
}

impl TryFrom<CellRow> for CellRecord {
    type Error = Error;

    fn try_from(cell: CellRow) -> Result<Self> {
        let row = Row { table: "broker.cells", id: &cell.id };
        let grade = |word: String| row.word("grade", &word, &Grade::SERVED, Grade::as_str);
        Ok(Self {
            state: row.word("state", &cell.state, &CellState::ALL, CellState::as_str)?,
            grade: cell.grade.map(grade).transpose()?,
            key: CellKey {
                model: cell.model,
                reference_sha256: cell.reference_sha256,
                weights_sha256: cell.weights_sha256,
                quantisation: cell.quantisation,
                engine: cell.engine,
                chip: cell.chip,
                features: cell.features,
            },
            id: cell.id,
            provider_id: cell.provider_id,
            reason: cell.reason,
            certificate_id: cell.certificate_id,
            expires_at: cell.expires_at,
            created_at: cell.created_at,
            changed_at: cell.changed_at,
        })
    }
}

/// A checked query over whole cells: the columns are written once, the rest is the caller's.
macro_rules! select_cells {
    ($rest:literal, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            CellRow,
            r#"SELECT cells.id AS "id: CellId", cells.model, reference_sha256, weights_sha256, quantisation, engine, chip,
                 features, provider_id AS "provider_id: ProviderId", state, reason, grade,
                 certificate_id AS "certificate_id: CertificateId", expires_at, created_at, changed_at
               FROM broker.cells "# + $rest,
            $($argument),*
        )
    };
}

/// The cell of a key: a provider's own, or everybody's. *Locks*: its row.
pub(crate) async fn cell_of_provider(
    conn: &mut PgConnection,
    key: &CellKey,
    provider_id: Option<ProviderId>,
) -> Result<Option<CellRecord>> {
    let row = select_cells!(
        "WHERE cells.model = $1 AND reference_sha256 = $2 AND weights_sha256 = $3 AND quantisation = $4 AND engine = $5
           AND chip = $6 AND features = $7 AND provider_id IS NOT DISTINCT FROM $8
         FOR UPDATE",
        key.model,
        key.reference_sha256,
        key.weights_sha256,
        key.quantisation,
        key.engine,
        key.chip,
        &key.features,
        provider_id.map(|id| id.0),
    );
    row.fetch_optional(conn).await?.map(CellRecord::try_from).transpose()
}

pub(crate) async fn cell_get(conn: &mut PgConnection, id: CellId) -> Result<Option<CellRecord>> {
    let row = select_cells!("WHERE cells.id = $1", id.0);
    row.fetch_optional(conn).await?.map(CellRecord::try_from).transpose()
}

pub(crate) async fn cells_page(
    conn: &mut PgConnection,
    provider_id: Option<ProviderId>,
    after: Option<CellId>,
    limit: u32,
) -> Result<Vec<CellRecord>> {
    let rows = select_cells!(
        "WHERE ($1::uuid IS NULL OR provider_id = $1 OR EXISTS (
             SELECT FROM broker.node_cells
             JOIN broker.nodes ON nodes.id = node_cells.node_id
             WHERE node_cells.cell_id = cells.id AND nodes.provider_id = $1
           ))
           AND ($2::uuid IS NULL OR cells.id > $2)
         ORDER BY cells.id
         LIMIT $3",
        provider_id.map(|id| id.0),
        after.map(|id| id.0),
        i64::from(limit),
    );
    rows.fetch_all(conn).await?.into_iter().map(CellRecord::try_from).collect()
}

pub(crate) async fn cells_of_nodes(conn: &mut PgConnection, nodes: &[NodeId]) -> Result<Vec<(NodeId, CellRecord)>> {
    let ids: Vec<Uuid> = nodes.iter().map(|id| id.0).collect();
    let placed = sqlx::query!(
        r#"SELECT node_id AS "node_id: NodeId", cell_id AS "cell_id: CellId"
           FROM broker.node_cells
           WHERE node_id = ANY ($1)
           ORDER BY node_id, model"#,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let cell_ids: Vec<Uuid> = placed.iter().map(|row| row.cell_id.0).collect();
    let rows = select_cells!("WHERE cells.id = ANY ($1)", &cell_ids).fetch_all(conn).await?;
    let cells = rows.into_iter().map(CellRecord::try_from).collect::<Result<Vec<_>>>()?;
    let of = |id: CellId| cells.iter().find(|cell| cell.id == id).cloned();
    Ok(placed.into_iter().filter_map(|row| Some((row.node_id, of(row.cell_id)?))).collect())
}

/// Adds a cell; false when there is one of its key.
pub(crate) async fn cell_insert(conn: &mut PgConnection, cell: &CellRecord) -> Result<bool> {
    let inserted = sqlx::query!(
        "INSERT INTO broker.cells (id, model, reference_sha256, weights_sha256, quantisation, engine, chip, features,
           provider_id, state, reason, grade, certificate_id, expires_at, created_at, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT ON CONSTRAINT cells_key DO NOTHING",
        cell.id.0,
        cell.key.model,
        cell.key.reference_sha256,
        cell.key.weights_sha256,
        cell.key.quantisation,
        cell.key.engine,
        cell.key.chip,
        &cell.key.features,
        cell.provider_id.map(|id| id.0),
        cell.state.as_str(),
        cell.reason,
        cell.grade.map(Grade::as_str),
        cell.certificate_id.map(|id| id.0),
        cell.expires_at,
        cell.created_at,
        cell.changed_at,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Stores what a cell became.
pub(crate) async fn cell_certify(conn: &mut PgConnection, cell: &CellRecord) -> Result<()> {
    sqlx::query!(
        "UPDATE broker.cells
         SET state = $2, reason = $3, grade = $4, certificate_id = $5, expires_at = $6, changed_at = greatest(changed_at, $7)
         WHERE id = $1",
        cell.id.0,
        cell.state.as_str(),
        cell.reason,
        cell.grade.map(Grade::as_str),
        cell.certificate_id.map(|id| id.0),
        cell.expires_at,
        cell.changed_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps the state that a cell came to.
pub(crate) async fn cell_state(conn: &mut PgConnection, cell: &CellRecord, user_id: Option<UserId>) -> Result<()> {
    sqlx::query!(
        "INSERT INTO broker.cell_events (cell_id, state, grade, reason, user_id, at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        cell.id.0,
        cell.state.as_str(),
        cell.grade.map(Grade::as_str),
        cell.reason,
        user_id.map(|id| id.0),
        cell.changed_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn node_cell_put(
    conn: &mut PgConnection,
    node_id: NodeId,
    model: &str,
    cell_id: CellId,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO broker.node_cells (node_id, model, cell_id, seen_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (node_id, model) DO UPDATE SET cell_id = $3, seen_at = greatest(node_cells.seen_at, $4)",
        node_id.0,
        model,
        cell_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The models whose reference weights these are.
pub(crate) async fn models_of_weights(conn: &mut PgConnection, weights_sha256: &str) -> Result<Vec<String>> {
    let models = sqlx::query_scalar!(
        "SELECT id FROM broker.models WHERE weights_sha256 = $1 ORDER BY id LIMIT 100",
        weights_sha256,
    )
    .fetch_all(conn)
    .await?;
    Ok(models)
}

/// How many of a provider's nodes have this key.
pub(crate) async fn node_keys(conn: &mut PgConnection, provider_id: ProviderId, key: &[u8; 32]) -> Result<i64> {
    let keys = sqlx::query_scalar!(
        r#"SELECT count(*) AS "keys!" FROM broker.nodes WHERE provider_id = $1 AND public_key = $2"#,
        provider_id.0,
        key,
    )
    .fetch_one(conn)
    .await?;
    Ok(keys)
}

/// Keeps a certificate and gives its id; the same one again has the id that it had.
pub(crate) async fn certificate_insert(conn: &mut PgConnection, record: &CertificateRecord) -> Result<CertificateId> {
    let broken = |_| Error::CertificateBroken;
    let document = serde_json::to_string(&record.certificate).map_err(|_| Error::CertificateBroken)?;
    let public_key = hex::decode(&record.certificate.public_key).map_err(broken)?;
    let signature = hex::decode(&record.certificate.signature).map_err(broken)?;
    sqlx::query!(
        "INSERT INTO broker.certificates (id, document, public_key, signature, grade, issued_at, expires_at, node_id, user_id,
           added_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT ON CONSTRAINT certificates_signature_unique DO NOTHING",
        record.id.0,
        document,
        public_key,
        signature,
        record.grade.as_str(),
        record.certificate.body.issued_at,
        record.certificate.body.expires_at,
        record.node_id.map(|id| id.0),
        record.user_id.map(|id| id.0),
        record.added_at,
    )
    .execute(&mut *conn)
    .await?;
    let id = sqlx::query_scalar!(
        r#"SELECT id AS "id: CertificateId" FROM broker.certificates WHERE signature = $1"#,
        signature
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

pub(crate) async fn certificate_find(conn: &mut PgConnection, id: CertificateId) -> Result<Option<CertificateRecord>> {
    let found = sqlx::query!(
        r#"SELECT document, grade, node_id AS "node_id: NodeId", user_id AS "user_id: UserId", added_at
           FROM broker.certificates
           WHERE id = $1"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    let row = Row { table: "broker.certificates", id: &id };
    let grades = [Grade::None, Grade::Eco, Grade::Near, Grade::Exact];
    let record = found.map(|found| {
        let certificate: Option<Certificate> = serde_json::from_str(&found.document).ok();
        Ok::<_, Error>(CertificateRecord {
            id,
            certificate: row.read("document", certificate)?,
            grade: row.word("grade", &found.grade, &grades, Grade::as_str)?,
            node_id: found.node_id,
            user_id: found.user_id,
            added_at: found.added_at,
        })
    });
    record.transpose()
}
