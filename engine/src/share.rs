//! How much each salt was served, so that none crowds out the others.
//!
//! *Source*: the virtual token counter (VTC) of arXiv 2401.00588: who was served least goes first, and who comes back is
//! lifted to those who stayed, so that nobody saves up idle time.

use std::collections::HashMap;

use primitives::kv_block::BlockName;

/// What a token weighs that is fed before the first draw.
const INPUT_WEIGHT: u64 = 1;

/// What a token weighs that is drawn.
const OUTPUT_WEIGHT: u64 = 2;

/// Everyone who has a sequence that waits or runs.
#[derive(Debug, Default)]
pub struct Shares {
    shares: HashMap<BlockName, Share>,
}

#[derive(Debug)]
struct Share {
    served: u64,
    sequences: usize,
}

impl Shares {
    /// A sequence came.
    pub fn enter(&mut self, root: BlockName) {
        let least = self.shares.values().map(|share| share.served).min().unwrap_or(0);
        self.shares.entry(root).or_insert(Share { served: least, sequences: 0 }).sequences += 1;
    }

    /// A sequence went.
    pub fn leave(&mut self, root: BlockName) {
        let share = self.shares.get_mut(&root).expect("who leaves came");
        share.sequences -= 1;
        if share.sequences == 0 {
            self.shares.remove(&root);
        }
    }

    /// Tokens will be fed that no cache held.
    pub fn charge_input(&mut self, root: BlockName, tokens: usize) {
        self.charge(root, INPUT_WEIGHT * tokens as u64);
    }

    /// A token was drawn.
    pub fn charge_output(&mut self, root: BlockName) {
        self.charge(root, OUTPUT_WEIGHT);
    }

    /// How much it was served: who has less goes first.
    pub fn served(&self, root: BlockName) -> u64 {
        self.shares.get(&root).map_or(0, |share| share.served)
    }

    fn charge(&mut self, root: BlockName, weight: u64) {
        self.shares.get_mut(&root).expect("only who came is served").served += weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_is_lifted_to_who_was_served_least_meanwhile() {
        let mut shares = Shares::default();
        for root in [1, 2] {
            shares.enter(root);
        }
        shares.charge_input(1, 100);
        shares.charge_output(2);
        shares.enter(3);
        assert_eq!([1, 2, 3].map(|root| shares.served(root)), [100, 2, 2]);
        shares.leave(3);
        shares.charge_input(2, 50);
        shares.enter(3);
        assert_eq!(shares.served(3), 52);
    }
}
