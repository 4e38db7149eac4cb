//! A prefix cache of whole blocks; the longest unused goes first.

use std::collections::{BTreeMap, HashMap};

/// The blocks that a node holds.
#[derive(Debug)]
pub struct Prefixes {
    room: usize,
    used: u64,
    by_block: HashMap<u64, u64>,
    by_use: BTreeMap<u64, u64>,
    /// What came (true) and went (false) since it was last asked, if anybody asks.
    news: Option<Vec<(u64, bool)>>,
}

impl Prefixes {
    pub fn new(room: usize, tells: bool) -> Self {
        let news = tells.then(Vec::new);
        Self { room, used: 0, by_block: HashMap::new(), by_use: BTreeMap::new(), news }
    }

    /// How many blocks from the first are here. Whoever has a block has all before it, or had.
    pub fn matched(&self, blocks: &[u64]) -> usize {
        blocks.iter().take_while(|block| self.by_block.contains_key(block)).count()
    }

    /// These blocks are used now: they are here afterwards, as far as there is room.
    pub fn hold(&mut self, blocks: &[u64]) {
        // The end is the first to go.
        for block in blocks.iter().take(self.room).rev() {
            self.used += 1;
            match self.by_block.insert(*block, self.used) {
                Some(before) => drop(self.by_use.remove(&before)),
                None => self.news.iter_mut().for_each(|news| news.push((*block, true))),
            }
            self.by_use.insert(self.used, *block);
        }
        while self.by_block.len() > self.room
            && let Some((_, block)) = self.by_use.pop_first()
        {
            self.by_block.remove(&block);
            self.news.iter_mut().for_each(|news| news.push((block, false)));
        }
    }

    /// Takes at most so many news, in order.
    pub fn take_news(&mut self, most: usize) -> Vec<(u64, bool)> {
        let Some(news) = &mut self.news else { return vec![] };
        news.drain(..most.min(news.len())).collect()
    }

    /// The machine is off and on again.
    pub fn forget(&mut self) {
        *self = Self::new(self.room, self.news.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first_and_a_prefix_from_its_end() {
        let mut prefixes = Prefixes::new(4, true);
        prefixes.hold(&[1, 2, 3]);
        prefixes.hold(&[1, 9]);
        assert_eq!((prefixes.matched(&[1, 2, 3]), prefixes.matched(&[1, 9, 8])), (3, 2));
        prefixes.hold(&[7]);
        assert_eq!(prefixes.matched(&[1, 2, 3]), 2);
        assert_eq!(prefixes.take_news(9).last(), Some(&(3, false)));
        prefixes.hold(&[10, 11, 12, 13, 14, 15]);
        assert_eq!(prefixes.matched(&[10, 11, 12, 13, 14, 15]), 4, "no more than there is room for");
    }
}
