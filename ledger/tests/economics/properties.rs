//! What holds for any fleet and any change.

use ledger::economics::exact::{ratio, whole};
use ledger::economics::scale::Deployed;
use ledger::economics::{
    Allocation, Bridge, Dimension, Effects, Exact, Factors, Facts, Inputs, Journal, Leaves, Report, Slice, Split,
};
use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::fleet::fleet;

fn facts(inputs: &Inputs) -> Facts {
    inputs.check().unwrap();
    Facts::of(inputs, &Journal::post(inputs), Allocation::Absorbed)
}

/// Every token that the inputs name, in rows whose capacity is known.
fn tokens_of(inputs: &Inputs) -> i128 {
    let rows = inputs.usage.iter().filter(|usage| usage.is_declared(inputs));
    let all = rows.flat_map(|usage| usage.eff.values().chain(usage.slo_miss.values()).chain(usage.unbilled.values()));
    all.map(|&n| i128::from(n)).sum()
}

/// A leaf in a period: idle, free or paid.
fn factors() -> impl Strategy<Value = Factors> {
    let paid = (1..1_000_000_000_u64, 1..1_000_000_000_000_000_000_000_i128, 1..1_000_000_000_000_000_000_000_i128);
    let make = |scale: u64, tokens_milli, revenue| Factors { scale: ratio(scale, 1_000_u64), tokens_milli, revenue };
    prop_oneof![
        6 => paid.prop_map(move |(scale, tokens, revenue)| make(scale, tokens, revenue)),
        1 => (1..1_000_u64, 1..1_000_000_i128).prop_map(move |(scale, tokens)| make(scale, tokens, 0)),
        1 => (1..1_000_u64).prop_map(move |scale| make(scale, 0, 0)),
        1 => Just(make(0, 0, 0)),
    ]
}

fn effects(before: &Factors, after: &Factors) -> Effects {
    let fleets = [whole(7), whole(11)];
    Effects::between(before, after, [&fleets[0], &fleets[1]], "leaf").unwrap()
}

/// A thousandth of a millionth of a money unit.
fn speck() -> Exact {
    ratio(1, 1_000_000_000_u64)
}

fn close(a: &Exact, b: &Exact) -> bool {
    let gap = a - b;
    gap < speck() && -gap < speck()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_subset_of_dimensions_reconciles(inputs in fleet()) {
        prop_assert!(facts(&inputs).reconcile().unwrap() >= 1);
    }

    #[test]
    fn the_slices_of_any_dimensions_add_up_to_the_whole(
        inputs in fleet(),
        dimensions in subsequence(Dimension::ALL.to_vec(), 0..=6),
    ) {
        let facts = facts(&inputs);
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
        prop_assert_eq!(sum, whole);
    }

    #[test]
    fn raw_tokens_are_the_effective_and_the_wasted(inputs in fleet()) {
        let facts = facts(&inputs);
        for made in facts.production() {
            let wasted: i128 = made.tokens.wasted.values().sum();
            prop_assert_eq!(made.tokens.raw(), made.tokens.effective + wasted);
        }
        prop_assert_eq!(facts.slice(|_| true).tokens.raw(), tokens_of(&inputs));
    }

    #[test]
    fn both_allocations_give_all_of_the_scale_and_no_more(inputs in fleet()) {
        let deployed = ["before", "after"].into_iter().flat_map(|period| Deployed::list(&inputs, period));
        let deployed = deployed.fold(Exact::ZERO, |sum, deployed| sum + deployed.scale);
        for allocation in [Allocation::Absorbed, Allocation::Consumed] {
            let facts = Facts::of(&inputs, &Journal::post(&inputs), allocation);
            prop_assert_eq!(&facts.slice(|_| true).scale, &deployed);
        }
    }

    #[test]
    fn efficiency_is_the_product_of_its_split(inputs in fleet()) {
        for slice in facts(&inputs).slices(&[Dimension::Period, Dimension::Model]).into_values() {
            if let Split { utilisation: Some(u), speed: Some(g), yielded: Some(y), weight: Some(w) } = Split::of(&slice) {
                prop_assert_eq!(Some(u * g * y * w), slice.factors().efficiency());
            }
        }
    }

    #[test]
    fn both_bridges_explain_the_same_change_and_leave_nothing(inputs in fleet()) {
        let facts = facts(&inputs);
        let revenue = |period| facts.slice(|leaf| leaf.period == period).productive();
        for leaves in [Leaves::Deployment, Leaves::Tenant] {
            let there = Bridge::between(&facts, ["before", "after"], leaves).unwrap();
            let back = Bridge::between(&facts, ["after", "before"], leaves).unwrap();
            prop_assert_eq!(there.change, revenue("after") - revenue("before"));
            prop_assert_eq!(there.residual(), 0);
            prop_assert_eq!(there.total.map(|effect| -effect), back.total);
        }
    }

    #[test]
    fn a_replay_gives_the_same_bytes_whatever_the_order_of_the_usage(inputs in fleet()) {
        let mut shuffled = inputs.clone();
        shuffled.usage.reverse();
        let print = |inputs: &Inputs| serde_json::to_string(&Report::of(inputs).unwrap()).unwrap();
        prop_assert_eq!(print(&inputs), print(&inputs));
        prop_assert_eq!(facts(&shuffled).slice(|_| true), facts(&inputs).slice(|_| true));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_effects_add_up_to_the_change(before in factors(), after in factors()) {
        let effects = effects(&before, &after);
        prop_assert_eq!(effects.rounded.iter().sum::<i128>(), after.revenue - before.revenue);
        let [scale, efficiency, value] = &effects.exact;
        prop_assert!(close(&(scale + efficiency + value), &whole(after.revenue - before.revenue)));
        prop_assert!(close(&(&effects.scale_parts[0] + &effects.scale_parts[1]), &effects.exact[0]));
    }

    #[test]
    fn the_effects_flip_their_sign_when_the_periods_are_swapped(before in factors(), after in factors()) {
        let (there, back) = (effects(&before, &after), effects(&after, &before));
        prop_assert_eq!(there.rounded.map(|effect| -effect), back.rounded);
        prop_assert_eq!(there.exact.map(|effect| -effect), back.exact);
    }

    #[test]
    fn other_units_of_scale_and_tokens_change_no_effect(
        before in factors(),
        after in factors(),
        unit in 1..1_000_000_u64,
    ) {
        let in_unit = |factors: &Factors| Factors {
            scale: &factors.scale * ratio(1, unit),
            tokens_milli: factors.tokens_milli * i128::from(unit),
            revenue: factors.revenue,
        };
        let (ours, theirs) = (effects(&before, &after), effects(&in_unit(&before), &in_unit(&after)));
        prop_assert_eq!(ours.rounded, theirs.rounded);
        prop_assert_eq!(ours.rule, theirs.rule);
    }

    #[test]
    fn a_finer_money_unit_leaves_the_shares_of_the_effects(
        before in factors(),
        after in factors(),
        unit in 1..1_000_000_u64,
    ) {
        let in_unit = |factors: &Factors| Factors { revenue: factors.revenue * i128::from(unit), ..factors.clone() };
        let (ours, theirs) = (effects(&before, &after), effects(&in_unit(&before), &in_unit(&after)));
        for (ours, theirs) in ours.exact.iter().zip(&theirs.exact) {
            prop_assert!(close(ours, &(theirs * ratio(1, unit))));
        }
    }
}
