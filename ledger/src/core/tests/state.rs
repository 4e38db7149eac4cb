//! Accounts that are frozen or closed.

use super::*;

#[test]
fn a_frozen_account_takes_in_and_resolves_its_holds_and_pays_for_nothing_new() {
    let mut core = after([top_up(1, 1, 100), hold(1, 1, 30), hold(2, 1, 40)]);
    decide(&mut core, &account_state(1, paid(1), AccountState::Frozen)).unwrap();
    let state = core.draft.rows.states.last().unwrap();
    assert_eq!((state.state.as_str(), state.floor), ("frozen", Some(30)));
    assert!(matches!(refuse(&mut core, hold(3, 1, 1)), Error::InsufficientFunds { available: Nanos(0), .. }));
    let out = journal(1, &[line(paid(1), bank(), 1)], None);
    assert!(matches!(refuse(&mut core, out.clone()), Error::AccountFrozen { .. }));
    decide(&mut core, &top_up(2, 1, 7)).unwrap();
    // A job on two nodes takes its part in two transfers; together they pay no more than was held.
    decide(&mut core, &settle(1, 1, &[10, 15])).unwrap();
    decide(&mut core, &void(2)).unwrap();
    assert_eq!(available(&core, 1), 82);
    assert!(matches!(refuse(&mut core, out.clone()), Error::AccountFrozen { .. }));
    decide(&mut core, &account_state(2, paid(1), AccountState::Open)).unwrap();
    assert_eq!(core.draft.rows.states.last().unwrap().floor, None);
    decide(&mut core, &out.into()).unwrap();
    decide(&mut core, &hold(3, 1, 81)).unwrap();
}

#[test]
fn an_account_is_closed_when_it_is_empty_and_for_good() {
    let mut core = after([top_up(1, 1, 100), hold(1, 1, 100)]);
    let close = |core: &mut Core| decide(core, &account_state(1, paid(1), AccountState::Closed));
    assert!(matches!(close(&mut core), Err(Error::AccountNotEmpty { .. })));
    decide(&mut core, &settle(1, 1, &[99])).unwrap();
    assert!(matches!(close(&mut core), Err(Error::AccountNotEmpty { .. })));
    decide(&mut core, &journal(1, &[line(paid(1), bank(), 1)], None).into()).unwrap();
    close(&mut core).unwrap();
    assert!(matches!(refuse(&mut core, top_up(2, 1, 1)), Error::AccountClosed { .. }));
    assert!(matches!(refuse(&mut core, hold(2, 1, 1)), Error::InsufficientFunds { .. }));
    let again = account_state(2, paid(1), AccountState::Open);
    assert!(matches!(refuse(&mut core, again), Error::AccountClosed { .. }));
    let never_opened = account_state(3, paid(2), AccountState::Frozen);
    assert!(matches!(refuse(&mut core, never_opened), Error::UnknownAccount { code: Code::PaidCredits, .. }));
}

#[test]
fn an_account_that_is_below_zero_is_frozen_where_it_stands() {
    let mut core = after([top_up(1, 1, 100)]);
    let clearing = AccountKey::platform(Code::ProcessorClearing, Currency::USD);
    let out = |number: u8, amount| Request::from(journal(number, &[line(clearing, bank(), amount)], None));
    decide(&mut core, &out(1, 150)).unwrap();
    decide(&mut core, &account_state(1, bank(), AccountState::Frozen)).unwrap();
    assert_eq!(core.draft.rows.states.last().unwrap().floor, Some(-50));
    assert!(matches!(refuse(&mut core, out(2, 1)), Error::AccountFrozen { .. }));
    decide(&mut core, &top_up(2, 1, 70)).unwrap();
    assert!(matches!(refuse(&mut core, out(3, 1)), Error::AccountFrozen { .. }));
}
