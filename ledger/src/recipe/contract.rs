//! Contracts over time: paid ahead, earned in a straight line. Reserved throughput, rentals paid ahead and licences are such.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::purchase::{PaidBy, Purchase};
use super::{Entry, Template};
use crate::account::{AccountKey, Priority, Terms};
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::error::Error;
use crate::rounding::share;
use crate::transfer::named_link;

/// A contract: what was paid for which time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// The contract.
    pub contract_id: Uuid,
    /// Who bought it.
    pub tenant_id: TenantId,
    /// In what it is paid.
    pub currency: Currency,
    /// Its price without tax.
    pub fee: Nanos,
    /// From when it is served.
    pub from_at: DateTime<Utc>,
    /// Until when.
    pub to_at: DateTime<Utc>,
}

impl Contract {
    pub(super) fn write(&self, out: &mut Canonical) {
        out.uuid(self.contract_id);
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        out.i64(self.fee.0);
        out.instant(self.from_at);
        out.instant(self.to_at);
    }

    /// The account that keeps what is paid and not yet earned; it ends when the contract does.
    pub(super) fn deferred(&self, code: Code, template: &Template) -> Result<(AccountKey, Terms), Error> {
        if self.from_at >= self.to_at {
            return Err(Error::BadEvent { recipe: template.name, reason: "its time does not go forward" });
        }
        let key = AccountKey::lot(code, self.tenant_id, self.contract_id, self.currency);
        Ok((key, Terms { priority: Priority::PAID, expires_at: Some(self.to_at) }))
    }

    pub(super) fn purchase(&self, tax: Nanos, paid_by: &PaidBy) -> Purchase {
        let Self { tenant_id, currency, fee: net, .. } = *self;
        Purchase { tenant_id, currency, net, tax, paid_by: paid_by.clone() }
    }

    /// Buys it: what is paid waits to be earned. *Errors*: the purchase's; another contract under the same name.
    pub(super) fn bought(
        &self,
        code: Code,
        template: &Template,
        (tax, paid_by): (Nanos, &PaidBy),
        (books, now): (&Books, DateTime<Utc>),
    ) -> Result<Entry, Error> {
        let (key, terms) = self.deferred(code, template)?;
        let drafts = self.purchase(tax, paid_by).drafts(key, books, now)?;
        Ok(Entry { terms: vec![(key, terms)], ..Entry::of(drafts) })
    }

    /// Names the recognition up to an instant, which happens once.
    pub(super) fn recognition_link(&self, until: DateTime<Utc>) -> Uuid {
        named_link(&[b"recognition", self.contract_id.as_bytes(), &until.timestamp_micros().to_le_bytes()])
    }

    /// What is earned up to an instant and was not recognised yet: all that is deferred, less what the time to come is worth. So a
    /// step left out is caught up with the next, a step taken back is done again, and the last one leaves nothing.
    ///
    /// *Errors*: for a time that is still to come, for another contract than was bought; [`Error::NothingLeft`].
    pub(super) fn earned(
        &self,
        (code, template): (Code, &Template),
        until: DateTime<Utc>,
        (books, now): (&Books, DateTime<Utc>),
    ) -> Result<(AccountKey, Nanos), Error> {
        let refused = |reason| Error::BadEvent { recipe: template.name, reason };
        let (key, terms) = self.deferred(code, template)?;
        if until > now || until <= self.from_at || until > self.to_at {
            return Err(refused("only time that is over is earned, within the contract's"));
        }
        let rest = books.rest(&key)?;
        let account = books.account(&key).ok_or(Error::NothingLeft { code, owner: key.owner })?;
        if account.terms != terms || self.fee.0 > account.credits_posted {
            return Err(refused("another contract was bought"));
        }
        let stays = share(self.fee, micros(self.to_at - until), micros(self.to_at - self.from_at));
        let stays = stays.ok_or(Error::BadAmount { what: "fee", amount: self.fee })?;
        let earned = Nanos(rest.0 - stays.0);
        if earned > Nanos::ZERO { Ok((key, earned)) } else { Err(Error::NothingLeft { code, owner: key.owner }) }
    }
}

/// The last instant of the time before `until`, so that a month's end falls into that month.
pub(super) fn just_before(until: DateTime<Utc>) -> DateTime<Utc> {
    until - TimeDelta::microseconds(1)
}

fn micros(time: TimeDelta) -> i128 {
    i128::from(time.num_microseconds().unwrap_or(i64::MAX))
}
