//! Dynamo's rule: blocks to compute plus blocks in use, the least.
//!
//! *Source*: ai-dynamo/dynamo, docs/components/router: the cost of a worker is prefill blocks, those that wait and those of the
//! request that its cache lacks, at a weight of one, plus active blocks; temperature 0.

use super::{Rule, Seen, least};
use crate::trace::{BLOCK_TOKENS, Request};

pub struct LinearCost;

impl Rule for LinearCost {
    fn choose(&mut self, request: &Request, nodes: &[Seen]) -> usize {
        least(nodes, |node| (node.tokens_before(request) + node.active_tokens as f64) / f64::from(BLOCK_TOKENS))
    }
}
