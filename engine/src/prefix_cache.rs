//! Which prefix is held where, and what is to be copied, saved and dropped: pure, it only decides.
//!
//! A *place* is a slot or a state saved in memory. A slot holds the tokens that its sequence has been fed, and keeps them
//! after the sequence has left, until another needs the slot. What a slot is to lose is saved, unless another place holds it
//! too; saved states give way in the order of their last use, when they pass their bound.
//!
//! Places are found by a tree over KV blocks: a block's name covers all tokens before it and the salt, so the names of a
//! prefix are a path from the root, and each name leads to the places that hold the whole path. The tokens themselves are
//! compared before anything is shared, so equal names of unequal prefixes harm nobody. What is shared is copied: whoever goes
//! on from a prefix has its own copy, and the holder may go on meanwhile.

use std::collections::{BTreeMap, HashMap};

use primitives::kv_block::{BLOCK_TOKENS, BlockName};

use crate::backend::llama::SavedId;
use crate::prefix::Prefix;

/// Where a prefix is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a slot.
    Slot(usize),
    /// In a saved state.
    Saved(SavedId),
}

/// What the backend is to do, in order and before the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Keep a copy of a slot.
    Save {
        /// Which slot.
        slot: usize,
        /// What the copy is called.
        saved: SavedId,
    },
    /// Let a saved state go.
    Drop {
        /// Which.
        saved: SavedId,
    },
    /// Fill an empty slot from a saved state, which stays.
    Restore {
        /// Which.
        saved: SavedId,
        /// Where to.
        slot: usize,
    },
    /// Fill an empty slot from another, which stays.
    Copy {
        /// From where.
        from: usize,
        /// Where to.
        to: usize,
    },
    /// Keep a slot's first tokens alone.
    Trim {
        /// Which slot.
        slot: usize,
        /// How many; 0 empties it.
        tokens: usize,
    },
}

/// A prefix that can be gone on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Who holds it.
    pub place: Place,
    /// How long it is.
    pub tokens: usize,
}

impl Hit {
    /// The slot that holds it, if one does.
    pub fn slot(self) -> Option<usize> {
        match self.place {
            Place::Slot(slot) => Some(slot),
            Place::Saved(_) => None,
        }
    }
}

/// A prefix that a running sequence will hold once it is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coming {
    /// Whose slot.
    pub slot: usize,
    /// How long it will be.
    pub tokens: usize,
}

/// What is known of a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The longest that is held.
    pub hit: Option<Hit>,
    /// The longest that is coming, if it is not held as long by its own holder.
    pub coming: Option<Coming>,
}

/// All places and what they hold.
#[derive(Debug)]
pub struct PrefixCache {
    /// By slot; none is an empty slot.
    slots: Vec<Option<Holding>>,
    saved: HashMap<SavedId, Holding>,
    /// Saved states by their last use.
    saved_by_use: BTreeMap<u64, SavedId>,
    saved_tokens: usize,
    saved_tokens_max: usize,
    next_saved: SavedId,
    blocks: HashMap<BlockName, Vec<Place>>,
    uses: u64,
    acts: Vec<Act>,
    changes: Vec<(BlockName, bool)>,
}

#[derive(Clone, Debug)]
struct Holding {
    /// What is held, and then what a running sequence is still to be fed.
    prefix: Prefix,
    /// How many of its tokens are held.
    held: usize,
    /// When it was last used, in uses of the cache.
    used: u64,
}

impl PrefixCache {
    /// Empty slots, and room for saved states of so many tokens together.
    pub fn new(slots: usize, saved_tokens_max: usize) -> Self {
        Self {
            slots: vec![None; slots],
            saved: HashMap::new(),
            saved_by_use: BTreeMap::new(),
            saved_tokens: 0,
            saved_tokens_max,
            next_saved: 0,
            blocks: HashMap::new(),
            uses: 0,
            acts: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// The longest held and the longest coming part of a prefix that leaves at least one token to feed; less than a block is
    /// not worth a copy. Among equals a slot in `homes` goes first (nothing needs to be copied), then any slot.
    pub fn find(&self, prefix: &Prefix, homes: &[usize]) -> Found {
        let most = prefix.len().saturating_sub(1);
        let known = prefix.names().iter().take_while(|name| self.blocks.contains_key(name)).count();
        let rank = |hit: Hit| match hit.place {
            Place::Slot(slot) if homes.contains(&slot) => (hit.tokens, 2),
            Place::Slot(_) => (hit.tokens, 1),
            Place::Saved(_) => (hit.tokens, 0),
        };
        let mut found = Found::default();
        for blocks in (1..=known).rev() {
            for &place in &self.blocks[&prefix.names()[blocks - 1]] {
                let holding = self.holding(place);
                let common = holding.prefix.common(prefix).min(most);
                let hit = Hit { place, tokens: common.min(holding.held) };
                if found.hit.is_none_or(|best| rank(hit) > rank(best)) {
                    found.hit = Some(hit);
                }
                if let Place::Slot(slot) = place
                    && common > holding.held
                    && found.coming.is_none_or(|best| common > best.tokens)
                {
                    found.coming = Some(Coming { slot, tokens: common });
                }
            }
            // Who is not on this block shares less than it.
            if found.hit.is_some_and(|hit| hit.tokens >= most.min(blocks * BLOCK_TOKENS)) {
                break;
            }
        }
        found.hit = found.hit.filter(|hit| hit.tokens >= BLOCK_TOKENS);
        found
    }

    /// Gives a slot to a sequence that goes on from a hit just found, or from nothing.
    pub fn begin(&mut self, slot: usize, prefix: Prefix, hit: Option<Hit>) {
        let held = hit.map_or(0, |hit| hit.tokens);
        let from = hit.map(|hit| (hit.place, self.touch(hit.place)));
        match from {
            Some((Place::Slot(from), has)) if from == slot => {
                if has - held >= BLOCK_TOKENS {
                    self.save(slot, None);
                }
                self.take(Place::Slot(slot));
                self.trim(slot, has, held);
            }
            Some((Place::Slot(from), has)) => {
                self.displace(slot, None);
                self.acts.push(Act::Copy { from, to: slot });
                self.trim(slot, has, held);
            }
            Some((Place::Saved(saved), has)) => {
                self.displace(slot, Some(saved));
                self.acts.push(Act::Restore { saved, slot });
                self.trim(slot, has, held);
            }
            None => self.displace(slot, None),
        }
        let used = self.tick();
        self.put(Place::Slot(slot), Holding { prefix, held, used });
    }

    /// How many tokens a running sequence is still to be fed.
    pub fn left(&self, slot: usize) -> usize {
        let holding = self.holding(Place::Slot(slot));
        holding.prefix.len() - holding.held
    }

    /// How many tokens a slot holds.
    pub fn held(&self, slot: usize) -> usize {
        self.slots[slot].as_ref().map_or(0, |holding| holding.held)
    }

    /// A running sequence is fed its next tokens; gives the position of the first.
    pub fn feed(&mut self, slot: usize, tokens: usize) -> usize {
        let holding = self.slots[slot].as_mut().expect("a running sequence has its slot");
        let from = holding.held;
        holding.held += tokens;
        assert!(holding.held <= holding.prefix.len(), "only what is there is fed");
        from
    }

    /// A running sequence has one token more to be fed.
    pub fn push(&mut self, slot: usize, id: u32) {
        let holding = self.slots[slot].as_mut().expect("a running sequence has its slot");
        if let Some(name) = holding.prefix.push(id) {
            self.enter(name, Place::Slot(slot));
        }
    }

    /// A sequence leaves its slot, which keeps what may be shared. Gives all of its tokens.
    pub fn leave(&mut self, slot: usize) -> Prefix {
        let mut holding = self.take(Place::Slot(slot));
        let whole = holding.prefix.clone();
        if holding.prefix.is_shared() && holding.held > 0 {
            holding.prefix.truncate(holding.held);
            holding.used = self.tick();
            self.put(Place::Slot(slot), holding);
        } else {
            self.trim(slot, holding.held, 0);
        }
        whole
    }

    /// A slot's content is in doubt: empties it.
    pub fn forget(&mut self, slot: usize) {
        self.take(Place::Slot(slot));
        self.acts.push(Act::Trim { slot, tokens: 0 });
    }

    /// A saved state proved useless.
    pub fn forget_saved(&mut self, saved: SavedId) {
        if self.saved.contains_key(&saved) {
            self.drop_saved(saved);
        }
    }

    /// A running sequence changes its slot; the old one is empty afterwards.
    pub fn move_slot(&mut self, from: usize, to: usize) {
        self.displace(to, None);
        let holding = self.take(Place::Slot(from));
        if holding.held > 0 {
            self.acts.push(Act::Copy { from, to });
            self.acts.push(Act::Trim { slot: from, tokens: 0 });
        }
        self.put(Place::Slot(to), holding);
    }

    /// What is to be done before the next batch.
    pub fn take_acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// Blocks that are now held (or coming) or no longer are, in order, since this was last asked.
    pub fn take_changes(&mut self) -> Vec<(BlockName, bool)> {
        std::mem::take(&mut self.changes)
    }

    /// Tokens of all saved states.
    pub fn saved_tokens(&self) -> usize {
        self.saved_tokens
    }

    /// Empties a slot for another sequence, saving what would be lost.
    fn displace(&mut self, slot: usize, pinned: Option<SavedId>) {
        if self.slots[slot].is_some() {
            self.save(slot, pinned);
            let holding = self.take(Place::Slot(slot));
            self.trim(slot, holding.held, 0);
        }
    }

    /// Saves what a slot holds, if it is worth it and there is room; the pinned state stays whatever happens.
    fn save(&mut self, slot: usize, pinned: Option<SavedId>) {
        let holding = self.holding(Place::Slot(slot));
        let (mut prefix, held, used) = (holding.prefix.clone(), holding.held, holding.used);
        prefix.truncate(held);
        if prefix.names().is_empty() || held > self.saved_tokens_max || self.is_elsewhere(slot, &prefix) {
            return;
        }
        for saved in self.superseded(&prefix) {
            if Some(saved) != pinned {
                self.drop_saved(saved);
            }
        }
        while self.saved_tokens + held > self.saved_tokens_max {
            let oldest = self.saved_by_use.values().copied().find(|&saved| Some(saved) != pinned);
            let Some(oldest) = oldest else { return };
            self.drop_saved(oldest);
        }
        let saved = self.next_saved;
        self.next_saved += 1;
        self.saved_tokens += held;
        self.saved_by_use.insert(used, saved);
        self.put(Place::Saved(saved), Holding { prefix, held, used });
        self.acts.push(Act::Save { slot, saved });
    }

    /// Whether another place holds all of this.
    fn is_elsewhere(&self, slot: usize, prefix: &Prefix) -> bool {
        let last = prefix.names().last().and_then(|name| self.blocks.get(name));
        last.into_iter().flatten().any(|&place| {
            let holding = self.holding(place);
            place != Place::Slot(slot) && holding.held >= prefix.len() && holding.prefix.common(prefix) == prefix.len()
        })
    }

    /// Saved states that hold a part of this and nothing else.
    fn superseded(&self, prefix: &Prefix) -> Vec<SavedId> {
        let mut superseded = Vec::new();
        for (name, blocks) in prefix.names().iter().zip(1..) {
            for &place in self.blocks.get(name).into_iter().flatten() {
                let Place::Saved(saved) = place else { continue };
                let part = &self.saved[&saved].prefix;
                if part.names().len() == blocks && part.common(prefix) == part.len() {
                    superseded.push(saved);
                }
            }
        }
        superseded
    }

    fn drop_saved(&mut self, saved: SavedId) {
        let holding = self.take(Place::Saved(saved));
        self.saved_by_use.remove(&holding.used);
        self.saved_tokens -= holding.held;
        self.acts.push(Act::Drop { saved });
    }

    fn trim(&mut self, slot: usize, has: usize, tokens: usize) {
        if has > tokens {
            self.acts.push(Act::Trim { slot, tokens });
        }
    }

    /// Notes a use; gives how much the place holds.
    fn touch(&mut self, place: Place) -> usize {
        let now = self.tick();
        let holding = match place {
            Place::Slot(slot) => self.slots[slot].as_mut(),
            Place::Saved(saved) => self.saved.get_mut(&saved),
        };
        let holding = holding.expect("a hit was just found");
        let before = std::mem::replace(&mut holding.used, now);
        let held = holding.held;
        if let Place::Saved(saved) = place {
            self.saved_by_use.remove(&before);
            self.saved_by_use.insert(now, saved);
        }
        held
    }

    fn tick(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn holding(&self, place: Place) -> &Holding {
        let holding = match place {
            Place::Slot(slot) => self.slots[slot].as_ref(),
            Place::Saved(saved) => self.saved.get(&saved),
        };
        holding.expect("the tree names only places that hold something")
    }

    fn put(&mut self, place: Place, holding: Holding) {
        for &name in holding.prefix.names() {
            self.enter(name, place);
        }
        let before = match place {
            Place::Slot(slot) => self.slots[slot].replace(holding),
            Place::Saved(saved) => self.saved.insert(saved, holding),
        };
        assert!(before.is_none(), "a place holds one thing");
    }

    fn take(&mut self, place: Place) -> Holding {
        let holding = match place {
            Place::Slot(slot) => self.slots[slot].take(),
            Place::Saved(saved) => self.saved.remove(&saved),
        };
        let holding = holding.expect("only what is there is taken");
        for &name in holding.prefix.names() {
            // Gone already only if two blocks of one prefix had the same name.
            let Some(places) = self.blocks.get_mut(&name) else { continue };
            places.retain(|&other| other != place);
            if places.is_empty() {
                self.blocks.remove(&name);
                self.changes.push((name, false));
            }
        }
        holding
    }

    fn enter(&mut self, name: BlockName, place: Place) {
        let places = self.blocks.entry(name).or_default();
        if places.is_empty() {
            self.changes.push((name, true));
        }
        places.push(place);
    }
}

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;
