//! Records: what the ledger holds of two months, summed by leaf. Sums are exact; nothing here is a conclusion.

use super::bucket::{Bucket, Leaf};
use super::exact::{Exact, ratio};
use super::inputs::PPM;
use super::reconciliation::hours;
use super::tokens::Waste;
use crate::chart::Code;
use crate::period::Month;

/// How late corrections are dated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// In the month in which they were booked; what a hard-closed month says never changes.
    #[default]
    AsPosted,
    /// Refunds of an earlier month in that month, and capacity that was reported after its month had closed.
    Restated,
}

impl View {
    /// The word shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsPosted => "AS_POSTED",
            Self::Restated => "RESTATED",
        }
    }
}

/// Everything that a report of two months is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The months, in order.
    pub months: [Month; 2],
    /// What was posted to revenue and what is taken off it (4000 to 4999).
    pub revenue: Vec<RevenueRecord>,
    /// What was posted to costs (5000 to 5999).
    pub costs: Vec<CostRecord>,
    /// What was used.
    pub usage: Vec<UsageRecord>,
    /// What was deployed and rented out.
    pub capacity: Vec<CapacityRecord>,
}

/// Revenue of one leaf, class and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevenueRecord {
    /// Whose, where and when.
    pub leaf: Leaf,
    /// Its class.
    pub bucket: Bucket,
    /// The account.
    pub code: Code,
    /// True for what jobs' settlements charged, before anything was taken off.
    pub charged: bool,
    /// Above zero on the credit side. *Units*: nano-units.
    pub amount: i128,
}

/// Costs of one leaf; its tenant, model, node, provider and line may all be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostRecord {
    /// Where and when.
    pub leaf: Leaf,
    /// Above zero on the debit side. *Units*: nano-units.
    pub amount: i128,
}

/// Usage of one leaf, class and meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    /// Whose, where and when.
    pub leaf: Leaf,
    /// The class of what was charged for it.
    pub bucket: Bucket,
    /// What was counted.
    pub meter: String,
    /// Why it is not effective, where it is not.
    pub waste: Option<Waste>,
    /// How many tokens.
    pub quantity: i128,
    /// What they were charged. *Units*: nano-units.
    pub amount: i128,
    /// How long deployments worked for them. *Units*: milliseconds.
    pub compute_ms: u128,
}

/// Capacity of one leaf, as much of it as falls into its month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityRecord {
    /// Where and when; the model that was served, or the tenant that rented it.
    pub leaf: Leaf,
    /// Share × time. *Units*: millionths of a node × microseconds.
    pub share_us: i128,
    /// Nominal capacity × share × time. *Units*: thousandths of an RCU × millionths × microseconds.
    pub rcu_share_us: i128,
    /// How long. *Units*: microseconds.
    pub us: i128,
}

impl CapacityRecord {
    /// Share × hours of whole nodes.
    pub fn share_hours(&self) -> Exact {
        hours(self.share_us) * ratio(1, PPM)
    }

    /// Nominal capacity × share × hours.
    pub fn rcu_hours(&self) -> Exact {
        hours(self.rcu_share_us) * ratio(1, 1_000 * PPM)
    }
}
