//! How a purchase is paid: by card, on an invoice, or from credit. The purchases themselves are packs, rentals, licences and so on.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::job::spend;
use super::{not_negative, pair, plus, positive};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::error::Error;
use crate::transfer::Draft;

/// What a tenant buys, and how it pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// Who buys.
    pub tenant_id: TenantId,
    /// In what it is paid.
    pub currency: Currency,
    /// The price without tax.
    pub net: Nanos,
    /// The tax on it.
    pub tax: Nanos,
    /// How it is paid.
    pub paid_by: PaidBy,
}

/// How a purchase is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaidBy {
    /// By card.
    Card {
        /// What the card processor takes; at most the price.
        fee: Nanos,
    },
    /// Later, as an invoice asks.
    Invoice {
        /// The invoice.
        invoice_id: Uuid,
    },
    /// From paid credit, in spending order; gifts buy nothing but jobs and rentals.
    Credit,
}

impl Purchase {
    pub(super) fn write(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        out.i64(self.net.0);
        out.i64(self.tax.0);
        match self.paid_by {
            PaidBy::Card { fee } => {
                out.bytes(&[0]);
                out.i64(fee.0);
            }
            PaidBy::Invoice { invoice_id } => {
                out.bytes(&[1]);
                out.uuid(invoice_id);
            }
            PaidBy::Credit => out.bytes(&[2]),
        }
    }

    /// An account of the buyer: the purchase's own, named by it.
    pub(super) fn lot(&self, code: Code, lot: Uuid) -> AccountKey {
        AccountKey::lot(code, self.tenant_id, lot, self.currency)
    }

    /// Moves what is paid: the price into that account, the tax to what is owed to the state.
    pub(super) fn drafts(&self, into: AccountKey, books: &Books, now: DateTime<Utc>) -> Result<Vec<Draft>, Error> {
        let (net, tax) = (positive("price", self.net)?, not_negative("tax", self.tax)?);
        let whole = plus("tax", net, tax)?;
        let platform = |code| AccountKey::platform(code, self.currency);
        let credits = [(into, net), (platform(Code::TaxPayable), tax)];
        match self.paid_by {
            PaidBy::Card { fee } => {
                if not_negative("fee", fee)? > net {
                    return Err(Error::BadAmount { what: "fee", amount: fee });
                }
                let debits =
                    [(platform(Code::ProcessorFees), fee), (platform(Code::ProcessorClearing), Nanos(whole.0 - fee.0))];
                Ok(pair(debits, credits, None))
            }
            PaidBy::Invoice { invoice_id } => {
                Ok(pair([(self.lot(Code::Receivable, invoice_id), whole)], credits, None))
            }
            PaidBy::Credit => {
                let mut purses = books.purses(self.tenant_id.0, self.currency, now);
                purses.retain(|purse| purse.lot.code == Code::PaidCredits);
                let mut due = credits;
                let mut drafts = Vec::with_capacity(2);
                for (lot, amount) in spend(self.tenant_id, whole, &purses)? {
                    let first = amount.0.min(due[0].1.0);
                    let parts = [(due[0].0, Nanos(first)), (due[1].0, Nanos(amount.0 - first))];
                    drafts.extend(pair([(lot, amount)], parts, None));
                    due[0].1.0 -= first;
                }
                Ok(drafts)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::tests::{Desk, tenant, usd, uuid};

    fn purchase(net: i64, tax: i64, paid_by: PaidBy) -> Purchase {
        Purchase { tenant_id: tenant(1), currency: usd(), net: Nanos(net), tax: Nanos(tax), paid_by }
    }

    fn told(desk: &Desk, purchase: &Purchase) -> Result<Vec<String>, String> {
        let into = purchase.lot(Code::PackObligation, uuid(1, 1));
        let drafts = purchase.drafts(into, desk.books(), desk.now).map_err(|error| error.to_string())?;
        Ok(drafts.iter().map(crate::recipe::tests::told).collect())
    }

    #[test]
    fn a_card_leaves_the_fee_with_the_processor_an_invoice_leaves_a_debt_and_credit_is_spent() {
        let mut desk = Desk::open();
        let card = told(&desk, &purchase(100, 19, PaidBy::Card { fee: Nanos(3) })).unwrap();
        assert_eq!(card, ["5100 > 2020 3 posted", "1010 > 2020 97 posted", "1010 > 2200 19 posted"]);
        let invoice = told(&desk, &purchase(100, 19, PaidBy::Invoice { invoice_id: uuid(1, 1) })).unwrap();
        assert_eq!(invoice, ["1100 > 2020 100 posted", "1100 > 2200 19 posted"]);
        desk.top_up(1, 119);
        let credit = told(&desk, &purchase(100, 19, PaidBy::Credit)).unwrap();
        assert_eq!(credit, ["2000 > 2020 100 posted", "2000 > 2200 19 posted"]);
    }

    #[test]
    fn amounts_that_are_none_are_refused_and_so_are_purchases_beyond_what_is_there() {
        let desk = Desk::open();
        let fee = |fee| PaidBy::Card { fee: Nanos(fee) };
        for (net, tax, paid_by, why) in [
            (0, 0, fee(0), "0 is no amount for a price"),
            (-1, 0, fee(0), "-0.000000001 is no amount for a price"),
            (1, -1, fee(0), "-0.000000001 is no amount for a tax"),
            (1, 0, fee(-1), "-0.000000001 is no amount for a fee"),
            (1, 9, fee(2), "0.000000002 is no amount for a fee"),
            (i64::MAX, 1, fee(0), "0.000000001 is no amount for a tax"),
        ] {
            assert_eq!(told(&desk, &purchase(net, tax, paid_by)).unwrap_err(), why);
        }
        let refused = told(&desk, &purchase(1, 0, PaidBy::Credit)).unwrap_err();
        assert!(refused.contains("needs 0.000000001 and has 0"), "{refused}");
        assert_eq!(told(&desk, &purchase(i64::MAX, 0, fee(0))).unwrap().len(), 1);
    }
}
