//! A backend that only remembers: what every slot and every saved state would hold.

use std::collections::BTreeMap;

use super::{Act, SavedId};

/// A token and whose it is.
pub type Token = (&'static str, u32);

/// Slots and saved states.
#[derive(Debug)]
pub struct Memory {
    /// By slot.
    pub slots: Vec<Vec<Token>>,
    /// Saved states.
    pub saved: BTreeMap<SavedId, Vec<Token>>,
}

impl Memory {
    /// Empty slots.
    pub fn new(slots: usize) -> Self {
        Self { slots: vec![Vec::new(); slots], saved: BTreeMap::new() }
    }

    /// Does as the backend would, and fails where it would.
    pub fn act(&mut self, act: Act) {
        match act {
            Act::Save { slot, saved } => {
                assert!(!self.slots[slot].is_empty(), "nothing to save in slot {slot}");
                assert!(self.saved.insert(saved, self.slots[slot].clone()).is_none());
            }
            Act::Drop { saved } => assert!(self.saved.remove(&saved).is_some()),
            Act::Restore { saved, slot } => {
                assert!(self.slots[slot].is_empty(), "slot {slot} is in use");
                self.slots[slot] = self.saved[&saved].clone();
            }
            Act::Copy { from, to } => {
                assert!(self.slots[to].is_empty() && !self.slots[from].is_empty(), "from {from} to {to}");
                self.slots[to] = self.slots[from].clone();
            }
            Act::Trim { slot, tokens } => {
                assert!(tokens < self.slots[slot].len() || tokens == 0);
                self.slots[slot].truncate(tokens);
            }
        }
    }

    /// Tokens of all saved states.
    pub fn saved_tokens(&self) -> usize {
        self.saved.values().map(Vec::len).sum()
    }
}
