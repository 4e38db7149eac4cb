//! What the end of a job takes, and from whom.

use super::*;

#[test]
fn each_nodes_revenue_is_its_own() {
    let mut core = after([grant(1, 1, 30, None), top_up(1, 1, 100), hold(1, 1, 50)]);
    let before = core.draft.rows.transfers.len();
    decide(&mut core, &settle(1, 1, &[10, 25])).unwrap();
    let wanted = [
        "2010 > 4000 10 capture",
        "4900 > 2019 10 posted",
        "2010 > 4000 20 posted",
        "4900 > 2019 20 posted",
        "2000 > 4000 5 capture",
        "5000 > 2100 5 posted",
        "5000 > 2100 12 posted",
    ];
    assert_eq!(told(&core, before), wanted);
    let second = &core.draft.rows.transfers[before + 2];
    let of = leaf(&core, second.leaf_id);
    assert_eq!((of.node_id, of.bucket.as_str()), (Some(uuid(3, 1)), "PRODUCTIVE"));
    assert_eq!(available(&core, 1), 95);
}

#[test]
fn a_refused_settlement_leaves_the_hold_as_it_was() {
    let mut core = after([top_up(1, 1, 100), hold(1, 1, 50)]);
    assert!(matches!(refuse(&mut core, settle(1, 1, &[51])), Error::ChargeAboveHold { .. }));
    assert!(matches!(refuse(&mut core, settle(1, 2, &[5])), Error::StrangersHold { .. }));
    assert!(matches!(refuse(&mut core, settle(2, 1, &[5])), Error::NoOpenHold { .. }));
    let mut odd = settlement(1, 1, &[5, 5]);
    odd.usage[1].segment = 0;
    assert!(matches!(refuse(&mut core, odd.clone()), Error::UsageMismatch { .. }));
    odd.usage[1].segment = 1;
    odd.charge = Nanos(9);
    assert!(matches!(refuse(&mut core, odd.clone()), Error::UsageMismatch { .. }));
    odd.charge = Nanos(10);
    odd.shares[0].amount = Nanos(-1);
    assert!(matches!(refuse(&mut core, odd), Error::BadAmount { .. }));
    assert!(matches!(refuse(&mut core, hold(9, 1, 0)), Error::BadAmount { .. }));
    assert!(matches!(refuse(&mut core, top_up(9, 1, -1)), Error::BadAmount { .. }));
    assert_eq!(available(&core, 1), 50);
    decide(&mut core, &settle(1, 1, &[50])).unwrap();
    assert!(matches!(refuse(&mut core, void(1)), Error::NoOpenHold { .. }));
}

#[test]
fn the_excess_of_a_charge_over_its_hold_is_owed_where_that_is_allowed() {
    let mut core = after([grant(1, 1, 30, None), top_up(1, 1, 100), hold(1, 1, 50)]);
    let before = core.draft.rows.transfers.len();
    decide(&mut core, &settle_or_owe(1, 1, &[45, 20])).unwrap();
    let wanted = [
        "2010 > 4000 30 capture",
        "4900 > 2019 30 posted",
        "2000 > 4000 15 capture",
        "2000 > 4000 5 posted",
        "1130 > 4000 15 posted",
        "5000 > 2100 22 posted",
        "5000 > 2100 10 posted",
    ];
    assert_eq!(told(&core, before), wanted);
    let excess = core.draft.rows.transfers[before + 4].leaf_id;
    assert_eq!(leaf(&core, excess).node_id, Some(uuid(3, 1)), "the second node's revenue is owed");
    assert_eq!((available(&core, 1), owed(&core, 1)), (80, 15));
    // Whoever may not owe is refused; the same settlement under the other policy is another body.
    decide(&mut core, &hold(2, 1, 50)).unwrap();
    assert!(matches!(refuse(&mut core, settle(2, 1, &[51])), Error::ChargeAboveHold { .. }));
    assert!(matches!(refuse(&mut core, settle(1, 1, &[45, 20])), Error::IdReused { .. }));
}

#[test]
fn late_tokens_are_billed_as_non_effective_and_other_waste_is_not_billed() {
    let mut core = after([top_up(1, 1, 100), hold(1, 1, 50)]);
    let mut job = settlement(1, 1, &[10, 20]);
    let wasted = |waste, amount| UsageFact { waste: Some(waste), amount: Nanos(amount), ..job.usage[0].clone() };
    let (late, aborted) = (wasted(Waste::SloMiss, 5), wasted(Waste::Aborted, 0));
    let billed = wasted(Waste::Aborted, 5);
    job.charge = Nanos(35);
    job.usage.push(billed);
    assert!(matches!(refuse(&mut core, job.clone()), Error::UsageMismatch { .. }));
    job.usage.pop();
    job.usage.extend([late.clone(), aborted]);
    let twice = JobSettlement { charge: Nanos(40), usage: [job.usage.as_slice(), &[late]].concat(), ..job.clone() };
    assert!(matches!(refuse(&mut core, twice), Error::UsageMismatch { .. }));
    let before = core.draft.rows.transfers.len();
    decide(&mut core, &job.into()).unwrap();
    let revenue: Vec<_> = core.draft.rows.transfers[before..]
        .iter()
        .filter(|row| AccountId(row.credit_account_id).code() == Some(Code::InferenceRevenue))
        .map(|row| (row.amount, leaf(&core, row.leaf_id).bucket.as_str()))
        .collect();
    assert_eq!(revenue, [(10, "PRODUCTIVE"), (5, "NON_EFFECTIVE"), (20, "PRODUCTIVE")]);
    let usage = core.draft.rows.usage.iter().map(|row| {
        let leaf = leaf(&core, Some(row.leaf_id));
        (row.line, row.segment, row.amount, leaf.bucket.as_str(), leaf.waste.as_deref())
    });
    let wanted = [
        (0, 0, 10, "PRODUCTIVE", None),
        (1, 0, 5, "NON_EFFECTIVE", Some("slo_miss")),
        (2, 0, 0, "NON_EFFECTIVE", Some("aborted")),
        (3, 1, 20, "PRODUCTIVE", None),
    ];
    assert_eq!(usage.collect::<Vec<_>>(), wanted);
}
