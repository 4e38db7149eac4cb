//! Another rule among the nodes that are expected to keep the promise; the quickest where none is.

use super::quickest::Quickest;
use super::{Rule, Seen};
use crate::trace::Request;

pub struct Feasible<R>(pub R);

impl<R: Rule> Rule for Feasible<R> {
    fn choose(&mut self, request: &Request, nodes: &[Seen]) -> usize {
        let places: Vec<usize> = (0..nodes.len()).filter(|place| nodes[*place].keeps(request)).collect();
        if places.is_empty() {
            return Quickest.choose(request, nodes);
        }
        let kept: Vec<Seen> = places.iter().map(|place| nodes[*place]).collect();
        places[self.0.choose(request, &kept)]
    }
}
