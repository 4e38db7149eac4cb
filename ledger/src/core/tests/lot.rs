//! What a tenant's lots pay for, and in which order.

use super::*;

#[test]
fn gifts_are_spent_first_and_the_soonest_to_lapse_before_the_others() {
    let mut core =
        after([top_up(1, 1, 100), grant(1, 1, 10, None), grant(2, 1, 20, Some(5)), grant(3, 1, 30, Some(2))]);
    // One that has lapsed pays for nothing.
    decide(&mut core, &grant(4, 1, 1_000, Some(0))).unwrap();
    let parts = decide(&mut core, &hold(1, 1, 65)).unwrap().parts;
    assert_eq!(parts.iter().map(|part| part.amount.0).collect::<Vec<_>>(), [30, 20, 10, 5]);
    let refused = decide(&mut core, &hold(2, 1, 96)).unwrap_err();
    assert!(matches!(refused, Error::InsufficientFunds { available: Nanos(95), .. }), "{refused}");
}

#[test]
fn priorities_decide_the_spending_order_before_anything_lapses() {
    let lot = |number: u8, priority: i16, hours: Option<i64>| {
        let key = AccountKey::lot(Code::PromoCredits, tenant(1), uuid(6, number), Currency::USD);
        let expires_at = hours.map(|hours| noon() + TimeDelta::hours(hours));
        let terms = Terms { priority: Priority(priority), expires_at };
        let mut account = Account::open(AccountId::try_new(key, 0, number.into()).unwrap(), key, terms);
        account.add(1, Side::Credit, 10, 0).unwrap();
        account
    };
    let accounts =
        vec![lot(1, 60, Some(1)), lot(2, 20, None), lot(3, 20, Some(9)), lot(4, 10, None), lot(5, 20, Some(9))];
    let mut core = Core::new(0, 1, Tip { accounts_total: 5, ..Tip::genesis(0) }, Books::default());
    core.learn(Needs { owners: vec![tenant(1).0], links: vec![] }, Knowledge { accounts, groups: vec![] });
    decide(&mut core, &top_up(1, 1, 10)).unwrap();
    let parts = decide(&mut core, &hold(1, 1, 60)).unwrap().parts;
    let lots: Vec<_> = parts.iter().map(|part| part.debit.lot).collect();
    // Payments have 50; of two lots that lapse together the older one is first.
    let wanted = [Some(4), Some(3), Some(5), Some(2), None, Some(1)];
    assert_eq!(lots, wanted.map(|number| number.map(|number| uuid(6, number))));
}

#[test]
fn a_settlement_takes_the_charge_in_order_and_frees_the_rest() {
    let mut core = after([grant(1, 1, 30, None), top_up(1, 1, 100), hold(1, 1, 50)]);
    let before = core.draft.rows.transfers.len();
    decide(&mut core, &settle(1, 1, &[34])).unwrap();
    let wanted = ["2010 > 4000 30 capture", "4900 > 2019 30 posted", "2000 > 4000 4 capture", "5000 > 2100 17 posted"];
    assert_eq!(told(&core, before), wanted);
    assert_eq!(available(&core, 1), 96);
}

#[test]
fn a_part_that_the_charge_does_not_reach_is_voided() {
    let mut core = after([grant(1, 1, 30, None), top_up(1, 1, 100), hold(1, 1, 50)]);
    let before = core.draft.rows.transfers.len();
    decide(&mut core, &settle(1, 1, &[1])).unwrap();
    assert_eq!(told(&core, before), ["2010 > 4000 1 capture", "4900 > 2019 1 posted", "2000 > 4000 20 void"]);
    assert_eq!(available(&core, 1), 129);
}
