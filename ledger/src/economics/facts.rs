//! The facts of a report: capacity with what it made, and revenue as the ledger posted it, leaf by leaf.
//!
//! The three come from different records (deployments, tokens delivered, the ledger); a [`Slice`] brings them together, and
//! [`Facts::reconcile`] proves that their product is what the ledger says, for any slice.

use std::collections::BTreeMap;

use super::bucket::{Bucket, Dimension, IDLE, IDLE_LINE, Leaf, shown};
use super::error::Error;
use super::exact::{Exact, fraction, whole};
use super::factors::Factors;
use super::inputs::{Inputs, Usage};
use super::journal::Journal;
use super::scale::{Allocation, Deployed};
use super::tokens::{Count, Waste};

/// Capacity of a leaf, and the tokens that it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Production {
    /// Whose, and where.
    pub leaf: Leaf,
    /// Its part of S.
    pub scale: Exact,
    /// What of that was busy.
    pub busy: Exact,
    /// The tokens.
    pub tokens: Count,
}

/// Revenue of a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revenue {
    /// Whose, and where.
    pub leaf: Leaf,
    /// Its class.
    pub bucket: Bucket,
    /// How much; below zero, it was given back.
    pub amount: i128,
}

/// Everything that a report adds up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    production: Vec<Production>,
    revenue: Vec<Revenue>,
}

/// The sums of one slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// S.
    pub scale: Exact,
    /// What of that was busy.
    pub busy: Exact,
    /// The tokens.
    pub tokens: Count,
    /// Revenue by class; a class that nothing was posted to is absent.
    pub buckets: BTreeMap<Bucket, i128>,
}

impl Slice {
    /// The revenue that enters the product, R.
    pub fn productive(&self) -> i128 {
        self.buckets.get(&Bucket::Productive).copied().unwrap_or(0)
    }

    /// All revenue of the ledger.
    pub fn ledger_revenue(&self) -> i128 {
        self.buckets.values().sum()
    }

    /// S, T and R.
    pub fn factors(&self) -> Factors {
        Factors { scale: self.scale.clone(), tokens_milli: self.tokens.effective_milli, revenue: self.productive() }
    }
}

impl Facts {
    /// The facts; the revenue of a leaf that nets below zero goes to [`Bucket::Adjustment`] as a whole.
    pub fn new(production: Vec<Production>, mut revenue: Vec<Revenue>) -> Self {
        let mut nets: BTreeMap<Leaf, i128> = BTreeMap::new();
        for posted in revenue.iter().filter(|posted| posted.bucket == Bucket::Productive) {
            *nets.entry(posted.leaf.clone()).or_default() += posted.amount;
        }
        for posted in &mut revenue {
            if posted.bucket == Bucket::Productive && nets[&posted.leaf] < 0 {
                posted.bucket = Bucket::Adjustment;
            }
        }
        Self { production, revenue }
    }

    /// The facts of inputs that passed [`Inputs::check`], with the revenue of their journal.
    ///
    /// Usage on capacity that nobody declared is outside of the product: its revenue is [`Bucket::PassThrough`], and its
    /// tokens are no capacity's.
    pub fn of(inputs: &Inputs, journal: &Journal, allocation: Allocation) -> Self {
        let periods = inputs.periods.keys();
        let deployed: Vec<Deployed<'_>> = periods.flat_map(|period| Deployed::list(inputs, period)).collect();
        let production = deployed.iter().flat_map(|deployed| produced(inputs, deployed, allocation)).collect();
        let legs = journal.entries.iter().flat_map(|entry| &entry.legs);
        let revenue = legs.filter_map(|leg| {
            let (leaf, bucket) = (leg.leaf.clone()?, leg.bucket?);
            Some(Revenue { leaf, bucket, amount: -leg.amount })
        });
        Self::new(production, revenue.collect())
    }

    /// Capacity and tokens, leaf by leaf.
    pub fn production(&self) -> &[Production] {
        &self.production
    }

    /// The sums of the leaves that belong.
    pub fn slice(&self, belongs: impl Fn(&Leaf) -> bool) -> Slice {
        let mut slice = Slice::default();
        for made in self.production.iter().filter(|made| belongs(&made.leaf)) {
            slice.produce(made);
        }
        for posted in self.revenue.iter().filter(|posted| belongs(&posted.leaf)) {
            slice.post(posted);
        }
        slice
    }

    /// The sums of every slice by these dimensions, in order of their keys.
    pub fn slices<'a>(&'a self, dimensions: &[Dimension]) -> BTreeMap<Vec<Option<&'a str>>, Slice> {
        let mut slices: BTreeMap<_, Slice> = BTreeMap::new();
        for made in &self.production {
            slices.entry(made.leaf.key(dimensions)).or_default().produce(made);
        }
        for posted in &self.revenue {
            slices.entry(posted.leaf.key(dimensions)).or_default().post(posted);
        }
        slices
    }

    /// Proves that in every slice by any of the 64 subsets of dimensions, S × E × V and the other buckets add up to the
    /// ledger's revenue exactly; returns how many slices there are.
    ///
    /// The finest slices come first, so that a refusal names the leaf.
    pub fn reconcile(&self) -> Result<usize, Error> {
        let mut subsets: Vec<Vec<Dimension>> = (0..1_u32 << Dimension::ALL.len()).map(subset).collect();
        subsets.sort_by_key(|dimensions| std::cmp::Reverse(dimensions.len()));
        let mut count = 0;
        for dimensions in subsets {
            for (key, slice) in self.slices(&dimensions) {
                slice.reconcile(&key)?;
                count += 1;
            }
        }
        Ok(count)
    }
}

impl Slice {
    fn produce(&mut self, made: &Production) {
        self.scale += &made.scale;
        self.busy += &made.busy;
        self.tokens.add(&made.tokens);
    }

    fn post(&mut self, posted: &Revenue) {
        *self.buckets.entry(posted.bucket).or_default() += posted.amount;
    }

    fn reconcile(&self, key: &[Option<&str>]) -> Result<(), Error> {
        let ledger = self.ledger_revenue();
        let explained = self.factors().product() + whole(ledger - self.productive());
        if explained == whole(ledger) {
            return Ok(());
        }
        Err(Error::Unreconciled { slice: shown(key), product: fraction(&explained), ledger })
    }
}

/// The dimensions whose bits are set.
fn subset(bits: u32) -> Vec<Dimension> {
    Dimension::ALL
        .into_iter()
        .enumerate()
        .filter(|(at, _)| bits >> at & 1 == 1)
        .map(|(_, dimension)| dimension)
        .collect()
}

/// What the users of a deployment made with their part of it, and what of it stayed idle.
fn produced(inputs: &Inputs, deployed: &Deployed<'_>, allocation: Allocation) -> Vec<Production> {
    let here = |usage: &&Usage| {
        usage.period == deployed.period && usage.model == deployed.model && usage.node == deployed.node
    };
    let users: Vec<&Usage> = inputs.usage.iter().filter(here).collect();
    let computed: Vec<u128> = users.iter().map(|usage| u128::from(usage.compute_s) * 1_000).collect();
    let (parts, idle) = deployed.allocate(&computed, allocation);
    let busy_per_second = &deployed.busy_per_ms * whole(1_000_u64);
    let made = users.into_iter().zip(parts).map(|(usage, scale)| {
        let mut tokens = Count::effective(&usage.eff, &inputs.token_weights_milli);
        tokens.waste(Waste::SloMiss, usage.slo_miss.values().map(|&n| i128::from(n)).sum());
        for (&reason, &n) in &usage.unbilled {
            tokens.waste(reason, i128::from(n));
        }
        let busy = &busy_per_second * whole(usage.compute_s);
        Production { leaf: usage.leaf(inputs), scale, busy, tokens }
    });
    let mut made: Vec<Production> = made.collect();
    made.extend(deployed.idle(&inputs.nodes[deployed.node].provider, idle));
    made
}

impl Deployed<'_> {
    /// What nobody used of it, on a tenant and a line of its own; nothing where all was used.
    pub(super) fn idle(&self, provider: &str, scale: Exact) -> Option<Production> {
        let leaf = || Leaf {
            period: self.period.to_owned(),
            tenant: Some(IDLE.to_owned()),
            model: Some(self.model.to_owned()),
            node: Some(self.node.to_owned()),
            provider: Some(provider.to_owned()),
            line: Some(IDLE_LINE.to_owned()),
        };
        let idle = !scale.is_zero();
        idle.then(|| Production { leaf: leaf(), scale, busy: Exact::ZERO, tokens: Count::default() })
    }
}
