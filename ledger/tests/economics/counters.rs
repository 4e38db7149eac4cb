//! The largest fleet that is planned for, and what must be refused.

use ledger::economics::{Allocation, Bucket, Error, Facts, Inputs, Journal, Leaf, Report, Revenue};
use serde_json::{Value, json};

fn golden_inputs() -> Value {
    let golden: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    golden["inputs"].clone()
}

fn report(inputs: Value) -> Result<Report, Error> {
    Report::of(&serde_json::from_value(inputs).unwrap())
}

#[track_caller]
fn check_refused(change: impl Fn(&mut Value), refusal: &str) {
    let mut inputs = golden_inputs();
    change(&mut inputs);
    assert_eq!(report(inputs).unwrap_err().to_string(), refusal);
}

#[test]
fn counters_hold_140_trillion_tokens_a_day_for_ten_years() {
    const TOKENS: u64 = 140_000_000_000_000 * 3_653;
    let mut inputs = golden_inputs();
    for usage in inputs["usage"].as_array_mut().unwrap() {
        usage["eff"]["out"] = json!(TOKENS);
        usage["unbilled"]["aborted"] = json!(TOKENS);
    }
    let inputs: Inputs = serde_json::from_value(inputs).unwrap();
    let facts = Facts::of(&inputs, &Journal::post(&inputs), Allocation::Absorbed);
    let rows = facts.slice(|leaf| leaf.period == "2026-04" && leaf.line.as_deref() == Some("batch"));
    let input = 3_500_000_000_i128 * 250;
    assert_eq!(rows.tokens.effective_milli, i128::from(TOKENS) * 1_000 + input);
    let printed = serde_json::to_string(&Report::of(&inputs).unwrap()).unwrap();
    assert!(printed.contains(&format!("\"aborted\":{}", i128::from(TOKENS) * 5)), "five rows of 2026-04");
}

#[test]
fn a_report_compares_two_periods() {
    check_refused(
        |inputs| inputs["periods"]["2026-05"] = json!({ "hours": 744 }),
        "a report takes exactly two periods, in order: the input has 3",
    );
}

#[test]
fn a_name_that_leads_nowhere_is_refused() {
    check_refused(|inputs| inputs["usage"][2]["node"] = json!("n-z"), "usage row 3: the input describes no node “n-z”");
    check_refused(
        |inputs| inputs["usage"][0]["line"] = json!("night"),
        "usage row 1: the input describes no line “night”",
    );
    check_refused(
        |inputs| inputs["deployments"]["2026-03"][0]["model"] = json!("m-z"),
        "deployments of 2026-03: the input describes no model “m-z”",
    );
    check_refused(
        |inputs| {
            inputs["prices_ucny_per_1m"]["2026-03"]["m-small"].as_object_mut().unwrap().remove("cached");
        },
        "usage row 1, model “m-small”: the input describes no price of “cached”",
    );
}

#[test]
fn tokens_without_time_are_refused() {
    check_refused(|inputs| inputs["usage"][8]["compute_s"] = json!(0), "usage row 9: tokens take compute_s above zero");
}

#[test]
fn a_node_is_not_reserved_beyond_its_hours() {
    check_refused(
        |inputs| inputs["leases"]["2026-03"][0]["hours"] = json!(745),
        "node “n-b” is reserved for more than all of its hours in 2026-03",
    );
}

#[test]
fn usage_on_capacity_that_nobody_declared_passes_through() {
    let mut inputs = golden_inputs();
    inputs["deployments"]["2026-04"].as_array_mut().unwrap().pop();
    let inputs: Inputs = serde_json::from_value(inputs).unwrap();
    let facts = Facts::of(&inputs, &Journal::post(&inputs), Allocation::Absorbed);
    let unknown = facts.slice(|leaf| leaf.node.as_deref() == Some("n-b") && leaf.model.as_deref() == Some("m-large"));
    assert_eq!(unknown.buckets[&Bucket::PassThrough], 2_210_400_094);
    assert_eq!((unknown.productive(), unknown.tokens.raw()), (0, 0));
    assert!(Report::of(&inputs).is_ok());
}

fn revenue(bucket: Bucket, amount: i128) -> Revenue {
    let tenant = Some("t-acme".to_owned());
    Revenue { leaf: Leaf { period: "2026-03".to_owned(), tenant, ..Leaf::default() }, bucket, amount }
}

#[test]
fn revenue_without_its_tokens_does_not_reconcile_and_names_the_leaf() {
    let facts = Facts::new(vec![], vec![revenue(Bucket::Productive, 7), revenue(Bucket::Licence, 5)]);
    assert_eq!(
        facts.reconcile().unwrap_err().to_string(),
        "slice [2026-03, t-acme, -, -, -, -] does not reconcile: the product and the buckets are 5/1, the ledger says 12",
    );
}

#[test]
fn a_leaf_below_zero_goes_to_adjustment_as_a_whole() {
    let facts = Facts::new(vec![], vec![revenue(Bucket::Productive, 7), revenue(Bucket::Productive, -8)]);
    let slice = facts.slice(|_| true);
    assert_eq!((slice.productive(), slice.buckets[&Bucket::Adjustment]), (0, -1));
}
