//! Tenants who pay later, on the pure core.

use super::*;
use crate::recipe::tests::{Desk, settlement, tenant, usd, uuid};

const CENT: i64 = 10_000_000;

fn used(job: u8, amounts: &[i64]) -> PostpaidUsage {
    PostpaidUsage { invoice_id: uuid(1, 1), currency: usd(), job: settlement(job, 1, amounts) }
}

fn invoice(tax: i64) -> Invoice {
    Invoice { invoice_id: uuid(1, 1), tenant_id: tenant(1), currency: usd(), tax: Nanos(tax) }
}

fn payment(name: &str, amount: i64, fee: i64) -> InvoicePayment {
    let (payment, invoice_id, tenant_id, currency) = (name.to_owned(), uuid(1, 1), tenant(1), usd());
    InvoicePayment { payment, invoice_id, tenant_id, currency, amount: Nanos(amount), fee: Nanos(fee) }
}

fn write_off(relief: i64) -> WriteOff {
    WriteOff { invoice_id: uuid(1, 1), tenant_id: tenant(1), currency: usd(), tax_relief: Nanos(relief) }
}

fn recovery(name: &str, amount: i64, tax: i64) -> Recovery {
    let (payment, invoice_id, tenant_id, currency) = (name.to_owned(), uuid(1, 1), tenant(1), usd());
    Recovery { payment, invoice_id, tenant_id, currency, amount: Nanos(amount), tax: Nanos(tax) }
}

#[test]
fn what_is_used_waits_for_its_invoice_by_node() {
    let mut desk = Desk::open();
    let wanted = ["1110 > 4000 30 posted", "1110 > 4000 12 posted", "5000 > 2100 15 posted", "5000 > 2100 6 posted"];
    assert_eq!(desk.post(used(1, &[30, 12])).unwrap(), wanted);
    assert_eq!(desk.last_leaves(4), ["PRODUCTIVE inference"; 4]);
    assert_eq!(desk.post(used(1, &[30, 12])).unwrap(), [""; 0]);
    assert!(matches!(desk.post(used(1, &[30, 13])), Err(Error::IdReused { .. })));
    assert_eq!(desk.post(used(2, &[0])).unwrap(), [""; 0], "a free job is kept as a fact alone");
    let mut wrong = used(3, &[5]);
    wrong.job.charge = Nanos(6);
    assert!(matches!(desk.post(wrong), Err(Error::UsageMismatch { .. })));
    let mut negative = used(3, &[5]);
    negative.job.shares[0].amount = Nanos(-1);
    assert!(matches!(desk.post(negative), Err(Error::BadAmount { what: "share", .. })));
}

#[test]
fn an_invoice_is_in_whole_cents_and_the_rest_is_rounding() {
    for (amount, told) in [
        (3 * CENT + 1, vec!["9100 > 1110 1 posted", "1100 > 1110 30000000 posted", "1100 > 2200 10000000 posted"]),
        (3 * CENT - 1, vec!["1100 > 1110 29999999 posted", "1100 > 9100 1 posted", "1100 > 2200 10000000 posted"]),
        // Halves to even: half a cent at most.
        (CENT / 2, vec!["9100 > 1110 5000000 posted", "1100 > 2200 10000000 posted"]),
        (
            3 * CENT / 2,
            vec!["1100 > 1110 15000000 posted", "1100 > 9100 5000000 posted", "1100 > 2200 10000000 posted"],
        ),
    ] {
        let mut desk = Desk::open();
        desk.post(used(1, &[amount])).unwrap();
        assert_eq!(desk.post(invoice(CENT)).unwrap(), told);
        assert_eq!(desk.post(invoice(CENT)).unwrap(), [""; 0]);
        assert_eq!(desk.posted(Code::UnbilledReceivable), 0);
    }
    let mut desk = Desk::open();
    assert!(matches!(desk.post(invoice(0)), Err(Error::NothingLeft { code: Code::UnbilledReceivable, .. })));
    desk.post(used(1, &[1])).unwrap();
    for tax in [-1, 1, CENT + 1] {
        assert!(matches!(desk.post(invoice(tax)), Err(Error::BadAmount { .. })), "{tax}");
    }
}

#[test]
fn an_invoice_is_paid_in_parts_and_what_is_paid_beyond_it_is_credit() {
    let mut desk = Desk::open();
    let refused = desk.post(payment("pi_1", CENT, 0)).unwrap_err();
    assert!(matches!(refused, Error::UnknownAccount { code: Code::Receivable, .. }));
    desk.post(used(1, &[3 * CENT])).unwrap();
    desk.post(invoice(0)).unwrap();
    for (amount, fee) in [(0, 0), (-1, 0), (1, 2), (1, -1)] {
        assert!(matches!(desk.post(payment("pi_1", amount, fee)), Err(Error::BadAmount { .. })), "{amount} {fee}");
    }
    assert_eq!(desk.post(payment("pi_1", CENT, 7)).unwrap(), ["5100 > 1100 7 posted", "1010 > 1100 9999993 posted"]);
    assert_eq!(desk.post(payment("pi_1", CENT, 7)).unwrap(), [""; 0]);
    assert!(matches!(desk.post(payment("pi_1", CENT, 8)), Err(Error::IdReused { .. })));
    let wanted = ["1010 > 1100 20000000 posted", "1010 > 2000 5 posted"];
    assert_eq!(desk.post(payment("pi_2", 2 * CENT + 5, 0)).unwrap(), wanted);
    assert_eq!(desk.post(payment("pi_3", 9, 1)).unwrap(), ["5100 > 2000 1 posted", "1010 > 2000 8 posted"]);
    assert!(matches!(desk.post(write_off(0)), Err(Error::NothingLeft { code: Code::Receivable, .. })));
}

#[test]
fn what_is_not_paid_is_lost_and_what_was_lost_may_be_recovered_but_no_more() {
    let mut desk = Desk::open();
    desk.post(used(1, &[3 * CENT])).unwrap();
    desk.post(invoice(CENT)).unwrap();
    desk.post(payment("pi_1", CENT, 0)).unwrap();
    for relief in [-1, 3 * CENT + 1] {
        assert!(matches!(desk.post(write_off(relief)), Err(Error::BadAmount { what: "tax relief", .. })));
    }
    assert!(matches!(desk.post(recovery("pi_2", 1, 0)), Err(Error::NothingLeft { code: Code::BadDebt, .. })));
    let wanted = ["5300 > 1100 20000000 posted", "2200 > 1100 10000000 posted"];
    assert_eq!(desk.post(write_off(CENT)).unwrap(), wanted);
    assert_eq!(desk.post(write_off(CENT)).unwrap(), [""; 0]);
    for (amount, tax) in [(0, 0), (-1, 0), (5, 6), (5, -1), (2 * CENT + 1, 0), (i64::MAX, 0)] {
        assert!(matches!(desk.post(recovery("pi_2", amount, tax)), Err(Error::BadAmount { .. })), "{amount} {tax}");
    }
    let wanted = ["1010 > 5300 20000000 posted", "1010 > 2200 5 posted"];
    assert_eq!(desk.post(recovery("pi_2", 2 * CENT + 5, 5)).unwrap(), wanted);
    assert_eq!(desk.post(recovery("pi_2", 2 * CENT + 5, 5)).unwrap(), [""; 0]);
    assert_eq!(desk.posted(Code::BadDebt), 0);
}
