//! The parts that every route works with.

use broker::Broker;
use ledger::Replica;
use primitives::clock::Clock;
use primitives::id::Ids;
use sqlx::PgPool;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::catalogue::Catalogue;
use crate::inference::Inference;
use crate::supply::Supply;

/// What the routes work with.
pub struct Services {
    /// The database.
    pub pool: PgPool,
    /// Time.
    pub clock: Clock,
    /// Identifiers.
    pub ids: Ids,
    /// Credentials to callers.
    pub auth: Auth,
    /// Models.
    pub catalogue: Catalogue,
    /// The use case.
    pub inference: Inference,
    /// Nodes and queues.
    pub broker: Broker,
    /// Providers and their nodes.
    pub supply: Supply,
    /// This process among the replicas.
    pub replica: Replica,
    /// Node sockets' conversations.
    pub sockets: TaskTracker,
}
