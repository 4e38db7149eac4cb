//! A tenant's credit: given or paid for.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use uuid::Uuid;

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

/// Gives a tenant credit, as a lot of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
