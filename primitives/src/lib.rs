//! The words that rooms share: identifiers, money, time, transactions, prompts and the node protocol.
//!
//! No business rules live here, and nothing here knows a room. What a room alone needs stays in that room.

pub mod certificate;
pub mod chat_template;
pub mod clock;
pub mod grammar;
pub mod id;
pub mod kv_block;
pub mod money;
pub mod node_protocol;
#[cfg(feature = "prompt")]
pub mod prompt;
#[cfg(feature = "postgres")]
pub mod tx;
