//! Each node in turn.

use super::{Rule, Seen};
use crate::trace::Request;

#[derive(Default)]
pub struct RoundRobin {
    next: usize,
}

impl Rule for RoundRobin {
    fn choose(&mut self, _: &Request, nodes: &[Seen]) -> usize {
        self.next = (self.next + 1) % nodes.len();
        self.next
    }
}
