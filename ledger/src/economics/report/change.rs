//! Rows of the change between the periods: each leaf's effects, and the bridge of the ledger's revenue.

use serde::Serialize;

use super::{Named, currency, money};
use crate::economics::bridge::{Bridge, bucket_changes};
use crate::economics::exact::decimal;
use crate::economics::facts::Slice;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct BridgeTable {
    cells: Vec<BridgeRow>,
    total: BridgeTotal,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct BridgeRow {
    cell: Vec<String>,
    rule: &'static str,
    #[serde(rename = "R0")]
    before: String,
    #[serde(rename = "R1")]
    after: String,
    delta: String,
    scale: String,
    efficiency: String,
    value: String,
    scale_activity_part: String,
    scale_structure_part: String,
    exact_ucny: ExactEffects,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ExactEffects {
    scale: String,
    efficiency: String,
    value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct BridgeTotal {
    delta_cny: String,
    scale: String,
    efficiency: String,
    value: String,
    residual: String,
}

impl BridgeTable {
    pub fn of(bridge: &Bridge) -> Self {
        let cells = bridge.cells.iter().map(|cell| {
            let [scale, efficiency, value] = cell.effects.rounded.map(money);
            let [activity, structure] = &cell.effects.scale_parts;
            let exact = |factor: usize| decimal(&cell.effects.exact[factor], 12);
            BridgeRow {
                cell: cell.key.clone(),
                rule: cell.effects.rule.as_str(),
                before: money(cell.revenue[0]),
                after: money(cell.revenue[1]),
                delta: money(cell.revenue[1] - cell.revenue[0]),
                scale,
                efficiency,
                value,
                scale_activity_part: decimal(&currency(activity), 9),
                scale_structure_part: decimal(&currency(structure), 9),
                exact_ucny: ExactEffects { scale: exact(0), efficiency: exact(1), value: exact(2) },
            }
        });
        let [scale, efficiency, value] = bridge.total.map(money);
        let (delta_cny, residual) = (money(bridge.change), money(bridge.residual()));
        let total = BridgeTotal { delta_cny, scale, efficiency, value, residual };
        Self { cells: cells.collect(), total }
    }
}

/// From the ledger's revenue of one period to that of the other: the three effects, then every other bucket's change.
pub(super) fn ledger_bridge(before: &Slice, after: &Slice, product: &Bridge) -> Named<String> {
    let changes = bucket_changes(before, after);
    let explained = product.total.iter().chain(changes.values()).sum::<i128>();
    let (from, to) = (before.ledger_revenue(), after.ledger_revenue());
    let mut rows = Named::from([("R0_ledger".to_owned(), money(from))]);
    let effects = ["scale", "efficiency", "value"].into_iter().zip(product.total);
    rows.extend(effects.map(|(name, effect)| (name.to_owned(), money(effect))));
    rows.extend(changes.iter().map(|(bucket, &change)| (format!("delta_{}", bucket.as_str()), money(change))));
    rows.insert("R1_ledger".to_owned(), money(to));
    rows.insert("residual".to_owned(), money(to - from - explained));
    rows
}
