//! Who is measured, and what is asked of them.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::llama_server::LlamaServer;
use crate::node::Node;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Our node, batched, eight bits a weight.
    Ours,
    /// llama.cpp's own server with the same file.
    LlamaServer,
    /// Our node with one slot, 32 bits a weight, nothing cached.
    Unbatched,
}

impl Side {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::LlamaServer => "llama.cpp's server",
            Self::Unbatched => "unbatched f32",
        }
    }
}

/// A running side.
pub enum Server {
    /// Of ours.
    Node(Node),
    /// The rival.
    LlamaServer(LlamaServer),
}

/// One request: the likeliest output, of exactly so many tokens.
#[derive(Clone, Debug)]
pub struct Ask {
    pub prompt: Vec<u32>,
    pub output: u32,
    /// The token that would end it, which is barred.
    pub end: u32,
    /// Who may share the prompt's beginning; none shares nothing.
    pub salt: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub asked: Instant,
    /// When each token came.
    pub came: Vec<Instant>,
    /// Those tokens; a side may leave some out that end within a character.
    pub ids: Vec<u32>,
}

impl Answer {
    /// From asking to the first token.
    pub fn first_token(&self) -> Duration {
        self.came.first().map_or(Duration::ZERO, |first| *first - self.asked)
    }

    /// From asking to the last token.
    pub fn latency(&self) -> Duration {
        self.came.last().map_or(Duration::ZERO, |last| *last - self.asked)
    }
}

impl Server {
    /// Asks, and calls `heard` at each token.
    ///
    /// *Errors*: it refuses, breaks off, or gives another number of tokens.
    pub async fn ask(&self, ask: &Ask, heard: impl FnMut()) -> anyhow::Result<Answer> {
        let answer = match self {
            Self::Node(node) => node.ask(ask, heard).await?,
            Self::LlamaServer(server) => server.ask(ask, heard).await?,
        };
        let (expected, found) = (ask.output as usize, answer.came.len());
        anyhow::ensure!(found == expected, "an answer of {found} tokens instead of {expected}");
        Ok(answer)
    }
}
