//! Rows of scale, efficiency and value: of a period, of a model on a node, of a tenant, of any slice.

use super::PeriodFigures;
use crate::economics::bucket::Dimension;
use crate::economics::exact::{decimal, whole};
use crate::economics::factors::Factors;
use crate::economics::facts::{Facts, Slice};
use crate::economics::figure::{Denomination, Figure, Group, Rows};

/// S, T, E, V, their product and the revenue.
pub(super) fn factors_row(shown: &Denomination, factors: &Factors) -> Group {
    let value = factors.value();
    let tokens = Group::from_iter([
        ("milli".to_owned(), Figure::Count(factors.tokens_milli)),
        ("dec".to_owned(), Figure::Text(decimal(&factors.tokens(), 3))),
    ]);
    Rows::new(shown)
        .with("S_iu_rcu_h", Figure::ratio(&factors.scale, 6))
        .with("T_etok", tokens)
        .with("E_etok_per_iu_rcu_h", factors.efficiency().map_or(Figure::Absent, |e| Figure::ratio(&e, 6)))
        .with("V_cny_per_etok", value.as_ref().map_or(Figure::Absent, |value| shown.rate(value, 15)))
        .with("V_cny_per_1m_etok", shown.per_million(value.as_ref(), 9))
        .with("product_cny", shown.amount(&factors.product(), 6))
        .with("R_productive_cny", shown.money(factors.revenue))
        .done()
}

/// The factors of a whole period, and what they are an hour.
pub(super) fn identity(shown: &Denomination, period: &PeriodFigures<'_>) -> Group {
    let factors = period.slice.factors();
    let mut row = factors_row(shown, &factors);
    let hourly = Rows::new(shown)
        .with("flow_cny_per_h", shown.amount(&(factors.product() / &period.hours), 9))
        .with("avg_scale_iu_rcu", decimal(&(&factors.scale / &period.hours), 9))
        .done();
    row.extend(hourly);
    row
}

/// Every model on every node that has capacity, in the order of these names.
pub(super) fn by_cell(shown: &Denomination, facts: &Facts, [periods, models, nodes]: [&[&str]; 3]) -> Vec<Figure> {
    let slices = facts.slices(&[Dimension::Period, Dimension::Model, Dimension::Node]);
    let mut rows = vec![];
    for &period in periods {
        for &model in models {
            for &node in nodes {
                let slice = slices.get(&vec![Some(period), Some(model), Some(node)]);
                if let Some(slice) = slice.filter(|slice| !slice.scale.is_zero()) {
                    let names = [("period", period), ("model", model), ("node", node)];
                    let mut row: Group = names.map(|(name, value)| (name.to_owned(), value.into())).into();
                    row.extend(factors_row(shown, &slice.factors()));
                    rows.push(row.into());
                }
            }
        }
    }
    rows
}

/// Every tenant that has a part of the capacity, in the order of these names.
pub(super) fn by_tenant(shown: &Denomination, facts: &Facts, periods: &[&str], tenants: &[&str]) -> Group {
    let slices = facts.slices(&[Dimension::Period, Dimension::Tenant]);
    let mut rows = Group::new();
    for &period in periods {
        for &tenant in tenants {
            let slice = slices.get(&vec![Some(period), Some(tenant)]);
            if let Some(slice) = slice.filter(|slice| !slice.scale.is_zero()) {
                let row = || factors_row(shown, &slice.factors()).into();
                rows.entry(format!("{period}|{tenant}")).or_insert_with(row);
            }
        }
    }
    rows
}

/// Every slice by these dimensions with its factors and its buckets; each was proven before.
pub(super) fn by_dimensions(shown: &Denomination, facts: &Facts, dimensions: &[Dimension]) -> Vec<Figure> {
    let mut dated = vec![Dimension::Period];
    dated.extend(dimensions.iter().filter(|&&dimension| dimension != Dimension::Period));
    let rows = facts.slices(&dated).into_iter().map(|(key, slice)| {
        let named = dated.iter().zip(key);
        let mut row: Group =
            named.map(|(name, part)| (name.as_str().to_owned(), part.map_or(Figure::Absent, Figure::from))).collect();
        row.extend(factors_row(shown, &slice.factors()));
        row.insert("buckets".to_owned(), bucket_rows(shown, &slice).into());
        row.insert("reconciled".to_owned(), Figure::Flag(reconciled(&slice)));
        row.into()
    });
    rows.collect()
}

/// Revenue by class, and all of it.
pub(super) fn bucket_rows(shown: &Denomination, slice: &Slice) -> Group {
    let mut rows: Group =
        slice.buckets.iter().map(|(bucket, &amount)| (bucket.as_str().to_owned(), shown.money(amount))).collect();
    rows.insert("LEDGER_REVENUE".to_owned(), shown.money(slice.ledger_revenue()));
    rows
}

fn reconciled(slice: &Slice) -> bool {
    slice.factors().product() == whole(slice.productive())
}
