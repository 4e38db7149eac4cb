//! The node with the fewest requests in flight.

use super::{Rule, Seen, least};
use crate::trace::Request;

pub struct LeastLoaded;

impl Rule for LeastLoaded {
    fn choose(&mut self, _: &Request, nodes: &[Seen]) -> usize {
        least(nodes, |node| node.in_flight as f64)
    }
}
