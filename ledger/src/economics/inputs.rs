//! The inputs of a report: who had which capacity, what was used at which price, and what else was sold.
//!
//! *Shape*: the `inputs` of `golden.json`. *Units*: money in millionths of the currency, shares in millionths, rates named
//! `_milli` in thousandths, `_bp` in ten-thousandths.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Deserialize;

use super::error::Error;
use super::tokens::{Class, Tokens, Waste, Weights};

/// What a report is made of.
#[derive(Clone, Debug, Deserialize)]
pub struct Inputs {
    /// Exactly two, in order.
    pub periods: IndexMap<String, Period>,
    /// What a token of each class weighs.
    pub token_weights_milli: Weights,
    /// How intelligent each model is.
    pub intelligence_index: IntelligenceIndex,
    /// The machines.
    pub nodes: IndexMap<String, Node>,
    /// What is served where, by period.
    pub deployments: BTreeMap<String, Vec<Deployment>>,
    /// Capacity sold by time, by period.
    #[serde(default, rename = "leases")]
    pub rentals: BTreeMap<String, Vec<Rental>>,
    /// Licences sold, by period.
    #[serde(default)]
    pub licences: BTreeMap<String, Vec<Licence>>,
    /// Prices of a million tokens by period, model and class.
    pub prices_ucny_per_1m: BTreeMap<String, BTreeMap<String, BTreeMap<Class, u64>>>,
    /// Discounts; a tenant without one pays the list price.
    #[serde(default)]
    pub tenant_discount_bp: IndexMap<String, u64>,
    /// What a line's tokens cost against the list.
    pub line_multiplier_bp: BTreeMap<String, u64>,
    /// What is given back of a charge for tokens that missed their objective.
    pub slo_miss_credit_bp: u64,
    /// What was used.
    pub usage: Vec<Usage>,
    /// Refunds of an earlier period.
    #[serde(default)]
    pub prior_period_refunds: Vec<PriorPeriodRefund>,
    /// Effective tokens per RCU·h of an unbatched run on the same hardware, by model.
    pub rental_baseline_etok_per_rcu_h: BTreeMap<String, u64>,
}

/// A time that a report compares.
#[derive(Clone, Debug, Deserialize)]
pub struct Period {
    /// Its hours.
    pub hours: u64,
}

/// How intelligent each model is, by version.
#[derive(Clone, Debug, Deserialize)]
pub struct IntelligenceIndex {
    /// The models.
    pub models: IndexMap<String, Model>,
}

/// A model variant.
#[derive(Clone, Debug, Deserialize)]
pub struct Model {
    /// κ against the reference model.
    pub kappa_milli: u64,
}

/// A machine, what it can do and what it costs.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Whose it is.
    pub provider: String,
    /// Its nominal capacity, c.
    pub rcu_milli: u64,
    /// What it cost.
    pub capex_ucny: u64,
    /// Over how many hours that is written off.
    pub life_hours: u64,
    /// What its provider takes for an hour.
    #[serde(rename = "lease_ucny_per_h")]
    pub hire_ucny_per_h: u64,
    /// Its power.
    pub power_w: u64,
    /// Power drawn by the building for each unit of it.
    pub pue_milli: u64,
    /// The price of energy.
    pub energy_ucny_per_kwh: u64,
    /// What an hour of it rents for on the market.
    pub market_rental_ucny_per_h: u64,
}

/// A model served on a reserved share of a node.
#[derive(Clone, Debug, Deserialize)]
pub struct Deployment {
    /// The model.
    pub model: String,
    /// The node.
    pub node: String,
    /// The share, f.
    pub share_ppm: u64,
    /// How long it was ready, h.
    pub hours: u64,
}

/// A share of a node, sold by time.
#[derive(Clone, Debug, Deserialize)]
pub struct Rental {
    /// Who pays.
    pub tenant: String,
    /// The node.
    pub node: String,
    /// The share.
    pub share_ppm: u64,
    /// How long.
    pub hours: u64,
    /// The price of the share for an hour.
    pub ucny_per_h: u64,
}

/// A licence.
#[derive(Clone, Debug, Deserialize)]
pub struct Licence {
    /// Who pays.
    pub tenant: String,
    /// The period's part of the fee.
    pub ucny: u64,
}

/// Tokens of one tenant on one deployment.
#[derive(Clone, Debug, Deserialize)]
pub struct Usage {
    /// When.
    pub period: String,
    /// The model.
    pub model: String,
    /// The node.
    pub node: String,
    /// Who pays.
    pub tenant: String,
    /// What was sold.
    pub line: String,
    /// Seconds of the deployment that it took.
    pub compute_s: u64,
    /// Effective tokens.
    pub eff: Tokens,
    /// Tokens that were delivered and billed but missed their objective.
    pub slo_miss: Tokens,
    /// Tokens that nobody pays for.
    pub unbilled: BTreeMap<Waste, u64>,
}

impl Usage {
    /// Whether any token was computed.
    pub fn any(&self) -> bool {
        self.eff.values().chain(self.slo_miss.values()).chain(self.unbilled.values()).any(|&n| n > 0)
    }
}

/// Money given back for an earlier period.
#[derive(Clone, Debug, Deserialize)]
pub struct PriorPeriodRefund {
    /// When it is given back.
    pub period: String,
    /// What for.
    pub of_period: String,
    /// To whom.
    pub tenant: String,
    /// The model.
    pub model: String,
    /// The node.
    pub node: String,
    /// The line.
    pub line: String,
    /// How much.
    pub ucny: u64,
}

/// One whole, in millionths.
pub(crate) const PPM: u64 = 1_000_000;
/// One whole, in ten-thousandths.
pub(crate) const BP: u64 = 10_000;

impl Inputs {
    /// The names of the two periods.
    pub fn pair(&self) -> Result<[&str; 2], Error> {
        let names: Vec<&str> = self.periods.keys().map(String::as_str).collect();
        names.try_into().map_err(|names: Vec<_>| Error::NotTwoPeriods(names.len()))
    }

    /// Refuses what does not fit together, and names the place; what passes has no name that leads nowhere.
    pub fn check(&self) -> Result<(), Error> {
        self.pair()?;
        for (name, period) in &self.periods {
            positive(period.hours, || format!("period “{name}”"), "its hours are above zero")?;
        }
        for (name, node) in &self.nodes {
            positive(node.life_hours, || format!("node “{name}”"), "its life_hours are above zero")?;
            positive(node.rcu_milli, || format!("node “{name}”"), "its rcu_milli is above zero")?;
        }
        for (name, model) in &self.intelligence_index.models {
            positive(model.kappa_milli, || format!("model “{name}”"), "its kappa_milli is above zero")?;
        }
        at_most(self.slo_miss_credit_bp, BP, || "slo_miss_credit_bp".to_owned(), "at most the whole charge")?;
        for (tenant, &discount) in &self.tenant_discount_bp {
            at_most(discount, BP, || format!("tenant_discount_bp of “{tenant}”"), "at most the whole price")?;
        }
        self.check_capacity()?;
        self.usage.iter().enumerate().try_for_each(|(at, usage)| self.check_usage(at, usage))?;
        let sold = self.licences.keys().chain(self.prior_period_refunds.iter().map(|refund| &refund.period));
        for period in sold {
            known("period", self.periods.contains_key(period), period, || "a sale or refund".to_owned())?;
        }
        for refund in &self.prior_period_refunds {
            known("node", self.nodes.contains_key(&refund.node), &refund.node, || "a refund".to_owned())?;
        }
        Ok(())
    }

    fn check_capacity(&self) -> Result<(), Error> {
        let models = &self.intelligence_index.models;
        for (period, deployments) in &self.deployments {
            let place = || format!("deployments of {period}");
            known("period", self.periods.contains_key(period), period, place)?;
            for Deployment { model, node, .. } in deployments {
                known("model", models.contains_key(model), model, place)?;
                known("baseline of", self.rental_baseline_etok_per_rcu_h.contains_key(model), model, place)?;
                known("node", self.nodes.contains_key(node), node, place)?;
            }
        }
        for (period, rentals) in &self.rentals {
            let place = || format!("leases of {period}");
            known("period", self.periods.contains_key(period), period, place)?;
            for rental in rentals {
                known("node", self.nodes.contains_key(&rental.node), &rental.node, place)?;
            }
        }
        for (period, spec) in &self.periods {
            for node in self.nodes.keys() {
                let deployed = self.deployed_on(period, node).map(|d| u128::from(d.share_ppm) * u128::from(d.hours));
                let rented = self.rented_on(period, node).map(|r| u128::from(r.share_ppm) * u128::from(r.hours));
                if deployed.chain(rented).sum::<u128>() > u128::from(PPM) * u128::from(spec.hours) {
                    return Err(Error::Overbooked { period: period.clone(), node: node.clone() });
                }
            }
        }
        Ok(())
    }

    fn check_usage(&self, at: usize, usage: &Usage) -> Result<(), Error> {
        let place = || format!("usage row {}", at + 1);
        let Usage { period, model, node, line, .. } = usage;
        known("period", self.periods.contains_key(period), period, place)?;
        known("model", self.intelligence_index.models.contains_key(model), model, place)?;
        known("node", self.nodes.contains_key(node), node, place)?;
        known("line", self.line_multiplier_bp.contains_key(line), line, place)?;
        let prices = self.prices_ucny_per_1m.get(period).and_then(|models| models.get(model));
        // What a cache spared is shown against the price of reading anew.
        let spared = usage.eff.get(&Class::Cached).map(|n| (&Class::Input, n));
        for (class, _) in usage.eff.iter().chain(&usage.slo_miss).chain(spared).filter(|&(_, &n)| n > 0) {
            known("weight of", self.token_weights_milli.contains_key(class), class.as_str(), place)?;
            let priced = prices.is_some_and(|prices| prices.contains_key(class));
            known("price of", priced, class.as_str(), || format!("{}, model “{model}”", place()))?;
        }
        if usage.any() { positive(usage.compute_s, place, "tokens take compute_s above zero") } else { Ok(()) }
    }

    /// What is served on a node in a period.
    pub(crate) fn deployed_on<'a>(&'a self, period: &str, node: &'a str) -> impl Iterator<Item = &'a Deployment> {
        self.deployments.get(period).into_iter().flatten().filter(move |deployment| deployment.node == node)
    }

    /// What is rented of a node in a period.
    pub(crate) fn rented_on<'a>(&'a self, period: &str, node: &'a str) -> impl Iterator<Item = &'a Rental> {
        self.rentals.get(period).into_iter().flatten().filter(move |rental| rental.node == node)
    }
}

fn known(what: &'static str, is_known: bool, name: &str, place: impl Fn() -> String) -> Result<(), Error> {
    if is_known { Ok(()) } else { Err(Error::Unknown { what, name: name.to_owned(), place: place() }) }
}

fn positive(number: u64, place: impl Fn() -> String, reason: &'static str) -> Result<(), Error> {
    if number > 0 { Ok(()) } else { Err(Error::BadNumber { place: place(), reason }) }
}

fn at_most(number: u64, most: u64, place: impl Fn() -> String, reason: &'static str) -> Result<(), Error> {
    if number <= most { Ok(()) } else { Err(Error::BadNumber { place: place(), reason }) }
}
