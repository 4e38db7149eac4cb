//! The journal of the inputs: every sale, credit and cost as a balanced entry, and every revenue leg with its bucket.
//!
//! *Units*: money in millionths of the currency; a debit is above zero, a credit below.

use std::collections::BTreeMap;

use super::bucket::{Bucket, Leaf};
use super::exact::{Exact, ratio, whole};
use super::inputs::{Inputs, Node, Usage};
use super::value::{Tariff, credit, money};

/// What a leg moves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// What a tenant owes.
    Receivable(String),
    /// What is owed to a provider.
    Payable(String),
    /// What is owed for energy.
    EnergyPayable,
    /// Revenue of a line's tokens.
    TokenRevenue(String),
    /// Revenue of capacity sold by time.
    RentalRevenue,
    /// Revenue of licences.
    LicenceRevenue,
    /// Revenue given back.
    Credits,
    /// The cost of nodes.
    NodeCost,
    /// The cost of energy.
    EnergyCost,
}

/// One side of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// What it moves.
    pub account: Account,
    /// By how much.
    pub amount: i128,
    /// Where it belongs: the leaf of a revenue or cost leg.
    pub leaf: Option<Leaf>,
    /// The class of a revenue leg.
    pub bucket: Option<Bucket>,
}

/// A balanced entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub period: String,
    /// What happened.
    pub memo: String,
    /// Its legs, which add up to zero.
    pub legs: Vec<Leg>,
}

/// All entries of the inputs, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The entries.
    pub entries: Vec<Entry>,
}

impl Journal {
    /// Posts inputs that passed [`Inputs::check`]: usage, other sales, refunds, then costs.
    pub fn post(inputs: &Inputs) -> Self {
        let mut journal = Self::default();
        for usage in &inputs.usage {
            journal.usage(inputs, usage);
        }
        for period in inputs.periods.keys() {
            journal.other_sales(inputs, period);
        }
        for refund in &inputs.prior_period_refunds {
            let leaf = Leaf {
                period: refund.period.clone(),
                tenant: Some(refund.tenant.clone()),
                model: Some(refund.model.clone()),
                node: Some(refund.node.clone()),
                provider: Some(inputs.nodes[&refund.node].provider.clone()),
                line: Some(refund.line.clone()),
            };
            let memo = format!("refund of {}", refund.of_period);
            journal.sell(memo, Account::Credits, -i128::from(refund.ucny), leaf, Bucket::PriorPeriod);
        }
        for (period, spec) in &inputs.periods {
            for (name, node) in &inputs.nodes {
                let hire = i128::from(node.hire_ucny_per_h) * i128::from(spec.hours);
                let energy = money(&(node.energy_per_hour() * whole(spec.hours)));
                let payable = Account::Payable(node.provider.clone());
                journal.spend(format!("provider lease {name}"), Account::NodeCost, hire, payable, period, name);
                let payable = Account::EnergyPayable;
                journal.spend(format!("energy {name}"), Account::EnergyCost, energy, payable, period, name);
            }
        }
        journal
    }

    /// What each account holds in the end.
    pub fn trial_balance(&self) -> BTreeMap<&Account, i128> {
        let mut balances = BTreeMap::new();
        for leg in self.entries.iter().flat_map(|entry| &entry.legs) {
            *balances.entry(&leg.account).or_default() += leg.amount;
        }
        balances
    }

    /// What nodes and energy cost in a period.
    pub fn cost(&self, period: &str) -> i128 {
        let legs = self.entries.iter().filter(|entry| entry.period == period).flat_map(|entry| &entry.legs);
        legs.filter(|leg| matches!(leg.account, Account::NodeCost | Account::EnergyCost)).map(|leg| leg.amount).sum()
    }

    fn usage(&mut self, inputs: &Inputs, usage: &Usage) {
        let tariff = Tariff::of(inputs, usage);
        let leaf = usage.leaf(inputs);
        let bucket = if usage.is_declared(inputs) { Bucket::Productive } else { Bucket::PassThrough };
        let revenue = Account::TokenRevenue(usage.line.clone());
        for (&class, &tokens) in &usage.eff {
            let memo = format!("usage eff:{} {tokens} tok", class.as_str());
            self.sell(memo, revenue.clone(), tariff.charge(class, tokens), leaf.clone(), bucket);
        }
        for (&class, &tokens) in &usage.slo_miss {
            let charge = tariff.charge(class, tokens);
            let memo = format!("usage slo_miss:{} {tokens} tok", class.as_str());
            self.sell(memo, revenue.clone(), charge, leaf.clone(), Bucket::NonEffective);
            let credit = credit(charge, inputs.slo_miss_credit_bp);
            let memo = format!("SLA credit {}", class.as_str());
            self.sell(memo, Account::Credits, -credit, leaf.clone(), Bucket::NonEffective);
        }
    }

    fn other_sales(&mut self, inputs: &Inputs, period: &str) {
        for rental in inputs.rentals.get(period).into_iter().flatten() {
            let leaf = Leaf {
                period: period.to_owned(),
                tenant: Some(rental.tenant.clone()),
                model: None,
                node: Some(rental.node.clone()),
                provider: Some(inputs.nodes[&rental.node].provider.clone()),
                line: Some("lease".to_owned()),
            };
            let fee = i128::from(rental.ucny_per_h) * i128::from(rental.hours);
            self.sell("bare lease".to_owned(), Account::RentalRevenue, fee, leaf, Bucket::Lease);
        }
        for licence in inputs.licences.get(period).into_iter().flatten() {
            let leaf = Leaf {
                period: period.to_owned(),
                tenant: Some(licence.tenant.clone()),
                line: Some("licence".to_owned()),
                ..Leaf::default()
            };
            let memo = "private-deployment licence".to_owned();
            self.sell(memo, Account::LicenceRevenue, i128::from(licence.ucny), leaf, Bucket::Licence);
        }
    }

    /// A tenant owes for what was sold; below zero, it is given back. Nothing is posted for nothing.
    fn sell(&mut self, memo: String, revenue: Account, amount: i128, leaf: Leaf, bucket: Bucket) {
        if amount == 0 {
            return;
        }
        let tenant = leaf.tenant.clone().expect("whatever is sold has a tenant");
        let period = leaf.period.clone();
        let owed = Leg { account: Account::Receivable(tenant), amount, leaf: None, bucket: None };
        let sold = Leg { account: revenue, amount: -amount, leaf: Some(leaf), bucket: Some(bucket) };
        self.entries.push(Entry { period, memo, legs: vec![owed, sold] });
    }

    fn spend(&mut self, memo: String, cost: Account, amount: i128, payable: Account, period: &str, node: &str) {
        if amount == 0 {
            return;
        }
        let leaf = Leaf { period: period.to_owned(), node: Some(node.to_owned()), ..Leaf::default() };
        let spent = Leg { account: cost, amount, leaf: Some(leaf), bucket: None };
        let owed = Leg { account: payable, amount: -amount, leaf: None, bucket: None };
        self.entries.push(Entry { period: period.to_owned(), memo, legs: vec![spent, owed] });
    }
}

impl Usage {
    /// Where a row of usage belongs.
    pub(crate) fn leaf(&self, inputs: &Inputs) -> Leaf {
        Leaf {
            period: self.period.clone(),
            tenant: Some(self.tenant.clone()),
            model: Some(self.model.clone()),
            node: Some(self.node.clone()),
            provider: Some(inputs.nodes[&self.node].provider.clone()),
            line: Some(self.line.clone()),
        }
    }
}

impl Node {
    /// What its energy costs in an hour, building included.
    pub(crate) fn energy_per_hour(&self) -> Exact {
        self.kilowatts() * whole(self.energy_ucny_per_kwh)
    }

    /// The power that it draws, building included.
    pub(crate) fn kilowatts(&self) -> Exact {
        ratio(self.power_w, 1_000_u64) * ratio(self.pue_milli, 1_000_u64)
    }
}
