//! A tenant's credit: given or paid for.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::account::{AccountKey, Code};
use crate::error::Error;
use crate::row::Canonical;
use crate::transfer::{Draft, Movement};

/// The recipe of [`PromoGrant`].
pub const PROMO_GRANT: &str = "promo_grant";
/// The recipe of [`TopUp`].
pub const TOP_UP: &str = "top_up";

/// Gives a tenant credit, as a lot of its own.
///
/// | Dr | Cr | amount |
/// |---|---|---|
/// | 2019 promo contra | 2010 promo credits | the gift |
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
///
/// | Dr | Cr | amount |
/// |---|---|---|
/// | 1000 bank | 2000 paid credits | what was paid |
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

impl PromoGrant {
    /// The lot's account.
    pub(crate) fn lot(&self) -> AccountKey {
        AccountKey::lot(Code::PromoCredits, self.tenant_id, self.lot_id, self.currency)
    }

    pub(crate) fn drafts(&self) -> Result<Vec<Draft>, Error> {
        let contra = AccountKey::platform(Code::PromoContra, self.currency);
        credit("promo grant", contra, self.lot(), self.amount)
    }

    pub(crate) fn write(&self, body: &mut Canonical) {
        body.uuid(self.tenant_id.0);
        body.i64(self.amount.0);
        body.text(self.currency.as_str());
        body.option(self.expires_at, Canonical::instant);
    }
}

impl TopUp {
    /// The group's link: a UUIDv8 of SHA-256 over tenant and reference.
    pub(crate) fn link(&self) -> Uuid {
        let mut hasher = Sha256::new();
        hasher.update(self.tenant_id.0.as_bytes());
        hasher.update(self.reference.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize()[..16]);
        uuid::Builder::from_bytes(bytes).with_version(uuid::Version::Custom).into_uuid()
    }

    pub(crate) fn drafts(&self) -> Result<Vec<Draft>, Error> {
        let bank = AccountKey::platform(Code::Bank, self.currency);
        credit("top-up", bank, AccountKey::owned(Code::PaidCredits, self.tenant_id, self.currency), self.amount)
    }

    pub(crate) fn write(&self, body: &mut Canonical) {
        body.i64(self.amount.0);
        body.text(self.currency.as_str());
    }
}

fn credit(what: &'static str, debit: AccountKey, credit: AccountKey, amount: Nanos) -> Result<Vec<Draft>, Error> {
    if amount <= Nanos::ZERO {
        return Err(Error::BadAmount { what, amount });
    }
    Ok(vec![Draft { movement: Movement::Posted, debit, credit, amount, bucket: None, leaf: None }])
}
