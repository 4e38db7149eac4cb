//! The broker's side of a node's connection.

use std::sync::Arc;

use primitives::id::NodeId;
use primitives::node_protocol::{FromNode, ToNode};
use tokio::sync::{Semaphore, mpsc};

use super::{Command, Commands, LinkKey};
use crate::node::NodeSession;

/// Messages of one node that may wait to be handled; a node that says more waits.
const CREDIT_MESSAGES: usize = 64;

/// A connected node, as its gateway holds it; dropped, the node is gone.
#[derive(Debug)]
pub struct NodeLink {
    messages: mpsc::Receiver<ToNode>,
    sender: NodeSender,
}

/// Carries a node's messages to the broker; clones carry for the same link.
#[derive(Clone, Debug)]
pub struct NodeSender {
    key: LinkKey,
    commands: Commands,
    credit: Arc<Semaphore>,
}

/// The broker's end of a link.
#[derive(Debug)]
pub(super) struct Link {
    pub key: LinkKey,
    pub public_key: [u8; 32],
    pub messages: mpsc::Sender<ToNode>,
}

/// Both ends of a new link.
pub(super) fn pair(session: &NodeSession, connection: u64, commands: Commands) -> (Link, NodeLink) {
    let slots: u32 = session.descriptor.models.iter().fold(0, |sum, served| sum.saturating_add(served.slots));
    // A job costs at most an offer, a commit and a cancel at a time; a node that leaves more unread is gone.
    let capacity = 64 + 4 * slots.min(4_096) as usize;
    let (sender, messages) = mpsc::channel(capacity);
    let key = LinkKey { node_id: session.node_id, connection };
    let link = Link { key, public_key: session.public_key, messages: sender };
    let sender = NodeSender { key, commands, credit: Arc::new(Semaphore::new(CREDIT_MESSAGES)) };
    (link, NodeLink { messages, sender })
}

impl NodeLink {
    /// Which node.
    pub fn node_id(&self) -> NodeId {
        self.sender.key.node_id
    }

    /// The next message for the node; none when the link is over: replaced, silent for too long, or shutting down.
    pub async fn receive(&mut self) -> Option<ToNode> {
        self.messages.recv().await
    }

    /// Hands in what the node said; see [`NodeSender::send`].
    pub async fn send(&self, message: FromNode) -> bool {
        self.sender.send(message).await
    }

    /// Hands in messages from another task.
    pub fn sender(&self) -> NodeSender {
        self.sender.clone()
    }
}

impl NodeSender {
    /// Hands in what the node said, in order; waits while too much of it is unhandled. False when the broker is gone.
    pub async fn send(&self, message: FromNode) -> bool {
        let Ok(permit) = self.credit.clone().acquire_owned().await else { return false };
        self.commands.send(Command::Message(self.key, message, permit)).is_ok()
    }
}

impl Drop for NodeLink {
    fn drop(&mut self) {
        // Without a broker nobody needs to know.
        let _ = self.sender.commands.send(Command::Gone(self.sender.key));
    }
}
