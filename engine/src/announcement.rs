//! What the control plane knows of the blocks that the caches hold: told in small portions, pure.

use std::collections::{BTreeSet, HashSet};

use primitives::kv_block::BlockName;

/// Blocks that are held, and those of which a listener knows.
#[derive(Debug, Default)]
pub struct Announcements {
    held: HashSet<BlockName>,
    told: HashSet<BlockName>,
    /// Where the two differ.
    pending: BTreeSet<BlockName>,
}

impl Announcements {
    /// A block is held now, or no longer.
    pub fn change(&mut self, name: BlockName, held: bool) {
        if held {
            self.held.insert(name);
        } else {
            self.held.remove(&name);
        }
        if self.told.contains(&name) == held {
            self.pending.remove(&name);
        } else {
            self.pending.insert(name);
        }
    }

    /// No block is held any more.
    pub fn clear(&mut self) {
        self.held.clear();
        self.pending = self.told.iter().copied().collect();
    }

    /// A listener that knows of nothing takes the place of the last.
    pub fn restart(&mut self) {
        self.told.clear();
        self.pending = self.held.iter().copied().collect();
    }

    /// Tells some of what is pending: blocks now held, and blocks no longer held.
    pub fn next(&mut self, most: usize) -> (Vec<BlockName>, Vec<BlockName>) {
        let names: Vec<BlockName> = self.pending.iter().copied().take(most).collect();
        for name in &names {
            self.pending.remove(name);
            if !self.told.remove(name) {
                self.told.insert(*name);
            }
        }
        names.into_iter().partition(|name| self.held.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_listener_that_applies_everything_knows_what_is_held(
            doings in proptest::collection::vec((0_u64..8, 0_u8..9), 1..100),
            most in 1_usize..4,
        ) {
            let (mut announcements, mut known) = (Announcements::default(), BTreeSet::new());
            let hear = |announcements: &mut Announcements, known: &mut BTreeSet<BlockName>| {
                let (added, removed) = announcements.next(most);
                assert!(added.len() + removed.len() <= most);
                let news = added.len() + removed.len();
                assert!(added.into_iter().all(|name| known.insert(name)));
                assert!(removed.into_iter().all(|name| known.remove(&name)));
                news
            };
            for (name, doing) in doings {
                match doing {
                    0..3 => announcements.change(name, true),
                    3..5 => announcements.change(name, false),
                    5..7 => drop(hear(&mut announcements, &mut known)),
                    7 => announcements.clear(),
                    _ => {
                        announcements.restart();
                        known.clear();
                    }
                }
            }
            while hear(&mut announcements, &mut known) > 0 {}
            prop_assert_eq!(known, announcements.held.iter().copied().collect());
        }
    }
}
