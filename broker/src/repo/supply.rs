//! Providers, join tokens, nodes, asks and the catalogue.

use chrono::{DateTime, Utc};
use primitives::certificate::Grade;
use primitives::id::{AskId, JoinTokenId, NodeId, ProviderId};
use primitives::money::AttoPrice;
use primitives::node_protocol::NodeDescriptor;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Row, broken_constraint};
use crate::ask::{Ask, AskPrices};
use crate::join_token::JoinToken;
use crate::model::{Model, ModelKind, Reasoning};
use crate::node::{Node, NodeStatus};
use crate::provider::Provider;
use crate::{Error, Result};

pub(crate) async fn provider_insert(conn: &mut PgConnection, provider: &Provider) -> Result<()> {
    sqlx::query!(
        "INSERT INTO broker.providers (id, name, created_at)
         VALUES ($1, $2, $3)",
        provider.id.0,
        provider.name,
        provider.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn provider_find(conn: &mut PgConnection, id: ProviderId) -> Result<Option<Provider>> {
    let provider = sqlx::query_as!(
        Provider,
        r#"SELECT id AS "id: ProviderId", name, created_at
           FROM broker.providers
           WHERE id = $1"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(provider)
}

pub(crate) async fn join_token_insert(
    conn: &mut PgConnection,
    token: &JoinToken,
    secret_hash: &[u8; 32],
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO broker.join_tokens (id, provider_id, secret_hash, created_at, expires_at, hint)
         VALUES ($1, $2, $3, $4, $5, $6)",
        token.id.0,
        token.provider_id.0,
        secret_hash,
        token.created_at,
        token.expires_at,
        token.hint,
    )
    .execute(conn)
    .await
    .map_err(|error| match broken_constraint(&error) {
        Some("join_tokens_provider_id_fkey") => Error::ProviderUnknown(token.provider_id),
        _ => error.into(),
    })?;
    Ok(())
}

/// Spends the token if it is there, unspent and in time. *Locks*: its row.
pub(crate) async fn join_token_use(
    conn: &mut PgConnection,
    secret_hash: &[u8; 32],
    node_id: NodeId,
    now: DateTime<Utc>,
) -> Result<Option<ProviderId>> {
    let provider_id = sqlx::query_scalar!(
        r#"UPDATE broker.join_tokens
           SET used_at = $3, used_by_node_id = $2
           WHERE secret_hash = $1
             -- Of two at once the second waits for the first's row lock and then finds this false.
             AND used_at IS NULL
             AND revoked_at IS NULL
             AND expires_at > $3
           RETURNING provider_id AS "provider_id: ProviderId""#,
        secret_hash,
        node_id.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(provider_id)
}

pub(crate) async fn join_token_find(conn: &mut PgConnection, secret_hash: &[u8; 32]) -> Result<Option<JoinToken>> {
    let token = sqlx::query_as!(
        JoinToken,
        r#"SELECT id AS "id: JoinTokenId", provider_id AS "provider_id: ProviderId", hint, created_at, expires_at, used_at,
             used_by_node_id AS "used_by_node_id: NodeId", revoked_at
           FROM broker.join_tokens
           WHERE secret_hash = $1"#,
        secret_hash,
    )
    .fetch_optional(conn)
    .await?;
    Ok(token)
}

struct NodeRow {
    id: NodeId,
    provider_id: ProviderId,
    public_key: Vec<u8>,
    status: String,
    given_name: Option<String>,
    probation_from: Option<DateTime<Utc>>,
    probation_to: Option<DateTime<Utc>>,
    drained_at: Option<DateTime<Utc>>,
    descriptor: serde_json::Value,
    joined_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
}

impl TryFrom<NodeRow> for Node {
    type Error = Error;

    fn try_from(node: NodeRow) -> Result<Self> {
        let row = Row { table: "broker.nodes", id: &node.id };
        Ok(Self {
            id: node.id,
            provider_id: node.provider_id,
            public_key: row.bytes("public_key", node.public_key)?,
            status: row.word("status", &node.status, &NodeStatus::ALL, NodeStatus::as_str)?,
            given_name: node.given_name,
            probation_from: node.probation_from,
            probation_to: node.probation_to,
            drained_at: node.drained_at,
            descriptor: row.read("descriptor", serde_json::from_value(node.descriptor).ok())?,
            joined_at: node.joined_at,
            last_seen_at: node.last_seen_at,
        })
    }
}

pub(crate) async fn node_insert(conn: &mut PgConnection, node: &Node) -> Result<()> {
    sqlx::query!(
        "INSERT INTO broker.nodes (id, provider_id, name, public_key, tier, status, descriptor, joined_at, last_seen_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        node.id.0,
        node.provider_id.0,
        node.descriptor.name,
        &node.public_key,
        node.descriptor.tier.as_str(),
        node.status.as_str(),
        Json(&node.descriptor) as _,
        node.joined_at,
        node.last_seen_at,
    )
    .execute(conn)
    .await
    .map_err(|error| match broken_constraint(&error) {
        Some("nodes_public_key_unique") => Error::PublicKeyTaken,
        _ => error.into(),
    })?;
    Ok(())
}

pub(crate) async fn node_find(conn: &mut PgConnection, id: NodeId) -> Result<Option<Node>> {
    let row = sqlx::query_as!(
        NodeRow,
        r#"SELECT id AS "id: NodeId", provider_id AS "provider_id: ProviderId", public_key, status, given_name,
             probation_from, probation_to, drained_at, descriptor, joined_at, last_seen_at
           FROM broker.nodes
           WHERE id = $1"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Node::try_from).transpose()
}

pub(crate) async fn nodes_some(conn: &mut PgConnection, ids: &[NodeId]) -> Result<Vec<Node>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        NodeRow,
        r#"SELECT id AS "id: NodeId", provider_id AS "provider_id: ProviderId", public_key, status, given_name,
             probation_from, probation_to, drained_at, descriptor, joined_at, last_seen_at
           FROM broker.nodes
           WHERE id = ANY ($1)"#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Node::try_from).collect()
}

/// The node that spent this token and has this key.
pub(crate) async fn node_of_token(
    conn: &mut PgConnection,
    secret_hash: &[u8; 32],
    public_key: &[u8; 32],
) -> Result<Option<Node>> {
    let row = sqlx::query_as!(
        NodeRow,
        r#"SELECT nodes.id AS "id: NodeId", nodes.provider_id AS "provider_id: ProviderId", public_key, status, given_name,
             probation_from, probation_to, drained_at, descriptor, joined_at, last_seen_at
           FROM broker.join_tokens
           JOIN broker.nodes ON nodes.id = join_tokens.used_by_node_id
           WHERE secret_hash = $1
             AND public_key = $2"#,
        secret_hash,
        public_key,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Node::try_from).transpose()
}

pub(crate) async fn node_touch(
    conn: &mut PgConnection,
    id: NodeId,
    descriptor: &NodeDescriptor,
    now: DateTime<Utc>,
) -> Result<()> {
    let touched = sqlx::query!(
        "UPDATE broker.nodes
         SET name = $2, tier = $3, descriptor = $4, last_seen_at = greatest(last_seen_at, $5)
         WHERE id = $1",
        id.0,
        descriptor.name,
        descriptor.tier.as_str(),
        Json(descriptor) as _,
        now,
    )
    .execute(conn)
    .await?;
    if touched.rows_affected() == 1 { Ok(()) } else { Err(Error::NodeUnknown(id)) }
}

pub(crate) async fn node_list(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    after: Option<NodeId>,
    limit: u32,
) -> Result<Vec<Node>> {
    let rows = sqlx::query_as!(
        NodeRow,
        r#"SELECT id AS "id: NodeId", provider_id AS "provider_id: ProviderId", public_key, status, given_name,
             probation_from, probation_to, drained_at, descriptor, joined_at, last_seen_at
           FROM broker.nodes
           WHERE provider_id = $1
             AND ($2::uuid IS NULL OR id > $2)
           -- In the order of nodes_of_provider.
           ORDER BY id
           LIMIT $3"#,
        provider_id.0,
        after.map(|id| id.0),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Node::try_from).collect()
}

pub(crate) async fn ask_insert(conn: &mut PgConnection, ask: &Ask) -> Result<()> {
    sqlx::query!(
        "INSERT INTO broker.asks (id, node_id, model, currency, input_atto, output_atto, valid_from)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        ask.id.0,
        ask.node_id.0,
        ask.model,
        ask.prices.currency.as_str(),
        Decimal::from_i128_with_scale(ask.prices.input.attos(), 0),
        Decimal::from_i128_with_scale(ask.prices.output.attos(), 0),
        ask.valid_from,
    )
    .execute(conn)
    .await
    .map_err(|error| match broken_constraint(&error) {
        Some("asks_node_id_fkey") => Error::NodeUnknown(ask.node_id),
        _ => error.into(),
    })?;
    Ok(())
}

pub(crate) async fn asks_current(conn: &mut PgConnection, nodes: &[NodeId], now: DateTime<Utc>) -> Result<Vec<Ask>> {
    let ids: Vec<Uuid> = nodes.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        AskRow,
        r#"SELECT DISTINCT ON (node_id, model) id AS "id: AskId", node_id AS "node_id: NodeId", model, currency, input_atto,
             output_atto, valid_from
           FROM broker.asks
           WHERE node_id = ANY ($1)
             AND valid_from <= $2
           -- The latest of each model, in the order of asks_in_force.
           ORDER BY node_id, model, valid_from DESC, id DESC"#,
        &ids,
        now,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Ask::try_from).collect()
}

/// A node's asks, the newest first.
pub(crate) async fn asks_history(
    conn: &mut PgConnection,
    node_id: NodeId,
    before: Option<AskId>,
    limit: u32,
) -> Result<Vec<Ask>> {
    let rows = sqlx::query_as!(
        AskRow,
        r#"SELECT id AS "id: AskId", node_id AS "node_id: NodeId", model, currency, input_atto, output_atto, valid_from
           FROM broker.asks
           WHERE node_id = $1
             AND ($2::uuid IS NULL OR id < $2)
           ORDER BY id DESC
           LIMIT $3"#,
        node_id.0,
        before.map(|id| id.0),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Ask::try_from).collect()
}

struct AskRow {
    id: AskId,
    node_id: NodeId,
    model: String,
    currency: String,
    input_atto: Decimal,
    output_atto: Decimal,
    valid_from: DateTime<Utc>,
}

impl TryFrom<AskRow> for Ask {
    type Error = Error;

    fn try_from(ask: AskRow) -> Result<Self> {
        let row = Row { table: "broker.asks", id: &ask.id };
        let price = |column, attos: Decimal| row.read(column, AttoPrice::try_new(attos.mantissa()).ok());
        let prices = AskPrices {
            currency: row.read("currency", ask.currency.parse().ok())?,
            input: price("input_atto", ask.input_atto)?,
            output: price("output_atto", ask.output_atto)?,
        };
        Ok(Self { id: ask.id, node_id: ask.node_id, model: ask.model, prices, valid_from: ask.valid_from })
    }
}

struct ModelRow {
    id: String,
    name: String,
    kind: String,
    revision: String,
    context_tokens: i64,
    weights_sha256: String,
    tokenizer: String,
    chat_template: String,
    eos_token_ids: Vec<i64>,
    reasoning_open: Option<String>,
    reasoning_close: Option<String>,
    output_tokens_default: i64,
    output_tokens_max: i64,
    grade_default: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<ModelRow> for Model {
    type Error = Error;

    fn try_from(model: ModelRow) -> Result<Self> {
        let row = Row { table: "broker.models", id: &model.id };
        Ok(Self {
            kind: row.word("kind", &model.kind, &ModelKind::ALL, ModelKind::as_str)?,
            context_tokens: row.number("context_tokens", model.context_tokens)?,
            eos_token_ids: model
                .eos_token_ids
                .iter()
                .map(|id| row.number("eos_token_ids", *id))
                .collect::<Result<_>>()?,
            output_tokens_default: row.number("output_tokens_default", model.output_tokens_default)?,
            output_tokens_max: row.number("output_tokens_max", model.output_tokens_max)?,
            reasoning: model.reasoning_open.zip(model.reasoning_close).map(|(open, close)| Reasoning { open, close }),
            grade_default: row.word("grade_default", &model.grade_default, &Grade::SERVED, Grade::as_str)?,
            id: model.id,
            name: model.name,
            revision: model.revision,
            weights_sha256: model.weights_sha256,
            tokenizer: model.tokenizer,
            chat_template: model.chat_template,
            created_at: model.created_at,
        })
    }
}

pub(crate) async fn model_upsert(conn: &mut PgConnection, model: &Model) -> Result<()> {
    let eos_token_ids: Vec<i64> = model.eos_token_ids.iter().copied().map(i64::from).collect();
    sqlx::query!(
        "INSERT INTO broker.models (id, name, revision, context_tokens, weights_sha256, tokenizer, chat_template,
           eos_token_ids, output_tokens_default, output_tokens_max, created_at, reasoning_open, reasoning_close, kind,
           grade_default)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (id) DO UPDATE
         SET name = $2, revision = $3, context_tokens = $4, weights_sha256 = $5, tokenizer = $6, chat_template = $7,
           eos_token_ids = $8, output_tokens_default = $9, output_tokens_max = $10, reasoning_open = $12, reasoning_close = $13,
           kind = $14",
        model.id,
        model.name,
        model.revision,
        i64::from(model.context_tokens),
        model.weights_sha256,
        model.tokenizer,
        model.chat_template,
        &eos_token_ids,
        i64::from(model.output_tokens_default),
        i64::from(model.output_tokens_max),
        model.created_at,
        model.reasoning.as_ref().map(|reasoning| &reasoning.open),
        model.reasoning.as_ref().map(|reasoning| &reasoning.close),
        model.kind.as_str(),
        model.grade_default.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn model_find(conn: &mut PgConnection, id: &str) -> Result<Option<Model>> {
    let row = sqlx::query_as!(
        ModelRow,
        "SELECT id, name, kind, revision, context_tokens, weights_sha256, tokenizer, chat_template, eos_token_ids, reasoning_open,
           reasoning_close, output_tokens_default, output_tokens_max, grade_default, created_at
         FROM broker.models
         WHERE id = $1",
        id,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Model::try_from).transpose()
}

pub(crate) async fn model_list(conn: &mut PgConnection, after: Option<&str>, limit: u32) -> Result<Vec<Model>> {
    let rows = sqlx::query_as!(
        ModelRow,
        "SELECT id, name, kind, revision, context_tokens, weights_sha256, tokenizer, chat_template, eos_token_ids, reasoning_open,
           reasoning_close, output_tokens_default, output_tokens_max, grade_default, created_at
         FROM broker.models
         WHERE $1::text IS NULL OR id > $1
         ORDER BY id
         LIMIT $2",
        after,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Model::try_from).collect()
}
