//! Rows of a period's unit economics: what tokens cost, what efficiency is made of, how the list price became revenue.

use serde::Serialize;

use super::factors::Ratio;
use super::{PeriodFigures, currency, money, shown};
use crate::economics::cost::Cost;
use crate::economics::exact::{Exact, decimal};
use crate::economics::factors::Split;
use crate::economics::value::Waterfall;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct UnitEconomics {
    cogs_cny: String,
    depreciation_memo_cny: String,
    token_cogs_cny: String,
    token_depreciation_memo_cny: String,
    cost_per_1m_etok_cny: Option<String>,
    #[serde(rename = "break_even_V_cny_per_1m_etok")]
    break_even_value: Option<String>,
    #[serde(rename = "realised_V_cny_per_1m_etok")]
    realised_value: Option<String>,
    token_gross_margin: Option<String>,
    company_gross_margin: Option<String>,
    etok_per_depreciation_cny: Option<String>,
    baseline_etok_same_hardware: String,
    baseline_etok_per_depreciation_cny: Option<String>,
    effective_token_multiple_vs_rental_baseline: Option<String>,
    market_rental_value_of_token_hours_cny: String,
    token_revenue_over_rental_value: Option<String>,
    etok_per_kwh: Option<String>,
    yield_effective_over_raw: Option<String>,
}

impl UnitEconomics {
    pub fn of(period: &PeriodFigures<'_>) -> Self {
        let PeriodFigures { slice, cost, .. } = period;
        let factors = slice.factors();
        let break_even = shown(cost.break_even_value(slice).map(|value| currency(&value)), 9);
        Self {
            cogs_cny: money(cost.ledger),
            depreciation_memo_cny: decimal(&currency(&cost.depreciation), 6),
            token_cogs_cny: decimal(&currency(&cost.token), 6),
            token_depreciation_memo_cny: decimal(&currency(&cost.token_depreciation), 6),
            cost_per_1m_etok_cny: break_even.clone(),
            break_even_value: break_even,
            realised_value: shown(factors.value(), 9),
            token_gross_margin: shown(cost.token_gross_margin(slice), 9),
            company_gross_margin: shown(cost.company_gross_margin(slice), 9),
            etok_per_depreciation_cny: shown(cost.by_depreciation(&factors.tokens()), 6),
            baseline_etok_same_hardware: decimal(&cost.baseline_tokens, 3),
            baseline_etok_per_depreciation_cny: shown(cost.by_depreciation(&cost.baseline_tokens), 6),
            effective_token_multiple_vs_rental_baseline: shown(cost.multiple(slice), 9),
            market_rental_value_of_token_hours_cny: decimal(&currency(&cost.market_rental), 6),
            token_revenue_over_rental_value: shown(cost.over_rental(slice), 9),
            etok_per_kwh: shown(cost.by_energy(&factors.tokens()), 6),
            yield_effective_over_raw: shown(Split::of(slice).yielded, 9),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SplitRow {
    #[serde(rename = "U_utilisation")]
    utilisation: Option<Ratio>,
    #[serde(rename = "G_raw_tok_per_busy_iu_rcu_h")]
    speed: Option<String>,
    #[serde(rename = "Y_yield_effective_over_raw")]
    yielded: Option<Ratio>,
    #[serde(rename = "W_mean_token_weight")]
    weight: Option<String>,
    #[serde(rename = "S_busy_iu_rcu_h")]
    busy: String,
    break_even_utilisation_ceteris_paribus: Option<String>,
}

impl SplitRow {
    pub fn of(period: &PeriodFigures<'_>) -> Self {
        let split = Split::of(&period.slice);
        Self {
            utilisation: split.utilisation.map(|utilisation| Ratio::of(&utilisation, 12)),
            speed: shown(split.speed, 6),
            yielded: split.yielded.map(|yielded| Ratio::of(&yielded, 12)),
            weight: shown(split.weight, 12),
            busy: decimal(&period.slice.busy, 9),
            break_even_utilisation_ceteris_paribus: shown(period.cost.break_even_utilisation(&period.slice), 12),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CostRow {
    token: String,
    lease: String,
    unallocated_capacity: String,
    ledger_cogs: String,
}

impl CostRow {
    pub fn of(cost: &Cost) -> Self {
        Self {
            token: decimal(&currency(&cost.token), 6),
            lease: decimal(&currency(&cost.rental), 6),
            unallocated_capacity: decimal(&currency(&cost.unallocated), 6),
            ledger_cogs: money(cost.ledger),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct WaterfallRow {
    #[serde(rename = "1_list_no_cache")]
    list: String,
    #[serde(rename = "2_cache_discount")]
    cache: String,
    #[serde(rename = "3_batch_discount")]
    line: String,
    #[serde(rename = "4_tenant_discount")]
    tenant: String,
    #[serde(rename = "5_posting_rounding")]
    rounding: String,
    #[serde(rename = "6_posted_R")]
    posted: String,
    realisation_rho: Option<String>,
}

impl WaterfallRow {
    pub fn of(waterfall: &Waterfall) -> Self {
        let step = |value: &Exact| decimal(&currency(value), 9);
        Self {
            list: step(&waterfall.list),
            cache: step(&waterfall.cache),
            line: step(&waterfall.line),
            tenant: step(&waterfall.tenant),
            rounding: step(&waterfall.rounding),
            posted: step(&waterfall.posted),
            realisation_rho: shown(waterfall.realisation(), 12),
        }
    }
}
