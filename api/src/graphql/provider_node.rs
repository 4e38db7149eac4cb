//! A provider's nodes: how far each is and why, what it serves, how it does, what it earned.

use std::str::FromStr;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use broker::capability;
use broker::node::{Node, NodeEvent as Event, NodeSnapshot, Verdict};
use broker::score::ScoreCard as Card;
use chrono::{DateTime, Utc};
use primitives::id::NodeId;

use super::billing::count;
use super::cell::{self, Cell};
use super::node::Tier;
use super::paging::{self, Page};
use super::refusal::{Refusal, answer, refused_payloads};
use super::scalar::id;
use super::{caller, parts};
use crate::error::Error;
use crate::supply::node_of;

/// Queries about a provider's nodes.
#[derive(Default)]
pub struct ProviderNodeQuery;

/// Changes of nodes.
#[derive(Default)]
pub struct ProviderNodeMutation;

/// A registered machine, as its provider and operators see it.
#[derive(SimpleObject)]
pub struct ProviderNode {
    /// Its identifier.
    id: ID,
    /// The provider whose it is.
    provider_id: ID,
    /// What people call it.
    name: String,
    /// How far it is.
    status: NodeStatus,
    /// Why, as a sentence; null for a node of before there were reasons.
    reason: Option<String>,
    /// Where it stands.
    tier: Tier,
    /// Its chip, as the vendor names it.
    chip: String,
    /// Its engine and version.
    engine: String,
    /// When it first came.
    joined_at: DateTime<Utc>,
    /// When it last connected.
    last_seen_at: DateTime<Utc>,
    /// Since when it is connected to the replica that answers; null when it is not.
    connected_at: Option<DateTime<Utc>>,
    /// True when it takes no more work and leaves when it has done what it has.
    draining: bool,
    /// When its probation began.
    probation_from: Option<DateTime<Utc>>,
    /// When its probation ended.
    probation_to: Option<DateTime<Utc>>,
    /// The cell that it is, for each model that it serves or served last.
    cells: Vec<Cell>,
    /// How it does.
    score_card: ScoreCard,
}

/// How far a node is on its way to work.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "broker::node::NodeStatus")]
pub enum NodeStatus {
    /// It has an identity, and no cell with a grade yet.
    Joined,
    /// A cell of it has a grade.
    Certified,
    /// It works, a small part of what there is.
    Probation,
    /// It works.
    Active,
    /// An operator holds it back.
    Suspended,
    /// Its provider took it away for good.
    Retired,
}

/// How a node's work went in the last seven days. What callers or the platform ended counts for nothing.
#[derive(SimpleObject)]
pub struct ScoreCard {
    /// The share of leases that ended as they should, with receipts that match; null before the first.
    reliability: Option<f64>,
    /// Leases that ended as they should.
    done: i32,
    /// The node said that it could not.
    failed: i32,
    /// The node fell silent.
    stalled: i32,
    /// The node's connection was lost.
    lost: i32,
    /// The node broke the protocol.
    broken: i32,
    /// Receipts that differ from what was delivered.
    mismatched: i32,
    /// What counts against the node, a sentence each.
    reasons: Vec<String>,
}

/// A step of a node's way, on record for good.
#[derive(SimpleObject)]
pub struct NodeEvent {
    /// What the node became.
    status: NodeStatus,
    /// Why, as a sentence.
    reason: String,
    /// Who did it; null where a rule did.
    user_id: Option<ID>,
    /// When.
    at: DateTime<Utc>,
    #[graphql(skip)]
    number: i64,
}

/// A new name for a node.
#[derive(InputObject)]
pub struct NodeRenameInput {
    /// Which node.
    node_id: ID,
    /// What it is to be called: 1 to 100 characters.
    name: String,
}

/// A node to be held back.
#[derive(InputObject)]
pub struct NodeSuspendInput {
    /// Which node.
    node_id: ID,
    /// Why, for its provider: 1 to 500 characters.
    reason: String,
}

/// A node to go on.
#[derive(InputObject)]
pub struct NodeResumeInput {
    /// Which node.
    node_id: ID,
    /// Why: 1 to 500 characters.
    reason: String,
}

/// A node to leave when it has done what it has.
#[derive(InputObject)]
pub struct NodeDrainInput {
    /// Which node.
    node_id: ID,
}

/// A node to be taken away for good.
#[derive(InputObject)]
pub struct NodeRetireInput {
    /// Which node.
    node_id: ID,
    /// Why: 1 to 500 characters.
    reason: String,
}

/// What one of these changes did.
macro_rules! node_payloads {
    ($($(#[$doc:meta])* $payload:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Default, SimpleObject)]
        pub struct $payload {
            /// The node.
            node: Option<ProviderNode>,
            /// Why nothing was changed.
            refusal: Option<Refusal>,
        }

        refused_payloads! { $payload }
    )*};
}

node_payloads! {
    /// A node that was renamed.
    NodeRenamePayload;
    /// A node that was held back: its connection is cut, and its jobs go on elsewhere.
    NodeSuspendPayload;
    /// A node that may connect again.
    NodeResumePayload;
    /// A node that drains: no new work, what runs ends first, no reliability is lost.
    NodeDrainPayload;
    /// A node that is gone for good.
    NodeRetirePayload;
}

/// An event's number as a cursor.
struct Number(i64);

impl FromStr for Number {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[Object]
impl ProviderNodeQuery {
    /// The provider's nodes, oldest first.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn provider_nodes(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, ProviderNode>>, Error> {
        let provider_id = caller(ctx)?.provider()?;
        let page = Page::<NodeId>::try_new(first, after.as_deref())?;
        let mut conn = parts(ctx).pool.acquire().await?;
        let nodes = broker::node::list(&mut conn, provider_id, page.after, page.limit()).await?;
        drop(conn);
        Ok(Some(page.connection(shown(ctx, nodes).await?, |node| node.id.to_string())))
    }

    /// What became of a node and why, newest first: for its provider, and for operators.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn node_history(
        &self,
        ctx: &Context<'_>,
        node_id: ID,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, NodeEvent>>, Error> {
        let owner = caller(ctx)?.steward()?;
        let node_id: NodeId = id("nodeId", &node_id)?;
        let page = Page::<Number>::try_new(first, after.as_deref())?;
        let mut conn = parts(ctx).pool.acquire().await?;
        node_of(&mut conn, node_id, owner).await?;
        let before = page.after.as_ref().map(|number| number.0);
        let events = broker::node::history(&mut conn, node_id, before, page.limit()).await?;
        Ok(Some(page.connection(events.into_iter().map(NodeEvent::from).collect(), |event| event.number.to_string())))
    }
}

#[Object]
impl ProviderNodeMutation {
    /// Calls a node something, whatever it calls itself: for its provider, and for operators.
    #[graphql(complexity = "50 + child_complexity")]
    async fn node_rename(&self, ctx: &Context<'_>, input: NodeRenameInput) -> Result<Option<NodeRenamePayload>, Error> {
        answer(rename(ctx, input).await.map(|node| NodeRenamePayload { node, refusal: None }))
    }

    /// Holds a node back.
    #[graphql(complexity = "50 + child_complexity")]
    async fn node_suspend(
        &self,
        ctx: &Context<'_>,
        input: NodeSuspendInput,
    ) -> Result<Option<NodeSuspendPayload>, Error> {
        let judged = judge(ctx, &input.node_id, Verdict::Suspend, &input.reason).await;
        answer(judged.map(|node| NodeSuspendPayload { node, refusal: None }))
    }

    /// Lets a suspended node go on where it was.
    #[graphql(complexity = "50 + child_complexity")]
    async fn node_resume(&self, ctx: &Context<'_>, input: NodeResumeInput) -> Result<Option<NodeResumePayload>, Error> {
        let judged = judge(ctx, &input.node_id, Verdict::Resume, &input.reason).await;
        answer(judged.map(|node| NodeResumePayload { node, refusal: None }))
    }

    /// Lets a node end what it has and leave; it may come back at any time. For its provider, and for operators.
    #[graphql(complexity = "50 + child_complexity")]
    async fn node_drain(&self, ctx: &Context<'_>, input: NodeDrainInput) -> Result<Option<NodeDrainPayload>, Error> {
        answer(drain(ctx, input).await.map(|node| NodeDrainPayload { node, refusal: None }))
    }

    /// Takes one of the provider's nodes away for good; what it earned stays.
    #[graphql(complexity = "50 + child_complexity")]
    async fn node_retire(&self, ctx: &Context<'_>, input: NodeRetireInput) -> Result<Option<NodeRetirePayload>, Error> {
        answer(retire(ctx, input).await.map(|node| NodeRetirePayload { node, refusal: None }))
    }
}

async fn rename(ctx: &Context<'_>, input: NodeRenameInput) -> Result<Option<ProviderNode>, Error> {
    let owner = caller(ctx)?.steward()?;
    let node = parts(ctx).supply.rename_node(owner, id("nodeId", &input.node_id)?, &input.name).await?;
    Ok(shown(ctx, vec![node]).await?.pop())
}

async fn drain(ctx: &Context<'_>, input: NodeDrainInput) -> Result<Option<ProviderNode>, Error> {
    let owner = caller(ctx)?.steward()?;
    let node = parts(ctx).supply.drain_node(owner, id("nodeId", &input.node_id)?).await?;
    Ok(shown(ctx, vec![node]).await?.pop())
}

async fn retire(ctx: &Context<'_>, input: NodeRetireInput) -> Result<Option<ProviderNode>, Error> {
    let caller = caller(ctx)?;
    let (owner, user_id) = (caller.provider()?, caller.person()?);
    let node_id = id("nodeId", &input.node_id)?;
    let retired = parts(ctx).supply.judge_node(Some(owner), node_id, Verdict::Retire, &input.reason, user_id);
    let node = retired.await?;
    Ok(shown(ctx, vec![node]).await?.pop())
}

async fn judge(ctx: &Context<'_>, node: &ID, verdict: Verdict, reason: &str) -> Result<Option<ProviderNode>, Error> {
    let user_id = caller(ctx)?.operator()?;
    let node = parts(ctx).supply.judge_node(None, id("nodeId", node)?, verdict, reason, user_id).await?;
    Ok(shown(ctx, vec![node]).await?.pop())
}

/// Nodes with their cells and score cards.
async fn shown(ctx: &Context<'_>, nodes: Vec<Node>) -> Result<Vec<ProviderNode>, Error> {
    let (parts, now) = (parts(ctx), parts(ctx).clock.now());
    let connected = parts.broker.nodes().await;
    let mut conn = parts.pool.acquire().await?;
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
    let mut of_nodes = capability::of_nodes(&mut conn, &ids).await?;
    let mut shown = vec![];
    for node in nodes {
        let own = of_nodes.extract_if(.., |(id, _)| *id == node.id).map(|(_, cell)| cell).collect();
        let cells = cell::shown(&mut conn, own, now).await?;
        let card = broker::score::card(&mut conn, node.id, now).await?;
        let last = broker::node::history(&mut conn, node.id, None, 1).await?.pop();
        let connected = connected.iter().find(|snapshot| snapshot.node_id == node.id);
        shown.push(ProviderNode::new(node, connected, cells, card, last));
    }
    Ok(shown)
}

impl ProviderNode {
    fn new(node: Node, connected: Option<&NodeSnapshot>, cells: Vec<Cell>, card: Card, last: Option<Event>) -> Self {
        Self {
            id: node.id.into(),
            provider_id: node.provider_id.into(),
            name: node.name().to_owned(),
            status: node.status.into(),
            reason: last.filter(|event| event.status == node.status).map(|event| event.reason),
            tier: node.descriptor.tier.into(),
            joined_at: node.joined_at,
            last_seen_at: node.last_seen_at,
            connected_at: connected.map(|snapshot| snapshot.connected_at),
            draining: connected.is_some_and(|snapshot| snapshot.draining),
            probation_from: node.probation_from,
            probation_to: node.probation_to,
            chip: node.descriptor.chip,
            engine: node.descriptor.engine,
            cells,
            score_card: card.into(),
        }
    }
}

impl From<Card> for ScoreCard {
    fn from(Card { counts, reliability, reasons }: Card) -> Self {
        Self {
            reliability,
            done: count(counts.done),
            failed: count(counts.failed),
            stalled: count(counts.stalled),
            lost: count(counts.lost),
            broken: count(counts.broken),
            mismatched: count(counts.mismatched),
            reasons,
        }
    }
}

impl From<Event> for NodeEvent {
    fn from(event: Event) -> Self {
        Self {
            status: event.status.into(),
            reason: event.reason,
            user_id: event.user_id.map(ID::from),
            at: event.at,
            number: event.number,
        }
    }
}
