//! What a node was sent, by the names of its KV blocks: the most that its cache can hold, and so the most that is charged as cached.

use std::collections::HashSet;

use primitives::kv_block::BlockName;

/// Blocks of one generation; two are kept. *Units*: 16,384 blocks are half a million tokens.
const GENERATION_BLOCKS: usize = 16_384;

/// The blocks that were sent lately: at least those of the last generation, at most those of two.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentBlocks {
    young: HashSet<BlockName>,
    old: HashSet<BlockName>,
}

impl SentBlocks {
    /// Notes that a sequence with these whole blocks was sent, and tells how many of its first ones had been sent before.
    pub fn send(&mut self, blocks: &[BlockName]) -> usize {
        let before = blocks.iter().take_while(|block| self.young.contains(block) || self.old.contains(block)).count();
        for block in blocks {
            if self.young.len() >= GENERATION_BLOCKS {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(*block);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_is_known_up_to_the_first_block_that_was_not() {
        let mut sent = SentBlocks::default();
        assert_eq!(sent.send(&[1, 2, 3]), 0);
        assert_eq!(sent.send(&[1, 2, 4, 3]), 2);
        assert_eq!(sent.send(&[1, 2, 4, 3, 5]), 4);
        assert_eq!(sent.send(&[]), 0);
    }

    #[test]
    fn what_is_long_ago_is_forgotten_and_what_comes_again_is_not() {
        let mut sent = SentBlocks::default();
        sent.send(&[1, 2]);
        for block in 10..10 + 3 * GENERATION_BLOCKS as u64 {
            sent.send(&[block]);
            if block % 1_000 == 0 {
                assert_eq!(sent.send(&[1]), 1);
            }
        }
        assert_eq!(sent.send(&[1, 2]), 1);
        assert!(sent.young.len() + sent.old.len() <= 2 * GENERATION_BLOCKS);
    }
}
