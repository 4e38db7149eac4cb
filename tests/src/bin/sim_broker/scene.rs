//! One run's givens: the requests, how fast they come, the nodes, and how wrong what is known of their speed is.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::kind::{Fleet, Kind};
use crate::outcome::Outcome;
use crate::trace::Request;

/// How far what is known of a node's speed may be off, either way.
pub const OFF_MAX: f64 = 0.2;
/// Tenants that are made up; the n-th sends a share of 1/n.
pub const TENANTS: usize = 8;

/// What a run is given.
pub struct Scene<'a> {
    pub requests: &'a [Request],
    /// How much faster than in the trace the requests come.
    pub pace: f64,
    pub kinds: Vec<&'static Kind>,
    /// For each node, how much slower it is believed to be than it is.
    pub off: Vec<f64>,
    /// For each request, whose it is.
    pub tenants: Vec<usize>,
}

/// What came of a run.
pub struct Run {
    pub outcomes: Vec<Outcome>,
    /// *Units*: dollars.
    pub cost: f64,
    /// Over cells, how many forecasts held that nine in ten should, and how far forecasts were off; of ours alone.
    pub forecasts: Option<(f64, f64)>,
}

impl<'a> Scene<'a> {
    /// The same seed and fleet give the same errors of knowledge, whatever the rule and the rate.
    pub fn new(requests: &'a [Request], pace: f64, fleet: Fleet, seed: u64) -> Self {
        let kinds = fleet.nodes();
        let mut random = ChaCha20Rng::seed_from_u64(seed);
        let off = kinds.iter().map(|_| random.random_range(1.0 - OFF_MAX..1.0 + OFF_MAX)).collect();
        let weights: Vec<f64> = (1..=TENANTS).map(|n| 1.0 / n as f64).collect();
        let all: f64 = weights.iter().sum();
        let tenants = requests.iter().map(|_| {
            let mut drawn = random.random_range(0.0..all);
            weights.iter().position(|weight| {
                drawn -= weight;
                drawn < 0.0
            })
        });
        let tenants = tenants.map(|tenant| tenant.unwrap_or(0)).collect();
        Self { requests, pace, kinds, off, tenants }
    }

    /// When a request comes. *Units*: µs.
    pub fn comes_at(&self, request: usize) -> u64 {
        (self.requests[request].at_s / self.pace * 1e6) as u64
    }

    /// Outcomes of requests of which nothing has become yet.
    pub fn blank(&self) -> Vec<Outcome> {
        self.tenants.iter().map(|tenant| Outcome { tenant: *tenant, ..Outcome::default() }).collect()
    }
}
