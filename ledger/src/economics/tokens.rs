//! Tokens: their classes and weights, what is effective, and the one class of everything that is not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a token was to the model; each class has a weight and a price.
///
/// *Source*: `token-economics.md` §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Class {
    /// Read without the help of a cache.
    #[serde(rename = "in")]
    Input,
    /// Read from a cache.
    #[serde(rename = "cached")]
    Cached,
    /// Written for the user.
    #[serde(rename = "out")]
    Output,
    /// Written while reasoning.
    #[serde(rename = "reasoning")]
    Reasoning,
    /// Read and kept for later.
    #[serde(rename = "cache_write")]
    CacheWrite,
    /// Read for an embedding or a ranking.
    #[serde(rename = "embedding")]
    Embedding,
}

impl Class {
    /// The class of what a meter counts: the one place that knows the meters' words.
    pub fn of_meter(meter: &str) -> Option<Self> {
        match meter {
            "input" => Some(Self::Input),
            "cached_input" => Some(Self::Cached),
            "output" => Some(Self::Output),
            "reasoning" => Some(Self::Reasoning),
            "cache_write" => Some(Self::CacheWrite),
            "embedding" => Some(Self::Embedding),
            _ => None,
        }
    }

    /// The weights of the definition. *Units*: thousandths.
    pub fn weights() -> Weights {
        let (whole, quarter) = ([Self::Output, Self::Reasoning], [Self::Input, Self::CacheWrite, Self::Embedding]);
        let weights = whole.map(|class| (class, 1_000)).into_iter().chain(quarter.map(|class| (class, 250)));
        weights.chain([(Self::Cached, 25)]).collect()
    }

    /// The word in files and in entries' memos.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "in",
            Self::Cached => "cached",
            Self::Output => "out",
            Self::Reasoning => "reasoning",
            Self::CacheWrite => "cache_write",
            Self::Embedding => "embedding",
        }
    }
}

/// Why a token is not effective; each such token has exactly one reason.
///
/// *Source*: `token-economics.md` §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waste {
    /// Delivered too late for its tier.
    SloMiss,
    /// Never delivered.
    Aborted,
    /// Made again by a retry.
    RetryDup,
    /// Made by the attempt that lost a race.
    HedgeLoser,
    /// Guessed by a draft and rejected.
    SpecRejected,
    /// Made again after a preemption.
    PreemptRecompute,
    /// Made by a cell without a valid certificate.
    Uncertified,
    /// A probe, a canary or a benchmark.
    Probe,
    /// Paid back in full.
    Refunded,
}

impl Waste {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::SloMiss,
        Self::Aborted,
        Self::RetryDup,
        Self::HedgeLoser,
        Self::SpecRejected,
        Self::PreemptRecompute,
        Self::Uncertified,
        Self::Probe,
        Self::Refunded,
    ];

    /// The reason of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|waste| waste.as_str() == word)
    }

    /// The word stored and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SloMiss => "slo_miss",
            Self::Aborted => "aborted",
            Self::RetryDup => "retry_dup",
            Self::HedgeLoser => "hedge_loser",
            Self::SpecRejected => "spec_rejected",
            Self::PreemptRecompute => "preempt_recompute",
            Self::Uncertified => "uncertified",
            Self::Probe => "probe",
            Self::Refunded => "refunded",
        }
    }
}

/// Tokens by class.
pub type Tokens = BTreeMap<Class, u64>;

/// Weights by class, which approximate the cost of computing and never the price. *Units*: thousandths.
pub type Weights = BTreeMap<Class, u64>;

/// All tokens of a leaf: what is effective and what is wasted. Sums of these are conserved: raw is the sum of all parts.
///
/// *Units*: tokens; 128 bits hold more than any fleet makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Effective tokens, each counted as one.
    pub effective: i128,
    /// Effective tokens by weight, T. *Units*: thousandths of an effective token.
    pub effective_milli: i128,
    /// Everything else, by its reason; a reason is there when anybody looked for it, even with nothing found.
    pub wasted: BTreeMap<Waste, i128>,
}

impl Count {
    /// The effective tokens of these classes; a class without a weight is weightless and was refused before.
    pub fn effective(tokens: &Tokens, weights: &Weights) -> Self {
        let weigh = |(class, &n): (&Class, &u64)| i128::from(n) * weights.get(class).map_or(0, |&w| i128::from(w));
        Self {
            effective: tokens.values().map(|&n| i128::from(n)).sum(),
            effective_milli: tokens.iter().map(weigh).sum(),
            wasted: BTreeMap::new(),
        }
    }

    /// Counts tokens that were wasted for this reason.
    pub fn waste(&mut self, reason: Waste, tokens: i128) {
        *self.wasted.entry(reason).or_default() += tokens;
    }

    /// All tokens that were computed: effective and wasted.
    pub fn raw(&self) -> i128 {
        self.effective + self.wasted.values().sum::<i128>()
    }

    /// Adds another leaf's tokens.
    pub fn add(&mut self, other: &Self) {
        self.effective += other.effective;
        self.effective_milli += other.effective_milli;
        for (&reason, &tokens) in &other.wasted {
            self.waste(reason, tokens);
        }
    }
}
