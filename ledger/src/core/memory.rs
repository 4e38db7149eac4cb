//! What the core remembers of what it wrote: groups, so that most repetitions are answered without the database, and leaves.

use std::collections::{HashMap, VecDeque};

use crate::block::BlockRef;
use crate::core::Known;
use crate::leaf::Leaf;
use crate::recipe::GroupKey;

/// How many of the latest groups are remembered.
const GROUPS_MAX: usize = 100_000;
/// How many leaves are remembered; then all are forgotten, and those that are still met are written anew.
const LEAVES_MAX: usize = 200_000;

/// Groups and leaves.
#[derive(Debug, Default)]
pub(super) struct Memory {
    groups: HashMap<GroupKey, Known>,
    order: VecDeque<GroupKey>,
    /// The groups of blocks that were sealed and are not yet committed.
    sealed: VecDeque<Vec<GroupKey>>,
    leaves: HashMap<Leaf, i32>,
}

impl Memory {
    pub fn knows(&self, key: &GroupKey) -> bool {
        self.groups.contains_key(key)
    }

    pub fn get(&self, key: &GroupKey) -> Option<Known> {
        self.groups.get(key).copied()
    }

    pub fn keep(&mut self, key: GroupKey, known: Known) {
        if self.groups.insert(key, known).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > GROUPS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.groups.remove(&oldest);
        }
    }

    pub fn sealed(&mut self, keys: Vec<GroupKey>) {
        self.sealed.push_back(keys);
    }

    /// Notes that the oldest sealed block is durable.
    pub fn committed(&mut self, block: BlockRef) {
        for key in self.sealed.pop_front().unwrap_or_default() {
            if let Some(known) = self.groups.get_mut(&key) {
                assert_eq!(known.height, block.height, "blocks are committed in the order in which they are sealed");
                known.hash = Some(block.hash);
            }
        }
    }

    pub fn leaf(&self, leaf: &Leaf) -> Option<i32> {
        self.leaves.get(leaf).copied()
    }

    pub fn keep_leaf(&mut self, leaf: &Leaf, id: i32) {
        if self.leaves.len() >= LEAVES_MAX {
            self.leaves.clear();
        }
        self.leaves.insert(leaf.clone(), id);
    }
}
