//! Fleets of every kind: inputs for properties, always valid, with idle, free, unknown and refunded leaves among them.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use ledger::economics::Inputs;
use ledger::economics::inputs::{
    Deployment, IntelligenceIndex, Licence, Model, Node, Period, PriorPeriodRefund, Rental, Usage,
};
use ledger::economics::tokens::{Class, Tokens, Waste};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

const PERIODS: [&str; 2] = ["before", "after"];
const MODELS: [&str; 2] = ["small", "large"];
const NODES: [&str; 2] = ["north-1", "south-1"];
const TENANTS: [&str; 3] = ["acme", "beta", "free"];
const LINES: [&str; 2] = ["online", "batch"];
const CLASSES: [Class; 4] = [Class::Input, Class::Cached, Class::Output, Class::Reasoning];

/// Any fleet.
pub fn fleet() -> impl Strategy<Value = Inputs> {
    (hardware(), capacity(), prices(), vec(usage(), 0..12), sales()).prop_map(
        |((models, nodes), (periods, deployments, rentals), prices, usage, (licences, refunds))| Inputs {
            periods,
            token_weights_milli: CLASSES.into_iter().zip([250, 25, 1_000, 1_000]).collect(),
            intelligence_index: IntelligenceIndex { models },
            nodes,
            deployments,
            rentals,
            licences,
            prices_ucny_per_1m: prices,
            tenant_discount_bp: IndexMap::from([("beta".to_owned(), 1_000), ("free".to_owned(), 10_000)]),
            line_multiplier_bp: BTreeMap::from([("online".to_owned(), 10_000), ("batch".to_owned(), 5_000)]),
            slo_miss_credit_bp: 5_000,
            usage,
            prior_period_refunds: refunds,
            rental_baseline_etok_per_rcu_h: MODELS.map(|model| (model.to_owned(), 1_000_000)).into(),
        },
    )
}

fn hardware() -> impl Strategy<Value = (IndexMap<String, Model>, IndexMap<String, Node>)> {
    let models = vec(1..2_000_u64, 2).prop_map(|kappas| {
        let models = MODELS.into_iter().zip(kappas);
        models.map(|(name, kappa_milli)| (name.to_owned(), Model { kappa_milli })).collect()
    });
    let nodes = vec((1..5_000_u64, 1..60_000_u64, 0..3_000_u64, 0..20_000_000_u64), 2).prop_map(|nodes| {
        let node = |(name, (rcu_milli, life_hours, power_w, hire_ucny_per_h)): (&str, _)| {
            let node = Node {
                provider: name.split('-').next().unwrap().to_owned(),
                rcu_milli,
                capex_ucny: 262_800_000_001,
                life_hours,
                hire_ucny_per_h,
                power_w,
                pue_milli: 1_333,
                energy_ucny_per_kwh: 640_001,
                market_rental_ucny_per_h: 7_200_000,
            };
            (name.to_owned(), node)
        };
        NODES.into_iter().zip(nodes).map(node).collect()
    });
    (models, nodes)
}

type Capacity = (IndexMap<String, Period>, BTreeMap<String, Vec<Deployment>>, BTreeMap<String, Vec<Rental>>);

/// Shares of at most 0.3 each: two models and a rental never fill more than a node.
fn capacity() -> impl Strategy<Value = Capacity> {
    let reserved = (prop_oneof![Just(0), 1..300_000_u64], 1..720_u64);
    let of_period = (vec(reserved.clone(), 4), vec(reserved, 0..2));
    vec(of_period, 2).prop_map(|periods| {
        let (mut deployments, mut rentals) = (BTreeMap::new(), BTreeMap::new());
        for (period, (deployed, rented)) in PERIODS.into_iter().zip(periods) {
            let cells = MODELS.into_iter().flat_map(|model| NODES.map(|node| (model, node)));
            let deployment = |((model, node), (share_ppm, hours)): ((&str, &str), (u64, u64))| Deployment {
                model: model.to_owned(),
                node: node.to_owned(),
                share_ppm,
                hours,
            };
            deployments.insert(period.to_owned(), cells.zip(deployed).map(deployment).collect());
            let rental = |(share_ppm, hours)| Rental {
                tenant: "acme".to_owned(),
                node: "north-1".to_owned(),
                share_ppm,
                hours,
                ucny_per_h: 2_000_000,
            };
            rentals.insert(period.to_owned(), rented.into_iter().map(rental).collect());
        }
        let periods = PERIODS.map(|period| (period.to_owned(), Period { hours: 720 })).into();
        (periods, deployments, rentals)
    })
}

fn prices() -> impl Strategy<Value = BTreeMap<String, BTreeMap<String, BTreeMap<Class, u64>>>> {
    vec(vec(prop_oneof![Just(0), 1..20_000_000_u64], 4), 4).prop_map(|prices| {
        let mut prices = prices.into_iter();
        let mut of_model = || CLASSES.into_iter().zip(prices.next().unwrap()).collect::<BTreeMap<_, _>>();
        let mut of_period =
            |period: &str| (period.to_owned(), MODELS.map(|model| (model.to_owned(), of_model())).into());
        PERIODS.map(&mut of_period).into()
    })
}

fn tokens() -> impl Strategy<Value = Tokens> {
    btree_map(select(&CLASSES[..]), prop_oneof![Just(0), 1..5_000_000_000_u64], 0..4)
}

fn usage() -> impl Strategy<Value = Usage> {
    let place = (
        select(&PERIODS[..]),
        select(&MODELS[..]),
        select(&NODES[..]),
        select(&TENANTS[..]),
        select(&LINES[..]),
        1..2_000_000_u64,
    );
    let wastes = vec![Waste::Aborted, Waste::RetryDup, Waste::HedgeLoser, Waste::SpecRejected, Waste::Probe];
    let unbilled = btree_map(select(wastes), 0..50_000_000_u64, 0..4);
    (place, tokens(), tokens(), unbilled).prop_map(
        |((period, model, node, tenant, line, compute_s), eff, slo_miss, unbilled)| {
            let [period, model, node, tenant, line] = [period, model, node, tenant, line].map(str::to_owned);
            Usage { period, model, node, tenant, line, compute_s, eff, slo_miss, unbilled }
        },
    )
}

fn sales() -> impl Strategy<Value = (BTreeMap<String, Vec<Licence>>, Vec<PriorPeriodRefund>)> {
    let licence = (select(&TENANTS[..]), 0..3_000_000_000_u64);
    let licence = licence.prop_map(|(tenant, ucny)| Licence { tenant: tenant.to_owned(), ucny });
    let refund = (select(&MODELS[..]), select(&NODES[..]), 0..30_000_000_u64).prop_map(|(model, node, ucny)| {
        let [period, of_period, tenant, model, node, line] =
            ["after", "before", "acme", model, node, "online"].map(str::to_owned);
        PriorPeriodRefund { period, of_period, tenant, model, node, line, ucny }
    });
    (vec(licence, 0..2).prop_map(|sold| BTreeMap::from([("before".to_owned(), sold)])), vec(refund, 0..2))
}
