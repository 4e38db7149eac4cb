//! Rows of a period's unit economics: what tokens cost, what efficiency is made of, how the list price became revenue.

use super::PeriodFigures;
use crate::economics::cost::Cost;
use crate::economics::exact::decimal;
use crate::economics::factors::Split;
use crate::economics::figure::{Denomination, Figure, Group, Rows};
use crate::economics::tokens::Count;
use crate::economics::value::Waterfall;

/// What a period's tokens cost and earn.
pub(super) fn unit_economics(shown: &Denomination, period: &PeriodFigures<'_>) -> Group {
    let PeriodFigures { slice, cost, .. } = period;
    let factors = slice.factors();
    let tokens = factors.tokens();
    let break_even = shown.amount_of(cost.break_even_value(slice).as_ref(), 9);
    let per_currency = |value: Option<&crate::economics::Exact>| {
        Figure::decimal(value.and_then(|value| cost.by_depreciation(value)).map(|v| v / shown.currency(&1.into())), 6)
    };
    let baseline = cost.baseline_tokens.as_ref();
    Rows::new(shown)
        .with("cogs_cny", shown.money(cost.ledger))
        .with("depreciation_memo_cny", shown.amount_of(cost.depreciation.as_ref(), 6))
        .with("token_cogs_cny", shown.amount(&cost.token, 6))
        .with("token_depreciation_memo_cny", shown.amount_of(cost.token_depreciation.as_ref(), 6))
        .with("cost_per_1m_etok_cny", break_even.clone())
        .with("break_even_V_cny_per_1m_etok", break_even)
        .with("realised_V_cny_per_1m_etok", shown.per_million(factors.value().as_ref(), 9))
        .with("token_gross_margin", Figure::decimal(cost.token_gross_margin(slice), 9))
        .with("company_gross_margin", Figure::decimal(cost.company_gross_margin(slice), 9))
        .with("etok_per_depreciation_cny", per_currency(Some(&tokens)))
        .with("baseline_etok_same_hardware", Figure::decimal(baseline.cloned(), 3))
        .with("baseline_etok_per_depreciation_cny", per_currency(baseline))
        .with("effective_token_multiple_vs_rental_baseline", Figure::decimal(cost.multiple(slice), 9))
        .with("market_rental_value_of_token_hours_cny", shown.amount_of(cost.market_rental.as_ref(), 6))
        .with("token_revenue_over_rental_value", Figure::decimal(cost.over_rental(slice), 9))
        .with("etok_per_kwh", Figure::decimal(cost.by_energy(&tokens), 6))
        .with("yield_effective_over_raw", Figure::decimal(Split::of(slice).yielded, 9))
        .done()
}

/// U, G, Y and W.
pub(super) fn split_row(shown: &Denomination, period: &PeriodFigures<'_>) -> Group {
    let split = Split::of(&period.slice);
    let ratio =
        |value: Option<crate::economics::Exact>| value.map_or(Figure::Absent, |value| Figure::ratio(&value, 12));
    let break_even = period.cost.break_even_utilisation(&period.slice);
    Rows::new(shown)
        .with("U_utilisation", ratio(split.utilisation))
        .with("G_raw_tok_per_busy_iu_rcu_h", Figure::decimal(split.speed, 6))
        .with("Y_yield_effective_over_raw", ratio(split.yielded))
        .with("W_mean_token_weight", Figure::decimal(split.weight, 12))
        .with("S_busy_iu_rcu_h", decimal(&period.slice.busy, 9))
        .with("break_even_utilisation_ceteris_paribus", Figure::decimal(break_even, 12))
        .done()
}

/// The parts of the ledger's cost, which add up to it.
pub(super) fn cost_row(shown: &Denomination, cost: &Cost) -> Group {
    let mut row = Rows::new(shown)
        .with("token", shown.amount(&cost.token, 6))
        .with("lease", shown.amount(&cost.rental, 6))
        .with("unallocated_capacity", shown.amount(&cost.unallocated, 6));
    if cost.other != 0 {
        row = row.with("no_capacity", shown.money(cost.other));
    }
    row.with("ledger_cogs", shown.money(cost.ledger)).done()
}

/// From the list price to the posted revenue.
pub(super) fn waterfall_row(shown: &Denomination, waterfall: &Waterfall) -> Group {
    Rows::new(shown)
        .with("1_list_no_cache", shown.amount(&waterfall.list, 9))
        .with("2_cache_discount", shown.amount(&waterfall.cache, 9))
        .with("3_batch_discount", shown.amount(&waterfall.line, 9))
        .with("4_tenant_discount", shown.amount(&waterfall.tenant, 9))
        .with("5_posting_rounding", shown.amount(&waterfall.rounding, 9))
        .with("6_posted_R", shown.amount(&waterfall.posted, 9))
        .with("realisation_rho", Figure::decimal(waterfall.realisation(), 12))
        .done()
}

/// Raw tokens: effective, and wasted by reason.
pub(super) fn raw_rows(tokens: &Count) -> Group {
    let mut rows = Group::from_iter([
        ("effective".to_owned(), Figure::Count(tokens.effective)),
        ("raw_total".to_owned(), Figure::Count(tokens.raw())),
    ]);
    rows.extend(tokens.wasted.iter().map(|(reason, &wasted)| (reason.as_str().to_owned(), Figure::Count(wasted))));
    rows.sort_unstable_keys();
    rows
}
