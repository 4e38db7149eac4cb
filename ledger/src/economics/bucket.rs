//! Buckets and leaves: where a revenue leg belongs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of a revenue leg; each has exactly one.
///
/// *Source*: `token-economics.md` §4; the database refuses any other word (`ledger.transfers.bucket`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Bucket {
    /// A leaf whose revenue nets below zero: logarithms know no negative revenue.
    Adjustment,
    /// Prepaid credit that lapsed.
    Breakage,
    /// Capacity sold by time, without telemetry.
    Lease,
    /// Hours of a dedicated endpoint in which nobody asked.
    LeaseIdle,
    /// Licences and support.
    Licence,
    /// Billed although the service missed its objective, less the credit for it: revenue at risk.
    NonEffective,
    /// Served on capacity that nobody declared.
    PassThrough,
    /// A refund of an earlier period.
    PriorPeriod,
    /// Enters scale × efficiency × value.
    Productive,
    /// Reserved throughput that was not used.
    ReservedUnused,
}

impl Bucket {
    /// Every bucket, by name.
    pub const ALL: [Self; 10] = [
        Self::Adjustment,
        Self::Breakage,
        Self::Lease,
        Self::LeaseIdle,
        Self::Licence,
        Self::NonEffective,
        Self::PassThrough,
        Self::PriorPeriod,
        Self::Productive,
        Self::ReservedUnused,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adjustment => "ADJUSTMENT",
            Self::Breakage => "BREAKAGE",
            Self::Lease => "LEASE",
            Self::LeaseIdle => "LEASE_IDLE",
            Self::Licence => "LICENCE",
            Self::NonEffective => "NON_EFFECTIVE",
            Self::PassThrough => "PASS_THROUGH",
            Self::PriorPeriod => "PRIOR_PERIOD",
            Self::Productive => "PRODUCTIVE",
            Self::ReservedUnused => "RESERVED_UNUSED",
        }
    }

    /// The bucket of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bucket| bucket.as_str() == word)
    }
}

/// What a leaf is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// When.
    Period,
    /// Who pays.
    Tenant,
    /// The model variant that served.
    Model,
    /// The machine.
    Node,
    /// Whose machine.
    Provider,
    /// What was sold.
    Line,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 6] = [Self::Period, Self::Tenant, Self::Model, Self::Node, Self::Provider, Self::Line];

    /// The word shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Period => "period",
            Self::Tenant => "tenant",
            Self::Model => "model",
            Self::Node => "node",
            Self::Provider => "provider",
            Self::Line => "line",
        }
    }

    /// The dimension of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.as_str() == word)
    }
}

/// The finest place that anything is counted at; a dimension is absent where it means nothing, as a licence has no node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leaf {
    /// When.
    pub period: String,
    /// Who pays; [`IDLE`] for capacity that nobody used.
    pub tenant: Option<String>,
    /// The model variant that served.
    pub model: Option<String>,
    /// The machine.
    pub node: Option<String>,
    /// Whose machine.
    pub provider: Option<String>,
    /// What was sold; [`IDLE_LINE`] for capacity that nobody used.
    pub line: Option<String>,
}

/// The tenant of capacity that nobody used.
pub const IDLE: &str = "__idle__";
/// The product line of capacity that nobody used.
pub const IDLE_LINE: &str = "idle";

impl Leaf {
    /// Its value in this dimension.
    pub fn get(&self, dimension: Dimension) -> Option<&str> {
        match dimension {
            Dimension::Period => Some(&self.period),
            Dimension::Tenant => self.tenant.as_deref(),
            Dimension::Model => self.model.as_deref(),
            Dimension::Node => self.node.as_deref(),
            Dimension::Provider => self.provider.as_deref(),
            Dimension::Line => self.line.as_deref(),
        }
    }

    /// Its values in these dimensions: the key of the slice that it falls into.
    pub fn key(&self, dimensions: &[Dimension]) -> Vec<Option<&str>> {
        dimensions.iter().map(|&dimension| self.get(dimension)).collect()
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.key(&Dimension::ALL)))
    }
}

/// A key as people read it, such as `2026-03, t-acme, -, -, -, licence`.
pub(crate) fn shown(key: &[Option<&str>]) -> String {
    key.iter().map(|part| part.unwrap_or("-")).collect::<Vec<_>>().join(", ")
}
