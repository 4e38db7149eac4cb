//! The whole system under test: the real programs, a real database, the real model.
//!
//! [`TestSystem`](system::TestSystem) starts `tokengrid` and `tokengrid-node` as child processes on a fresh database, and
//! lets a test kill, stop and restart them. [`client`] talks to it as tenants do, over HTTP and WebSockets; [`fake_node`]
//! and [`fake_upstream`] are the peers that are faked, because real ones do not misbehave on demand; [`bad_link`] is a network between
//! them that does; [`outbox`] keeps the mails that would leave the machine;
//! [`books`] says whether the money is right.
//! Nothing here sleeps to be safe: [`wait`] waits for what happened, and fails when it does not.

pub mod bad_link;
pub mod bench;
pub mod books;
pub mod certificate;
pub mod client;
pub mod control_plane;
pub mod database;
pub mod fake_node;
pub mod fake_upstream;
pub mod folder;
pub mod graphql_socket;
pub mod lies;
pub mod model;
pub mod node;
pub mod outbox;
pub mod program;
pub mod sse;
pub mod system;
pub mod wait;
