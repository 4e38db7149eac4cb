//! Rows of the change between the periods: each leaf's effects, and the bridge of the ledger's revenue.

use crate::economics::bridge::{Bridge, Cell, bucket_changes};
use crate::economics::exact::decimal;
use crate::economics::facts::Slice;
use crate::economics::figure::{Denomination, Figure, Group, Rows};

/// Every leaf's effects, and their sums.
pub(super) fn bridge_table(shown: &Denomination, bridge: &Bridge) -> Group {
    let cells = bridge.cells.iter().map(|cell| bridge_row(shown, cell).into()).collect();
    let [scale, efficiency, value] = bridge.total.map(|effect| shown.money(effect));
    let total = Rows::new(shown)
        .with("delta_cny", shown.money(bridge.change))
        .with("scale", scale)
        .with("efficiency", efficiency)
        .with("value", value)
        .with("residual", shown.money(bridge.residual()))
        .done();
    Rows::new(shown).with("cells", Figure::List(cells)).with("total", total).done()
}

fn bridge_row(shown: &Denomination, cell: &Cell) -> Group {
    let [scale, efficiency, value] = cell.effects.rounded.map(|effect| shown.money(effect));
    let [activity, structure] = &cell.effects.scale_parts;
    let names = ["scale", "efficiency", "value"].into_iter().zip(&cell.effects.exact);
    let exact: Group = names.map(|(name, effect)| (name.to_owned(), decimal(effect, 12).into())).collect();
    Rows::new(shown)
        .with("cell", Figure::words(cell.key.iter().cloned()))
        .with("rule", cell.effects.rule.as_str())
        .with("R0", shown.money(cell.revenue[0]))
        .with("R1", shown.money(cell.revenue[1]))
        .with("delta", shown.money(cell.revenue[1] - cell.revenue[0]))
        .with("scale", scale)
        .with("efficiency", efficiency)
        .with("value", value)
        .with("scale_activity_part", shown.amount(activity, 9))
        .with("scale_structure_part", shown.amount(structure, 9))
        .with("exact_ucny", exact)
        .done()
}

/// From the ledger's revenue of one period to that of the other: the three effects, then every other bucket's change.
pub(super) fn ledger_bridge(shown: &Denomination, [before, after]: [&Slice; 2], product: &Bridge) -> Group {
    let changes = bucket_changes(before, after);
    let explained = product.total.iter().chain(changes.values()).sum::<i128>();
    let (from, to) = (before.ledger_revenue(), after.ledger_revenue());
    let mut rows = Group::from_iter([("R0_ledger".to_owned(), shown.money(from))]);
    let effects = ["scale", "efficiency", "value"].into_iter().zip(product.total);
    rows.extend(effects.map(|(name, effect)| (name.to_owned(), shown.money(effect))));
    rows.extend(changes.iter().map(|(bucket, &change)| (format!("delta_{}", bucket.as_str()), shown.money(change))));
    rows.insert("R1_ledger".to_owned(), shown.money(to));
    rows.insert("residual".to_owned(), shown.money(to - from - explained));
    rows
}
