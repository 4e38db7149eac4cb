//! What holds for any records of a ledger: reports of random facts, without a database.

use std::collections::{BTreeMap, BTreeSet};

use ledger::economics::record::{CapacityRecord, CostRecord, RevenueRecord, UsageRecord};
use ledger::economics::tokens::Waste;
use ledger::economics::{
    Allocation, Assumptions, Basis, Bucket, Dimension, Error, Exact, Leaf, Reconciliation, Records, Report, Slice,
};
use ledger::{Code, Month};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::books::question;

const HOUR_US: i128 = 3_600_000_000;
/// 140 trillion tokens a day for ten years.
const TOKENS: i128 = 140_000_000_000_000 * 3_653;

fn months() -> [Month; 2] {
    ["2026-10", "2026-11"].map(|month| month.parse().unwrap())
}

fn leaf(period: &str, tenant: &str, model: &str, node: &str) -> Leaf {
    let [tenant, model, node, provider, line] =
        [tenant, model, node, "prov", "inference"].map(|name| Some(name.to_owned()));
    Leaf { period: period.to_owned(), tenant, model, node, provider, line }
}

fn place() -> impl Strategy<Value = Leaf> {
    let names = (select(&["2026-10", "2026-11"][..]), select(&["acme", "beta"][..]));
    let places = (select(&["small", "large"][..]), select(&["n-1", "n-2"][..]));
    (names, places).prop_map(|((period, tenant), (model, node))| leaf(period, tenant, model, node))
}

fn capacity() -> impl Strategy<Value = CapacityRecord> {
    (place(), 1..100_000_i128, 1..700_i128, 1..5_000_i128, any::<bool>()).prop_map(
        |(mut leaf, ppm, hours, rcu, model)| {
            let us = hours * HOUR_US;
            if model {
                (leaf.tenant, leaf.line) = (None, Some("inference".to_owned()));
            } else {
                (leaf.model, leaf.line) = (None, Some("lease".to_owned()));
            }
            CapacityRecord { leaf, share_us: ppm * us, rcu_share_us: rcu * ppm * us, us }
        },
    )
}

/// A row of usage with what its settlement posted, and what was given back of it.
fn used() -> impl Strategy<Value = (UsageRecord, Vec<RevenueRecord>)> {
    let meters = select(&["input", "output", "reasoning", "cached_input", "cache_write", "embedding"][..]);
    let waste =
        prop_oneof![4 => Just(None), 1 => Just(Some(Waste::SloMiss)), 1 => select(Waste::ALL.to_vec()).prop_map(Some)];
    let amounts = (1..TOKENS, 0..1_000_000_000_000_i128, prop_oneof![Just(0_i128), 0..2_000_000_000_000_i128]);
    let compute = prop_oneof![1 => Just(0_u128), 6 => 1..2_000_000_000_u128];
    (place(), meters, waste, amounts, compute).prop_map(|(leaf, meter, waste, (quantity, amount, back), compute_ms)| {
        let billed = matches!(waste, None | Some(Waste::SloMiss));
        let amount = if billed { amount } else { 0 };
        let bucket = if waste.is_none() { Bucket::Productive } else { Bucket::NonEffective };
        let row = |code, charged, amount| RevenueRecord { leaf: leaf.clone(), bucket, code, charged, amount };
        let posted = [row(Code::InferenceRevenue, true, amount), row(Code::RefundsAllowed, false, -back)];
        let posted = posted.into_iter().filter(|row| row.amount != 0 && billed).collect();
        (UsageRecord { leaf, bucket, meter: meter.to_owned(), waste, quantity, amount, compute_ms }, posted)
    })
}

fn records() -> impl Strategy<Value = Records> {
    let other =
        (place(), select(vec![Bucket::Licence, Bucket::Breakage, Bucket::PriorPeriod]), -1_000_000_i128..1_000_000);
    let cost = (place(), 1..1_000_000_i128, 0..4_u8).prop_map(|(mut leaf, amount, kind)| {
        leaf.model = leaf.model.filter(|_| kind == 0);
        leaf.tenant = leaf.tenant.filter(|_| kind <= 1);
        leaf.node = leaf.node.filter(|_| kind < 3);
        CostRecord { leaf, amount }
    });
    (vec(capacity(), 0..6), vec(used(), 0..12), vec(other, 0..3), vec(cost, 0..6)).prop_map(
        |(capacity, used, other, costs)| {
            let (usage, posted): (Vec<_>, Vec<_>) = used.into_iter().unzip();
            let code = Code::LicenceRevenue;
            let other = other.into_iter().map(|(leaf, bucket, amount)| RevenueRecord {
                leaf,
                bucket,
                code,
                charged: false,
                amount,
            });
            let revenue = posted.into_iter().flatten().chain(other).collect();
            Records { months: months(), revenue, costs, usage, capacity }
        },
    )
}

fn reconcile(records: &Records, allocation: Allocation) -> Result<Reconciliation, Error> {
    Reconciliation::of(records, &Assumptions::default(), Basis::Rcu, allocation)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_subset_of_dimensions_reconciles_and_adds_up(
        records in records(),
        dimensions in subsequence(Dimension::ALL.to_vec(), 0..=6),
    ) {
        let facts = reconcile(&records, Allocation::Absorbed).unwrap().facts;
        let whole = facts.slice(|_| true);
        let mut sum = Slice::default();
        for slice in facts.slices(&dimensions).into_values() {
            sum.scale += slice.scale;
            sum.busy += slice.busy;
            sum.tokens.add(&slice.tokens);
            for (bucket, amount) in slice.buckets {
                *sum.buckets.entry(bucket).or_default() += amount;
            }
        }
        prop_assert_eq!(&sum, &whole);
        prop_assert_eq!(whole.ledger_revenue(), records.revenue.iter().map(|row| row.amount).sum::<i128>());
    }

    #[test]
    fn every_token_is_effective_wasted_or_passed_through(records in records()) {
        let Reconciliation { facts, passed, .. } = reconcile(&records, Allocation::Absorbed).unwrap();
        let passed: i128 = passed.iter().map(|passed| passed.tokens.raw()).sum();
        let used: i128 = records.usage.iter().map(|row| row.quantity).sum();
        prop_assert_eq!(facts.slice(|_| true).tokens.raw() + passed, used);
        for made in facts.production() {
            let wasted: i128 = made.tokens.wasted.values().sum();
            prop_assert_eq!(made.tokens.raw(), made.tokens.effective + wasted);
        }
    }

    #[test]
    fn both_allocations_give_all_of_the_capacity_and_impute_none(records in records()) {
        let served = records.capacity.iter().filter(|row| row.leaf.model.is_some());
        let deployed = served.fold(Exact::ZERO, |sum, row| sum + row.rcu_hours());
        let places: BTreeSet<_> = records.capacity.iter().filter_map(|row| Some((&row.leaf.period, row.leaf.model.as_ref()?, &row.leaf.node))).collect();
        for allocation in [Allocation::Absorbed, Allocation::Consumed] {
            let Reconciliation { facts, .. } = reconcile(&records, allocation).unwrap();
            prop_assert_eq!(&facts.slice(|_| true).scale, &deployed);
            for made in facts.production() {
                prop_assert!(places.contains(&(&made.leaf.period, made.leaf.model.as_ref().unwrap(), &made.leaf.node)));
            }
        }
    }

    #[test]
    fn a_replay_gives_the_same_bytes_whatever_the_order_of_the_records(records in records()) {
        let print = |records: &Records| {
            serde_json::to_string(&Report::of_ledger(records, &Assumptions::default(), &question()).unwrap()).unwrap()
        };
        let mut shuffled = records.clone();
        shuffled.usage.reverse();
        shuffled.revenue.reverse();
        shuffled.capacity.reverse();
        shuffled.costs.reverse();
        let report = print(&records);
        prop_assert_eq!(&report, &print(&records));
        prop_assert_eq!(&report, &print(&shuffled));
    }

    #[test]
    fn the_parts_of_the_cost_add_up_to_the_ledgers(records in records()) {
        let report = Report::of_ledger(&records, &Assumptions::default(), &question()).unwrap();
        let report: serde_json::Value = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        for (month, row) in report["cost_reconciliation"].as_object().unwrap() {
            // Shown parts are rounded, each by half a unit at most.
            let nanos = |name: &str| row[name].as_str().map_or(0, |text| text.replace('.', "").parse::<i128>().unwrap());
            let parts = ["token", "lease", "unallocated_capacity", "no_capacity"].map(nanos).iter().sum::<i128>();
            prop_assert!((parts - nanos("ledger_cogs")).abs() <= 2);
            let posted = records.costs.iter().filter(|row| row.leaf.period == *month).map(|row| row.amount).sum::<i128>();
            prop_assert_eq!(nanos("ledger_cogs"), posted);
        }
    }
}

fn row(meter: &str, amount: i128) -> UsageRecord {
    let (leaf, bucket, meter) = (leaf("2026-11", "acme", "small", "n-1"), Bucket::Productive, meter.to_owned());
    UsageRecord { leaf, bucket, meter, waste: None, quantity: 5, amount, compute_ms: 1 }
}

#[test]
fn an_unknown_meter_is_refused_by_name() {
    let usage = vec![row("photons", 0)];
    let records = Records { months: months(), revenue: vec![], costs: vec![], usage, capacity: vec![] };
    assert_eq!(
        reconcile(&records, Allocation::Absorbed).unwrap_err().to_string(),
        "usage of [2026-11, acme, small, n-1, prov, inference]: the input describes no meter “photons”",
    );
}

#[test]
fn a_node_reserved_beyond_its_month_is_refused() {
    let leaf = Leaf { tenant: None, ..leaf("2026-11", "", "small", "n-1") };
    let us = 720 * HOUR_US;
    let row = CapacityRecord { leaf, share_us: 1_000_000 * us + 1, rcu_share_us: us, us };
    let records = Records { months: months(), revenue: vec![], costs: vec![], usage: vec![], capacity: vec![row] };
    let refusal = reconcile(&records, Allocation::Absorbed).unwrap_err().to_string();
    assert_eq!(refusal, "node “n-1” is reserved for more than all of its hours in 2026-11");
}

#[test]
fn a_model_without_an_index_and_weights_without_a_version_are_refused() {
    let index = r#"{"intelligence_index": {"version": "ii-1", "models": {"large": {"kappa_milli": 1000}}}}"#;
    let assumptions: Assumptions = serde_json::from_str(index).unwrap();
    let refusal = assumptions.intelligence("small").unwrap_err().to_string();
    assert_eq!(refusal, "intelligence index “ii-1”: the input describes no model “small”");
    assert_eq!((assumptions.index_version(), assumptions.weight_version()), ("ii-1", "tw-1"));
    let weights: Assumptions = serde_json::from_str(r#"{"token_weights_milli": {"in": 1}}"#).unwrap();
    assert!(weights.check().unwrap_err().to_string().contains("weight_version"));
    assert!(serde_json::from_str::<Assumptions>(r#"{"kappa": 1}"#).is_err());
    assert!(BTreeMap::from_iter(Assumptions::default().weights()).values().all(|&weight| weight > 0));
}
