//! The node with the earliest expected first token: what buys speed at any price.

use super::{Rule, Seen, least};
use crate::trace::Request;

pub struct Quickest;

impl Rule for Quickest {
    fn choose(&mut self, request: &Request, nodes: &[Seen]) -> usize {
        least(nodes, |node| node.first_token_s(request))
    }
}
