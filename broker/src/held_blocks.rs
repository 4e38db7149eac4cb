//! Which prefixes a cell's cache holds, as far as its node tells and its work promises.
//!
//! A node tells of blocks with its heartbeats, up to a second late; a prompt that was sent there will be held there, so its
//! blocks count at once. A promise that no heartbeat confirms lapses. Names find and tell; they prove nothing: a wrong guess
//! costs time, never money.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use primitives::kv_block::{BLOCK_TOKENS, BlockName};

/// How long a promise stands. *Units*: ms.
const PROMISE_MS: f64 = 30_000.0;

/// The blocks of one cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldBlocks {
    /// Each block, and when its promise lapses unless the node has told of it.
    names: HashMap<BlockName, Option<f64>, BuildHasherDefault<NameHasher>>,
    /// Promises in the order they lapse.
    promised: VecDeque<(f64, BlockName)>,
    /// The node tells of blocks: one that never does holds none.
    is_told: bool,
}

impl HeldBlocks {
    /// How many tokens of a prompt with these blocks are held. *Units*: tokens.
    pub fn cached_tokens(&self, blocks: &[BlockName]) -> usize {
        if self.names.is_empty() {
            return 0;
        }
        // Who has a block has all before it, so that the end can be searched for by halves.
        blocks.partition_point(|block| self.names.contains_key(block)) * BLOCK_TOKENS
    }

    /// A prompt with these blocks is on its way. *Units*: ms.
    pub fn promise(&mut self, blocks: &[BlockName], now_ms: f64) {
        if !self.is_told {
            return;
        }
        let lapses_ms = now_ms + PROMISE_MS;
        for block in blocks {
            self.names.entry(*block).or_insert_with(|| {
                self.promised.push_back((lapses_ms, *block));
                Some(lapses_ms)
            });
        }
    }

    /// A heartbeat tells what came and what went. *Units*: ms.
    pub fn tell(&mut self, added: &[BlockName], removed: &[BlockName], now_ms: f64) {
        self.is_told |= !added.is_empty();
        for block in added {
            self.names.insert(*block, None);
        }
        for block in removed {
            self.names.remove(block);
        }
        while let Some((lapses_ms, block)) = self.promised.front().copied().filter(|(lapses, _)| *lapses <= now_ms) {
            self.promised.pop_front();
            if self.names.get(&block) == Some(&Some(lapses_ms)) {
                self.names.remove(&block);
            }
        }
    }
}

/// A name is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, name: u64) {
        // Spread over all bits, whatever names are like.
        self.0 = name.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = BLOCK_TOKENS;

    #[test]
    fn what_is_sent_counts_at_once_and_lapses_unless_the_node_tells_of_it() {
        let mut held = HeldBlocks::default();
        held.promise(&[1, 2], 0.0);
        assert_eq!(held.cached_tokens(&[1, 2]), 0, "its node never told of a block");
        held.tell(&[1], &[], 0.0);
        held.promise(&[1, 2, 3], 10.0);
        assert_eq!(held.cached_tokens(&[1, 2, 3, 4]), 3 * BLOCK);
        held.tell(&[2], &[], 20.0);
        held.tell(&[], &[], PROMISE_MS + 10.0);
        assert_eq!(held.cached_tokens(&[1, 2, 3, 4]), 2 * BLOCK);
        held.tell(&[], &[2], PROMISE_MS + 20.0);
        assert_eq!(held.cached_tokens(&[1, 2, 3, 4]), BLOCK);
    }
}
