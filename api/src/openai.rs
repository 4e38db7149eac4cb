//! The OpenAI-compatible HTTP API: what is on the wire, and nothing of what it means.

pub mod answer;
pub mod chat;
pub mod completions;
pub mod drawing;
pub mod embeddings;
pub mod form;
pub mod http;
pub mod models;
pub mod tool_calls;
pub mod wire;
