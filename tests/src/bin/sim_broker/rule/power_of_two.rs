//! Of two nodes drawn at random, the one with fewer requests in flight.

use rand::RngExt;
use rand_chacha::ChaCha20Rng;

use super::{Rule, Seen};
use crate::trace::Request;

pub struct PowerOfTwo(pub ChaCha20Rng);

impl Rule for PowerOfTwo {
    fn choose(&mut self, _: &Request, nodes: &[Seen]) -> usize {
        let (one, other) = (self.0.random_range(0..nodes.len()), self.0.random_range(0..nodes.len()));
        if nodes[other].in_flight < nodes[one].in_flight { other } else { one }
    }
}
