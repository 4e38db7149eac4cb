//! How much is asked of each side.

use serde::Serialize;

/// The sizes of a run. *Units*: tokens, requests.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// What people call it.
    pub name: &'static str,
    /// The kind of model that is made.
    pub kind: &'static str,
    /// Its tokens; the last three are control tokens, and the very last ends an output.
    pub vocabulary: u32,
    /// Rounds, whose medians count.
    pub rounds: usize,
    /// Sequences at once, of every side but the one without batching, and what each has room for.
    pub slots: usize,
    pub context: usize,
    /// Every prompt's own tokens and every output's.
    pub prompt: usize,
    pub output: u32,
    /// How many callers ask at once, and how often each.
    pub plain: Vec<(usize, usize)>,
    /// Requests of a burst, and what they begin with.
    pub bursts: Vec<usize>,
    pub shared: usize,
    /// Conversations, over fewer slots: what each begins with, and how often it goes on with a prompt's own tokens.
    pub sessions: usize,
    pub sessions_slots: usize,
    pub session_prompt: usize,
    pub turns: usize,
    /// The prompt that joins, and how many streams run then.
    pub joining: usize,
    pub streams: usize,
    /// Callers beside the one that is not batched, each asking once a round.
    pub callers: usize,
    /// Requests a round that come by chance: at 0.8 of what the one that is not batched can do, of which the first quarter only makes the
    /// queue what it is in the long run; and at the declared load.
    pub arrivals: usize,
    pub declared_arrivals: usize,
    /// Whether the alignment is measured as a certificate needs it.
    pub aligns: bool,
}

/// Of what a side can do with all slots busy, the load at which its first token is promised.
pub const DECLARED: f64 = 0.6;
/// Of what the one that is not batched can do, the load at which latencies are compared.
pub const COMPARED: f64 = 0.8;

impl Plan {
    /// A quarter of an hour, about.
    pub fn full() -> Self {
        Self {
            name: "full",
            kind: "dense-100m",
            vocabulary: 32_000,
            rounds: 3,
            slots: 32,
            context: 2_304,
            prompt: 128,
            output: 64,
            plain: vec![(1, 5), (8, 2), (32, 1)],
            bursts: vec![8, 32],
            shared: 512,
            sessions: 12,
            sessions_slots: 4,
            session_prompt: 512,
            turns: 3,
            joining: 2_048,
            streams: 4,
            callers: 16,
            arrivals: 48,
            declared_arrivals: 40,
            aligns: true,
        }
    }

    /// A few minutes.
    pub fn quick() -> Self {
        Self {
            name: "quick",
            output: 32,
            plain: vec![(1, 2), (8, 1), (32, 1)],
            sessions: 8,
            sessions_slots: 3,
            session_prompt: 256,
            turns: 2,
            callers: 8,
            arrivals: 20,
            declared_arrivals: 12,
            aligns: false,
            ..Self::full()
        }
    }

    /// Seconds; only shows that everything works.
    pub fn tiny() -> Self {
        Self {
            name: "tiny",
            kind: "dense",
            vocabulary: 400,
            rounds: 2,
            slots: 4,
            context: 512,
            prompt: 16,
            output: 8,
            plain: vec![(1, 1), (4, 1)],
            bursts: vec![4],
            shared: 64,
            sessions: 4,
            sessions_slots: 2,
            session_prompt: 40,
            turns: 2,
            joining: 300,
            streams: 2,
            callers: 4,
            arrivals: 3,
            declared_arrivals: 4,
            aligns: false,
        }
    }
}
