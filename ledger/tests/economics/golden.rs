//! Every figure of the worked example, to the last digit.

use ledger::economics::journal::Account;
use ledger::economics::{Inputs, Journal, Leaf, Report};
use serde_json::{Value, json};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

fn inputs() -> Inputs {
    serde_json::from_value(golden()["inputs"].clone()).unwrap()
}

/// The example's own names of accounts.
fn account(account: &Account) -> String {
    match account {
        Account::Receivable(tenant) => format!("1100:receivable:{tenant}"),
        Account::Payable(provider) => format!("2100:payable:{provider}"),
        Account::EnergyPayable => "2110:payable-energy".to_owned(),
        Account::TokenRevenue(line) if line == "online" => "4010:revenue-token-online".to_owned(),
        Account::TokenRevenue(line) => format!("4020:revenue-token-{line}"),
        Account::RentalRevenue => "4100:revenue-lease".to_owned(),
        Account::LicenceRevenue => "4200:revenue-licence".to_owned(),
        Account::Credits => "4900:revenue-credits".to_owned(),
        Account::NodeCost => "5010:cogs-node-lease".to_owned(),
        Account::EnergyCost => "5020:cogs-energy".to_owned(),
    }
}

fn check_dimensions(leg: &Value, leaf: Option<&Leaf>) {
    let leaf = leaf.cloned().unwrap_or_default();
    let period = Some(leaf.period).filter(|period| !period.is_empty());
    let dimensions = [
        ("period", period),
        ("tenant", leaf.tenant),
        ("model", leaf.model),
        ("node", leaf.node),
        ("provider", leaf.provider),
        ("line", leaf.line),
    ];
    for (name, value) in dimensions {
        assert_eq!(leg[name].as_str(), value.as_deref(), "{name} of {leg}");
    }
}

#[test]
fn every_figure_of_the_worked_example_is_reproduced() {
    let report = serde_json::to_string(&Report::of(&inputs()).unwrap()).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let expected = &golden()["expected"];
    for (section, figures) in expected.as_object().unwrap() {
        assert_eq!(&report[section], figures, "{section}");
    }
    assert_eq!(&report, expected);
}

#[test]
fn every_entry_of_the_worked_example_is_posted() {
    let journal = Journal::post(&inputs());
    let golden = golden();
    let entries = golden["journal"].as_array().unwrap();
    assert_eq!(journal.entries.len(), entries.len());
    for (posted, entry) in journal.entries.iter().zip(entries) {
        assert_eq!(
            (posted.period.as_str(), posted.memo.as_str()),
            (entry["period"].as_str().unwrap(), entry["memo"].as_str().unwrap())
        );
        let legs = entry["legs"].as_array().unwrap();
        assert_eq!(posted.legs.len(), legs.len());
        for (moved, leg) in posted.legs.iter().zip(legs) {
            assert_eq!(account(&moved.account), leg["account"].as_str().unwrap());
            assert_eq!(moved.amount, i128::from(leg["ucny"].as_i64().unwrap()));
            assert_eq!(moved.bucket.map(|bucket| bucket.as_str()), leg["bucket"].as_str());
            check_dimensions(leg, moved.leaf.as_ref());
        }
    }
}

#[test]
fn the_trial_balance_of_the_worked_example_is_reproduced() {
    let journal = Journal::post(&inputs());
    let balances = journal.trial_balance();
    assert_eq!(balances.values().sum::<i128>(), 0);
    let shown = balances.iter().map(|(name, &balance)| (account(name), json!(i64::try_from(balance).unwrap())));
    assert_eq!(Value::Object(shown.collect()), golden()["trial_balance_ucny"]);
}

#[test]
fn a_replay_gives_the_same_bytes() {
    let print = || serde_json::to_string_pretty(&Report::of(&inputs()).unwrap()).unwrap();
    assert_eq!(print(), print());
}
