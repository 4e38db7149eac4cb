//! The room against its real model, and the node against a control plane that the tests play.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod align;
mod backend;
mod bundled;
mod conformance;
mod embeddings;
mod engine;
mod form;
mod gguf;
mod memory;
mod node;
mod prefix;
mod random;
mod resume;
mod shelf;
mod tokeniser;
mod tune;
