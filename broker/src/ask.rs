//! An ask: what a provider wants for a model on a node.

use chrono::{DateTime, Utc};
use primitives::id::{AskId, NodeId};
use primitives::money::{AttoPrice, Currency};
use sqlx::PgConnection;

use crate::{Result, repo};

/// A provider's prices for one model on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which ask.
    pub id: AskId,
    /// On which node.
    pub node_id: NodeId,
    /// The model's name in the catalogue.
    pub model: String,
    /// What is asked.
    pub prices: AskPrices,
    /// In force from here until the next ask for the same model and node.
    pub valid_from: DateTime<Utc>,
}

/// What is asked for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskPrices {
    /// Of both prices.
    pub currency: Currency,
    /// For a token of the prompt.
    pub input: AttoPrice,
    /// For a token of the output.
    pub output: AttoPrice,
}

/// Publishes an ask; what was asked before stays on record.
pub async fn publish(conn: &mut PgConnection, ask: &Ask) -> Result<()> {
    repo::ask_insert(conn, ask).await
}

/// The asks in force on a node, one a model.
pub async fn current(conn: &mut PgConnection, node_id: NodeId, now: DateTime<Utc>) -> Result<Vec<Ask>> {
    repo::asks_current(conn, &[node_id], now).await
}

/// A node's asks, those of before too, the newest first, before `before`; at most `limit`.
pub async fn history(conn: &mut PgConnection, node_id: NodeId, before: Option<AskId>, limit: u32) -> Result<Vec<Ask>> {
    repo::asks_history(conn, node_id, before, limit).await
}

/// The asks in force on some nodes, one a model and node.
pub async fn current_of(conn: &mut PgConnection, nodes: &[NodeId], now: DateTime<Utc>) -> Result<Vec<Ask>> {
    repo::asks_current(conn, nodes, now).await
}
