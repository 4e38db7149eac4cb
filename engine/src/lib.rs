//! How tokens get made: one engine per model, and the node program around it.
//!
//! ```text
//! RequestHandle ◀── events ── batcher (own thread) ──▶ backend/llama: one batch a step
//!       │                        ▲          │
//!  Engine::submit ──▶ mailbox ───┘      scheduler: which tokens go into the step (pure)
//!                        │                └ prefix_cache: which prefix is held where (pure)
//!                        └──────────── sequence: one request's tokens, limits, end
//!                                         ├ sampler: logits, and what a grammar allows → token (pure)
//!                                         └ text: bytes → characters, stop texts (pure)
//! ```
//!
//! Beside it stands [`upstream`]: an engine that the provider already runs gives the same events for the same work.
//! Models that do not fit the memory together stand on a [`shelf`].
//! A model that embeds has an `embedder` in the place of all that: texts in, vectors out, nothing kept.
//!
//! Requests join and leave the running batch at every step. Prompts come in chunks beside decoding, and none is computed
//! twice while a slot or a saved state holds its beginning, under the same salt. A cancelled request is gone before the next
//! step. What is absent: no prompt or output is ever logged or stored, and no other room is known; the
//! rest of the system is met only through [`primitives::node_protocol`].

pub mod align;
mod announcement;
pub mod backend;
mod batcher;
pub mod bench;
mod embedder;
mod engine;
mod error;
mod generate;
pub mod gguf;
mod logprobs;
mod mailbox;
pub mod memory;
mod model;
pub mod node;
mod pace;
mod prefix;
mod prefix_cache;
pub mod quantise;
mod receipt;
mod sampler;
mod scheduler;
mod sequence;
mod share;
pub mod shelf;
mod text;
pub mod trial;
pub mod tune;
pub mod upstream;
mod words;

pub use crate::engine::{Engine, EngineConfig, EngineLoad, Event, RequestHandle};
pub use crate::error::{Error, Refused};
pub use crate::model::Model;
pub use crate::sequence::{Frame, Usage};
pub use crate::upstream::{Upstream, UpstreamConfig};
