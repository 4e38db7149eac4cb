//! The node program's heart: one outbound connection to the control plane, kept up, and the engines behind it.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use primitives::certificate::Certificate;
use primitives::id::{Ids, NodeId};
use primitives::node_protocol::{FromNode, NodeDescriptor};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::error::Error;
use crate::node::backoff::{Backoff, SETTLED};
use crate::node::connection::About;
use crate::node::identity::{Identity, Membership};
use crate::node::readiness::Readiness;
use crate::node::serving::Serving;

pub mod backoff;
pub mod connection;
pub mod identity;
mod job;
pub mod machine;
pub mod metrics;
pub mod readiness;
pub mod serving;
mod session;
pub mod watchdog;

/// A node and what it serves.
#[derive(Debug)]
pub struct Node {
    /// Who it is.
    pub identity: Identity,
    /// The control plane's address, such as `http://127.0.0.1:8080`.
    pub control_plane: String,
    /// A one-time token, used if the identity has not joined yet.
    pub join_token: Option<String>,
    /// What it says of itself.
    pub descriptor: NodeDescriptor,
    /// What it was certified for.
    pub certificates: Vec<Certificate>,
    /// One for each model.
    pub engines: Vec<Arc<Serving>>,
    /// Where it tells whether it is ready.
    pub readiness: Readiness,
}

/// Joins and leaves at once: gives the new identity, which is kept in the state folder.
///
/// # Errors
/// When the control plane cannot be reached or does not take the token.
pub async fn join(
    identity: &mut Identity,
    control_plane: &str,
    join_token: &str,
    descriptor: NodeDescriptor,
) -> Result<NodeId, Error> {
    let about = About { descriptor, certificates: vec![] };
    let mut connection = connection::connect(control_plane, identity, Some(join_token), about).await?;
    let node_id = connection.node_id;
    identity.joined(Membership { node_id, control_plane: control_plane.into() })?;
    connection.writer.send(&FromNode::Goodbye).await?;
    Ok(node_id)
}

impl Node {
    /// Serves until drained, connecting again whenever the connection breaks.
    ///
    /// # Errors
    /// When the node is not let in at its first visit, an engine dies, or the state folder cannot be written.
    pub async fn run(self, ids: &Ids, mut draining: watch::Receiver<Option<Instant>>) -> Result<(), Error> {
        let Self { mut identity, control_plane, join_token, descriptor, certificates, engines, readiness } = self;
        readiness.loaded(&engines);
        let about = About { descriptor, certificates };
        let mut backoff = Backoff::new();
        while draining.borrow().is_none() {
            let attempt = connection::connect(&control_plane, &identity, join_token.as_deref(), about.clone());
            let connected = tokio::select! {
                connected = attempt => connected,
                _ = draining.wait_for(Option::is_some) => return Ok(()),
            };
            let ended = match connected {
                Ok(connection) => {
                    let node_id = connection.node_id;
                    if identity.membership().is_none() {
                        identity.joined(Membership { node_id, control_plane: control_plane.clone() })?;
                    }
                    tracing::info!(node.id = %node_id, control_plane, "connected");
                    readiness.connected(true);
                    let began = Instant::now();
                    let ended = session::run(connection, &engines, &Arc::new(identity.clone()), draining.clone()).await;
                    readiness.connected(false);
                    if began.elapsed() >= SETTLED {
                        backoff = Backoff::new();
                    }
                    ended
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => return Ok(()),
                Err(error @ Error::EngineStopped { .. }) => return Err(error),
                Err(error @ Error::NotLetIn { .. }) if identity.membership().is_none() => return Err(error),
                Err(error) => {
                    let refused = matches!(error, Error::NotLetIn { .. });
                    let delay = backoff.delay(ids);
                    let (error, delay_ms) = (chain(&error), delay.as_millis() as u64);
                    if refused {
                        tracing::error!(error, delay_ms, "the control plane does not let this node in");
                    } else {
                        tracing::warn!(error, delay_ms, "not connected");
                    }
                    tokio::select! {
                        () = sleep(delay) => {}
                        _ = draining.wait_for(Option::is_some) => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// An error and its sources in one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Writing to a text cannot fail.
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
