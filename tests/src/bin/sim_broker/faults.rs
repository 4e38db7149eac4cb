//! What goes wrong on purpose: machines that crash or stall, a network that drops, doubles and reorders, nodes that lie
//! about their work, their clocks and their chips.

use primitives::node_protocol::FromNode;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use tests::lies;

/// How often each thing happens.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Between two crashes of one node, on average. *Units*: seconds.
    pub crash_every_s: f64,
    /// A crashed node is back after this. *Units*: µs.
    pub back_after_us: u64,
    /// Of messages, the share that is lost, comes twice, or comes late; and of those from nodes that lie, the share that is a lie.
    pub drop: f64,
    pub double: f64,
    pub delay: f64,
    pub lie: f64,
    /// One node in so many lies.
    pub liar_every: usize,
}

/// Everything at once, far more often than in life.
pub const EVERYTHING: Faults = Faults {
    crash_every_s: 60.0,
    back_after_us: 3_000_000,
    drop: 0.000_5,
    double: 0.01,
    delay: 0.01,
    lie: 0.02,
    liar_every: 5,
};

/// What becomes of messages.
#[derive(Debug)]
pub struct Chaos {
    pub faults: Faults,
    random: ChaCha20Rng,
}

impl Chaos {
    pub fn new(faults: Faults, seed: u64) -> Self {
        Self { faults, random: ChaCha20Rng::seed_from_u64(seed ^ 0xfa17) }
    }

    /// When a node crashes next. *Units*: µs from now.
    pub fn crash_after_us(&mut self) -> u64 {
        let uniform: f64 = self.random.random_range(1e-9..1.0);
        (-uniform.ln() * self.faults.crash_every_s * 1e6) as u64
    }

    /// How much later each copy of a message to the broker comes; none when it is lost, and its link with it. *Units*: µs.
    pub fn copies(&mut self) -> Vec<u64> {
        if self.random.random_bool(self.faults.drop) {
            return vec![];
        }
        let late = if self.random.random_bool(self.faults.delay) { self.random.random_range(0..400_000) } else { 0 };
        let mut copies = vec![late];
        if self.random.random_bool(self.faults.double) {
            copies.push(late + self.random.random_range(0..400_000));
        }
        copies
    }

    /// What a liar says instead.
    pub fn twist(&mut self, node: usize, message: &mut FromNode) {
        if node.is_multiple_of(self.faults.liar_every) && self.random.random_bool(self.faults.lie) {
            lies::twist(message, self.random.random_range(0..3));
        }
    }

    /// True when a message to a node is lost.
    pub fn loses(&mut self) -> bool {
        self.random.random_bool(self.faults.drop)
    }
}
