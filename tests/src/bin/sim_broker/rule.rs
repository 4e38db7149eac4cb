//! The rules that routers publish, each in its own file, behind one trait: a request comes, a node is named at once.

mod cache_aware;
mod feasible;
mod least_loaded;
mod linear_cost;
mod power_of_two;
mod product;
mod quickest;
mod random;
mod round_robin;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::kind::{Kind, PREFILL_SLOWED, START_S, STEP_MAX_S};
use crate::trace::Request;

/// What a router knows of a node when a request comes.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Requests sent there that have not ended.
    pub in_flight: usize,
    /// Of those, the ones whose first token has come.
    pub decoding: usize,
    /// Prompt tokens sent there that no cache held and that are not computed yet.
    pub prefill_tokens: u64,
    /// Tokens of all requests in flight there, prompt and output so far.
    pub active_tokens: u64,
    /// Of this request's prompt, what its cache holds.
    pub cached: u32,
    /// How fast the router believes that it computes prompts. *Units*: tokens a second.
    pub speed: f64,
    /// How much slower than its kind the router believes it to be.
    pub off: f64,
    pub kind: &'static Kind,
}

impl Seen {
    /// Prompt tokens that this node would have to compute before the request's first token.
    fn tokens_before(&self, request: &Request) -> f64 {
        self.prefill_tokens as f64 + f64::from(request.input - self.cached)
    }

    /// The first token as the router expects it. *Units*: seconds.
    fn first_token_s(&self, request: &Request) -> f64 {
        let slowed = 1.0 + PREFILL_SLOWED * self.decoding as f64;
        let starts = (self.in_flight - self.decoding + 1) as f64 * START_S;
        self.kind.rtt_us as f64 / 1e6 + starts + self.tokens_before(request) * slowed / self.speed
    }

    /// Whether it would keep its promise to the request, as the router expects it.
    fn keeps(&self, request: &Request) -> bool {
        let step = self.kind.step(self.in_flight.min(self.kind.slots - 1) + 1) * self.off;
        self.first_token_s(request) <= request.first_token_max_s && step <= STEP_MAX_S
    }
}

/// A router's rule.
pub trait Rule {
    /// The node that gets a request, by its place in `nodes`, which are never none.
    fn choose(&mut self, request: &Request, nodes: &[Seen]) -> usize;
}

/// Names a rule and makes it.
pub struct Published {
    pub name: &'static str,
    /// It does not look at the speed of nodes, nor at caches.
    pub is_plain: bool,
    /// It asks only nodes that are expected to keep the promise.
    pub is_filtered: bool,
    make: fn(u64) -> Box<dyn Rule>,
}

impl Published {
    pub fn make(&self, seed: u64) -> Box<dyn Rule> {
        (self.make)(seed)
    }
}

/// Every rule that ours is compared with.
pub const PUBLISHED: [Published; 13] = [
    plain("round-robin", |_| Box::new(round_robin::RoundRobin::default())),
    plain("random", |seed| Box::new(random::Random(random_source(seed)))),
    plain("least-loaded", |_| Box::new(least_loaded::LeastLoaded)),
    plain("power-of-two", |seed| Box::new(power_of_two::PowerOfTwo(random_source(seed)))),
    known("sglang", |_| Box::new(cache_aware::CacheAware)),
    known("dynamo", |_| Box::new(linear_cost::LinearCost)),
    known("lmetric", |_| Box::new(product::Product { over_speed: false })),
    known("lmetric-speed", |_| Box::new(product::Product { over_speed: true })),
    filtered("sglang-feasible", |_| Box::new(feasible::Feasible(cache_aware::CacheAware))),
    filtered("dynamo-feasible", |_| Box::new(feasible::Feasible(linear_cost::LinearCost))),
    filtered("lmetric-feasible", |_| Box::new(feasible::Feasible(product::Product { over_speed: false }))),
    filtered("lmetric-speed-feasible", |_| Box::new(feasible::Feasible(product::Product { over_speed: true }))),
    known("min-ttft", |_| Box::new(quickest::Quickest)),
];

const fn plain(name: &'static str, make: fn(u64) -> Box<dyn Rule>) -> Published {
    Published { name, is_plain: true, is_filtered: false, make }
}

const fn known(name: &'static str, make: fn(u64) -> Box<dyn Rule>) -> Published {
    Published { name, is_plain: false, is_filtered: false, make }
}

const fn filtered(name: &'static str, make: fn(u64) -> Box<dyn Rule>) -> Published {
    Published { name, is_plain: false, is_filtered: true, make }
}

fn random_source(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// The place of the least; the first of equals.
fn least(nodes: &[Seen], of: impl Fn(&Seen) -> f64) -> usize {
    let scored = nodes.iter().map(of).enumerate();
    scored.min_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |(place, _)| place)
}
