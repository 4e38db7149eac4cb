//! The market's supply side: providers bring nodes, say what they ask, and see what comes of it.
//!
//! [`Supply::arrive`] is a node's way in. What changes while it is connected (asks, grades, suspensions, drains, the end of its
//! probation) is read again every few seconds by each replica for the nodes that it has, and at once where the change is made:
//! [`Supply::refresh`].

mod arrival;
mod earnings;
mod provider;
mod trust;

use broker::Broker;
use broker::ask::Ask;
use broker::cell::CellSnapshot;
use broker::node::{Node, NodeSnapshot, NodeStatus, ProbationRules};
use broker::standing::Standing;
use chrono::{DateTime, TimeDelta, Utc};
use primitives::clock::Clock;
use primitives::id::{Ids, NodeId};
use sqlx::{PgConnection, PgPool};

pub use arrival::Arrival;
pub use provider::{NewAsk, node_of};

/// When new nodes are new no longer, and how long their earnings are kept back.
#[derive(Clone, Copy, Debug)]
pub struct MarketRules {
    /// The end of a probation.
    pub probation: ProbationRules,
    /// How long what a new node earns is kept back.
    pub holdback: TimeDelta,
    /// How long a provider may appeal against a conviction.
    pub appeal_within: TimeDelta,
}

/// What happens on the supply side; clones share one broker.
#[derive(Clone)]
pub struct Supply {
    pool: PgPool,
    clock: Clock,
    ids: Ids,
    broker: Broker,
    rules: MarketRules,
}

impl Supply {
    /// Over running parts.
    pub fn new(pool: PgPool, clock: Clock, ids: Ids, broker: Broker, rules: MarketRules) -> Self {
        Self { pool, clock, ids, broker, rules }
    }

    /// Brings what this replica's connected nodes may be given up to what is on record.
    pub async fn refresh(&self) -> broker::Result<()> {
        let connected = self.broker.nodes().await;
        if connected.is_empty() {
            return Ok(());
        }
        let (mut conn, now) = (self.pool.acquire().await?, self.clock.now());
        let ids: Vec<NodeId> = connected.iter().map(|node| node.node_id).collect();
        let nodes = broker::node::some(&mut conn, &ids).await?;
        let asks = broker::ask::current_of(&mut conn, &ids, now).await?;
        let cells = broker::capability::of_nodes(&mut conn, &ids).await?;
        for snapshot in connected {
            let Some(node) = nodes.iter().find(|node| node.id == snapshot.node_id) else { continue };
            if !node.status.may_connect() {
                self.broker.expel(node.id);
                continue;
            }
            if must_drain(node, &snapshot) {
                self.broker.drain(node.id);
            }
            let own = cells.iter().filter(|(id, _)| *id == node.id).map(|(_, cell)| cell);
            let served = own.filter(|cell| serves(&snapshot.cells, &cell.key.model));
            let mut standing = Standing { on_probation: node.status != NodeStatus::Active, ..Standing::default() };
            for (cell, grade) in served.filter_map(|cell| Some((cell, cell.served(now)?))) {
                if cell.is_reference() {
                    standing.references.insert(cell.key.model.clone());
                }
                standing.grades.insert(cell.key.model.clone(), grade);
            }
            if node.status == NodeStatus::Joined && !standing.grades.is_empty() {
                broker::node::begin(&mut conn, node.id, BEGINS, now).await?;
            }
            let own: Vec<Ask> = asks.iter().filter(|ask| ask.node_id == node.id).cloned().collect();
            self.broker.appraise(node.id, own, standing);
        }
        Ok(())
    }

    /// Ends probations that have lasted and been used well.
    pub async fn end_probations(&self) -> broker::Result<()> {
        let ended =
            broker::node::end_probations(&mut *self.pool.acquire().await?, self.rules.probation, self.clock.now())
                .await?;
        for node_id in ended {
            tracing::info!(node.id = %node_id, "a node's probation has ended");
        }
        Ok(())
    }

    /// The asks in force of a node, for a model each.
    async fn asks(&self, conn: &mut PgConnection, node_id: NodeId, now: DateTime<Utc>) -> broker::Result<Vec<Ask>> {
        broker::ask::current(conn, node_id, now).await
    }
}

/// Why a node begins to work.
const BEGINS: &str = "A cell of it has a grade.";

/// A drain is for the connections that there were when it was asked for.
fn must_drain(node: &Node, connected: &NodeSnapshot) -> bool {
    !connected.draining && node.drained_at.is_some_and(|drained_at| drained_at >= connected.connected_at)
}

fn serves(cells: &[CellSnapshot], model: &str) -> bool {
    cells.iter().any(|cell| cell.model == model)
}
