//! The month that a group is booked in, and months that are closed.

use super::*;

#[test]
fn a_group_is_booked_in_the_month_it_happened_while_that_is_open_and_else_in_the_open_one() {
    let october = "2026-10-31T23:59:59.999999Z".parse().unwrap();
    let mut core = after([top_up(1, 1, 1_000)]);
    let late = |core: &mut Core, number: u8| {
        decide(core, &hold(number, 1, 10)).unwrap();
        assert_eq!(booked_in(core), 2611);
        let settlement = JobSettlement { event_at: october, ..settlement(number, 1, &[10]) };
        decide(core, &settlement.into()).unwrap();
        booked_in(core)
    };
    assert_eq!(late(&mut core, 1), 2610);
    decide(&mut core, &period(1, "2026-10", PeriodState::Soft)).unwrap();
    assert_eq!(booked_in(&core), 2611, "the close itself happens now");
    assert_eq!(late(&mut core, 2), 2611);
    decide(&mut core, &period(2, "2026-10", PeriodState::Open)).unwrap();
    assert_eq!(late(&mut core, 3), 2610);
    decide(&mut core, &period(3, "2026-10", PeriodState::Hard)).unwrap();
    assert_eq!(late(&mut core, 4), 2611);
    // What is said to happen in a month to come happens now.
    decide(&mut core, &hold(5, 1, 10)).unwrap();
    let ahead = JobSettlement { event_at: noon() + TimeDelta::days(30), ..settlement(5, 1, &[10]) };
    decide(&mut core, &ahead.into()).unwrap();
    assert_eq!(booked_in(&core), 2611);
}

#[test]
fn a_journal_entry_goes_into_a_soft_closed_month_and_not_into_a_hard_closed_one() {
    let mut core = after([top_up(1, 1, 1_000)]);
    let lines = [line(paid(1), bank(), 1)];
    let entry = |number: u8, month| Request::from(journal(number, &lines, month));
    decide(&mut core, &entry(1, None)).unwrap();
    assert_eq!(booked_in(&core), 2611);
    decide(&mut core, &entry(2, Some("2026-10"))).unwrap();
    assert_eq!(booked_in(&core), 2610);
    decide(&mut core, &period(1, "2026-10", PeriodState::Soft)).unwrap();
    decide(&mut core, &entry(3, Some("2026-10"))).unwrap();
    assert_eq!(booked_in(&core), 2610);
    decide(&mut core, &period(2, "2026-10", PeriodState::Hard)).unwrap();
    let before = core.draft.rows.transfers.len();
    let closed =
        |error: Error, wanted: &str| matches!(error, Error::PeriodClosed { month } if month.to_string() == wanted);
    assert!(closed(refuse(&mut core, entry(4, Some("2026-10"))), "2026-10"));
    assert!(closed(refuse(&mut core, entry(5, Some("2026-12"))), "2026-12"));
    assert_eq!(core.draft.rows.transfers.len(), before);
}

#[test]
fn a_month_is_closed_after_its_end_and_for_good_once_it_is_hard_closed() {
    let mut core = empty();
    for state in [PeriodState::Soft, PeriodState::Hard] {
        assert!(matches!(refuse(&mut core, period(1, "2026-11", state)), Error::PeriodRunning { .. }));
    }
    decide(&mut core, &period(2, "2026-10", PeriodState::Hard)).unwrap();
    for state in [PeriodState::Open, PeriodState::Soft, PeriodState::Hard] {
        assert!(matches!(refuse(&mut core, period(3, "2026-10", state)), Error::PeriodClosed { .. }));
    }
    let (_, block) = core.seal(noon()).unwrap();
    let [note] = block.rows.transfers.as_slice() else { panic!("one note: {:?}", block.rows.transfers) };
    assert_eq!((note.kind, note.amount, note.reference.as_deref()), (5, 0, Some("the month is over")));
    let [state] = block.rows.periods.as_slice() else { panic!("one state: {:?}", block.rows.periods) };
    assert_eq!((state.seq, state.period, state.state.as_str()), (note.seq, 2610, "hard"));
}
