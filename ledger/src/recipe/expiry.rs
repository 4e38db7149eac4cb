//! Credit that lapses: what is left of a lot when its time has come. Once a lot, all of it, and not while a hold takes of it.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Entry, Recipe, Template, leg};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::economics::Bucket;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::transfer::Draft;

pub(crate) static CREDIT_EXPIRY: Template = Template {
    number: 23,
    name: "credit_expiry",
    event: "A lot of paid or service credit lapsed: it is revenue, or kept for its owner where the law says so.",
    legs: &[
        leg("2000 paid credits or 2015 service credits", "4050 breakage revenue", "the rest of the lot"),
        leg(
            "2000 paid credits or 2015 service credits",
            "2900 unclaimed property",
            "the rest of the lot, where the law says so",
        ),
    ],
};

pub(crate) static PROMO_EXPIRY: Template = Template {
    number: 24,
    name: "promo_expiry",
    event: "A promo lot lapsed: nothing was earned and nothing is owed.",
    legs: &[leg("2010 promo credits", "2019 promo contra", "the rest of the lot")],
};

/// Ends a lot of paid or service credit whose time has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditExpiry {
    /// The lot, once.
    pub lot_id: Uuid,
    /// Whose.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
    /// Where it came from.
    pub kind: LapsingCredit,
    /// What becomes of it.
    pub lapse: Lapse,
}

/// Credit that was no gift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LapsingCredit {
    /// It was paid for.
    Paid,
    /// It was owed for service that missed its objective.
    Service,
}

/// What becomes of what was paid and not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lapse {
    /// It is the platform's.
    #[default]
    Breakage,
    /// It is kept for its owner, or the state.
    Unclaimed,
}

/// Ends a promo lot whose time has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoExpiry {
    /// The lot, once.
    pub lot_id: Uuid,
    /// Whose.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
}

impl Lapse {
    pub(super) fn write(self, out: &mut Canonical) {
        out.bytes(&[u8::from(self == Self::Unclaimed)]);
    }

    /// Takes what has lapsed to where it belongs.
    pub(super) fn draft(self, from: AccountKey, amount: Nanos, tenant_id: TenantId, product_line: &str) -> Draft {
        match self {
            Self::Breakage => {
                let leaf = Leaf { tenant_id: Some(tenant_id), ..Leaf::new(Bucket::Breakage, product_line) };
                Draft::posted(from, AccountKey::platform(Code::BreakageRevenue, from.unit), amount, Some(leaf))
            }
            Self::Unclaimed => {
                let kept = AccountKey::owned(Code::UnclaimedProperty, tenant_id, from.unit);
                Draft::posted(from, kept, amount, None)
            }
        }
    }
}

/// All that is left of a lot whose time has come.
///
/// *Errors*: [`Error::NothingLeft`], [`Error::NotLapsed`]; [`Error::StillHeld`] while a hold may yet take of it.
pub(super) fn lapsed(books: &Books, lot: &AccountKey, now: DateTime<Utc>) -> Result<Nanos, Error> {
    let account = books.account(lot).ok_or(Error::NothingLeft { code: lot.code, owner: lot.owner })?;
    if !account.lapsed(now) {
        return Err(Error::NotLapsed { account: account.id });
    }
    if account.debits_pending > 0 {
        return Err(Error::StillHeld { account: account.id });
    }
    books.rest(lot)
}

impl Recipe for CreditExpiry {
    fn template(&self) -> &'static Template {
        &CREDIT_EXPIRY
    }

    fn link(&self) -> Uuid {
        self.lot_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        out.bytes(&[u8::from(self.kind == LapsingCredit::Service)]);
        self.lapse.write(out);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let code = match self.kind {
            LapsingCredit::Paid => Code::PaidCredits,
            LapsingCredit::Service => Code::ServiceCredits,
        };
        let lot = AccountKey::lot(code, self.tenant_id, self.lot_id, self.currency);
        let amount = lapsed(books, &lot, now)?;
        Ok(Entry::of(vec![self.lapse.draft(lot, amount, self.tenant_id, "credit")]))
    }
}

impl Recipe for PromoExpiry {
    fn template(&self) -> &'static Template {
        &PROMO_EXPIRY
    }

    fn link(&self) -> Uuid {
        self.lot_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let lot = AccountKey::lot(Code::PromoCredits, self.tenant_id, self.lot_id, self.currency);
        let amount = lapsed(books, &lot, now)?;
        let contra = AccountKey::platform(Code::PromoContra, self.currency);
        Ok(Entry::of(vec![Draft::posted(lot, contra, amount, None)]))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::account::Priority;
    use crate::recipe::credit::{CardTopUp, PaidLot};
    use crate::recipe::tests::{Desk, tenant, usd, uuid};

    fn credit(number: u8, lapse: Lapse) -> CreditExpiry {
        let kind = LapsingCredit::Paid;
        CreditExpiry { lot_id: uuid(1, number), tenant_id: tenant(1), currency: usd(), kind, lapse }
    }

    fn promo(number: u8) -> PromoExpiry {
        PromoExpiry { lot_id: uuid(6, number), tenant_id: tenant(1), currency: usd() }
    }

    /// A tenant with lots of 100 that lapse in an hour.
    fn lots() -> Desk {
        let mut desk = Desk::open();
        for number in 1..=2 {
            let lot = PaidLot {
                lot_id: uuid(1, number),
                priority: Priority::PAID,
                expires_at: Some(desk.now + TimeDelta::hours(1)),
            };
            let (tax, fee, payment) = (Nanos(0), Nanos(0), format!("pi_{number}"));
            let (amount, lot) = (Nanos(100), Some(lot));
            desk.post(CardTopUp { tenant_id: tenant(1), amount, currency: usd(), tax, fee, payment, lot }).unwrap();
        }
        desk
    }

    #[test]
    fn paid_credit_lapses_at_its_time_once_and_whole() {
        let mut desk = lots();
        assert!(matches!(desk.post(credit(1, Lapse::Breakage)), Err(Error::NotLapsed { .. })));
        desk.hold(1, 1, 30);
        desk.now += TimeDelta::hours(1);
        assert!(matches!(desk.post(credit(1, Lapse::Breakage)), Err(Error::StillHeld { .. })));
        assert_eq!(desk.post(credit(2, Lapse::Unclaimed)).unwrap(), ["2000 > 2900 100 posted"]);
        desk.settle(1, 1, &[10]);
        assert_eq!(desk.post(credit(1, Lapse::Breakage)).unwrap(), ["2000 > 4050 90 posted"]);
        assert_eq!(desk.last_leaf().unwrap().bucket, "BREAKAGE");
        assert_eq!(desk.post(credit(1, Lapse::Breakage)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(credit(1, Lapse::Unclaimed)), Err(Error::IdReused { .. })));
        assert!(matches!(desk.post(credit(3, Lapse::Breakage)), Err(Error::NothingLeft { .. })));
    }

    #[test]
    fn a_gift_lapses_at_its_time_and_credit_without_a_time_never() {
        let mut desk = Desk::open();
        desk.grant(1, 1, 40, Some(1));
        desk.grant(2, 1, 50, None);
        assert!(matches!(desk.post(promo(1)), Err(Error::NotLapsed { .. })));
        desk.now += TimeDelta::hours(1);
        assert_eq!(desk.post(promo(1)).unwrap(), ["2010 > 2019 40 posted"]);
        assert_eq!(desk.post(promo(1)).unwrap(), [""; 0]);
        desk.now += TimeDelta::days(10_000);
        assert!(matches!(desk.post(promo(2)), Err(Error::NotLapsed { .. })));
    }
}
