//! The reconciliation: capacity, tokens and revenue of the ledger's records, brought together leaf by leaf.
//!
//! Three records that do not know each other: capacity facts make S, usage facts make T, transfers make R. What was charged for
//! usage must be what settlements posted, leaf by leaf; what has no capacity of its own passes through; and the product of the
//! factors must be the revenue in all 64 ways of slicing. Whatever fails names its leaf.

use std::collections::{BTreeMap, BTreeSet};

use super::assumptions::Assumptions;
use super::bucket::{Bucket, Leaf};
use super::error::Error;
use super::exact::{Exact, ratio, whole};
use super::facts::{Facts, Production, Revenue};
use super::figure::Basis;
use super::inputs::PPM;
use super::record::{CapacityRecord, Records, RevenueRecord, UsageRecord};
use super::scale::{Allocation, Deployed, MS_PER_HOUR};
use super::tokens::{Class, Count, Weights};

/// Records that agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// What a report adds up.
    pub facts: Facts,
    /// What was served without capacity of its own.
    pub passed: Vec<PassedThrough>,
    /// How many slices were proven.
    pub slices: usize,
}

/// A leaf whose tokens enter no factor, because its scale is unknown and is never imputed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedThrough {
    /// The leaf.
    pub leaf: Leaf,
    /// What is missing.
    pub reason: &'static str,
    /// Its tokens.
    pub tokens: Count,
    /// Its revenue, in [`Bucket::PassThrough`].
    pub revenue: i128,
}

/// A model on a node of a provider, in a period.
type Place = (String, Option<String>, Option<String>, Option<String>);

impl Reconciliation {
    /// Brings the records together.
    ///
    /// *Errors*: an unknown meter or model, a node that is reserved beyond its time, usage that was charged otherwise than its
    /// revenue was posted, and any slice that does not reconcile, by its leaf.
    pub fn of(
        records: &Records,
        assumptions: &Assumptions,
        basis: Basis,
        allocation: Allocation,
    ) -> Result<Self, Error> {
        assumptions.check()?;
        charged_as_posted(records)?;
        not_overbooked(records)?;
        let used = used(&records.usage, &assumptions.weights())?;
        let (mut production, mut known) = (Vec::new(), BTreeSet::new());
        let mut deployments: BTreeMap<Place, Vec<&CapacityRecord>> = BTreeMap::new();
        for capacity in records.capacity.iter().filter(|capacity| capacity.leaf.model.is_some()) {
            deployments.entry(place(&capacity.leaf)).or_default().push(capacity);
        }
        let mut users_of: BTreeMap<Place, Vec<(&Leaf, &Use)>> = BTreeMap::new();
        for (leaf, use_) in used.iter().filter(|(_, use_)| use_.compute_ms > 0) {
            users_of.entry(place(leaf)).or_default().push((leaf, use_));
        }
        for (at, capacity) in &deployments {
            let (deployed, provider) = deployed(at, capacity, assumptions, basis)?;
            let users = users_of.get(at).map_or(&[][..], Vec::as_slice);
            let computed: Vec<u128> = users.iter().map(|(_, use_)| use_.compute_ms).collect();
            let (parts, idle) = deployed.allocate(&computed, allocation);
            for (&(leaf, use_), scale) in users.iter().zip(parts) {
                let busy = &deployed.busy_per_ms * whole(use_.compute_ms);
                known.insert(leaf.clone());
                production.push(Production { leaf: leaf.clone(), scale, busy, tokens: use_.tokens.clone() });
            }
            production.extend(deployed.idle(provider, idle));
        }
        let passed = passed_through(&records.revenue, used, &known, &deployments);
        let unknown: BTreeSet<&Leaf> = passed.iter().map(|passed| &passed.leaf).collect();
        let revenue = records.revenue.iter().map(|posted| {
            let passes = posted.bucket == Bucket::Productive && unknown.contains(&posted.leaf);
            let bucket = if passes { Bucket::PassThrough } else { posted.bucket };
            Revenue { leaf: posted.leaf.clone(), bucket, amount: posted.amount }
        });
        let facts = Facts::new(production, revenue.collect());
        let slices = facts.reconcile()?;
        Ok(Self { facts, passed, slices })
    }
}

/// What a leaf used.
#[derive(Default)]
struct Use {
    tokens: Count,
    compute_ms: u128,
}

fn used(records: &[UsageRecord], weights: &Weights) -> Result<BTreeMap<Leaf, Use>, Error> {
    let mut used: BTreeMap<Leaf, Use> = BTreeMap::new();
    for record in records {
        let refuse = |what, name: &str| Error::Unknown {
            what,
            name: name.to_owned(),
            place: format!("usage of [{}]", record.leaf),
        };
        let class = Class::of_meter(&record.meter).ok_or_else(|| refuse("meter", &record.meter))?;
        let entry = used.entry(record.leaf.clone()).or_default();
        entry.compute_ms += record.compute_ms;
        match record.waste {
            Some(reason) => entry.tokens.waste(reason, record.quantity),
            None => {
                let weight = *weights.get(&class).ok_or_else(|| refuse("weight of", class.as_str()))?;
                entry.tokens.effective += record.quantity;
                entry.tokens.effective_milli += record.quantity * i128::from(weight);
            }
        }
    }
    Ok(used)
}

/// Refuses a leaf whose usage was charged otherwise than its settlements were posted.
fn charged_as_posted(records: &Records) -> Result<(), Error> {
    let mut sums: BTreeMap<(&Leaf, Bucket), [i128; 2]> = BTreeMap::new();
    for record in &records.usage {
        sums.entry((&record.leaf, record.bucket)).or_default()[0] += record.amount;
    }
    for posted in records.revenue.iter().filter(|posted| posted.charged) {
        sums.entry((&posted.leaf, posted.bucket)).or_default()[1] += posted.amount;
    }
    match sums.into_iter().find(|(_, [usage, ledger])| usage != ledger) {
        None => Ok(()),
        Some(((leaf, _), [usage, ledger])) => Err(Error::Uncharged { leaf: leaf.to_string(), usage, ledger }),
    }
}

/// Refuses a node of which more is deployed and rented out than there is of it.
fn not_overbooked(records: &Records) -> Result<(), Error> {
    let mut reserved: BTreeMap<(&str, Option<&str>), i128> = BTreeMap::new();
    for capacity in &records.capacity {
        *reserved.entry((&capacity.leaf.period, capacity.leaf.node.as_deref())).or_default() += capacity.share_us;
    }
    for month in records.months {
        let all = i128::from((month.ends_at() - month.begins_at()).num_milliseconds()) * 1_000 * i128::from(PPM);
        let period = month.to_string();
        let over = reserved.iter().find(|((at, _), share_us)| *at == period && **share_us > all);
        if let Some(((_, node), _)) = over {
            return Err(Error::Overbooked { period, node: node.unwrap_or("-").to_owned() });
        }
    }
    Ok(())
}

/// What was served in a place, and by which provider.
fn deployed<'a>(
    at: &'a Place,
    capacity: &[&'a CapacityRecord],
    assumptions: &Assumptions,
    basis: Basis,
) -> Result<(Deployed<'a>, &'a str), Error> {
    let (period, model, node, provider) = at;
    let [model, node, provider] = [model, node, provider].map(|name| name.as_deref().unwrap_or("-"));
    let sum = |of: fn(&CapacityRecord) -> i128| capacity.iter().map(|record| of(record)).sum::<i128>();
    let capacity_hours = match basis {
        Basis::Rcu => hours(sum(|record| record.rcu_share_us)) * ratio(1, 1_000 * PPM),
        Basis::Depreciation | Basis::Energy => {
            assumptions.capacity(node, basis)? * hours(sum(|record| record.share_us)) * ratio(1, PPM)
        }
    };
    let scale = assumptions.intelligence(model)? * capacity_hours;
    let busy_per_ms = &scale / (hours(sum(|record| record.us)) * whole(MS_PER_HOUR));
    Ok((Deployed { period, model, node, scale, busy_per_ms }, provider))
}

/// Microseconds as hours.
pub(super) fn hours(us: i128) -> Exact {
    whole(us) * ratio(1, MS_PER_HOUR * 1_000)
}

/// What has tokens and no scale, with what was earned for it.
fn passed_through(
    revenue: &[RevenueRecord],
    used: BTreeMap<Leaf, Use>,
    known: &BTreeSet<Leaf>,
    deployments: &BTreeMap<Place, Vec<&CapacityRecord>>,
) -> Vec<PassedThrough> {
    let mut earned: BTreeMap<&Leaf, i128> = BTreeMap::new();
    for posted in revenue.iter().filter(|posted| posted.bucket == Bucket::Productive) {
        *earned.entry(&posted.leaf).or_default() += posted.amount;
    }
    let unknown = used.into_iter().filter(|(leaf, use_)| !known.contains(leaf) && use_.tokens.raw() > 0);
    let passed = unknown.map(|(leaf, Use { tokens, .. })| {
        let declared = deployments.contains_key(&place(&leaf));
        let reason =
            if declared { "its time of computing was not recorded" } else { "no capacity was reported for it" };
        let revenue = earned.get(&leaf).copied().unwrap_or(0);
        PassedThrough { leaf, reason, tokens, revenue }
    });
    passed.collect()
}

fn place(leaf: &Leaf) -> Place {
    (leaf.period.clone(), leaf.model.clone(), leaf.node.clone(), leaf.provider.clone())
}
