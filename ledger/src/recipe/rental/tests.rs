//! Rentals on the pure core.

use super::*;
use crate::account::AccountState;
use crate::recipe::state::AccountChange;
use crate::recipe::tests::{Desk, at, node, provider, share, tenant, usd, uuid};

fn hold(amount: i64) -> RentalHold {
    RentalHold {
        rental_id: uuid(1, 1),
        tenant_id: tenant(1),
        currency: usd(),
        amount: Nanos(amount),
        expires_at: at(600),
    }
}

fn rented(used_for: RentalUse) -> Rented {
    Rented { node_id: node(1), provider_id: provider(1), used_for }
}

fn meter(period: i32, charge: i64) -> RentalMeter {
    RentalMeter {
        rental_id: uuid(1, 1),
        period,
        tenant_id: tenant(1),
        charge: Nanos(charge),
        rented: rented(RentalUse::Bare),
        shares: vec![share(1, charge / 2)],
        event_at: at(0),
    }
}

fn end(period: i32) -> RentalEnd {
    RentalEnd { rental_id: uuid(1, 1), period, tenant_id: tenant(1) }
}

#[test]
fn each_period_takes_what_it_cost_and_holds_the_rest_again() {
    let mut desk = Desk::open();
    desk.grant(1, 1, 30, None);
    desk.top_up(1, 100);
    let wanted = ["2010 > 4020 30 pending", "2000 > 4020 60 pending"];
    assert_eq!(desk.post(hold(90)).unwrap(), wanted);
    assert_eq!(desk.post(hold(90)).unwrap(), [""; 0]);
    assert_eq!(desk.available(1), 40);
    let wanted = [
        "2010 > 4020 20 capture",
        "4900 > 2019 20 posted",
        "2000 > 4020 60 void",
        "2010 > 4020 10 pending",
        "2000 > 4020 60 pending",
        "5000 > 2100 10 posted",
    ];
    assert_eq!(desk.post(meter(1, 20)).unwrap(), wanted);
    assert_eq!(desk.last_leaves(6), ["LEASE lease", "LEASE lease", "", "", "", "LEASE lease"]);
    assert_eq!(desk.post(meter(1, 20)).unwrap(), [""; 0]);
    assert!(matches!(desk.post(meter(1, 21)), Err(Error::IdReused { .. })));
    assert!(matches!(desk.post(meter(3, 20)), Err(Error::NoOpenHold { .. })), "no gap");
    let wanted = [
        "2010 > 4020 10 capture",
        "4900 > 2019 10 posted",
        "2000 > 4020 20 capture",
        "2000 > 4020 40 pending",
        "5000 > 2100 15 posted",
    ];
    assert_eq!(desk.post(meter(2, 30)).unwrap(), wanted);
    assert_eq!(desk.post(hold(90)).unwrap(), [""; 0], "the first hold's repetition is answered still");
    assert!(matches!(desk.post(meter(3, 41)), Err(Error::ChargeAboveHold { held: Nanos(40), .. })));
    assert_eq!(desk.available(1), 40, "what is not held");
    assert_eq!(desk.post(meter(3, 40)).unwrap(), ["2000 > 4020 40 capture", "5000 > 2100 20 posted"]);
    assert!(matches!(desk.post(meter(4, 1)), Err(Error::NoOpenHold { .. })), "nothing is left");
    assert_eq!(desk.post(meter(3, 40)).unwrap(), [""; 0]);
}

#[test]
fn a_rental_that_ends_early_frees_what_it_holds() {
    let mut desk = Desk::open();
    desk.top_up(1, 100);
    assert!(matches!(desk.post(end(0)), Err(Error::NoOpenHold { .. })));
    desk.post(hold(90)).unwrap();
    desk.post(meter(1, 20)).unwrap();
    assert!(matches!(desk.post(end(0)), Err(Error::NoOpenHold { .. })), "that hold was renewed");
    let stranger = RentalEnd { tenant_id: tenant(2), ..end(1) };
    assert!(matches!(desk.post(stranger), Err(Error::StrangersHold { .. })));
    assert_eq!(desk.post(end(1)).unwrap(), ["2000 > 4020 70 void"]);
    assert_eq!(desk.post(end(1)).unwrap(), [""; 0]);
    assert!(matches!(desk.post(meter(2, 1)), Err(Error::NoOpenHold { .. })));
    assert_eq!(desk.available(1), 80);
}

#[test]
fn a_frozen_tenants_rental_goes_on_with_what_it_holds() {
    let mut desk = Desk::open();
    desk.top_up(1, 100);
    desk.post(hold(60)).unwrap();
    let account = AccountKey::owned(Code::PaidCredits, tenant(1), usd());
    let (change_id, state, reason) = (uuid(2, 1), AccountState::Frozen, "look into it".to_owned());
    desk.post(AccountChange { change_id, account, state, reason }).unwrap();
    let wanted = ["2000 > 4020 20 capture", "2000 > 4020 40 pending", "5000 > 2100 10 posted"];
    assert_eq!(desk.post(meter(1, 20)).unwrap(), wanted);
    assert!(matches!(desk.post(RentalHold { rental_id: uuid(1, 2), ..hold(1) }), Err(Error::InsufficientFunds { .. })));
}

#[test]
fn a_dedicated_endpoint_is_productive_when_it_served_and_idle_when_it_did_not() {
    let mut desk = Desk::open();
    desk.top_up(1, 100);
    desk.post(hold(60)).unwrap();
    let cases =
        [(1, RentalUse::Served("spark-1".into()), "PRODUCTIVE"), (2, RentalUse::Idle("spark-1".into()), "LEASE_IDLE")];
    for (period, used_for, bucket) in cases {
        desk.post(RentalMeter { rented: rented(used_for), ..meter(period, 10) }).unwrap();
        let leaf = desk.last_leaf().unwrap();
        assert_eq!(
            (leaf.bucket.as_str(), leaf.product_line.as_str(), leaf.model.as_deref()),
            (bucket, "dedicated", Some("spark-1"))
        );
    }
}

#[test]
fn rentals_that_cannot_be_are_refused() {
    let mut desk = Desk::open();
    desk.top_up(1, 100);
    for amount in [0, -1, i64::MIN] {
        assert!(matches!(desk.post(hold(amount)), Err(Error::BadAmount { what: "hold", .. })));
    }
    assert!(matches!(desk.post(hold(i64::MAX)), Err(Error::InsufficientFunds { .. })));
    desk.post(hold(60)).unwrap();
    for period in [0, -1, i32::MIN] {
        assert!(matches!(desk.post(meter(period, 1)), Err(Error::BadEvent { .. })));
    }
    for charge in [0, -1] {
        assert!(matches!(desk.post(meter(1, charge)), Err(Error::BadAmount { what: "charge", .. })));
    }
    let stranger = RentalMeter { tenant_id: tenant(2), ..meter(1, 1) };
    assert!(matches!(desk.post(stranger), Err(Error::StrangersHold { .. })));
    let negative = RentalMeter { shares: vec![share(1, -1)], ..meter(1, 1) };
    assert!(matches!(desk.post(negative), Err(Error::BadAmount { what: "share", .. })));
}

#[test]
fn a_rental_paid_ahead_is_earned_by_time() {
    let mut desk = Desk::open();
    let (contract_id, tenant_id, fee) = (uuid(1, 1), tenant(1), Nanos(100));
    let contract = Contract { contract_id, tenant_id, currency: usd(), fee, from_at: at(0), to_at: at(240) };
    let paid_by = PaidBy::Invoice { invoice_id: uuid(2, 1) };
    let buy = RentalBuy { contract: contract.clone(), tax: Nanos(19), paid_by };
    assert_eq!(desk.post(buy).unwrap(), ["1100 > 2040 100 posted", "1100 > 2200 19 posted"]);
    let recognise = |minutes| RentalRecognition {
        contract: contract.clone(),
        until: at(minutes),
        rented: rented(RentalUse::Bare),
        shares: vec![share(1, 7)],
    };
    assert!(matches!(desk.post(recognise(60)), Err(Error::BadEvent { .. })), "it is not over");
    desk.now = at(240);
    assert_eq!(desk.post(recognise(60)).unwrap(), ["2040 > 4020 25 posted", "5000 > 2100 7 posted"]);
    assert_eq!(desk.last_leaves(2), ["LEASE lease"; 2]);
    assert_eq!(desk.post(recognise(240)).unwrap()[0], "2040 > 4020 75 posted");
}
