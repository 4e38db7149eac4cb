//! Entries made by hand.

use super::*;

#[test]
fn a_journal_entry_that_says_too_little_or_too_much_is_refused() {
    let mut core = after([top_up(1, 1, 100)]);
    let (accounts, rows) = (core.books.all().to_vec(), core.draft.rows.transfers.len());
    let one = line(paid(1), bank(), 1);
    let revenue = AccountKey::platform(Code::RefundsAllowed, Currency::USD);
    let euro = AccountKey::platform(Code::Bank, "EUR".parse().unwrap());
    let unknown = AccountKey::platform(Code::Bank, "ZZZ".parse().unwrap());
    let suspense = AccountKey { code: Code::Suspense, ..unknown };
    let entry = |lines: &[JournalLine]| journal(1, lines, None);
    let mut of = |entry: JournalEntry| refuse(&mut core, entry);
    assert!(matches!(of(entry(&[])), Error::BadEntry { .. }));
    assert!(matches!(of(entry(&vec![one.clone(); 1_001])), Error::BadEntry { .. }));
    assert!(matches!(
        of(JournalEntry { reason: " \n".into(), ..entry(std::slice::from_ref(&one)) }),
        Error::BadEntry { .. }
    ));
    for amount in [0, -1, i64::MIN] {
        assert!(matches!(of(entry(&[line(paid(1), bank(), amount)])), Error::BadAmount { .. }));
    }
    assert!(matches!(of(entry(&[one.clone(), line(revenue, paid(1), 1)])), Error::NoLeaf { .. }));
    assert!(matches!(of(entry(&[line(paid(1), revenue, 1)])), Error::NoLeaf { .. }));
    assert!(matches!(of(entry(&[one.clone(), line(bank(), euro, 1)])), Error::TwoUnits { .. }));
    assert!(matches!(of(entry(&[one.clone(), line(bank(), bank(), 1)])), Error::OneAccount { code: Code::Bank }));
    assert!(matches!(of(entry(&[line(unknown, suspense, 1)])), Error::UnknownUnit { .. }));
    assert!(matches!(of(entry(&[one.clone(), line(paid(1), bank(), 100)])), Error::Overdraft { .. }));
    assert_eq!((core.books.all().starts_with(&accounts), core.draft.rows.transfers.len()), (true, rows));
    decide(&mut core, &entry(&vec![one; 100]).into()).unwrap();
    assert_eq!(available(&core, 1), 0);
}
