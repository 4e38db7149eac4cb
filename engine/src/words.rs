//! A model's words: what each of its tokens stands for, and which of them end an output. No weights are needed to know them.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use primitives::grammar::{self, Vocabulary};

/// The tokens of a model; ids run from 0.
#[derive(Debug)]
pub struct Words {
    pieces: Vec<Box<[u8]>>,
    ends: BTreeSet<u32>,
    vocabulary: OnceLock<Result<Vocabulary, grammar::Error>>,
}

impl Words {
    /// The bytes of each token by its id, none for control tokens, and the tokens that end an output.
    pub fn new(pieces: Vec<Box<[u8]>>, ends: BTreeSet<u32>) -> Self {
        Self { pieces, ends, vocabulary: OnceLock::new() }
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The bytes that a token stands for; none for control tokens. Half a character is possible.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.pieces.get(id as usize).map_or(&[], |piece| piece)
    }

    /// Whether this token ends the output.
    pub fn ends(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// Whether any of these tokens ends the output.
    pub fn any_end(&self, is_so: impl Fn(u32) -> bool) -> bool {
        self.ends.iter().copied().any(is_so)
    }

    /// Its tokens, ready for grammars; made when first asked for.
    ///
    /// # Errors
    /// When no token ends an output.
    pub fn vocabulary(&self) -> Result<&Vocabulary, grammar::Error> {
        let made = self.vocabulary.get_or_init(|| {
            let ends: Vec<u32> = self.ends.iter().copied().collect();
            Vocabulary::new(&self.pieces, &ends)
        });
        made.as_ref().map_err(Clone::clone)
    }
}
