//! Nodes: what serves the tenants' jobs now.

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use broker::cell::CellSnapshot;
use broker::node::{Node as Registered, NodeSnapshot};
use chrono::{DateTime, Utc};
use primitives::id::NodeId;

use super::billing::count;
use super::paging::{self, Page};
use super::{caller, parts};
use crate::error::Error;

/// Queries about nodes.
#[derive(Default)]
pub struct NodeQuery;

/// A connected machine that does work. What its provider earns is not told.
#[derive(SimpleObject)]
pub struct Node {
    /// Its identifier.
    id: ID,
    /// What its provider calls it.
    name: String,
    /// Where it stands.
    tier: Tier,
    /// Its chip, as the vendor names it.
    chip: String,
    /// Its engine and version.
    engine: String,
    /// Since when it is connected.
    connected_at: DateTime<Utc>,
    /// True when it takes no more work.
    draining: bool,
    /// What it is doing.
    load: NodeLoad,
    /// The models that it serves, with what was measured here.
    models: Vec<NodeModel>,
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "primitives::node_protocol::Tier")]
pub enum Tier {
    /// A data centre.
    Cloud,
    /// A site near its users.
    Edge,
    /// A person's own machine.
    Terminal,
}

/// What a node is doing, by its own word a moment ago.
#[derive(SimpleObject)]
pub struct NodeLoad {
    /// Sequences in its batch.
    running: i32,
    /// Accepted jobs that wait.
    waiting: i32,
}

/// A model on a node.
#[derive(SimpleObject)]
pub struct NodeModel {
    /// The model's name.
    model: ID,
    /// Jobs that it may have at once.
    slots: i32,
    /// Jobs that it could take now.
    slots_free: i32,
    /// From work given to its first token, nine times in ten at most, in milliseconds; null before the first job.
    first_token_ms: Option<f64>,
    /// While it decodes, for one job; null until enough tokens came to tell.
    tokens_per_second: Option<f64>,
    /// The share of its jobs that ended as they should, lately; null before the first.
    reliability: Option<f64>,
}

#[Object]
impl NodeQuery {
    /// The nodes that are connected now, by identifier.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, Node>>, Error> {
        caller(ctx)?;
        let page = Page::<NodeId>::try_new(first, after.as_deref())?;
        let mut connected = parts(ctx).broker.nodes().await;
        connected.retain(|node| page.after.is_none_or(|after| node.node_id > after));
        connected.sort_by_key(|node| node.node_id);
        connected.truncate(page.limit() as usize);
        let mut conn = parts(ctx).pool.acquire().await?;
        let mut nodes = vec![];
        for node in connected {
            let registered = broker::node::get(&mut conn, node.node_id).await?;
            nodes.push(Node::new(node, registered));
        }
        Ok(Some(page.connection(nodes, |node| node.id.to_string())))
    }
}

impl Node {
    fn new(connected: NodeSnapshot, registered: Registered) -> Self {
        let descriptor = registered.descriptor;
        Self {
            id: connected.node_id.into(),
            name: connected.name,
            tier: descriptor.tier.into(),
            chip: descriptor.chip,
            engine: descriptor.engine,
            connected_at: connected.connected_at,
            draining: connected.draining,
            load: NodeLoad { running: count(connected.load.running), waiting: count(connected.load.waiting) },
            models: connected.cells.into_iter().map(NodeModel::from).collect(),
        }
    }
}

impl From<CellSnapshot> for NodeModel {
    fn from(cell: CellSnapshot) -> Self {
        Self {
            model: cell.model.into(),
            slots: count(cell.slots),
            slots_free: count(cell.slots.saturating_sub(cell.in_flight)),
            first_token_ms: cell.first_token_ms,
            tokens_per_second: cell.tokens_per_s,
            reliability: cell.reliability,
        }
    }
}
