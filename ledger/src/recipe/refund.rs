//! Refunds: credit that was not used is paid back; service that was used is given back by a credit note.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::job::spend;
use super::{Entry, Recipe, Template, leg, not_negative, pair, plus, positive};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::economics::Bucket;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::period::Month;
use crate::transfer::Draft;

pub(crate) static CREDIT_REFUND: Template = Template {
    number: 30,
    name: "credit_refund",
    event: "A tenant wants paid credit back that it did not use.",
    legs: &[leg("2000 paid credits", "2300 refunds payable", "the refund, lot by lot")],
};

pub(crate) static CREDIT_NOTE: Template = Template {
    number: 31,
    name: "credit_note",
    event: "Service that was used is given back: in its own leaf in the same month, as PRIOR_PERIOD later.",
    legs: &[
        leg(
            "4910 refunds and allowances",
            "2300 refunds payable or 1100 accounts receivable",
            "what is given back, without tax",
        ),
        leg("2200 tax payable", "2300 refunds payable or 1100 accounts receivable", "the tax on it"),
    ],
};

pub(crate) static REFUND_PAID: Template = Template {
    number: 32,
    name: "refund_paid",
    event: "The card processor confirmed that a refund was paid.",
    legs: &[leg("2300 refunds payable", "1010 processor clearing", "the whole refund")],
};

/// Gives paid credit back that was not used; gifts and service credits are not paid out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditRefund {
    /// The refund, once.
    pub refund_id: Uuid,
    /// To whom.
    pub tenant_id: TenantId,
    /// How much; at most what is not held or used.
    pub amount: Nanos,
    /// In what.
    pub currency: Currency,
}

/// Gives back what was paid for service that was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditNote {
    /// The credit note, once; a refund in money has the same name.
    pub note_id: Uuid,
    /// To whom.
    pub tenant_id: TenantId,
    /// How much, without tax.
    pub amount: Nanos,
    /// The tax on it.
    pub tax: Nanos,
    /// In what.
    pub currency: Currency,
    /// How the tenant gets it.
    pub settled_by: NoteSettled,
    /// Where the revenue was posted.
    pub leaf: Leaf,
    /// The month of that revenue.
    pub of: Month,
}

/// How a credit note reaches its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoteSettled {
    /// In money.
    Refund,
    /// Off an invoice.
    Invoice(Uuid),
}

/// Notes that a refund was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundPaid {
    /// The refund or the credit note.
    pub refund_id: Uuid,
    /// To whom.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
}

/// Each refund is owed by itself, so that it is paid once and whole.
fn payable(tenant_id: TenantId, refund_id: Uuid, unit: Currency) -> AccountKey {
    AccountKey::lot(Code::RefundsPayable, tenant_id, refund_id, unit)
}

/// Where revenue of a month is given back: in its own leaf while the month runs, else in the class for that.
pub(super) fn given_back(leaf: &Leaf, of: Month, now: DateTime<Utc>) -> Leaf {
    if of < Month::of(now) {
        return Leaf { bucket: Bucket::PriorPeriod, of_period: Some(of), ..leaf.clone() };
    }
    leaf.clone()
}

impl Recipe for CreditRefund {
    fn template(&self) -> &'static Template {
        &CREDIT_REFUND
    }

    fn link(&self) -> Uuid {
        self.refund_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.i64(self.amount.0);
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let owed = payable(self.tenant_id, self.refund_id, self.currency);
        let mut purses = books.purses(self.tenant_id.0, self.currency, now);
        purses.retain(|purse| purse.lot.code == Code::PaidCredits);
        let parts = spend(self.tenant_id, positive("refund", self.amount)?, &purses)?;
        Ok(Entry::of(parts.into_iter().map(|(lot, amount)| Draft::posted(lot, owed, amount, None)).collect()))
    }
}

impl Recipe for CreditNote {
    fn template(&self) -> &'static Template {
        &CREDIT_NOTE
    }

    fn link(&self) -> Uuid {
        self.note_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.i64(self.amount.0);
        out.i64(self.tax.0);
        out.text(self.currency.as_str());
        let invoice = match self.settled_by {
            NoteSettled::Refund => None,
            NoteSettled::Invoice(invoice_id) => Some(invoice_id),
        };
        out.option(invoice, Canonical::uuid);
        out.leaf(&self.leaf);
        out.i16(self.of.number());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, _: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let refused = |reason| Error::BadEvent { recipe: CREDIT_NOTE.name, reason };
        if self.leaf.tenant_id != Some(self.tenant_id) {
            return Err(refused("the revenue is another tenant's"));
        }
        if self.of > Month::of(now) {
            return Err(refused("its month is still to come"));
        }
        let (amount, tax) = (positive("credit note", self.amount)?, not_negative("tax", self.tax)?);
        let whole = plus("tax", amount, tax)?;
        let to = match self.settled_by {
            NoteSettled::Refund => payable(self.tenant_id, self.note_id, self.currency),
            NoteSettled::Invoice(invoice_id) => {
                AccountKey::lot(Code::Receivable, self.tenant_id, invoice_id, self.currency)
            }
        };
        let platform = |code| AccountKey::platform(code, self.currency);
        let debits = [(platform(Code::RefundsAllowed), amount), (platform(Code::TaxPayable), tax)];
        Ok(Entry::of(pair(debits, [(to, whole)], Some(&given_back(&self.leaf, self.of, now)))))
    }
}

impl Recipe for RefundPaid {
    fn template(&self) -> &'static Template {
        &REFUND_PAID
    }

    fn link(&self) -> Uuid {
        self.refund_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let owed = payable(self.tenant_id, self.refund_id, self.currency);
        let processor = AccountKey::platform(Code::ProcessorClearing, self.currency);
        Ok(Entry::of(vec![Draft::posted(owed, processor, books.rest(&owed)?, None)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::tests::{Desk, at, tenant, usd, uuid};

    fn refund(number: u8, amount: i64) -> CreditRefund {
        CreditRefund { refund_id: uuid(1, number), tenant_id: tenant(1), amount: Nanos(amount), currency: usd() }
    }

    fn paid(number: u8) -> RefundPaid {
        RefundPaid { refund_id: uuid(1, number), tenant_id: tenant(1), currency: usd() }
    }

    fn note(number: u8, settled_by: NoteSettled, of: &str) -> CreditNote {
        let leaf = Leaf { tenant_id: Some(tenant(1)), ..Leaf::new(Bucket::Productive, "inference") };
        let of = of.parse().unwrap();
        let (note_id, tenant_id, currency) = (uuid(1, number), tenant(1), usd());
        CreditNote { note_id, tenant_id, amount: Nanos(50), tax: Nanos(9), currency, settled_by, leaf, of }
    }

    #[test]
    fn unused_credit_is_owed_and_then_paid_but_not_what_is_held_or_was_a_gift() {
        let mut desk = Desk::open();
        desk.top_up(1, 100);
        desk.grant(1, 1, 30, None);
        desk.hold(1, 1, 70);
        let refused = desk.post(refund(1, 61)).unwrap_err();
        assert!(matches!(refused, Error::InsufficientFunds { available: Nanos(60), .. }), "{refused}");
        for amount in [0, -1, i64::MIN] {
            assert!(matches!(desk.post(refund(1, amount)), Err(Error::BadAmount { what: "refund", .. })));
        }
        assert!(matches!(desk.post(refund(1, i64::MAX)), Err(Error::InsufficientFunds { .. })));
        assert!(matches!(desk.post(paid(1)), Err(Error::NothingLeft { code: Code::RefundsPayable, .. })));
        assert_eq!(desk.post(refund(1, 60)).unwrap(), ["2000 > 2300 60 posted"]);
        assert_eq!(desk.post(refund(1, 60)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(refund(1, 59)), Err(Error::IdReused { .. })));
        assert_eq!(desk.post(paid(1)).unwrap(), ["2300 > 1010 60 posted"]);
        assert_eq!(desk.post(paid(1)).unwrap(), [""; 0]);
    }

    #[test]
    fn a_credit_note_of_this_month_is_in_its_own_leaf_and_of_an_earlier_one_in_prior_period() {
        let mut desk = Desk::open();
        assert_eq!(desk.now, at(0));
        let wanted = ["4910 > 2300 50 posted", "2200 > 2300 9 posted"];
        assert_eq!(desk.post(note(1, NoteSettled::Refund, "2026-11")).unwrap(), wanted);
        let leaf = desk.last_leaf().unwrap();
        assert_eq!((leaf.bucket.as_str(), leaf.of_period), ("PRODUCTIVE", None));
        assert_eq!(desk.post(paid(1)).unwrap(), ["2300 > 1010 59 posted"]);
        let wanted = ["4910 > 1100 50 posted", "2200 > 1100 9 posted"];
        assert_eq!(desk.post(note(2, NoteSettled::Invoice(uuid(3, 1)), "2026-10")).unwrap(), wanted);
        let leaf = desk.last_leaf().unwrap();
        assert_eq!((leaf.bucket.as_str(), leaf.of_period), ("PRIOR_PERIOD", Some(2610)));
    }

    #[test]
    fn a_credit_note_that_cannot_be_is_refused() {
        let mut desk = Desk::open();
        let good = || note(1, NoteSettled::Refund, "2026-11");
        let stranger = CreditNote { tenant_id: tenant(2), ..good() };
        assert!(matches!(desk.post(stranger), Err(Error::BadEvent { reason: "the revenue is another tenant's", .. })));
        let early = note(1, NoteSettled::Refund, "2026-12");
        assert!(matches!(desk.post(early), Err(Error::BadEvent { reason: "its month is still to come", .. })));
        for (amount, tax) in [(0, 0), (-1, 0), (1, -1), (i64::MAX, 1)] {
            let bad = CreditNote { amount: Nanos(amount), tax: Nanos(tax), ..good() };
            assert!(matches!(desk.post(bad), Err(Error::BadAmount { .. })), "{amount} {tax}");
        }
    }
}
