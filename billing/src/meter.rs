//! Meters: what is counted.

use std::fmt;

/// What is counted and has a price. *Units*: tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meter {
    /// Tokens of the prompt, once a job however many nodes read them.
    Input,
    /// Of the prompt's tokens, those that a cache held, where they have a price of their own.
    CachedInput,
    /// Tokens delivered to the tenant.
    Output,
    /// Tokens read for an embedding.
    Embedding,
}

impl Meter {
    /// Every meter.
    pub const ALL: [Self; 4] = [Self::Input, Self::CachedInput, Self::Output, Self::Embedding];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached_input",
            Self::Output => "output",
            Self::Embedding => "embedding",
        }
    }

    /// The meter of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|meter| meter.as_str() == word)
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
