//! Licences for private deployments: invoiced ahead, earned day by day.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::contract::{Contract, just_before};
use super::purchase::PaidBy;
use super::{Entry, Recipe, Template, leg};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::economics::Bucket;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::transfer::Draft;

pub(crate) static LICENCE_INVOICE: Template = Template {
    number: 70,
    name: "licence_invoice",
    event: "A licence for a time was invoiced.",
    legs: &[
        leg("1100 accounts receivable", "2050 deferred licence", "the price"),
        leg("1100 accounts receivable", "2200 tax payable", "the tax"),
    ],
};

pub(crate) static LICENCE_RECOGNITION: Template = Template {
    number: 71,
    name: "licence_recognition",
    event: "Licensed time is over: it is earned.",
    legs: &[leg("2050 deferred licence", "4030 licence revenue", "what the time was worth, in a straight line")],
};

/// Invoices a licence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceInvoice {
    /// What is licensed, to whom, for which time.
    pub contract: Contract,
    /// The tax on it.
    pub tax: Nanos,
    /// The invoice.
    pub invoice_id: Uuid,
}

/// Recognises what of a licence is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceRecognition {
    /// What was licensed.
    pub contract: Contract,
    /// Up to when.
    pub until: DateTime<Utc>,
}

impl Recipe for LicenceInvoice {
    fn template(&self) -> &'static Template {
        &LICENCE_INVOICE
    }

    fn link(&self) -> Uuid {
        self.contract.contract_id
    }

    fn body(&self, out: &mut Canonical) {
        self.contract.write(out);
        out.i64(self.tax.0);
        out.uuid(self.invoice_id);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.contract.tenant_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let paid_by = PaidBy::Invoice { invoice_id: self.invoice_id };
        self.contract.bought(Code::DeferredLicence, &LICENCE_INVOICE, (self.tax, &paid_by), (books, now))
    }
}

impl Recipe for LicenceRecognition {
    fn template(&self) -> &'static Template {
        &LICENCE_RECOGNITION
    }

    fn link(&self) -> Uuid {
        self.contract.recognition_link(self.until)
    }

    fn body(&self, out: &mut Canonical) {
        self.contract.write(out);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.contract.tenant_id.0]
    }

    fn event_at(&self) -> Option<DateTime<Utc>> {
        Some(just_before(self.until))
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let which = (Code::DeferredLicence, &LICENCE_RECOGNITION);
        let (deferred, earned) = self.contract.earned(which, self.until, (books, now))?;
        let revenue = AccountKey::platform(Code::LicenceRevenue, self.contract.currency);
        let leaf = Leaf { tenant_id: Some(self.contract.tenant_id), ..Leaf::new(Bucket::Licence, "licence") };
        Ok(Entry::of(vec![Draft::posted(deferred, revenue, earned, Some(leaf))]))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::recipe::tests::{Desk, at, tenant, usd, uuid};

    #[test]
    fn a_licence_is_invoiced_and_earned_to_the_last_unit_whatever_the_steps() {
        let mut desk = Desk::open();
        let (contract_id, to_at, fee) = (uuid(1, 1), at(0) + TimeDelta::days(365), Nanos(1_000));
        let contract = Contract { contract_id, tenant_id: tenant(1), currency: usd(), fee, from_at: at(0), to_at };
        let invoice = |tax| LicenceInvoice { contract: contract.clone(), tax: Nanos(tax), invoice_id: uuid(2, 1) };
        assert!(matches!(desk.post(invoice(-1)), Err(Error::BadAmount { what: "tax", .. })));
        assert_eq!(desk.post(invoice(190)).unwrap(), ["1100 > 2050 1000 posted", "1100 > 2200 190 posted"]);
        assert!(matches!(desk.post(invoice(191)), Err(Error::IdReused { .. })));
        let mut earned = 0;
        for day in [1, 2, 3, 100, 101, 364, 365] {
            desk.now = at(0) + TimeDelta::days(day);
            let told = desk.post(LicenceRecognition { contract: contract.clone(), until: desk.now }).unwrap();
            earned += told[0].split(' ').nth(3).unwrap().parse::<i64>().unwrap();
            // Half a unit away from the straight line at most.
            assert!((earned * 365 * 2 - 1_000 * day * 2).abs() <= 365, "{day}: {earned}");
        }
        assert_eq!((earned, desk.posted(Code::LicenceRevenue)), (1_000, 1_000));
        assert_eq!(desk.last_leaves(1), ["LICENCE licence"]);
    }
}
