//! What the core decides, request by request.

mod checkpoints;
mod model;

use chrono::TimeDelta;
use primitives::id::{JobId, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};

use self::model::{history, replay};
use super::*;
use crate::account::Priority;
use crate::chart::Code;
use crate::economics::Bucket;
use crate::economics::tokens::Waste;
use crate::recipe::capacity::{CapacityReport, CapacityShare, CapacityUse};
use crate::recipe::credit::{PromoGrant, TopUp};
use crate::recipe::job::{Dimensions, JobHold, JobSettlement, Overrun, ProviderShare, UsageFact, Void};
use crate::recipe::journal::{JournalEntry, JournalLine};
use crate::recipe::state::{AccountChange, PeriodChange};

fn noon() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn uuid(kind: u8, number: u8) -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 | u128::from(kind) << 8 | u128::from(number))
}

fn tenant(number: u8) -> TenantId {
    TenantId(uuid(1, number))
}

fn job(number: u8) -> JobId {
    JobId(uuid(2, number))
}

fn hold(job_number: u8, tenant_number: u8, amount: i64) -> Request {
    Request::from(JobHold {
        job_id: job(job_number),
        tenant_id: tenant(tenant_number),
        currency: Currency::USD,
        amount: Nanos(amount),
        expires_at: noon() + TimeDelta::hours(1),
    })
}

/// A job whose charge is shared among as many nodes as there are amounts.
fn settlement(job_number: u8, tenant_number: u8, amounts: &[i64]) -> JobSettlement {
    let usage = (0..).zip(amounts).map(|(segment, amount)| UsageFact {
        segment,
        node_id: NodeId(uuid(3, segment as u8)),
        provider_id: ProviderId(uuid(4, segment as u8)),
        meter: "output".into(),
        quantity: 7,
        price_id: PriceId(uuid(5, 0)),
        amount: Nanos(*amount),
        waste: None,
        compute_ms: 70,
    });
    let shares = (0..).zip(amounts).map(|(segment, amount)| ProviderShare {
        provider_id: ProviderId(uuid(4, segment as u8)),
        node_id: NodeId(uuid(3, segment as u8)),
        segment,
        amount: Nanos(amount / 2),
    });
    JobSettlement {
        job_id: job(job_number),
        charge: Nanos(amounts.iter().sum()),
        overrun: Overrun::Refuse,
        shares: shares.collect(),
        usage: usage.collect(),
        dimensions: Dimensions {
            tenant_id: tenant(tenant_number),
            model: "spark-1".into(),
            product_line: "inference".into(),
        },
        event_at: noon(),
    }
}

fn settle(job_number: u8, tenant_number: u8, amounts: &[i64]) -> Request {
    settlement(job_number, tenant_number, amounts).into()
}

/// The same, where the tenant owes what its hold does not cover.
fn settle_or_owe(job_number: u8, tenant_number: u8, amounts: &[i64]) -> Request {
    JobSettlement { overrun: Overrun::Owe, ..settlement(job_number, tenant_number, amounts) }.into()
}

fn void(job_number: u8) -> Request {
    Void { link: job(job_number).0 }.into()
}

fn grant(lot: u8, tenant_number: u8, amount: i64, lapses_in_hours: Option<i64>) -> Request {
    Request::from(PromoGrant {
        tenant_id: tenant(tenant_number),
        lot_id: uuid(6, lot),
        amount: Nanos(amount),
        currency: Currency::USD,
        expires_at: lapses_in_hours.map(|hours| noon() + TimeDelta::hours(hours)),
    })
}

fn top_up(number: u32, tenant_number: u8, amount: i64) -> Request {
    let reference = format!("bank-{number}");
    Request::from(TopUp { tenant_id: tenant(tenant_number), amount: Nanos(amount), currency: Currency::USD, reference })
}

fn paid(tenant_number: u8) -> AccountKey {
    AccountKey::owned(Code::PaidCredits, tenant(tenant_number), Currency::USD)
}

fn bank() -> AccountKey {
    AccountKey::platform(Code::Bank, Currency::USD)
}

fn line(debit: AccountKey, credit: AccountKey, amount: i64) -> JournalLine {
    JournalLine { debit, credit, amount: Nanos(amount), leaf: None }
}

fn journal(number: u8, lines: &[JournalLine], month: Option<&str>) -> JournalEntry {
    let month = month.map(|month| month.parse().unwrap());
    JournalEntry { entry_id: uuid(7, number), lines: lines.to_vec(), month, reason: "found at the audit".into() }
}

fn period(number: u8, month: &str, state: PeriodState) -> Request {
    let (change_id, month) = (uuid(8, number), month.parse().unwrap());
    PeriodChange { change_id, month, state, reason: "the month is over".into() }.into()
}

fn account_state(number: u8, account: AccountKey, state: AccountState) -> Request {
    AccountChange { change_id: uuid(9, number), account, state, reason: "asked by the tenant".into() }.into()
}

fn empty() -> Core {
    Core::new(0, 1, Tip::genesis(0), Books::default())
}

/// Decides as the writer does, in a database where nothing else is.
fn decide(core: &mut Core, request: &Request) -> Result<Decision, Error> {
    decide_at(core, request, noon())
}

fn decide_at(core: &mut Core, request: &Request, now: DateTime<Utc>) -> Result<Decision, Error> {
    let needs = core.needs(request, false);
    core.learn(needs, Knowledge::default());
    core.decide(request, now)
}

/// A core that decided all of these.
fn after(requests: impl IntoIterator<Item = Request>) -> Core {
    let mut core = empty();
    for request in requests {
        decide(&mut core, &request).unwrap();
    }
    core
}

fn refuse(core: &mut Core, request: impl Into<Request>) -> Error {
    decide(core, &request.into()).unwrap_err()
}

fn available(core: &Core, tenant_number: u8) -> i128 {
    let credit = |account: &&Account| matches!(account.key.code, Code::PaidCredits | Code::PromoCredits);
    core.books.accounts_of(tenant(tenant_number).0, Currency::USD).filter(credit).map(Account::available).sum()
}

/// What a tenant used beyond its holds.
fn owed(core: &Core, tenant_number: u8) -> i128 {
    let key = AccountKey::owned(Code::OverrunReceivable, tenant(tenant_number), Currency::USD);
    core.books.account(&key).map_or(0, Account::available)
}

/// What a group did, as `debit > credit amount kind`.
fn told(core: &Core, from: usize) -> Vec<String> {
    let name = |id: i64| AccountId(id).code().unwrap().number();
    let row = |row: &TransferRow| {
        let kind = Kind::from_number(row.kind).unwrap().as_str();
        format!("{} > {} {} {kind}", name(row.debit_account_id), name(row.credit_account_id), row.amount)
    };
    core.draft.rows.transfers[from..].iter().map(row).collect()
}

/// The month that the last group is booked in.
fn booked_in(core: &Core) -> i16 {
    core.draft.rows.transfers.iter().rev().find_map(|row| row.period).unwrap()
}

/// The leaf of that number, while nothing is sealed.
fn leaf(core: &Core, id: Option<i32>) -> &LeafRow {
    core.draft.rows.leaves.iter().find(|leaf| Some(leaf.id) == id).unwrap()
}

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
fn a_group_that_fails_half_way_moves_nothing() {
    let mut core = after([top_up(1, 1, i64::MAX), hold(1, 1, 10), settle(1, 1, &[10])]);
    let (accounts, rows) = (core.books.all().to_vec(), core.draft.rows.transfers.len());
    // The bank would pass what an account can hold.
    assert!(matches!(decide(&mut core, &top_up(2, 2, 1)), Err(Error::OutOfRange { .. })));
    assert_eq!(core.draft.rows.transfers.len(), rows);
    assert!(core.books.all().starts_with(&accounts));
    assert!(core.books.all()[accounts.len()..].iter().all(|account| account.last_seq == 0));
}

#[test]
fn a_repetition_gets_the_first_answer_and_another_body_is_a_conflict() {
    let mut core = empty();
    decide(&mut core, &top_up(1, 1, 100)).unwrap();
    let first = decide(&mut core, &hold(1, 1, 50)).unwrap();
    let rows = core.draft.rows.transfers.len();
    let again = decide(&mut core, &hold(1, 1, 50)).unwrap();
    assert_eq!((again.height, &again.parts, again.block), (first.height, &first.parts, None));
    assert!(matches!(decide(&mut core, &hold(1, 1, 51)), Err(Error::IdReused { recipe: "job_hold", .. })));
    assert!(matches!(decide(&mut core, &top_up(1, 1, 99)), Err(Error::IdReused { .. })));
    decide(&mut core, &settle(1, 1, &[20])).unwrap();
    let (block, _) = core.seal(noon()).unwrap();
    core.committed(block);
    assert_eq!(decide(&mut core, &settle(1, 1, &[20])).unwrap().block, Some(block));
    assert!(matches!(decide(&mut core, &settle(1, 1, &[21])), Err(Error::IdReused { .. })));
    assert_eq!(rows + 2, 4, "nothing was posted by repetitions");
    assert!(!core.has_draft());
}

#[test]
fn an_untouched_core_seals_nothing_and_blocks_follow_one_another() {
    let mut core = empty();
    assert!(core.seal(noon()).is_none());
    decide(&mut core, &top_up(1, 1, 100)).unwrap();
    let (first, _) = core.seal(noon()).unwrap();
    decide(&mut core, &hold(1, 1, 10)).unwrap();
    let (second, block) = core.seal(noon()).unwrap();
    assert_eq!((first.height, second.height), (1, 2));
    assert_eq!(block.row.prev_hash, first.hash);
    assert_eq!((block.row.first_seq, block.row.open_from_seq), (2, 2));
    decide(&mut core, &void(1)).unwrap();
    assert_eq!(core.seal(noon()).unwrap().1.row.open_from_seq, 4);
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

#[test]
fn a_leaf_is_written_once_for_all_that_belong_to_it() {
    let mut core = after([top_up(1, 1, 100), hold(1, 1, 10), settle(1, 1, &[10])]);
    let (_, first) = core.seal(noon()).unwrap();
    // One of revenue and cost, one of usage.
    assert_eq!(first.rows.leaves.iter().map(|leaf| leaf.id).collect::<Vec<_>>(), [1, 2]);
    for request in [hold(2, 1, 10), settle(2, 1, &[10])] {
        decide(&mut core, &request).unwrap();
    }
    let (_, second) = core.seal(noon()).unwrap();
    assert_eq!((second.rows.leaves.len(), second.row.leaves_total), (0, 2));
    let leaves = |block: &Block| block.rows.transfers.iter().filter_map(|row| row.leaf_id).collect::<Vec<_>>();
    assert_eq!(leaves(&first), leaves(&second));
}

#[test]
fn capacity_is_a_note_with_facts_and_no_more_than_a_node() {
    let mut core = empty();
    let report = |shares: &[i32]| CapacityReport {
        node_id: NodeId(uuid(3, 1)),
        provider_id: ProviderId(uuid(4, 1)),
        from_at: noon() - TimeDelta::hours(1),
        to_at: noon(),
        rcu_milli: 1_500,
        shares: shares
            .iter()
            .map(|&share_ppm| CapacityShare { share_ppm, used_for: CapacityUse::Model("spark-1".into()) })
            .collect(),
    };
    for shares in [&[][..], &[0], &[1_000_001], &[600_000, 400_001], &[1_000_001, -1]] {
        assert!(matches!(refuse(&mut core, report(shares)), Error::BadCapacity { .. }), "{shares:?}");
    }
    let backwards = CapacityReport { to_at: noon() - TimeDelta::hours(1), ..report(&[1]) };
    assert!(matches!(refuse(&mut core, backwards), Error::BadCapacity { .. }));
    decide(&mut core, &report(&[600_000, 400_000]).into()).unwrap();
    assert!(matches!(refuse(&mut core, report(&[1_000_000])), Error::IdReused { recipe: "capacity", .. }));
    let (_, block) = core.seal(noon()).unwrap();
    assert_eq!(block.rows.transfers.iter().map(|row| (row.seq, row.kind)).collect::<Vec<_>>(), [(1, 5)]);
    let facts = block.rows.capacity.iter().map(|fact| (fact.seq, fact.line, fact.leaf_id, fact.share_ppm));
    assert_eq!(facts.collect::<Vec<_>>(), [(1, 0, 1, 600_000), (1, 1, 1, 400_000)]);
    assert_eq!(block.rows.leaves[0].bucket, Bucket::Productive.as_str());
}
