//! Tenants who pay later: what they used, the invoice for it, its payment, and what is never paid.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::job::JobSettlement;
use super::{Entry, Recipe, Template, leg, not_negative, pair, plus, positive};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::error::Error;
use crate::rounding::share;
use crate::transfer::{Draft, named_link};
use crate::unit;

pub(crate) static POSTPAID_USAGE: Template = Template {
    number: 80,
    name: "postpaid_usage",
    event: "A job of a tenant who pays later ended: it is on the next invoice, its providers are credited, its usage is kept.",
    legs: &[
        leg("1110 unbilled receivable", "4000 inference revenue", "the charge, by node"),
        leg("5000 provider cost", "2100 provider payable", "each provider's share"),
    ],
};

pub(crate) static INVOICE: Template = Template {
    number: 81,
    name: "invoice",
    event: "What a tenant used is invoiced, in whole cents, with tax.",
    legs: &[
        leg("9100 rounding", "1110 unbilled receivable", "what rounding to cents takes off"),
        leg("1100 accounts receivable", "1110 unbilled receivable", "all that is unbilled"),
        leg("1100 accounts receivable", "9100 rounding", "what rounding to cents adds"),
        leg("1100 accounts receivable", "2200 tax payable", "the tax"),
    ],
};

pub(crate) static INVOICE_PAYMENT: Template = Template {
    number: 82,
    name: "invoice_payment",
    event: "An invoice was paid by card; what is paid beyond it is credit.",
    legs: &[
        leg("5100 processor fees", "1100 accounts receivable or 2000 paid credits", "the fee"),
        leg("1010 processor clearing", "1100 accounts receivable", "what is paid of the invoice, less the fee"),
        leg("1010 processor clearing", "2000 paid credits", "what is paid beyond it"),
    ],
};

pub(crate) static WRITE_OFF: Template = Template {
    number: 83,
    name: "write_off",
    event: "An invoice will not be paid: it is lost, and tax on it is not owed.",
    legs: &[
        leg("5300 bad debt", "1100 accounts receivable", "the rest of the invoice, less the tax"),
        leg("2200 tax payable", "1100 accounts receivable", "the tax that is not owed"),
    ],
};

pub(crate) static RECOVERY: Template = Template {
    number: 84,
    name: "recovery",
    event: "An invoice that was written off was paid after all.",
    legs: &[
        leg("1010 processor clearing", "5300 bad debt", "what was paid, less the tax"),
        leg("1010 processor clearing", "2200 tax payable", "the tax that is owed again"),
    ],
};

/// Ends a job that no hold covers: its tenant pays later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostpaidUsage {
    /// The invoice that it will be on.
    pub invoice_id: Uuid,
    /// In what it is charged.
    pub currency: Currency,
    /// The job.
    pub job: JobSettlement,
}

/// Invoices what was used and is on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// The invoice, once.
    pub invoice_id: Uuid,
    /// Who owes it.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
    /// The tax on it, in whole cents.
    pub tax: Nanos,
}

/// Notes that an invoice was paid, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoicePayment {
    /// The processor's name for the payment; once.
    pub payment: String,
    /// The invoice.
    pub invoice_id: Uuid,
    /// Who owed it.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
    /// What was paid.
    pub amount: Nanos,
    /// What the processor took of it.
    pub fee: Nanos,
}

/// Gives the rest of an invoice up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteOff {
    /// The invoice.
    pub invoice_id: Uuid,
    /// Who owes it.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
    /// The tax in the rest, where the state gives it back.
    pub tax_relief: Nanos,
}

/// Notes that an invoice was paid after it had been given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// The processor's name for the payment; once.
    pub payment: String,
    /// The invoice.
    pub invoice_id: Uuid,
    /// Who owed it.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
    /// What was paid.
    pub amount: Nanos,
    /// The tax in it, where the state had given it back.
    pub tax: Nanos,
}

impl Recipe for PostpaidUsage {
    fn template(&self) -> &'static Template {
        &POSTPAID_USAGE
    }

    fn link(&self) -> Uuid {
        self.job.job_id.0
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.invoice_id);
        out.text(self.currency.as_str());
        self.job.body(out);
    }

    fn owners(&self) -> Vec<Uuid> {
        self.job.owners()
    }

    fn event_at(&self) -> Option<DateTime<Utc>> {
        Some(self.job.event_at)
    }

    fn entry(&self, _: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        self.job.check_work()?;
        let tenant_id = self.job.dimensions.tenant_id;
        let unbilled = AccountKey::lot(Code::UnbilledReceivable, tenant_id, self.invoice_id, self.currency);
        let revenue = AccountKey::platform(Code::InferenceRevenue, self.currency);
        let leaves = self.job.revenue().into_iter();
        let mut drafts: Vec<_> =
            leaves.map(|(leaf, due)| Draft::posted(unbilled, revenue, Nanos(due), Some(leaf))).collect();
        drafts.extend(self.job.earnings(self.currency));
        Ok(Entry { usage: self.job.usage_drafts(), ..Entry::of(drafts) })
    }
}

impl Recipe for Invoice {
    fn template(&self) -> &'static Template {
        &INVOICE
    }

    fn link(&self) -> Uuid {
        self.invoice_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        out.i64(self.tax.0);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let cent = unit::cent(self.currency);
        let tax = not_negative("tax", self.tax)?;
        if tax.0 % cent != 0 {
            return Err(Error::BadAmount { what: "tax in whole cents", amount: tax });
        }
        let lot = |code| AccountKey::lot(code, self.tenant_id, self.invoice_id, self.currency);
        let platform = |code| AccountKey::platform(code, self.currency);
        let used = books.rest(&lot(Code::UnbilledReceivable))?;
        let cents = share(used, 1, cent).expect("a part of what an account holds");
        let too_much = || Error::BadAmount { what: "invoice", amount: used };
        let net = Nanos(cents.0.checked_mul(cent).ok_or_else(too_much)?);
        let (added, taken_off) = (Nanos((net.0 - used.0).max(0)), Nanos((used.0 - net.0).max(0)));
        let debits = [(platform(Code::Rounding), taken_off), (lot(Code::Receivable), plus("tax", net, tax)?)];
        let credits = [
            (lot(Code::UnbilledReceivable), used),
            (platform(Code::Rounding), added),
            (platform(Code::TaxPayable), tax),
        ];
        Ok(Entry::of(pair(debits, credits, None)))
    }
}

impl Recipe for InvoicePayment {
    fn template(&self) -> &'static Template {
        &INVOICE_PAYMENT
    }

    fn link(&self) -> Uuid {
        named_link(&[b"card", self.payment.as_bytes()])
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.invoice_id);
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        out.i64(self.amount.0);
        out.i64(self.fee.0);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let (amount, fee) = (positive("payment", self.amount)?, not_negative("fee", self.fee)?);
        if fee > amount {
            return Err(Error::BadAmount { what: "fee", amount: fee });
        }
        let invoice = AccountKey::lot(Code::Receivable, self.tenant_id, self.invoice_id, self.currency);
        if books.account(&invoice).is_none() {
            return Err(Error::UnknownAccount { code: invoice.code, owner: invoice.owner });
        }
        let due = books.rest(&invoice).unwrap_or(Nanos::ZERO).min(amount);
        let credit = AccountKey::owned(Code::PaidCredits, self.tenant_id, self.currency);
        let platform = |code| AccountKey::platform(code, self.currency);
        let debits =
            [(platform(Code::ProcessorFees), fee), (platform(Code::ProcessorClearing), Nanos(amount.0 - fee.0))];
        let drafts = pair(debits, [(invoice, due), (credit, Nanos(amount.0 - due.0))], None);
        Ok(Entry { reference: Some(self.payment.clone()), ..Entry::of(drafts) })
    }
}

/// What was lost of an invoice, by itself, so that no more of it is recovered.
fn lost(tenant_id: TenantId, invoice_id: Uuid, unit: Currency) -> AccountKey {
    AccountKey::lot(Code::BadDebt, tenant_id, invoice_id, unit)
}

impl Recipe for WriteOff {
    fn template(&self) -> &'static Template {
        &WRITE_OFF
    }

    fn link(&self) -> Uuid {
        self.invoice_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        out.i64(self.tax_relief.0);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let invoice = AccountKey::lot(Code::Receivable, self.tenant_id, self.invoice_id, self.currency);
        let (rest, relief) = (books.rest(&invoice)?, not_negative("tax relief", self.tax_relief)?);
        if relief > rest {
            return Err(Error::BadAmount { what: "tax relief", amount: relief });
        }
        let lost = lost(self.tenant_id, self.invoice_id, self.currency);
        let tax = AccountKey::platform(Code::TaxPayable, self.currency);
        Ok(Entry::of(pair([(lost, Nanos(rest.0 - relief.0)), (tax, relief)], [(invoice, rest)], None)))
    }
}

impl Recipe for Recovery {
    fn template(&self) -> &'static Template {
        &RECOVERY
    }

    fn link(&self) -> Uuid {
        named_link(&[b"card", self.payment.as_bytes()])
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.invoice_id);
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        out.i64(self.amount.0);
        out.i64(self.tax.0);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let (amount, tax) = (positive("recovery", self.amount)?, not_negative("tax", self.tax)?);
        if tax > amount {
            return Err(Error::BadAmount { what: "tax", amount: tax });
        }
        let lost = lost(self.tenant_id, self.invoice_id, self.currency);
        let net = Nanos(amount.0 - tax.0);
        if net > books.rest(&lost)? {
            return Err(Error::BadAmount { what: "recovery", amount });
        }
        let platform = |code| AccountKey::platform(code, self.currency);
        let credits = [(lost, net), (platform(Code::TaxPayable), tax)];
        let drafts = pair([(platform(Code::ProcessorClearing), amount)], credits, None);
        Ok(Entry { reference: Some(self.payment.clone()), ..Entry::of(drafts) })
    }
}

#[cfg(test)]
mod tests;
