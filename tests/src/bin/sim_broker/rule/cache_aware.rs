//! SGLang's cache-aware rule: the best holder of the prefix, unless load is out of balance or little matches.
//!
//! *Source*: sgl-project/sglang, the router's `cache_aware.rs` and its defaults: out of balance is a spread of more than 64 and
//! a half more than the least; little is three tenths of the prompt.

use super::{Rule, Seen, least};
use crate::trace::Request;

const SPREAD: usize = 64;
const TIMES: f64 = 1.5;
const MATCH: f64 = 0.3;

pub struct CacheAware;

impl Rule for CacheAware {
    fn choose(&mut self, request: &Request, nodes: &[Seen]) -> usize {
        let loads = || nodes.iter().map(|node| node.in_flight);
        let (most, fewest) = (loads().max().unwrap_or(0), loads().min().unwrap_or(0));
        let unbalanced = most - fewest > SPREAD && most as f64 > TIMES * fewest as f64;
        let best = nodes.iter().map(|node| node.cached).max().unwrap_or(0);
        if unbalanced || f64::from(best) <= MATCH * f64::from(request.input) {
            return least(nodes, |node| node.in_flight as f64);
        }
        least(nodes, |node| if node.cached == best { node.in_flight as f64 } else { f64::MAX })
    }
}
