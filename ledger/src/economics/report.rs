//! The report: every figure of two periods, and the bridge between them.
//!
//! *Shape*: the `expected` of `golden.json`. *Units*: as the fields' names say; money is shown in the currency, exact to the
//! money unit, and every other figure half to even at the golden's number of places.

mod change;
mod factors;
mod unit;

use indexmap::IndexMap;
use serde::Serialize;

use self::change::{BridgeTable, ledger_bridge};
use self::factors::{CellRow, FactorsRow, Identity, by_cell, by_tenant};
use self::unit::{CostRow, SplitRow, UnitEconomics, WaterfallRow};
use super::bridge::{Bridge, Leaves};
use super::cost::Cost;
use super::error::Error;
use super::exact::{Exact, decimal, ratio, whole};
use super::facts::{Facts, Slice};
use super::inputs::{Inputs, PPM};
use super::journal::Journal;
use super::scale::Allocation;
use super::tokens::Count;
use super::value::{Tariff, Waterfall};

/// Figures by name, in the order of the inputs.
type Named<T> = IndexMap<String, T>;

/// A report of two periods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    identity: Named<Identity>,
    buckets: Named<Named<String>>,
    by_cell: Vec<CellRow>,
    by_tenant: Named<FactorsRow>,
    unit_economics: Named<UnitEconomics>,
    #[serde(flatten)]
    raw_tokens: Named<Named<i128>>,
    efficiency_split: Named<SplitRow>,
    cost_reconciliation: Named<CostRow>,
    value_waterfall_cny: Named<WaterfallRow>,
    lmdi_by_model_node: BridgeTable,
    lmdi_by_tenant_model_node_line: BridgeTable,
    bridge: Named<String>,
    checks: Checks,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Checks {
    slices_reconciled_exactly: usize,
    journal_entries: usize,
    trial_balance_ucny: i128,
}

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
        let checks = Checks {
            slices_reconciled_exactly: facts.reconcile()?,
            journal_entries: journal.entries.len(),
            trial_balance_ucny: journal.trial_balance().values().sum(),
        };
        let periods = pair.map(|name| PeriodFigures::of(inputs, &journal, &facts, name));
        let deployments = Bridge::between(&facts, pair, Leaves::Deployment)?;
        Ok(Self {
            identity: named(&periods, Identity::of),
            buckets: named(&periods, |period| bucket_rows(&period.slice)),
            by_cell: by_cell(inputs, &facts),
            by_tenant: by_tenant(inputs, &facts),
            unit_economics: named(&periods, UnitEconomics::of),
            raw_tokens: periods.iter().map(|p| (format!("raw_tokens_{}", p.name), raw_rows(&p.slice.tokens))).collect(),
            efficiency_split: named(&periods, SplitRow::of),
            cost_reconciliation: named(&periods, |period| CostRow::of(&period.cost)),
            value_waterfall_cny: named(&periods, |period| WaterfallRow::of(&period.waterfall)),
            bridge: ledger_bridge(&periods[0].slice, &periods[1].slice, &deployments),
            lmdi_by_model_node: BridgeTable::of(&deployments),
            lmdi_by_tenant_model_node_line: BridgeTable::of(&Bridge::between(&facts, pair, Leaves::Tenant)?),
            checks,
        })
    }
}

/// Everything about one period, before it is shown.
struct PeriodFigures<'a> {
    name: &'a str,
    hours: u64,
    slice: Slice,
    cost: Cost,
    waterfall: Waterfall,
}

impl<'a> PeriodFigures<'a> {
    fn of(inputs: &'a Inputs, journal: &Journal, facts: &Facts, name: &'a str) -> Self {
        let mut waterfall = Waterfall::default();
        for usage in inputs.usage.iter().filter(|usage| usage.period == name && usage.is_declared(inputs)) {
            waterfall.add(&Tariff::of(inputs, usage), usage);
        }
        Self {
            name,
            hours: inputs.periods[name].hours,
            slice: facts.slice(|leaf| leaf.period == name),
            cost: Cost::of(inputs, journal, name),
            waterfall,
        }
    }
}

fn named<T>(periods: &[PeriodFigures<'_>; 2], figure: impl Fn(&PeriodFigures<'_>) -> T) -> Named<T> {
    periods.iter().map(|period| (period.name.to_owned(), figure(period))).collect()
}

fn bucket_rows(slice: &Slice) -> Named<String> {
    let mut rows: Named<String> =
        slice.buckets.iter().map(|(bucket, &amount)| (bucket.as_str().to_owned(), money(amount))).collect();
    rows.insert("LEDGER_REVENUE".to_owned(), money(slice.ledger_revenue()));
    rows
}

fn raw_rows(tokens: &Count) -> Named<i128> {
    let mut rows = Named::from([("effective".to_owned(), tokens.effective), ("raw_total".to_owned(), tokens.raw())]);
    rows.extend(tokens.wasted.iter().map(|(reason, &wasted)| (reason.as_str().to_owned(), wasted)));
    rows.sort_unstable_keys();
    rows
}

/// Money units as the currency.
fn currency(units: &Exact) -> Exact {
    units * ratio(1, PPM)
}

fn money(units: i128) -> String {
    decimal(&currency(&whole(units)), 6)
}

fn shown(value: Option<Exact>, places: usize) -> Option<String> {
    value.map(|value| decimal(&value, places))
}
