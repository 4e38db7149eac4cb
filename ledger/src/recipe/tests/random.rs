//! Every recipe in any order, with any amounts: [`Desk::post`] looks the books through after each step, and in the end whatever is on
//! its way arrives.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;
use crate::account::{AccountState, Priority};
use crate::economics::Bucket;
use crate::economics::tokens::Waste;
use crate::period::{Month, PeriodState};
use crate::recipe::agency::NetSettlement;
use crate::recipe::capacity::{CapacityReport, CapacityShare, CapacityUse};
use crate::recipe::contract::Contract;
use crate::recipe::credit::{CardTopUp, OverrunCollection, PaidLot};
use crate::recipe::dispute::{DisputeLost, DisputeOpened, DisputeWon, UsedPart};
use crate::recipe::exchange::{Conversion, ExchangeDifference, Outcome};
use crate::recipe::expiry::{CreditExpiry, Lapse, LapsingCredit, PromoExpiry};
use crate::recipe::job::Void;
use crate::recipe::journal::{JournalEntry, JournalLine};
use crate::recipe::licence::{LicenceInvoice, LicenceRecognition};
use crate::recipe::pack::{PackBuy, PackDraw, PackExpiry};
use crate::recipe::payout::{ProcessorPayout, ProcessorPayoutArrival};
use crate::recipe::postpaid::{Invoice, InvoicePayment, PostpaidUsage, Recovery, WriteOff};
use crate::recipe::provider::{
    Clawback, EarningForfeit, EarningRelease, EarningReserve, PaidFrom, ProviderPayout, ProviderPayoutPaid,
};
use crate::recipe::purchase::{PaidBy, Purchase};
use crate::recipe::refund::{CreditNote, CreditRefund, NoteSettled, RefundPaid};
use crate::recipe::rental::{RentalBuy, RentalEnd, RentalHold, RentalMeter, RentalRecognition, RentalUse, Rented};
use crate::recipe::reversal::{Reversal, ReversalLine};
use crate::recipe::state::{AccountChange, PeriodChange};
use crate::recipe::throughput::{CreditedTo, QuotaUse, SlaCredit, ThroughputBuy, ThroughputRecognition};

/// How many kinds of steps [`request`] knows.
const STEPS: u8 = 43;
/// How many events of a kind there are.
const EVENTS: u8 = 3;

/// What happens next: which event, which one of its kind, how much and when.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    event: u8,
    amount: i64,
    small: i64,
    minutes: i64,
    choice: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = prop_oneof![
        8 => 1..2_000_i64,
        2 => 1..10_000_000_000_i64,
        1 => prop_oneof![20 => Just(0), 20 => Just(-1), 20 => Just(i64::MIN), 1 => Just(i64::MAX), 1 => Just(i64::MAX / 2)],
    ];
    let step = (0..STEPS, 0..EVENTS, amount, 0..200_i64, 0..40_i64, any::<bool>());
    let step = step.prop_map(|(kind, event, amount, small, minutes, choice)| Step {
        kind,
        event,
        amount,
        small,
        minutes,
        choice,
    });
    proptest::collection::vec(step, 1..200)
}

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

/// The contract of that number; its time is two hours.
fn contract(kind: u8, event: u8, fee: i64) -> Contract {
    let (contract_id, tenant_id) = (uuid(kind, event), tenant(event % 2));
    Contract { contract_id, tenant_id, currency: usd(), fee: Nanos(fee), from_at: at(0), to_at: at(120) }
}

fn request(step: &Step, now: DateTime<Utc>) -> Request {
    let Step { kind, event, small, choice, .. } = *step;
    let (amount, few) = (Nanos(step.amount), Nanos(small));
    let (tenant_id, provider_id, currency) = (tenant(event % 2), provider(event % 2), usd());
    let (id, payment) = (uuid(20, event), format!("pi_{event}_{}", small % 9));
    let job = |amounts: &[i64]| JobSettlement {
        overrun: if choice { Overrun::Owe } else { Overrun::Refuse },
        ..settlement(event, event % 2, amounts)
    };
    let rented = Rented { node_id: node(1), provider_id: provider(1), used_for: RentalUse::Bare };
    let leaf = Leaf {
        tenant_id: Some(tenant_id),
        provider_id: Some(provider_id),
        node_id: Some(node(1)),
        model: Some("spark-1".into()),
        ..Leaf::new(Bucket::Productive, "inference")
    };
    let paid_by = || match small % 3 {
        0 => PaidBy::Card { fee: Nanos(small / 9) },
        1 => PaidBy::Invoice { invoice_id: uuid(21, event) },
        _ => PaidBy::Credit,
    };
    let (tax, fee, lapse) =
        (Nanos(small / 5), Nanos(small / 9), if choice { Lapse::Breakage } else { Lapse::Unclaimed });
    let expires_at = Some(at(60));
    match kind {
        0 | 1 => TopUp { tenant_id, amount, currency, reference: payment }.into(),
        2 => PromoGrant { tenant_id, lot_id: id, amount, currency, expires_at }.into(),
        3 => {
            let lot = choice.then_some(PaidLot { lot_id: id, priority: Priority(30), expires_at });
            CardTopUp { tenant_id, amount, currency, tax, fee, payment, lot }.into()
        }
        4 => {
            let kind = if small % 2 == 0 { LapsingCredit::Paid } else { LapsingCredit::Service };
            CreditExpiry { lot_id: id, tenant_id, currency, kind, lapse }.into()
        }
        5 => PromoExpiry { lot_id: id, tenant_id, currency }.into(),
        6 => OverrunCollection { collection_id: uuid(20, small as u8), tenant_id, currency }.into(),
        7 => ProcessorPayout { payout: payment, amount, currency }.into(),
        8 => ProcessorPayoutArrival { payout: payment, currency }.into(),
        9 | 10 => {
            JobHold { job_id: JobId(uuid(12, event)), tenant_id, currency, amount: few, expires_at: at(600) }.into()
        }
        11 => job(&[small, small / 3]).into(),
        12 => NetSettlement(job(&[small, small / 3])).into(),
        13 => Void { link: uuid(12, event) }.into(),
        14 => CreditRefund { refund_id: id, tenant_id, amount, currency }.into(),
        15 => {
            let settled_by = if choice { NoteSettled::Refund } else { NoteSettled::Invoice(uuid(21, event)) };
            let of = if small % 2 == 0 { Month::of(now) } else { "2026-10".parse().unwrap() };
            CreditNote { note_id: uuid(22, event), tenant_id, amount, tax, currency, settled_by, leaf, of }.into()
        }
        16 => RefundPaid { refund_id: uuid(if choice { 20 } else { 22 }, event), tenant_id, currency }.into(),
        17 => DisputeOpened { dispute_id: uuid(23, event), tenant_id, amount, fee, currency }.into(),
        18 => {
            let used_part = if choice { UsedPart::Owed } else { UsedPart::Lost };
            DisputeLost { dispute_id: uuid(23, event), tenant_id, currency, used_part }.into()
        }
        19 => DisputeWon { dispute_id: uuid(23, event), tenant_id, currency }.into(),
        20 => ThroughputBuy { contract: contract(24, event, 1_000), tax, paid_by: paid_by() }.into(),
        21 => {
            let share_ppm = small as i32 * 4_000;
            let used = vec![QuotaUse { model: "spark-1".into(), node_id: node(1), provider_id, share_ppm }];
            let shares = vec![share(1, small / 2)];
            ThroughputRecognition { contract: contract(24, event, 1_000), until: now, used, shares }.into()
        }
        22 => {
            let credited_to =
                if choice { CreditedTo::Lot { expires_at } } else { CreditedTo::Invoice(uuid(21, event)) };
            let of = Month::of(now);
            SlaCredit { credit_id: id, tenant_id, amount: few, currency, credited_to, model: None, of }.into()
        }
        23 => {
            let purchase = Purchase { tenant_id, currency, net: amount, tax, paid_by: paid_by() };
            PackBuy { pack_id: uuid(25, event), tokens: small * 3, expires_at, purchase }.into()
        }
        24 | 25 => {
            let job = JobSettlement { job_id: JobId(uuid(26, small as u8)), ..settlement(0, event % 2, &[0, 0]) };
            PackDraw { pack_id: uuid(25, event), currency, tokens: small, job }.into()
        }
        26 => PackExpiry { pack_id: uuid(25, event), tenant_id, currency, lapse }.into(),
        27 => RentalHold { rental_id: uuid(27, event), tenant_id, currency, amount: few, expires_at: at(600) }.into(),
        28 | 29 => RentalMeter {
            rental_id: uuid(27, event),
            period: small as i32 % 4,
            tenant_id,
            charge: Nanos(small / 4),
            rented,
            shares: vec![share(1, small / 9)],
            event_at: now,
        }
        .into(),
        30 => RentalEnd { rental_id: uuid(27, event), period: small as i32 % 4, tenant_id }.into(),
        31 => RentalBuy { contract: contract(28, event, 777), tax, paid_by: paid_by() }.into(),
        32 => RentalRecognition { contract: contract(28, event, 777), until: now, rented, shares: vec![] }.into(),
        33 if choice => LicenceInvoice { contract: contract(29, event, 999), tax, invoice_id: uuid(21, event) }.into(),
        33 => LicenceRecognition { contract: contract(29, event, 999), until: now }.into(),
        34 => {
            let job = JobSettlement {
                job_id: JobId(uuid(30, small as u8)),
                ..settlement(0, event % 2, &[small * 1_000_003, small])
            };
            PostpaidUsage { invoice_id: uuid(21, event), currency, job }.into()
        }
        35 => Invoice { invoice_id: uuid(21, event), tenant_id, currency, tax: Nanos(small / 20 * 10_000_000) }.into(),
        36 => InvoicePayment { payment, invoice_id: uuid(21, event), tenant_id, currency, amount, fee }.into(),
        37 => WriteOff { invoice_id: uuid(21, event), tenant_id, currency, tax_relief: fee }.into(),
        38 => Recovery { payment, invoice_id: uuid(21, event), tenant_id, currency, amount, tax: fee }.into(),
        39 if choice => {
            EarningReserve { reserve_id: uuid(31, event), provider_id, amount: few, currency, release_at: at(60) }
                .into()
        }
        39 if small % 2 == 0 => EarningForfeit { reserve_id: uuid(31, event), provider_id, currency, leaf }.into(),
        39 => EarningRelease { reserve_id: uuid(31, event), provider_id, currency }.into(),
        40 if choice => {
            ProviderPayout { payout_id: uuid(32, event), provider_id, currency, withheld_ppm: 240_000 }.into()
        }
        40 => {
            ProviderPayoutPaid { payout_id: uuid(32, event), provider_id, currency, paid_from: PaidFrom::Bank }.into()
        }
        41 if choice => Clawback { clawback_id: uuid(33, event), provider_id, amount, currency, leaf }.into(),
        41 => {
            let code = if small % 2 == 0 { Code::Bank } else { Code::PaidCredits };
            let owner = (code == Code::PaidCredits).then_some(tenant_id.0);
            let (from, to, rate_picos) = (usd(), eur(), 925_000_000_000);
            Conversion { conversion_id: uuid(34, event), code, owner, from, to, amount, rate_id: id, rate_picos }.into()
        }
        _ if choice => {
            let outcome = if small % 2 == 0 { Outcome::Gain } else { Outcome::Loss };
            ExchangeDifference { difference_id: uuid(35, event), currency, outcome, amount, month: None }.into()
        }
        _ => {
            let bank = AccountKey::platform(Code::Bank, usd());
            let line =
                JournalLine { debit: AccountKey { code: Code::Suspense, ..bank }, credit: bank, amount, leaf: None };
            JournalEntry { entry_id: uuid(36, event), lines: vec![line], month: None, reason: "counted".into() }.into()
        }
    }
}

/// Ends all that is under way.
fn finish(desk: &mut Desk) {
    let currency = usd();
    for event in 0..EVENTS {
        let (tenant_id, provider_id) = (tenant(event % 2), provider(event % 2));
        for kind in [20, 22] {
            drop(desk.post(RefundPaid { refund_id: uuid(kind, event), tenant_id, currency }));
        }
        drop(desk.post(DisputeWon { dispute_id: uuid(23, event), tenant_id, currency }));
        for number in 0..9 {
            drop(desk.post(ProcessorPayoutArrival { payout: format!("pi_{event}_{number}"), currency }));
        }
        let paid_from = PaidFrom::Processor;
        drop(desk.post(ProviderPayoutPaid { payout_id: uuid(32, event), provider_id, currency, paid_from }));
    }
    for link in desk.open_links() {
        desk.post(Void { link }).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_order_of_events_balances_and_what_is_on_its_way_arrives(steps in steps()) {
        let mut desk = Desk::open();
        for step in &steps {
            desk.now += TimeDelta::minutes(step.minutes / 10);
            let request = request(step, desk.now);
            let conversion = request.recipe().template().name == "conversion";
            let told = desk.post(request);
            if let Ok(told) = told && conversion && !told.is_empty() {
                let crossed = told.iter().filter(|line| line.contains("9900")).count();
                prop_assert_eq!((told.len(), crossed), (2, 2), "a leg in each currency");
            }
        }
        // Where an account is full, what is on its way cannot arrive.
        if steps.iter().any(|step| step.amount > 1_000_000_000_000_000) {
            return Ok(());
        }
        finish(&mut desk);
        for account in desk.books().all() {
            let stuck = matches!(account.key.code, Code::PayoutInTransit | Code::DisputedFunds | Code::RefundsPayable);
            prop_assert!(!stuck || account.posted() == 0, "{:?}", account);
            prop_assert!(account.debits_pending == 0 && account.credits_pending == 0, "{:?}", account);
        }
    }
}

proptest! {
    #[test]
    fn a_request_means_the_same_to_another_replica(steps in steps()) {
        for step in &steps {
            crosses(&request(step, at(step.minutes)));
        }
    }
}

/// Sends a request as replicas do, and compares what arrives.
fn crosses(request: &Request) {
    let arrived: Request = serde_json::from_slice(&serde_json::to_vec(request).unwrap()).unwrap();
    assert_eq!((&arrived, arrived.key(), arrived.body()), (request, request.key(), request.body()));
}

#[test]
fn what_the_steps_leave_out_means_the_same_to_another_replica_too() {
    let bank = AccountKey::platform(Code::Bank, usd());
    let lot = AccountKey::lot(Code::PaidCredits, tenant(1), uuid(20, 1), eur());
    let (of_period, month) = (Some("2026-10".parse().unwrap()), "2026-09".parse().unwrap());
    let leaf = Leaf {
        model: Some("spark-1".into()),
        waste: Some(Waste::SloMiss),
        price_id: Some(PriceId(uuid(15, 0))),
        of_period,
        ..Leaf::new(Bucket::PriorPeriod, "inference")
    };
    let line = ReversalLine { debit: lot, credit: bank, amount: Nanos(i64::MAX), leaf: Some(leaf) };
    let share = |used_for| CapacityShare { share_ppm: 400_000, used_for };
    let report = CapacityReport {
        node_id: node(1),
        provider_id: provider(1),
        from_at: at(0),
        to_at: at(60),
        rcu_milli: 1_000,
        shares: vec![share(CapacityUse::Model("spark-1".into())), share(CapacityUse::Rental(tenant(1)))],
    };
    let reason = "counted".to_owned();
    for state in [PeriodState::Open, PeriodState::Soft, PeriodState::Hard] {
        crosses(&PeriodChange { change_id: uuid(40, 1), month, state, reason: reason.clone() }.into());
    }
    for state in [AccountState::Open, AccountState::Frozen, AccountState::Closed] {
        crosses(&AccountChange { change_id: uuid(40, 1), account: lot, state, reason: reason.clone() }.into());
    }
    crosses(&report.into());
    crosses(&Reversal { of: 7, month, lines: vec![line], reason }.into());
}

#[test]
fn the_steps_reach_every_recipe_that_moves_money() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let mut desk = Desk::open();
        for step in &steps {
            desk.now += TimeDelta::minutes(step.minutes / 10);
            let request = request(step, desk.now);
            let number = request.recipe().template().number;
            if desk.post(request).is_ok_and(|told| !told.is_empty()) {
                met.insert(number);
            }
        }
    }
    // States and capacity are notes; a reversal begins with what the database kept.
    let missed: Vec<_> =
        TEMPLATES.iter().filter(|template| template.number > 5 && !met.contains(&template.number)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
