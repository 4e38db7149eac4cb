//! A tenant's credit: given, or paid for at the bank or by card.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::job::spend;
use super::purchase::{PaidBy, Purchase};
use super::{Entry, Recipe, Template, leg, positive};
use crate::account::{AccountKey, Priority, Terms};
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::error::Error;
use crate::transfer::{Draft, named_link};

pub(crate) static TOP_UP: Template = Template {
    number: 20,
    name: "top_up",
    event: "A tenant's money came in at the bank.",
    legs: &[leg("1000 bank", "2000 paid credits", "what was paid")],
};

pub(crate) static PROMO_GRANT: Template = Template {
    number: 21,
    name: "promo_grant",
    event: "A tenant is given credit, as a lot of its own.",
    legs: &[leg("2019 promo contra", "2010 promo credits", "the gift")],
};

pub(crate) static CARD_TOP_UP: Template = Template {
    number: 22,
    name: "card_top_up",
    event: "A tenant paid by card: the processor keeps its fee, tax is owed to the state, the rest is credit, as a lot where it lapses.",
    legs: &[
        leg("5100 processor fees", "2000 paid credits", "the fee"),
        leg("1010 processor clearing", "2000 paid credits", "the credit less the fee"),
        leg("1010 processor clearing", "2200 tax payable", "the tax"),
    ],
};

pub(crate) static OVERRUN_COLLECTION: Template = Template {
    number: 25,
    name: "overrun_collection",
    event: "What a tenant owes for overruns is taken from the credit that it has paid for since.",
    legs: &[leg("2000 paid credits", "1130 overrun receivable", "what is owed, as far as the credit goes")],
};

/// Gives a tenant credit, as a lot of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoGrant {
    /// To whom.
    pub tenant_id: TenantId,
    /// The lot, once.
    pub lot_id: Uuid,
    /// How much.
    pub amount: Nanos,
    /// In what.
    pub currency: Currency,
    /// When it lapses.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Credits a tenant with money that came in at the bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// Whose money.
    pub tenant_id: TenantId,
    /// How much.
    pub amount: Nanos,
    /// In what.
    pub currency: Currency,
    /// The payment's name, such as the bank's; once for each tenant.
    pub reference: String,
}

/// Credits a tenant with what it paid by card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardTopUp {
    /// Whose money.
    pub tenant_id: TenantId,
    /// The credit, without tax.
    pub amount: Nanos,
    /// In what.
    pub currency: Currency,
    /// The tax on it, where credit is taxed when it is bought.
    pub tax: Nanos,
    /// What the card processor takes; at most the credit.
    pub fee: Nanos,
    /// The processor's name for the payment; once.
    pub payment: String,
    /// The lot, for credit that lapses or has its place in the order of spending; none for the tenant's other credit.
    pub lot: Option<PaidLot>,
}

/// A lot of paid credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidLot {
    /// The lot, once.
    pub lot_id: Uuid,
    /// When it is spent; 0 to 100.
    pub priority: Priority,
    /// When it lapses.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Takes what a tenant owes for overruns from its paid credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrunCollection {
    /// The collection, once.
    pub collection_id: Uuid,
    /// Who owes.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
}

impl Recipe for PromoGrant {
    fn template(&self) -> &'static Template {
        &PROMO_GRANT
    }

    fn link(&self) -> Uuid {
        self.lot_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.i64(self.amount.0);
        out.text(self.currency.as_str());
        out.option(self.expires_at, Canonical::instant);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, _: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let lot = AccountKey::lot(Code::PromoCredits, self.tenant_id, self.lot_id, self.currency);
        let contra = AccountKey::platform(Code::PromoContra, self.currency);
        let terms = Terms { priority: Priority::PROMO, expires_at: self.expires_at };
        let draft = Draft::posted(contra, lot, positive("promo grant", self.amount)?, None);
        Ok(Entry { terms: vec![(lot, terms)], ..Entry::of(vec![draft]) })
    }
}

impl Recipe for TopUp {
    fn template(&self) -> &'static Template {
        &TOP_UP
    }

    fn link(&self) -> Uuid {
        named_link(&[self.tenant_id.0.as_bytes(), self.reference.as_bytes()])
    }

    fn body(&self, out: &mut Canonical) {
        out.i64(self.amount.0);
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, _: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let bank = AccountKey::platform(Code::Bank, self.currency);
        let credits = AccountKey::owned(Code::PaidCredits, self.tenant_id, self.currency);
        let draft = Draft::posted(bank, credits, positive("top-up", self.amount)?, None);
        Ok(Entry { reference: Some(self.reference.clone()), ..Entry::of(vec![draft]) })
    }
}

impl Recipe for CardTopUp {
    fn template(&self) -> &'static Template {
        &CARD_TOP_UP
    }

    /// Named by the payment alone: it is credited once, whoever is said to have made it.
    fn link(&self) -> Uuid {
        named_link(&[b"card", self.payment.as_bytes()])
    }

    fn body(&self, out: &mut Canonical) {
        self.purchase().write(out);
        out.option(self.lot, |out, lot| {
            out.uuid(lot.lot_id);
            out.i16(lot.priority.0);
            out.option(lot.expires_at, Canonical::instant);
        });
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let refused = |reason| Error::BadEvent { recipe: CARD_TOP_UP.name, reason };
        let (mut terms, mut credits) =
            (Vec::new(), AccountKey::owned(Code::PaidCredits, self.tenant_id, self.currency));
        if let Some(PaidLot { lot_id, priority, expires_at }) = self.lot {
            if !(0..=100).contains(&priority.0) {
                return Err(refused("a lot's priority is 0 to 100"));
            }
            credits = AccountKey::lot(Code::PaidCredits, self.tenant_id, lot_id, self.currency);
            if books.account(&credits).is_some() {
                return Err(refused("its lot is another payment's"));
            }
            terms.push((credits, Terms { priority, expires_at }));
        }
        let drafts = self.purchase().drafts(credits, books, now)?;
        Ok(Entry { terms, reference: Some(self.payment.clone()), ..Entry::of(drafts) })
    }
}

impl CardTopUp {
    fn purchase(&self) -> Purchase {
        let Self { tenant_id, currency, amount: net, tax, fee, .. } = *self;
        Purchase { tenant_id, currency, net, tax, paid_by: PaidBy::Card { fee } }
    }
}

impl Recipe for OverrunCollection {
    fn template(&self) -> &'static Template {
        &OVERRUN_COLLECTION
    }

    fn link(&self) -> Uuid {
        self.collection_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let owed = AccountKey::owned(Code::OverrunReceivable, self.tenant_id, self.currency);
        let mut purses = books.purses(self.tenant_id.0, self.currency, now);
        purses.retain(|purse| purse.lot.code == Code::PaidCredits);
        let there: i128 = purses.iter().map(|purse| i128::from(purse.available.0)).sum();
        let rest = books.rest(&owed)?;
        let amount = Nanos(i64::try_from(there).unwrap_or(i64::MAX).min(rest.0));
        if amount == Nanos::ZERO {
            return Err(Error::InsufficientFunds { tenant_id: self.tenant_id, needed: rest, available: amount });
        }
        let parts = spend(self.tenant_id, amount, &purses)?;
        Ok(Entry::of(parts.into_iter().map(|(lot, amount)| Draft::posted(lot, owed, amount, None)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::recipe::tests::{Desk, at, tenant, usd, uuid};

    fn card(payment: &str, lot: Option<PaidLot>) -> CardTopUp {
        CardTopUp {
            tenant_id: tenant(1),
            amount: Nanos(100),
            currency: usd(),
            tax: Nanos(19),
            fee: Nanos(3),
            payment: payment.to_owned(),
            lot,
        }
    }

    #[test]
    fn a_card_payment_is_credit_less_nothing_and_its_fee_is_ours() {
        let mut desk = Desk::open();
        let wanted = ["5100 > 2000 3 posted", "1010 > 2000 97 posted", "1010 > 2200 19 posted"];
        assert_eq!(desk.post(card("pi_1", None)).unwrap(), wanted);
        assert_eq!(desk.post(card("pi_1", None)).unwrap(), [""; 0], "once");
        let other = CardTopUp { amount: Nanos(101), ..card("pi_1", None) };
        assert!(matches!(desk.post(other), Err(Error::IdReused { recipe: "card_top_up", .. })));
        let stranger = CardTopUp { tenant_id: tenant(2), ..card("pi_1", None) };
        assert!(matches!(desk.post(stranger), Err(Error::IdReused { .. })), "a payment is one tenant's");
    }

    #[test]
    fn paid_lots_are_spent_by_priority_then_by_expiry_and_are_one_payments() {
        let mut desk = Desk::open();
        let lot = |number, priority, hours| PaidLot {
            lot_id: uuid(1, number),
            priority: Priority(priority),
            expires_at: Some(at(0) + TimeDelta::hours(hours)),
        };
        desk.post(card("pi_1", Some(lot(1, 50, 9)))).unwrap();
        desk.post(card("pi_2", Some(lot(2, 50, 8)))).unwrap();
        desk.post(card("pi_3", Some(lot(3, 10, 99)))).unwrap();
        let parts = desk.hold(1, 1, 250);
        assert_eq!(parts.iter().map(|part| part.debit.lot.unwrap()).collect::<Vec<_>>(), [3, 2, 1].map(|n| uuid(1, n)));
        let taken = desk.post(card("pi_4", Some(lot(1, 50, 9)))).unwrap_err();
        assert!(matches!(taken, Error::BadEvent { reason: "its lot is another payment's", .. }), "{taken}");
        for priority in [-1, 101] {
            let refused = desk.post(card("pi_5", Some(lot(5, priority, 9)))).unwrap_err();
            assert!(matches!(refused, Error::BadEvent { reason: "a lot's priority is 0 to 100", .. }), "{refused}");
        }
    }

    #[test]
    fn an_overrun_is_collected_from_credit_paid_since_as_far_as_it_goes() {
        let mut desk = Desk::open();
        let collect =
            |number| OverrunCollection { collection_id: uuid(2, number), tenant_id: tenant(1), currency: usd() };
        assert!(matches!(desk.post(collect(1)), Err(Error::NothingLeft { code: Code::OverrunReceivable, .. })));
        desk.top_up(1, 10);
        desk.overrun(1, 1, 10, 25);
        let refused = desk.post(collect(1)).unwrap_err();
        assert!(
            matches!(refused, Error::InsufficientFunds { needed: Nanos(15), available: Nanos(0), .. }),
            "{refused}"
        );
        desk.top_up(1, 6);
        assert_eq!(desk.post(collect(1)).unwrap(), ["2000 > 1130 6 posted"]);
        desk.top_up(1, 100);
        assert_eq!(desk.post(collect(2)).unwrap(), ["2000 > 1130 9 posted"]);
        assert!(matches!(desk.post(collect(3)), Err(Error::NothingLeft { .. })));
    }
}
