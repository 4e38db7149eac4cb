//! The report: every figure of two periods, and the bridge between them.
//!
//! *Shape*: the `expected` of `golden.json`. *Units*: as the figures' names say; money is shown in the currency, exact to the
//! money unit, and every other figure half to even at the golden's number of places.

mod change;
mod factors;
mod unit;

use serde::Serialize;

use self::change::{bridge_table, ledger_bridge};
use self::factors::{bucket_rows, by_cell, by_dimensions, by_tenant, identity};
use self::unit::{cost_row, raw_rows, split_row, unit_economics, waterfall_row};
use super::bridge::{Bridge, Leaves};
use super::bucket::{Dimension, IDLE};
use super::cost::Cost;
use super::error::Error;
use super::exact::{Exact, whole};
use super::facts::{Facts, Slice};
use super::figure::{Denomination, Figure, Group};
use super::inputs::Inputs;
use super::journal::Journal;
use super::scale::Allocation;
use super::value::{Tariff, Waterfall};

/// A report of two periods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Report(Group);

impl Report {
    /// The report of these inputs.
    ///
    /// *Errors*: inputs that do not fit together, and any slice that does not reconcile, by its leaf: there is no report
    /// with a figure that the ledger does not bear out.
    pub fn of(inputs: &Inputs) -> Result<Self, Error> {
        inputs.check()?;
        let pair = inputs.pair()?;
        let journal = Journal::post(inputs);
        let facts = Facts::of(inputs, &journal, Allocation::Absorbed);
        let reconciled = facts.reconcile()?;
        let shown = Denomination::example();
        let periods = pair.map(|name| {
            let hours = whole(inputs.periods[name].hours);
            PeriodFigures::of(&facts, name, hours, Cost::of(inputs, &journal, name))
        });
        let models: Vec<&str> = inputs.intelligence_index.models.keys().map(String::as_str).collect();
        let nodes: Vec<&str> = inputs.nodes.keys().map(String::as_str).collect();
        let mut tenants: Vec<&str> = inputs.tenant_discount_bp.keys().map(String::as_str).collect();
        tenants.extend(inputs.usage.iter().map(|usage| usage.tenant.as_str()));
        tenants.push(IDLE);
        let mut report = common(&shown, &facts, &periods, [&models, &nodes, &tenants])?;
        let waterfalls = pair.map(|name| (name.to_owned(), waterfall_row(&shown, &waterfall(inputs, name)).into()));
        report.insert(shown.name("value_waterfall_cny"), Figure::Group(waterfalls.into()));
        let checks = [
            ("slices_reconciled_exactly".to_owned(), Figure::of_count(reconciled)),
            ("journal_entries".to_owned(), Figure::of_count(journal.entries.len())),
            ("trial_balance_ucny".to_owned(), Figure::Count(journal.trial_balance().values().sum())),
        ];
        report.insert("checks".to_owned(), Figure::Group(checks.into()));
        Ok(Self(report))
    }

    /// The figures by name.
    pub fn figures(&self) -> &Group {
        &self.0
    }

    pub(super) fn new(figures: Group) -> Self {
        Self(figures)
    }
}

/// Everything about one period, before it is shown.
pub(super) struct PeriodFigures<'a> {
    pub name: &'a str,
    pub hours: Exact,
    pub slice: Slice,
    pub cost: Cost,
}

impl<'a> PeriodFigures<'a> {
    pub fn of(facts: &Facts, name: &'a str, hours: Exact, cost: Cost) -> Self {
        Self { name, hours, slice: facts.slice(|leaf| leaf.period == name), cost }
    }
}

/// What every report has: the factors, the buckets, unit economics and the bridges, of models, nodes and tenants in their order.
pub(super) fn common(
    shown: &Denomination,
    facts: &Facts,
    periods: &[PeriodFigures<'_>; 2],
    [models, nodes, tenants]: [&[&str]; 3],
) -> Result<Group, Error> {
    let pair = [periods[0].name, periods[1].name];
    let deployments = Bridge::between(facts, pair, Leaves::Deployment)?;
    let by_tenants = Bridge::between(facts, pair, Leaves::Tenant)?;
    let mut report = Group::new();
    let mut add = |name: &str, figure: Figure| report.insert(name.to_owned(), figure);
    add("identity", named(periods, |period| identity(shown, period)));
    add("buckets", named(periods, |period| bucket_rows(shown, &period.slice)));
    add("by_cell", Figure::List(by_cell(shown, facts, [&pair, models, nodes])));
    add("by_tenant", by_tenant(shown, facts, &pair, tenants).into());
    add("unit_economics", named(periods, |period| unit_economics(shown, period)));
    for period in periods {
        add(&format!("raw_tokens_{}", period.name), raw_rows(&period.slice.tokens).into());
    }
    add("efficiency_split", named(periods, |period| split_row(shown, period)));
    add("cost_reconciliation", named(periods, |period| cost_row(shown, &period.cost)));
    add("lmdi_by_model_node", bridge_table(shown, &deployments).into());
    add("lmdi_by_tenant_model_node_line", bridge_table(shown, &by_tenants).into());
    add("bridge", ledger_bridge(shown, [&periods[0].slice, &periods[1].slice], &deployments).into());
    Ok(report)
}

/// The slices by any dimensions.
pub(super) fn slices(shown: &Denomination, facts: &Facts, dimensions: &[Dimension]) -> Figure {
    Figure::List(by_dimensions(shown, facts, dimensions))
}

fn named(periods: &[PeriodFigures<'_>; 2], figure: impl Fn(&PeriodFigures<'_>) -> Group) -> Figure {
    Figure::Group(periods.iter().map(|period| (period.name.to_owned(), figure(period).into())).collect())
}

fn waterfall(inputs: &Inputs, period: &str) -> Waterfall {
    let mut waterfall = Waterfall::default();
    for usage in inputs.usage.iter().filter(|usage| usage.period == period && usage.is_declared(inputs)) {
        waterfall.add(&Tariff::of(inputs, usage), usage);
    }
    waterfall
}
