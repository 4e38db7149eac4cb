//! A node: one machine that does work, as registered and as connected.

use chrono::{DateTime, Utc};
use primitives::id::{Ids, NodeId, ProviderId};
use primitives::node_protocol::{Load, NodeDescriptor};
use secrecy::SecretString;
use sqlx::PgConnection;

use crate::ask::Ask;
use crate::cell::CellSnapshot;
use crate::{Error, Result, join_token, repo};

/// A registered node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Which node.
    pub id: NodeId,
    /// Whose.
    pub provider_id: ProviderId,
    /// Its Ed25519 key: proves the node at each connection, signs its receipts.
    pub public_key: [u8; 32],
    /// Whether it may connect.
    pub status: NodeStatus,
    /// What it said it is, when last seen.
    pub descriptor: NodeDescriptor,
    /// When it first came.
    pub joined_at: DateTime<Utc>,
    /// When it last connected.
    pub last_seen_at: DateTime<Utc>,
}

/// Whether a node may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStatus {
    /// It may.
    Active,
    /// An operator holds it back.
    Suspended,
}

impl NodeStatus {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// A node whose proof was checked, about to be given work.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSession {
    /// Which node.
    pub node_id: NodeId,
    /// Whose.
    pub provider_id: ProviderId,
    /// Checks its receipts.
    pub public_key: [u8; 32],
    /// What it is now.
    pub descriptor: NodeDescriptor,
    /// Its asks in force; a model without one gets no work.
    pub asks: Vec<Ask>,
}

/// A connected node at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSnapshot {
    /// Which node.
    pub node_id: NodeId,
    /// Whose.
    pub provider_id: ProviderId,
    /// What it calls itself.
    pub name: String,
    /// What it said last of its load.
    pub load: Load,
    /// It takes no more offers.
    pub draining: bool,
    /// Since when.
    pub connected_at: DateTime<Utc>,
    /// Its models.
    pub cells: Vec<CellSnapshot>,
}

/// Brings in a new node: spends the token and registers the key.
///
/// *Errors*: the three of join tokens; [`Error::PublicKeyTaken`]. *Locks*: the token's row, so call it in a transaction:
/// a refused key must leave the token unspent. A node whose first visit's answer was lost comes again with the same token
/// and key, and is the same node.
pub async fn join(
    conn: &mut PgConnection,
    ids: &Ids,
    token: &SecretString,
    public_key: [u8; 32],
    descriptor: NodeDescriptor,
    now: DateTime<Utc>,
) -> Result<Node> {
    let id = ids.next();
    let provider_id = match join_token::spend(conn, token, id, now).await {
        Err(Error::JoinTokenUsed) => {
            let node = repo::node_of_token(conn, &join_token::hash(token), &public_key).await?;
            return node.ok_or(Error::JoinTokenUsed);
        }
        spent => spent?,
    };
    let status = NodeStatus::Active;
    let node = Node { id, provider_id, public_key, status, descriptor, joined_at: now, last_seen_at: now };
    repo::node_insert(conn, &node).await?;
    Ok(node)
}

/// The node. *Errors*: [`Error::NodeUnknown`].
pub async fn get(conn: &mut PgConnection, id: NodeId) -> Result<Node> {
    repo::node_find(conn, id).await?.ok_or(Error::NodeUnknown(id))
}

/// Notes that a node came back, and what it is now. *Errors*: [`Error::NodeUnknown`].
pub async fn touch(conn: &mut PgConnection, id: NodeId, descriptor: &NodeDescriptor, now: DateTime<Utc>) -> Result<()> {
    repo::node_touch(conn, id, descriptor, now).await
}

/// A provider's nodes after `after`, oldest first, at most `limit`.
pub async fn list(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    after: Option<NodeId>,
    limit: u32,
) -> Result<Vec<Node>> {
    repo::node_list(conn, provider_id, after, limit).await
}
