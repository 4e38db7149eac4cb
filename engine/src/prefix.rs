//! A sequence's tokens and the names of their whole KV blocks.

use primitives::kv_block::{self, BLOCK_TOKENS, BlockName};

/// Tokens from the first on, of one salt or of none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Under which it is shared; without one it is shared with nobody.
    salt: Option<Box<str>>,
    /// What the first block's name goes on from; 0 without a salt.
    root: BlockName,
    ids: Vec<u32>,
    /// Of all whole blocks; none without a salt.
    names: Vec<BlockName>,
}

impl Prefix {
    /// These tokens under this salt.
    pub fn new(salt: Option<String>, ids: Vec<u32>) -> Self {
        let names = salt.as_ref().map_or_else(Vec::new, |salt| kv_block::names(salt, &ids));
        let root = salt.as_ref().map_or(0, |salt| kv_block::root(salt));
        Self { salt: salt.map(String::into_boxed_str), root, ids, names }
    }

    /// Whether others of the same salt may go on from it.
    pub fn is_shared(&self) -> bool {
        self.salt.is_some()
    }

    /// Stands for the salt: who is to be treated fairly.
    pub fn root(&self) -> BlockName {
        self.root
    }

    /// How many tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The names of its whole blocks.
    pub fn names(&self) -> &[BlockName] {
        &self.names
    }

    /// How many first tokens are the same under the same salt.
    pub fn common(&self, other: &Self) -> usize {
        if self.salt.is_none() || self.salt != other.salt {
            return 0;
        }
        self.ids.iter().zip(&other.ids).take_while(|(a, b)| a == b).count()
    }

    /// One token more; gives the name of the block that it completes.
    pub fn push(&mut self, id: u32) -> Option<BlockName> {
        self.ids.push(id);
        if self.salt.is_none() || !self.ids.len().is_multiple_of(BLOCK_TOKENS) {
            return None;
        }
        let before = self.names.last().copied().unwrap_or(self.root);
        let name = kv_block::follow(before, self.ids.last_chunk().expect("a block is complete"));
        self.names.push(name);
        Some(name)
    }

    /// Keeps the first tokens; gives the names of the blocks that it no longer has.
    pub fn truncate(&mut self, tokens: usize) -> Vec<BlockName> {
        self.ids.truncate(tokens);
        self.names.split_off(self.names.len().min(self.ids.len() / BLOCK_TOKENS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(salt: &str, ids: impl IntoIterator<Item = u32>) -> Prefix {
        Prefix::new(Some(salt.into()), ids.into_iter().collect())
    }

    #[test]
    fn growing_and_shrinking_give_the_prefix_of_those_tokens() {
        let mut grown = prefix("a", 0..10);
        let completed: Vec<_> = (10..70).filter_map(|id| grown.push(id)).collect();
        assert_eq!(grown, prefix("a", 0..70));
        assert_eq!(grown.names(), completed);
        assert_eq!(grown.truncate(63), completed[1..]);
        assert_eq!(grown, prefix("a", 0..63));
    }

    #[test]
    fn nothing_is_common_to_two_salts_or_without_one() {
        assert_eq!(prefix("a", 0..10).common(&prefix("a", (0..7).chain(20..30))), 7);
        assert_eq!(prefix("a", 0..10).common(&prefix("b", 0..10)), 0);
        let private = Prefix::new(None, vec![1; 100]);
        assert_eq!((private.common(&private), private.names().len()), (0, 0));
    }
}
