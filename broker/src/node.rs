//! A node: one machine that does work, as registered and as connected.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{Ids, NodeId, ProviderId, UserId};
use primitives::node_protocol::{Load, NodeDescriptor};
use secrecy::SecretString;
use serde::Serialize;
use sqlx::PgConnection;

use crate::ask::Ask;
use crate::cell::CellSnapshot;
use crate::standing::Standing;
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
    /// How far it is.
    pub status: NodeStatus,
    /// What its provider or an operator calls it, whatever it calls itself.
    pub given_name: Option<String>,
    /// When its probation began.
    pub probation_from: Option<DateTime<Utc>>,
    /// When its probation ended.
    pub probation_to: Option<DateTime<Utc>>,
    /// When it was last asked to drain.
    pub drained_at: Option<DateTime<Utc>>,
    /// What it said it is, when last seen.
    pub descriptor: NodeDescriptor,
    /// When it first came.
    pub joined_at: DateTime<Utc>,
    /// When it last connected.
    pub last_seen_at: DateTime<Utc>,
}

impl Node {
    /// What people call it.
    pub fn name(&self) -> &str {
        self.given_name.as_deref().unwrap_or(&self.descriptor.name)
    }
}

/// How far a node is on its way to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl NodeStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Joined, Self::Certified, Self::Probation, Self::Active, Self::Suspended, Self::Retired];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Certified => "certified",
            Self::Probation => "probation",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Retired => "retired",
        }
    }

    /// Whether a node may connect.
    pub fn may_connect(self) -> bool {
        !matches!(self, Self::Suspended | Self::Retired)
    }
}

/// What a node said of itself at a visit, and its signature over [`primitives::node_protocol::proof_message`]: it can be held to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// All that it said.
    pub descriptor: NodeDescriptor,
    /// The visit's, in hexadecimal.
    pub nonce: String,
    /// Ed25519 by the node's key, in hexadecimal.
    pub signature: String,
}

/// A step of a node's way, on record for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// Its place in the history of all nodes.
    pub number: i64,
    /// What the node became.
    pub status: NodeStatus,
    /// Why, as a sentence.
    pub reason: String,
    /// Who did it; nobody where a rule did.
    pub user_id: Option<UserId>,
    /// When.
    pub at: DateTime<Utc>,
}

/// When a node is new no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbationRules {
    /// It has been on probation for this long.
    pub lasts: TimeDelta,
    /// It has done so many jobs well.
    pub jobs: u32,
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
    /// What it may be given.
    pub standing: Standing,
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
    let node = Node {
        id,
        provider_id,
        public_key,
        status: NodeStatus::Joined,
        given_name: None,
        probation_from: None,
        probation_to: None,
        drained_at: None,
        descriptor,
        joined_at: now,
        last_seen_at: now,
    };
    repo::node_insert(conn, &node).await?;
    let reason = "It came with a join token and proved its key.";
    repo::node_event_insert(conn, node.id, NodeStatus::Joined, reason, None, now).await?;
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

/// Keeps what a node says of itself now. *Errors*: [`Error::NodeUnknown`].
pub async fn state(conn: &mut PgConnection, id: NodeId, statement: &Statement) -> Result<()> {
    let stated = repo::node_state(conn, id, statement).await?;
    stated.then_some(()).ok_or(Error::NodeUnknown(id))
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

/// What became of a node, the newest first, before `before`; at most `limit`.
pub async fn history(conn: &mut PgConnection, id: NodeId, before: Option<i64>, limit: u32) -> Result<Vec<NodeEvent>> {
    repo::node_events(conn, id, before, limit).await
}

/// Calls a node something; nothing gives it back its own name.
pub async fn rename(conn: &mut PgConnection, id: NodeId, name: Option<&str>) -> Result<()> {
    let renamed = repo::node_rename(conn, id, name).await?;
    renamed.then_some(()).ok_or(Error::NodeUnknown(id))
}

/// Notes that a node is to drain: the connections that it has now take no more work.
pub async fn drain(conn: &mut PgConnection, id: NodeId, now: DateTime<Utc>) -> Result<()> {
    let drained = repo::node_drain(conn, id, now).await?;
    drained.then_some(()).ok_or(Error::NodeUnknown(id))
}

/// Lets a node begin to work once a cell of it has a grade: on probation. Others stay as they are.
///
/// *Locks*: the node's row, for each step; of two at once one makes it.
pub async fn begin(conn: &mut PgConnection, id: NodeId, reason: &str, now: DateTime<Utc>) -> Result<()> {
    use NodeStatus::{Certified, Joined, Probation};
    if repo::node_step(conn, id, &[Joined], Certified, now).await? {
        repo::node_event_insert(conn, id, Certified, reason, None, now).await?;
    }
    if repo::node_step(conn, id, &[Certified], Probation, now).await? {
        let reason = "It gets a small part of the work until it has shown how it does.";
        repo::node_event_insert(conn, id, Probation, reason, None, now).await?;
    }
    Ok(())
}

/// Ends the probation of every node that has done enough well for long enough, and tells which.
///
/// Done well is a lease that ended as it should, with a receipt that matches what was delivered. A node that broke off more than one
/// in twenty, or whose receipts ever differed, goes on.
pub async fn end_probations(conn: &mut PgConnection, rules: ProbationRules, now: DateTime<Utc>) -> Result<Vec<NodeId>> {
    let mut ended = vec![];
    for (id, jobs) in repo::nodes_proven(conn, now - rules.lasts, i64::from(rules.jobs)).await? {
        if repo::node_step(conn, id, &[NodeStatus::Probation], NodeStatus::Active, now).await? {
            let reason = format!("It did {jobs} jobs well, and its probation has lasted long enough.");
            repo::node_event_insert(conn, id, NodeStatus::Active, &reason, None, now).await?;
            ended.push(id);
        }
    }
    Ok(ended)
}

/// An operator's or a provider's word on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may not connect.
    Suspend,
    /// It may go on where it was.
    Resume,
    /// It is gone for good.
    Retire,
}

/// Suspends, resumes or retires a node. *Errors*: [`Error::State`] when that does not follow; [`Error::NodeUnknown`].
pub async fn judge(
    conn: &mut PgConnection,
    id: NodeId,
    verdict: Verdict,
    reason: &str,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<Node> {
    use NodeStatus::{Active, Certified, Joined, Probation, Retired, Suspended};
    let (from, to): (&[NodeStatus], NodeStatus) = match verdict {
        Verdict::Suspend => (&[Joined, Certified, Probation, Active], Suspended),
        Verdict::Retire => (&[Joined, Certified, Probation, Active, Suspended], Retired),
        // Nodes of before there were histories were active.
        Verdict::Resume => (&[Suspended], repo::node_status_before(conn, id).await?.unwrap_or(Active)),
    };
    if !repo::node_step(conn, id, from, to, now).await? {
        return Err(Error::State { what: "node", state: to.as_str() });
    }
    repo::node_event_insert(conn, id, to, reason, Some(user_id), now).await?;
    get(conn, id).await
}

/// Suspends a node by a rule, where it is not suspended or retired already. *Locks*: its row.
pub(crate) async fn suspend_by_rule(
    conn: &mut PgConnection,
    id: NodeId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    use NodeStatus::{Active, Certified, Joined, Probation, Suspended};
    if repo::node_step(conn, id, &[Joined, Certified, Probation, Active], Suspended, now).await? {
        repo::node_event_insert(conn, id, Suspended, reason, None, now).await?;
    }
    Ok(())
}

/// Some nodes; those that are not there are left out.
pub async fn some(conn: &mut PgConnection, ids: &[NodeId]) -> Result<Vec<Node>> {
    repo::nodes_some(conn, ids).await
}
