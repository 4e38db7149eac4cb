//! LMetric: new prefill tokens times the batch; or that over the node's speed.
//!
//! *Source*: arXiv 2603.15202.

use super::{Rule, Seen, least};
use crate::trace::Request;

pub struct Product {
    pub over_speed: bool,
}

impl Rule for Product {
    fn choose(&mut self, request: &Request, nodes: &[Seen]) -> usize {
        least(nodes, |node| {
            let product = node.tokens_before(request) * (node.in_flight + 1) as f64;
            if self.over_speed { product / node.speed } else { product }
        })
    }
}
