//! Cells: which models run on which engines and chips, how near to the original, and why.

use std::collections::BTreeMap;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use broker::capability::{self, CellRecord, CertificateRecord};
use chrono::{DateTime, Utc};
use primitives::certificate::Grade as Served;
use primitives::id::{CellId, CertificateId};
use sqlx::PgConnection;

use super::paging::{self, Page};
use super::refusal::{Refusal, answer, refused_payloads};
use super::scalar::{BigInt, id};
use super::{caller, parts};
use crate::error::Error;

/// Queries about cells.
#[derive(Default)]
pub struct CellQuery;

/// Changes of cells.
#[derive(Default)]
pub struct CellMutation;

/// What can serve a model: its weights as an engine of a version runs them on a chip.
#[derive(SimpleObject)]
pub struct Cell {
    /// Its identifier.
    id: ID,
    /// The model's name.
    model: ID,
    /// SHA-256 of the weights, in hexadecimal.
    weights_sha256: String,
    /// True when these are the model's own weights, which others are compared with.
    reference: bool,
    /// How the weights are stored.
    quantisation: String,
    /// The engine and its version.
    engine: String,
    /// The chip, as the vendor names it.
    chip: String,
    /// What of the chip the engine uses.
    features: Vec<String>,
    /// The provider whose nodes alone it is good for, where its certificate is a node's own.
    provider_id: Option<ID>,
    /// How far it is.
    state: CellState,
    /// Why, as a sentence.
    reason: String,
    /// How near it is to the original, where it has a grade.
    grade: Option<Grade>,
    /// Until when the grade holds; for ever where it follows from the definition of the reference.
    expires_at: Option<DateTime<Utc>>,
    /// What was measured, where a certificate says.
    measured: Option<CellMeasured>,
    /// When it was first seen.
    created_at: DateTime<Utc>,
    /// When its state last changed.
    changed_at: DateTime<Utc>,
}

/// How a cell compares with the original, as its certificate has it.
#[derive(SimpleObject)]
pub struct CellMeasured {
    /// The certificate.
    certificate_id: ID,
    /// Next tokens compared.
    positions: BigInt,
    /// Those whose likeliest token is the same.
    agreed: BigInt,
    /// The least that the share of agreement is, with 95 % confidence; from those counts.
    lower_bound: f64,
    /// Kullback and Leibler's divergence from the original, the mean, in nats.
    divergence_mean: f64,
    /// The same, for all but one position in a hundred.
    divergence_p99: f64,
    /// When it was measured.
    issued_at: DateTime<Utc>,
}

/// How far a cell is.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "broker::capability::CellState")]
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

/// How near a cell is to the original. Nobody is served a lower one than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// At least 95 % of next tokens are the same.
    Eco,
    /// At least 99 %.
    Near,
    /// At least 99.9 %.
    Exact,
}

impl From<Grade> for Served {
    fn from(grade: Grade) -> Self {
        match grade {
            Grade::Eco => Self::Eco,
            Grade::Near => Self::Near,
            Grade::Exact => Self::Exact,
        }
    }
}

/// A grade that is asked for or served; neither is ever none.
pub fn grade(grade: Served) -> Grade {
    match grade {
        Served::None | Served::Eco => Grade::Eco,
        Served::Near => Grade::Near,
        Served::Exact => Grade::Exact,
    }
}

/// A certificate to be added.
#[derive(InputObject)]
pub struct CertificateAddInput {
    /// The certificate as `tokengrid-node align --out FILE` writes it, JSON.
    document: String,
}

/// A certificate that was added.
#[derive(Default, SimpleObject)]
pub struct CertificateAddPayload {
    /// The cells that it speaks of: one for each model with these reference weights.
    cells: Option<Vec<Cell>>,
    /// Why it was not added.
    refusal: Option<Refusal>,
}

/// A cell to be held back.
#[derive(InputObject)]
pub struct CellSuspendInput {
    /// Which.
    id: ID,
    /// Why, for the providers whose nodes are such cells: 1 to 500 characters.
    reason: String,
}

/// A cell that was held back: within seconds it gets no more work.
#[derive(Default, SimpleObject)]
pub struct CellSuspendPayload {
    /// The cell.
    cell: Option<Cell>,
    /// Why it was not.
    refusal: Option<Refusal>,
}

/// A cell to serve again.
#[derive(InputObject)]
pub struct CellResumeInput {
    /// Which.
    id: ID,
    /// Why: 1 to 500 characters.
    reason: String,
}

/// A cell that serves again, at the grade that it has.
#[derive(Default, SimpleObject)]
pub struct CellResumePayload {
    /// The cell.
    cell: Option<Cell>,
    /// Why it does not.
    refusal: Option<Refusal>,
}

refused_payloads! { CertificateAddPayload CellSuspendPayload CellResumePayload }

#[Object]
impl CellQuery {
    /// All cells, the oldest first: for an operator every one, for a provider those of its nodes.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn cells(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, Cell>>, Error> {
        let provider_id = caller(ctx)?.steward()?;
        let page = Page::<CellId>::try_new(first, after.as_deref())?;
        let mut conn = parts(ctx).pool.acquire().await?;
        let cells = capability::list(&mut conn, provider_id, page.after, page.limit()).await?;
        let cells = shown(&mut conn, cells, parts(ctx).clock.now()).await?;
        Ok(Some(page.connection(cells, |cell| cell.id.to_string())))
    }
}

#[Object]
impl CellMutation {
    /// Adds a certificate on an operator's word: its cell is good for every provider's nodes.
    #[graphql(complexity = "50 + child_complexity")]
    async fn certificate_add(
        &self,
        ctx: &Context<'_>,
        input: CertificateAddInput,
    ) -> Result<Option<CertificateAddPayload>, Error> {
        answer(add(ctx, input).await)
    }

    /// Holds a cell back, on every node.
    #[graphql(complexity = "50 + child_complexity")]
    async fn cell_suspend(
        &self,
        ctx: &Context<'_>,
        input: CellSuspendInput,
    ) -> Result<Option<CellSuspendPayload>, Error> {
        answer(judge(ctx, &input.id, true, &input.reason).await.map(|cell| CellSuspendPayload { cell, refusal: None }))
    }

    /// Lets a suspended cell serve again.
    #[graphql(complexity = "50 + child_complexity")]
    async fn cell_resume(&self, ctx: &Context<'_>, input: CellResumeInput) -> Result<Option<CellResumePayload>, Error> {
        answer(judge(ctx, &input.id, false, &input.reason).await.map(|cell| CellResumePayload { cell, refusal: None }))
    }
}

async fn add(ctx: &Context<'_>, input: CertificateAddInput) -> Result<CertificateAddPayload, Error> {
    let user_id = caller(ctx)?.operator()?;
    let cells = parts(ctx).supply.add_certificate(&input.document, user_id).await?;
    let mut conn = parts(ctx).pool.acquire().await?;
    let cells = shown(&mut conn, cells, parts(ctx).clock.now()).await?;
    Ok(CertificateAddPayload { cells: Some(cells), refusal: None })
}

async fn judge(ctx: &Context<'_>, cell: &ID, suspend: bool, reason: &str) -> Result<Option<Cell>, Error> {
    let user_id = caller(ctx)?.operator()?;
    let cell = parts(ctx).supply.judge_cell(id("id", cell)?, suspend, reason, user_id).await?;
    let mut conn = parts(ctx).pool.acquire().await?;
    Ok(shown(&mut conn, vec![cell], parts(ctx).clock.now()).await?.pop())
}

/// Cells with what their certificates measured.
pub async fn shown(conn: &mut PgConnection, cells: Vec<CellRecord>, now: DateTime<Utc>) -> Result<Vec<Cell>, Error> {
    let mut certificates: BTreeMap<CertificateId, CertificateRecord> = BTreeMap::new();
    for id in cells.iter().filter_map(|cell| cell.certificate_id) {
        if let Some(record) = capability::certificate(conn, id).await? {
            certificates.insert(id, record);
        }
    }
    let show = |cell: CellRecord| {
        let measured = cell.certificate_id.and_then(|id| certificates.get(&id)).map(CellMeasured::from);
        let (state, reason) = cell.standing(now);
        Cell {
            id: cell.id.into(),
            reference: cell.key.weights_sha256 == cell.key.reference_sha256,
            model: cell.key.model.into(),
            weights_sha256: cell.key.weights_sha256,
            quantisation: cell.key.quantisation,
            engine: cell.key.engine,
            chip: cell.key.chip,
            features: cell.key.features,
            provider_id: cell.provider_id.map(ID::from),
            state: state.into(),
            reason,
            grade: cell.grade.map(grade),
            expires_at: cell.expires_at,
            measured,
            created_at: cell.created_at,
            changed_at: cell.changed_at,
        }
    };
    Ok(cells.into_iter().map(show).collect())
}

impl From<&CertificateRecord> for CellMeasured {
    fn from(record: &CertificateRecord) -> Self {
        let agreement = record.agreement();
        let count = |count: u64| BigInt(i64::try_from(count).unwrap_or(i64::MAX));
        Self {
            certificate_id: record.id.into(),
            positions: count(agreement.positions),
            agreed: count(agreement.agreed),
            lower_bound: primitives::certificate::lower_bound(agreement.agreed, agreement.positions),
            divergence_mean: agreement.divergence_mean,
            divergence_p99: agreement.divergence_p99,
            issued_at: record.certificate.body.issued_at,
        }
    }
}
