//! Assumptions: what no record holds. They are versioned, printed with every report, and move the factors, never the revenue.
//!
//! *Shape*: a subset of the `inputs` of `golden.json`; money is decimal text in the report's currency.
//!
//! ```json
//! {
//!   "weight_version": "tw-2", "token_weights_milli": { "in": 250, "cached": 25, "out": 1000 },
//!   "intelligence_index": { "version": "ii-1", "models": { "spark-1": { "kappa_milli": 420 } } },
//!   "nodes": { "node_0192…": { "capex": "262800", "life_hours": 43800, "power_w": 1000, "pue_milli": 1250,
//!     "market_rental_per_h": "18.00" } },
//!   "rental_baseline_etok_per_rcu_h": { "spark-1": 2000000 }
//! }
//! ```
//!
//! Every key may be left out: weights are those of the definition (`tw-1`), every model counts as one (`unit`), and figures
//! that need what nobody described are absent.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use primitives::money::Nanos;
use serde::{Deserialize, Deserializer};

use super::error::Error;
use super::exact::{Exact, ratio, whole};
use super::figure::Basis;
use super::inputs::Model;
use super::tokens::{Class, Weights};

/// The version of [`Class::weights`].
const WEIGHTS: &str = "tw-1";
/// The index in which every model counts as one.
const UNIT: &str = "unit";

/// What a report assumes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumptions {
    weight_version: Option<String>,
    token_weights_milli: Option<Weights>,
    intelligence_index: Option<Index>,
    #[serde(default)]
    nodes: IndexMap<String, Hardware>,
    #[serde(default)]
    rental_baseline_etok_per_rcu_h: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    version: String,
    models: IndexMap<String, Model>,
}

/// What a machine cost, draws, and would rent for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    #[serde(deserialize_with = "money")]
    capex: Nanos,
    life_hours: u64,
    power_w: u64,
    pue_milli: u64,
    #[serde(deserialize_with = "money")]
    market_rental_per_h: Nanos,
}

impl Assumptions {
    /// Refuses what does not fit together: weights without a version, or a version without them; zeros that divide.
    pub fn check(&self) -> Result<(), Error> {
        if self.weight_version.is_some() != self.token_weights_milli.is_some() {
            let place = "token_weights_milli".to_owned();
            return Err(Error::BadNumber {
                place,
                reason: "weights take a weight_version, and a version takes weights",
            });
        }
        for (name, hardware) in &self.nodes {
            let sensible = hardware.life_hours > 0 && hardware.capex >= Nanos::ZERO;
            if !sensible || hardware.market_rental_per_h < Nanos::ZERO {
                let reason = "its life_hours are above zero, and its money is not below";
                return Err(Error::BadNumber { place: format!("node “{name}”"), reason });
            }
        }
        for (name, model) in self.intelligence_index.iter().flat_map(|index| &index.models) {
            if model.kappa_milli == 0 {
                let place = format!("model “{name}”");
                return Err(Error::BadNumber { place, reason: "its kappa_milli is above zero" });
            }
        }
        Ok(())
    }

    /// Which intelligence index.
    pub fn index_version(&self) -> &str {
        self.intelligence_index.as_ref().map_or(UNIT, |index| &index.version)
    }

    /// Which weights.
    pub fn weight_version(&self) -> &str {
        self.weight_version.as_deref().unwrap_or(WEIGHTS)
    }

    /// What a token of each class weighs.
    pub fn weights(&self) -> Weights {
        self.token_weights_milli.clone().unwrap_or_else(Class::weights)
    }

    /// κ of a model. *Errors*: a model that the index does not hold has none.
    pub fn intelligence(&self, model: &str) -> Result<Exact, Error> {
        let Some(index) = &self.intelligence_index else {
            return Ok(Exact::ONE);
        };
        let Some(known) = index.models.get(model) else {
            let place = format!("intelligence index “{}”", index.version);
            return Err(Error::Unknown { what: "model", name: model.to_owned(), place });
        };
        Ok(ratio(known.kappa_milli, 1_000_u64))
    }

    /// c of a whole node on another basis than its nominal capacity. *Errors*: a node that nobody described.
    pub fn capacity(&self, node: &str, basis: Basis) -> Result<Exact, Error> {
        let Some(hardware) = self.nodes.get(node) else {
            let place = format!("basis {}", basis.as_str());
            return Err(Error::Unknown { what: "node", name: node.to_owned(), place });
        };
        Ok(match basis {
            Basis::Depreciation => hardware.depreciation_per_hour() * ratio(1, 1_000_000_000_u64),
            Basis::Rcu | Basis::Energy => hardware.kilowatts(),
        })
    }

    /// A node, where somebody described it.
    pub fn hardware(&self, node: &str) -> Option<&Hardware> {
        self.nodes.get(node)
    }

    /// Every node that somebody described.
    pub fn all_hardware(&self) -> impl Iterator<Item = &Hardware> {
        self.nodes.values()
    }

    /// Effective tokens per RCU·h of an unbatched run, where somebody measured it.
    pub fn baseline(&self, model: &str) -> Option<u64> {
        self.rental_baseline_etok_per_rcu_h.get(model).copied()
    }
}

impl Hardware {
    /// *Units*: nano-units.
    pub fn depreciation_per_hour(&self) -> Exact {
        ratio(self.capex.0, self.life_hours)
    }

    /// The building included.
    pub fn kilowatts(&self) -> Exact {
        ratio(self.power_w, 1_000_u64) * ratio(self.pue_milli, 1_000_u64)
    }

    /// *Units*: nano-units.
    pub fn market_rental_per_hour(&self) -> Exact {
        whole(self.market_rental_per_h.0)
    }
}

fn money<'de, D: Deserializer<'de>>(from: D) -> Result<Nanos, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}
