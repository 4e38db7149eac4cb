//! The zero and near-equal cases of the decomposition.

use dashu_float::FBig;
use dashu_float::round::mode::HalfEven;
use ledger::economics::exact::{decimal, whole};
use ledger::economics::{Effects, Error, Factors};
use serde_json::Value;

fn factors(scale: i64, tokens: i64, revenue: i64) -> Factors {
    Factors { scale: whole(scale), tokens_milli: i128::from(tokens) * 1_000, revenue: i128::from(revenue) }
}

fn read(case: &Value) -> Factors {
    let number = |at: usize| case[at].as_i64().unwrap();
    factors(number(0), number(1), number(2))
}

fn between(before: &Factors, after: &Factors) -> Result<Effects, Error> {
    Effects::between(before, after, [&whole(1), &whole(1)], "m, n")
}

#[test]
fn every_edge_case_is_reproduced() {
    let cases: Value = serde_json::from_str(include_str!("lmdi_edge_cases.json")).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 13);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let (before, after) = (read(&case["c0_S_T_R"]), read(&case["c1_S_T_R"]));
        let effects = between(&before, &after).unwrap();
        assert_eq!(effects.rule.as_str(), case["rule"].as_str().unwrap(), "{name}");
        let exact = effects.exact.each_ref().map(|effect| Value::from(decimal(effect, 15)));
        assert_eq!(&exact[..], case["exact"].as_array().unwrap(), "{name}");
        let rounded = effects.rounded.map(|effect| Value::from(i64::try_from(effect).unwrap()));
        assert_eq!(&rounded[..], case["rounded_units"].as_array().unwrap(), "{name}");
        let delta = case["delta"].as_i64().unwrap();
        assert_eq!(effects.rounded.iter().sum::<i128>(), i128::from(delta), "{name}");
    }
}

#[test]
fn a_small_number_in_the_place_of_zero_invents_a_scale_effect_and_the_limit_does_not() {
    let cases: Value = serde_json::from_str(include_str!("lmdi_edge_cases.json")).unwrap();
    let substitutions = cases["small_value_substitution_error_idle_to_producing"].as_array().unwrap();
    assert_eq!(substitutions.len(), 5);
    let limit = between(&factors(40, 0, 0), &factors(60, 10_000, 900_000)).unwrap();
    for case in substitutions {
        assert_eq!(case["limit"], decimal(&limit.exact[0], 0));
        let hundredths = case["scale_effect"].as_str().unwrap().replace('.', "");
        assert_eq!(hundredths, false_scale_effect_in_hundredths(case["delta"].as_str().unwrap()));
    }
}

/// The scale effect of the idle leaf when its efficiency is taken for `delta`, at the other period's value.
fn false_scale_effect_in_hundredths(delta: &str) -> String {
    let real = |text: &str| text.parse::<FBig<HalfEven, 10>>().unwrap().with_precision(400).value();
    let (before, after) = (real(delta) * real("3600"), real("900000"));
    let effect = (&after - &before) / (after / before).ln() * (real("60") / real("40")).ln();
    (effect * real("100")).round().to_string()
}

#[test]
fn revenue_without_capacity_or_tokens_has_no_decomposition() {
    let regular = factors(100, 50_000, 2_000_000);
    for broken in [factors(0, 50_000, 2_000_000), factors(100, 0, 2_000_000)] {
        let refused = Error::Unreconciled { slice: "m, n".to_owned(), product: "0".to_owned(), ledger: 2_000_000 };
        assert_eq!(between(&regular, &broken), Err(refused));
    }
}

#[test]
fn negative_revenue_has_no_decomposition() {
    let refused = Error::NegativeRevenue { leaf: "m, n".to_owned(), revenue: -1 };
    assert_eq!(between(&factors(1, 1, -1), &factors(1, 1, 1)), Err(refused));
}

#[test]
fn one_unit_more_of_a_thousand_million_million_million_is_split_exactly() {
    let revenue = 10_i128.pow(21);
    let before = Factors { scale: whole(1_000), tokens_milli: revenue, revenue };
    let after = Factors { scale: whole(1_001), tokens_milli: revenue + 1, revenue: revenue + 1 };
    let effects = between(&before, &after).unwrap();
    assert_eq!(effects.rounded.iter().sum::<i128>(), 1);
    assert_eq!(
        effects.exact.each_ref().map(|effect| decimal(effect, 12)),
        ["999500333083533166.809898670702", "-999500333083533165.809898670702", "0.000000000000"]
    );
}
