//! Capability: which cells (a model's weights on an engine and a chip) can serve a model, how near to the original, and why.
//!
//! A cell that no provider vouches for is one row for everybody: its grade follows from the definition of the reference or from a
//! certificate that an operator added. A certificate that a node brought is a row of that provider's own, good for its nodes alone: it
//! was measured by who earns by it, and nobody else is to be served or suspended on its word.

use chrono::{DateTime, Utc};
use primitives::certificate::{Agreement, Certificate, Grade, POSITIONS_MIN};
use primitives::id::{CellId, CertificateId, Ids, NodeId, ProviderId, UserId};
use sqlx::PgConnection;

use crate::{Error, Result, repo};

/// The engine whose run of a model's own weights is the reference that other cells are compared with.
const REFERENCE_ENGINE: &str = "llama.cpp";

/// What makes a cell another cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellKey {
    /// The model's name in the catalogue.
    pub model: String,
    /// SHA-256 of the model's reference weights, in hexadecimal.
    pub reference_sha256: String,
    /// SHA-256 of the weights that are served, in hexadecimal.
    pub weights_sha256: String,
    /// How those are stored.
    pub quantisation: String,
    /// The engine and its version.
    pub engine: String,
    /// The chip, as the vendor names it.
    pub chip: String,
    /// What of the chip the engine uses, sorted.
    pub features: Vec<String>,
}

impl CellKey {
    /// A cell's grade where none has to be measured: the reference weights in the reference engine are what all others are compared
    /// with.
    fn by_definition(&self) -> Option<Grade> {
        let packed = self.features.iter().any(|feature| feature.starts_with("KV_"));
        let reference = !packed
            && self.weights_sha256 == self.reference_sha256
            && self.engine.split_whitespace().next() == Some(REFERENCE_ENGINE);
        reference.then_some(Grade::Exact)
    }
}

/// How far a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellState {
    /// It was measured and earned no grade.
    Unsupported,
    /// A node has it; no certificate in force says how near it is.
    Built,
    /// It has a grade.
    Certified,
    /// An operator holds it back.
    Suspended,
}

impl CellState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Unsupported, Self::Built, Self::Certified, Self::Suspended];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Built => "built",
            Self::Certified => "certified",
            Self::Suspended => "suspended",
        }
    }
}

/// A cell on record.
#[derive(Clone, Debug, PartialEq)]
pub struct CellRecord {
    /// Which.
    pub id: CellId,
    /// What it is.
    pub key: CellKey,
    /// Whose word it stands on, where it is not everybody's.
    pub provider_id: Option<ProviderId>,
    /// How far it is.
    pub state: CellState,
    /// Why, as a sentence.
    pub reason: String,
    /// How near it is, where it has a grade; kept while it is suspended.
    pub grade: Option<Grade>,
    /// The certificate that says so.
    pub certificate_id: Option<CertificateId>,
    /// Until when; for ever where it follows from a definition.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was first seen.
    pub created_at: DateTime<Utc>,
    /// When its state last changed.
    pub changed_at: DateTime<Utc>,
}

impl CellRecord {
    /// The grade at which it may be served now.
    pub fn served(&self, now: DateTime<Utc>) -> Option<Grade> {
        let in_time = self.expires_at.is_none_or(|expires_at| now < expires_at);
        self.grade.filter(|_| self.state == CellState::Certified && in_time)
    }

    /// Whether its nodes say that they are the reference that others are compared with.
    pub fn is_reference(&self) -> bool {
        self.key.by_definition().is_some()
    }

    /// Its state and why, as they are now: a certificate that ran out leaves it as it was built.
    pub fn standing(&self, now: DateTime<Utc>) -> (CellState, String) {
        match self.expires_at {
            Some(expires_at) if self.state == CellState::Certified && now >= expires_at => {
                (CellState::Built, format!("Its certificate ran out on {}.", expires_at.format("%Y-%m-%d")))
            }
            _ => (self.state, self.reason.clone()),
        }
    }

    fn change(&mut self, state: CellState, reason: impl Into<String>, now: DateTime<Utc>) {
        (self.state, self.reason, self.changed_at) = (state, reason.into(), now);
    }
}

/// A certificate on record.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateRecord {
    /// Which.
    pub id: CertificateId,
    /// As it came.
    pub certificate: Certificate,
    /// What its counts earn.
    pub grade: Grade,
    /// The node that brought it.
    pub node_id: Option<NodeId>,
    /// The operator who did.
    pub user_id: Option<UserId>,
    /// When.
    pub added_at: DateTime<Utc>,
}

impl CertificateRecord {
    /// What was counted.
    pub fn agreement(&self) -> &Agreement {
        &self.certificate.body.agreement
    }
}

/// Who answers for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sponsor {
    /// A node that brought it.
    Node {
        /// Which.
        node_id: NodeId,
        /// Whose.
        provider_id: ProviderId,
    },
    /// An operator, who trusts the key that signed it.
    Operator(UserId),
}

/// The cell that a provider's node is, with the grade that it may be served at; one that was never seen is noted.
///
/// Everybody's cell counts where it has a grade, or where it was suspended or found wanting; else the provider's own, if it has one.
pub async fn resolve(
    conn: &mut PgConnection,
    ids: &Ids,
    provider_id: ProviderId,
    key: &CellKey,
    now: DateTime<Utc>,
) -> Result<CellRecord> {
    let everybodys = see(conn, ids, key, now).await?;
    let decided = matches!(everybodys.state, CellState::Suspended | CellState::Unsupported);
    if decided || everybodys.served(now).is_some() {
        return Ok(everybodys);
    }
    Ok(repo::cell_of_provider(conn, key, Some(provider_id)).await?.unwrap_or(everybodys))
}

/// Everybody's cell of this key, noted where it was never seen.
async fn see(conn: &mut PgConnection, ids: &Ids, key: &CellKey, now: DateTime<Utc>) -> Result<CellRecord> {
    if let Some(cell) = repo::cell_of_provider(conn, key, None).await? {
        return Ok(cell);
    }
    let grade = key.by_definition();
    let (state, reason) = match grade {
        Some(_) => {
            (CellState::Certified, "The model's own weights in the reference engine are what others are compared with.")
        }
        None => (CellState::Built, "No certificate says how near to the original it is."),
    };
    let cell = CellRecord {
        id: ids.next(),
        key: key.clone(),
        provider_id: None,
        state,
        reason: reason.to_owned(),
        grade,
        certificate_id: None,
        expires_at: None,
        created_at: now,
        changed_at: now,
    };
    insert(conn, cell, None).await
}

/// Adds a cell, unless another was quicker.
async fn insert(conn: &mut PgConnection, cell: CellRecord, user_id: Option<UserId>) -> Result<CellRecord> {
    if repo::cell_insert(conn, &cell).await? {
        repo::cell_state(conn, &cell, user_id).await?;
        return Ok(cell);
    }
    let there = repo::cell_of_provider(conn, &cell.key, cell.provider_id).await?;
    there.ok_or(Error::CellUnknown(cell.id))
}

/// Adds a certificate: checks it, keeps it, and gives its cell the grade that the counts earn. The same one again changes nothing.
///
/// *Errors*: [`Error::CertificateBroken`], [`Error::CertificateStrange`], [`Error::CertificateSigner`]. *Locks*: the cell's row, in the
/// caller's transaction.
pub async fn certify(
    conn: &mut PgConnection,
    ids: &Ids,
    certificate: &Certificate,
    sponsor: Sponsor,
    now: DateTime<Utc>,
) -> Result<Vec<CellRecord>> {
    if !certificate.holds(now) {
        return Err(Error::CertificateBroken);
    }
    let models = repo::models_of_weights(conn, &certificate.body.cell.reference_sha256).await?;
    if models.is_empty() {
        return Err(Error::CertificateStrange);
    }
    let (provider_id, user_id) = match sponsor {
        Sponsor::Node { provider_id, .. } => {
            let keys = repo::node_keys(conn, provider_id, &certificate.key().unwrap_or_default()).await?;
            (keys > 0).then_some(()).ok_or(Error::CertificateSigner)?;
            (Some(provider_id), None)
        }
        Sponsor::Operator(user_id) => (None, Some(user_id)),
    };
    let node_id = if let Sponsor::Node { node_id, .. } = sponsor { Some(node_id) } else { None };
    let grade = certificate.body.grade();
    let record =
        CertificateRecord { id: ids.next(), certificate: certificate.clone(), grade, node_id, user_id, added_at: now };
    let id = repo::certificate_insert(conn, &record).await?;
    let mut cells = vec![];
    for model in models {
        let key = key_of(model, certificate);
        if provider_id.is_some() {
            see(conn, ids, &key, now).await?;
        }
        cells.push(grant(conn, ids, key, provider_id, id, certificate, user_id, now).await?);
    }
    Ok(cells)
}

fn key_of(model: String, certificate: &Certificate) -> CellKey {
    let cell = certificate.body.cell.clone();
    let mut features = cell.features;
    features.sort();
    CellKey {
        model,
        reference_sha256: cell.reference_sha256,
        weights_sha256: cell.weights_sha256,
        quantisation: cell.quantisation,
        engine: cell.engine,
        chip: cell.chip,
        features,
    }
}

/// Gives a cell what a certificate says of it, unless it has a later one; a suspended one stays so.
#[expect(clippy::too_many_arguments, reason = "each is one plain fact of the grant, and this is its one caller's tail")]
async fn grant(
    conn: &mut PgConnection,
    ids: &Ids,
    key: CellKey,
    provider_id: Option<ProviderId>,
    certificate_id: CertificateId,
    certificate: &Certificate,
    user_id: Option<UserId>,
    now: DateTime<Utc>,
) -> Result<CellRecord> {
    let grade = certificate.body.grade();
    let agreement = &certificate.body.agreement;
    let share = 100.0 * primitives::certificate::lower_bound(agreement.agreed, agreement.positions);
    let found = format!(
        "Of {} next tokens {} agree with the original (at least {share:.3} %), divergence {:.6} nats",
        agreement.positions, agreement.agreed, agreement.divergence_mean,
    );
    let first_look = agreement.positions < POSITIONS_MIN;
    let (state, reason) = match grade {
        Grade::None if first_look => {
            (CellState::Built, format!("{found}, at a first look. A full certificate says how near it is."))
        }
        Grade::None => (CellState::Unsupported, format!("{found}: too far from it to be served.")),
        grade => (CellState::Certified, format!("{found}: grade {}.", grade.as_str())),
    };
    let certified = CellRecord {
        id: ids.next(),
        key,
        provider_id,
        state,
        reason,
        grade: Some(grade).filter(|grade| *grade > Grade::None),
        certificate_id: Some(certificate_id),
        expires_at: Some(certificate.body.expires_at).filter(|_| !first_look),
        created_at: now,
        changed_at: now,
    };
    let Some(mut cell) = repo::cell_of_provider(conn, &certified.key, provider_id).await? else {
        return insert(conn, certified, user_id).await;
    };
    let newer = cell.expires_at.is_none_or(|expires_at| expires_at < certificate.body.expires_at);
    if cell.certificate_id == Some(certificate_id) {
        return Ok(cell);
    }
    // What holds by definition needs no measuring, what was measured last counts, and a first look says less than any certificate.
    if !newer || (first_look && cell.state != CellState::Built) || cell.key.by_definition().is_some() {
        return Ok(cell);
    }
    let suspended = cell.state == CellState::Suspended;
    (cell.grade, cell.certificate_id, cell.expires_at) =
        (certified.grade, certified.certificate_id, certified.expires_at);
    if !suspended {
        cell.change(certified.state, certified.reason, now);
    }
    repo::cell_certify(conn, &cell).await?;
    if !suspended {
        repo::cell_state(conn, &cell, user_id).await?;
    }
    Ok(cell)
}

/// Holds a cell back. *Errors*: [`Error::CellUnknown`]; [`Error::State`] when it is suspended.
pub async fn suspend(
    conn: &mut PgConnection,
    id: CellId,
    reason: &str,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<CellRecord> {
    let mut cell = repo::cell_get(conn, id).await?.ok_or(Error::CellUnknown(id))?;
    if cell.state == CellState::Suspended {
        return Err(Error::State { what: "cell", state: "suspended" });
    }
    cell.change(CellState::Suspended, reason, now);
    store(conn, cell, user_id).await
}

/// Lets a suspended cell serve again, at the grade that it has. *Errors*: [`Error::CellUnknown`]; [`Error::State`] when it is not
/// suspended.
pub async fn resume(
    conn: &mut PgConnection,
    id: CellId,
    reason: &str,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<CellRecord> {
    let mut cell = repo::cell_get(conn, id).await?.ok_or(Error::CellUnknown(id))?;
    if cell.state != CellState::Suspended {
        return Err(Error::State { what: "cell", state: "at work" });
    }
    let state = match (cell.grade, cell.certificate_id) {
        (Some(_), _) => CellState::Certified,
        (None, Some(_)) => CellState::Unsupported,
        (None, None) => CellState::Built,
    };
    cell.change(state, reason, now);
    store(conn, cell, user_id).await
}

async fn store(conn: &mut PgConnection, cell: CellRecord, user_id: UserId) -> Result<CellRecord> {
    repo::cell_certify(conn, &cell).await?;
    repo::cell_state(conn, &cell, Some(user_id)).await?;
    Ok(cell)
}

/// Notes which cell a node is for a model.
pub async fn place(conn: &mut PgConnection, node_id: NodeId, cell: &CellRecord, now: DateTime<Utc>) -> Result<()> {
    repo::node_cell_put(conn, node_id, &cell.key.model, cell.id, now).await
}

/// The cells of some nodes, with the node.
pub async fn of_nodes(conn: &mut PgConnection, nodes: &[NodeId]) -> Result<Vec<(NodeId, CellRecord)>> {
    repo::cells_of_nodes(conn, nodes).await
}

/// The cells after `after`, by their age; only those of a provider's nodes where one is named; at most `limit`.
pub async fn list(
    conn: &mut PgConnection,
    provider_id: Option<ProviderId>,
    after: Option<CellId>,
    limit: u32,
) -> Result<Vec<CellRecord>> {
    repo::cells_page(conn, provider_id, after, limit).await
}

/// The cell. *Errors*: [`Error::CellUnknown`].
pub async fn get(conn: &mut PgConnection, id: CellId) -> Result<CellRecord> {
    repo::cell_get(conn, id).await?.ok_or(Error::CellUnknown(id))
}

/// A certificate that a cell names.
pub async fn certificate(conn: &mut PgConnection, id: CertificateId) -> Result<Option<CertificateRecord>> {
    repo::certificate_find(conn, id).await
}
