//! Rows of scale, efficiency and value: of a period, of a model on a node, of a tenant.

use serde::Serialize;

use super::{Named, PeriodFigures, currency, money};
use crate::economics::bucket::{Dimension, IDLE};
use crate::economics::exact::{Exact, decimal, fraction, ratio};
use crate::economics::factors::Factors;
use crate::economics::facts::Facts;
use crate::economics::inputs::Inputs;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FactorsRow {
    #[serde(rename = "S_iu_rcu_h")]
    scale: Ratio,
    #[serde(rename = "T_etok")]
    tokens: Milli,
    #[serde(rename = "E_etok_per_iu_rcu_h")]
    efficiency: Option<Ratio>,
    #[serde(rename = "V_cny_per_etok")]
    value: Option<Ratio>,
    #[serde(rename = "V_cny_per_1m_etok")]
    value_per_million: Option<String>,
    product_cny: String,
    #[serde(rename = "R_productive_cny")]
    revenue: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ratio {
    frac: String,
    dec: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Milli {
    milli: i128,
    dec: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Identity {
    #[serde(flatten)]
    factors: FactorsRow,
    flow_cny_per_h: String,
    avg_scale_iu_rcu: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CellRow {
    period: String,
    model: String,
    node: String,
    #[serde(flatten)]
    factors: FactorsRow,
}

impl FactorsRow {
    pub fn of(factors: &Factors) -> Self {
        let value = factors.value();
        Self {
            scale: Ratio::of(&factors.scale, 6),
            tokens: Milli { milli: factors.tokens_milli, dec: decimal(&factors.tokens(), 3) },
            efficiency: factors.efficiency().map(|efficiency| Ratio::of(&efficiency, 6)),
            value: value.as_ref().map(|value| Ratio::of(&currency(value), 15)),
            // A million tokens at millionths of the currency each: the same number.
            value_per_million: value.as_ref().map(|value| decimal(value, 9)),
            product_cny: decimal(&currency(&factors.product()), 6),
            revenue: money(factors.revenue),
        }
    }
}

impl Ratio {
    pub fn of(value: &Exact, places: usize) -> Self {
        Self { frac: fraction(value), dec: decimal(value, places) }
    }
}

impl Identity {
    pub fn of(period: &PeriodFigures<'_>) -> Self {
        let factors = period.slice.factors();
        let an_hour = ratio(1, period.hours);
        Self {
            factors: FactorsRow::of(&factors),
            flow_cny_per_h: decimal(&(currency(&factors.product()) * &an_hour), 9),
            avg_scale_iu_rcu: decimal(&(&factors.scale * &an_hour), 9),
        }
    }
}

/// Every model on every node that has capacity, in the order of the inputs.
pub(super) fn by_cell(inputs: &Inputs, facts: &Facts) -> Vec<CellRow> {
    let slices = facts.slices(&[Dimension::Period, Dimension::Model, Dimension::Node]);
    let mut rows = vec![];
    for period in inputs.periods.keys() {
        for model in inputs.intelligence_index.models.keys() {
            for node in inputs.nodes.keys() {
                let key = vec![Some(period.as_str()), Some(model.as_str()), Some(node.as_str())];
                if let Some(slice) = slices.get(&key).filter(|slice| !slice.scale.is_zero()) {
                    let (period, model, node) = (period.clone(), model.clone(), node.clone());
                    rows.push(CellRow { period, model, node, factors: FactorsRow::of(&slice.factors()) });
                }
            }
        }
    }
    rows
}

/// Every tenant that has a part of the capacity, in the order in which the inputs name them; what is idle comes last.
pub(super) fn by_tenant(inputs: &Inputs, facts: &Facts) -> Named<FactorsRow> {
    let slices = facts.slices(&[Dimension::Period, Dimension::Tenant]);
    let mut tenants: Vec<&str> = inputs.tenant_discount_bp.keys().map(String::as_str).collect();
    tenants.extend(inputs.usage.iter().map(|usage| usage.tenant.as_str()));
    tenants.push(IDLE);
    let mut rows = Named::new();
    for period in inputs.periods.keys() {
        for &tenant in &tenants {
            let slice = slices.get(&vec![Some(period.as_str()), Some(tenant)]);
            if let Some(slice) = slice.filter(|slice| !slice.scale.is_zero()) {
                rows.entry(format!("{period}|{tenant}")).or_insert_with(|| FactorsRow::of(&slice.factors()));
            }
        }
    }
    rows
}
