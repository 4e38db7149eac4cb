//! What happens when: a queue of things to come on virtual time; what is due at one instant comes in the order it was set.

use std::collections::BTreeMap;

/// Things to come. *Units*: µs since the beginning.
#[derive(Debug)]
pub struct Agenda<T> {
    things: BTreeMap<(u64, u64), T>,
    set: u64,
}

impl<T> Agenda<T> {
    pub fn new() -> Self {
        Self { things: BTreeMap::new(), set: 0 }
    }

    pub fn set(&mut self, at: u64, thing: T) {
        self.set += 1;
        self.things.insert((at, self.set), thing);
    }

    pub fn next(&mut self) -> Option<(u64, T)> {
        self.things.pop_first().map(|((at, _), thing)| (at, thing))
    }
}
