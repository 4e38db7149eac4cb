//! What KV blocks are called, so that both sides of the node protocol call the same prefix by the same name.
//!
//! A block is [`BLOCK_TOKENS`] tokens of a sequence. Its name covers them, all before them and the salt: who has a block of
//! that name has the whole prefix, of the same tenant. Names find and tell; they prove nothing (who shares a cache compares
//! the tokens too).

use sha2::{Digest, Sha256};

/// Tokens of a block.
pub const BLOCK_TOKENS: usize = 32;

/// A block's name.
pub type BlockName = u64;

/// What the first block of this salt goes on from.
pub fn root(salt: &str) -> BlockName {
    first_bytes(Sha256::new().chain_update(b"tokengrid kv block v1\n").chain_update(salt))
}

/// The name of the block that follows the one called `before`.
pub fn follow(before: BlockName, block: &[u32; BLOCK_TOKENS]) -> BlockName {
    let mut hasher = Sha256::new().chain_update(before.to_le_bytes());
    for id in block {
        hasher.update(id.to_le_bytes());
    }
    first_bytes(hasher)
}

/// The names of all whole blocks of a prompt, in order.
pub fn names(salt: &str, ids: &[u32]) -> Vec<BlockName> {
    let blocks = ids.as_chunks().0.iter();
    let chain = blocks.scan(root(salt), |before, block| {
        *before = follow(*before, block);
        Some(*before)
    });
    chain.collect()
}

/// Adds the names of a sequence's further whole blocks, after those of its first ones.
pub fn extend(salt: &str, names: &mut Vec<BlockName>, ids: &[u32]) {
    let mut before = names.last().copied().unwrap_or_else(|| root(salt));
    for block in ids.as_chunks().0.iter().skip(names.len()) {
        before = follow(before, block);
        names.push(before);
    }
}

fn first_bytes(hasher: Sha256) -> BlockName {
    let digest = hasher.finalize();
    BlockName::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_covers_the_salt_the_block_and_everything_before() {
        let ids: Vec<u32> = (0..100).collect();
        let of_one = names("one", &ids);
        assert_eq!(of_one.len(), 3, "the last four tokens are no whole block");
        assert_eq!(of_one[..2], names("one", &ids[..70]), "what follows changes nothing");
        assert!(names("other", &ids).iter().all(|name| !of_one.contains(name)));
        let mut changed = ids;
        changed[40] += 1;
        let changed = names("one", &changed);
        assert_eq!(changed[0], of_one[0]);
        assert!(changed[1..].iter().zip(&of_one[1..]).all(|(a, b)| a != b));
    }

    #[test]
    fn a_sequence_that_grows_keeps_its_names() {
        let ids: Vec<u32> = (0..100).collect();
        for known in [0, 1, 3] {
            let mut grown = names("one", &ids)[..known].to_vec();
            extend("one", &mut grown, &ids);
            assert_eq!(grown, names("one", &ids));
        }
    }

    #[test]
    fn names_are_the_same_on_every_machine_and_in_every_release() {
        assert_eq!(names("tenant", &[7; BLOCK_TOKENS]), [11_522_458_362_607_351_474]);
    }
}
