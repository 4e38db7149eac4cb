//! The kinds of nodes and the fleets that figures are compared on.
//!
//! They are made up, and say so wherever they are printed; they stay as they are, so that figures compare over time.

/// A kind of node.
#[derive(Debug, PartialEq)]
pub struct Kind {
    pub name: &'static str,
    /// Of an empty node. *Units*: prompt tokens a second.
    pub prefill: f64,
    /// A decode step with nobody in the batch. *Units*: seconds.
    pub step_s: f64,
    /// What each sequence adds to it. *Units*: seconds.
    pub step_more_s: f64,
    /// Sequences at once.
    pub slots: usize,
    /// Blocks of 512 tokens that its prefix cache holds.
    pub blocks: usize,
    /// *Units*: dollars an hour.
    pub price: f64,
    /// There and back. *Units*: µs.
    pub rtt_us: u64,
}

/// Before a prefill begins. *Units*: seconds.
pub const START_S: f64 = 0.005;
/// What each sequence in the batch takes of the prefill's speed.
pub const PREFILL_SLOWED: f64 = 0.01;
/// A decode step is in time until then. *Units*: seconds.
pub const STEP_MAX_S: f64 = 0.060;

const DC_A: Kind = Kind {
    name: "DC-A",
    prefill: 16_000.0,
    step_s: 0.012,
    step_more_s: 0.000_25,
    slots: 64,
    blocks: 900,
    price: 1.00,
    rtt_us: 10_000,
};
const DC_B: Kind = Kind {
    name: "DC-B",
    prefill: 7_000.0,
    step_s: 0.018,
    step_more_s: 0.000_4,
    slots: 48,
    blocks: 600,
    price: 0.55,
    rtt_us: 15_000,
};
const PRO: Kind = Kind {
    name: "PRO",
    prefill: 4_500.0,
    step_s: 0.025,
    step_more_s: 0.000_6,
    slots: 24,
    blocks: 250,
    price: 0.30,
    rtt_us: 40_000,
};
const EDGE: Kind = Kind {
    name: "EDGE",
    prefill: 1_800.0,
    step_s: 0.035,
    step_more_s: 0.001_2,
    slots: 4,
    blocks: 60,
    price: 0.15,
    rtt_us: 80_000,
};
const CPU: Kind = Kind {
    name: "CPU",
    prefill: 250.0,
    step_s: 0.090,
    step_more_s: 0.010,
    slots: 2,
    blocks: 60,
    price: 0.08,
    rtt_us: 20_000,
};

impl Kind {
    /// A decode step with so many sequences. *Units*: seconds.
    pub fn step(&self, batch: usize) -> f64 {
        self.step_s + self.step_more_s * batch as f64
    }

    /// A prefill of so many tokens that no cache holds, beside so many sequences. *Units*: seconds.
    pub fn prefill_s(&self, tokens: u32, batch: usize) -> f64 {
        START_S + f64::from(tokens) * (1.0 + PREFILL_SLOWED * batch as f64) / self.prefill
    }

    /// What its provider asks: the price of the time that a prompt's token and, in a full batch, an output's token take.
    /// *Units*: atto-dollars a token.
    pub fn asks(&self) -> (i128, i128) {
        let atto_a_second = self.price / 3_600.0 * 1e18;
        let output_s = self.step(self.slots) / self.slots as f64;
        ((atto_a_second / self.prefill) as i128, (atto_a_second * output_s) as i128)
    }
}

/// A fleet by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fleet {
    /// 16 DC-A.
    Homo,
    /// 6 DC-A, 8 DC-B and 12 PRO.
    Mix3,
    /// mix3, 16 EDGE and 6 CPU.
    Mix5,
}

impl Fleet {
    pub fn name(self) -> &'static str {
        match self {
            Self::Homo => "homo",
            Self::Mix3 => "mix3",
            Self::Mix5 => "mix5",
        }
    }

    /// Its nodes.
    pub fn nodes(self) -> Vec<&'static Kind> {
        let counts: &[(&'static Kind, usize)] = match self {
            Self::Homo => &[(&DC_A, 16)],
            Self::Mix3 => &[(&DC_A, 6), (&DC_B, 8), (&PRO, 12)],
            Self::Mix5 => &[(&DC_A, 6), (&DC_B, 8), (&PRO, 12), (&EDGE, 16), (&CPU, 6)],
        };
        counts.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count)).collect()
    }
}
