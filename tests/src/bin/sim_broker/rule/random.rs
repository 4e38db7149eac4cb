//! Any node.

use rand::RngExt;
use rand_chacha::ChaCha20Rng;

use super::{Rule, Seen};
use crate::trace::Request;

pub struct Random(pub ChaCha20Rng);

impl Rule for Random {
    fn choose(&mut self, _: &Request, nodes: &[Seen]) -> usize {
        self.0.random_range(0..nodes.len())
    }
}
