//! Who does the work, and what are they owed?
//!
//! Providers join nodes with one-time tokens and publish asks. A tenant's job waits in its model's queue until a cell
//! (node × model) has a free slot, is offered to it, leased under an epoch, and streamed back; when the node fails, the
//! next epoch resumes elsewhere from the delivered tokens. What is paid is counted here, from delivered frames.
//!
//! Three layers, each knowing only the one below: [`Broker`] is the running thing (one task, the node links, the lease
//! writer); [`core::Core`] decides everything and does nothing, so that a simulator can run it on virtual time; the nouns
//! hold the rules and their rows. All SQL is in `repo`.

pub mod ask;
pub mod capability;
pub mod cell;
pub mod core;
mod curve;
mod dispatcher;
pub mod earning;
mod error;
mod fleet;
mod held_blocks;
pub mod holdback;
pub mod job;
pub mod join_token;
pub mod lease;
pub mod model;
pub mod node;
mod placement;
pub mod presence;
pub mod provider;
mod queue;
pub mod receipt;
mod repo;
pub mod score;
mod sent;
mod settings;
pub mod standing;
pub mod trust;

pub use dispatcher::{Broker, BrokerTask, JobStream, NodeLink, NodeSender};
pub use error::{Error, Refused, Result};
pub use settings::Settings;
