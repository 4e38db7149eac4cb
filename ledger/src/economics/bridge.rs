//! The bridge: why the revenue of one period is not that of the other.
//!
//! *Source*: `token-economics.md` §5. The choice of leaves is part of the definition, and the results differ.

use std::collections::{BTreeMap, BTreeSet};

use super::bucket::{Bucket, Dimension, shown};
use super::error::Error;
use super::facts::{Facts, Slice};
use super::lmdi::Effects;

/// What one leaf of a bridge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Model × node: how operations see it.
    Deployment,
    /// Tenant × model × node × line: how sales see it.
    Tenant,
}

impl Leaves {
    fn dimensions(self) -> &'static [Dimension] {
        match self {
            Self::Deployment => &[Dimension::Model, Dimension::Node],
            Self::Tenant => &[Dimension::Tenant, Dimension::Model, Dimension::Node, Dimension::Line],
        }
    }
}

/// One leaf of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its values in the leaves' dimensions.
    pub key: Vec<String>,
    /// Its revenue in the two periods.
    pub revenue: [i128; 2],
    /// What changed it.
    pub effects: Effects,
}

/// The change of all product revenue between two periods, leaf by leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The leaves, in order of their keys.
    pub cells: Vec<Cell>,
    /// Scale, efficiency and value: the sums of the leaves' rounded effects, so every slice adds up.
    pub total: [i128; 3],
    /// What changed in the product revenue.
    pub change: i128,
}

impl Bridge {
    /// The bridge from one period to the other, over these leaves.
    pub fn between(facts: &Facts, [from, to]: [&str; 2], leaves: Leaves) -> Result<Self, Error> {
        let fleets = [from, to].map(|period| facts.slice(|leaf| leaf.period == period).scale);
        let [before, after] = [from, to].map(|period| product_slices(facts, period, leaves.dimensions()));
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let empty = Slice::default();
        let mut cells = vec![];
        for key in keys {
            let [a, b] = [&before, &after].map(|slices| slices.get(key).unwrap_or(&empty).factors());
            let effects = Effects::between(&a, &b, [&fleets[0], &fleets[1]], &shown(key))?;
            let key = key.iter().map(|part| part.unwrap_or("-").to_owned()).collect();
            cells.push(Cell { key, revenue: [a.revenue, b.revenue], effects });
        }
        let total = [0, 1, 2].map(|factor| cells.iter().map(|cell| cell.effects.rounded[factor]).sum());
        let change = cells.iter().map(|cell| cell.revenue[1] - cell.revenue[0]).sum();
        Ok(Self { cells, total, change })
    }

    /// What the effects leave unexplained: zero.
    pub fn residual(&self) -> i128 {
        self.change - self.total.iter().sum::<i128>()
    }
}

/// The changes of the buckets outside of the product, by name.
pub fn bucket_changes(before: &Slice, after: &Slice) -> BTreeMap<Bucket, i128> {
    let mut changes = BTreeMap::new();
    for (slice, sign) in [(before, -1), (after, 1)] {
        for (&bucket, amount) in slice.buckets.iter().filter(|(bucket, _)| **bucket != Bucket::Productive) {
            *changes.entry(bucket).or_default() += sign * amount;
        }
    }
    changes
}

/// The slices of a period that have capacity or product revenue.
fn product_slices<'a>(
    facts: &'a Facts,
    period: &str,
    dimensions: &[Dimension],
) -> BTreeMap<Vec<Option<&'a str>>, Slice> {
    let mut dated = vec![Dimension::Period];
    dated.extend(dimensions);
    let in_product = |slice: &Slice| !slice.scale.is_zero() || slice.productive() != 0;
    let slices = facts.slices(&dated).into_iter().filter(|(key, slice)| key[0] == Some(period) && in_product(slice));
    slices.map(|(key, slice)| (key[1..].to_vec(), slice)).collect()
}
