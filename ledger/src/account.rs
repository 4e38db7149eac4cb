//! Accounts: their identity, and their balances.

use std::fmt;

use chrono::{DateTime, Utc};
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chart::{Code, Side};
use crate::error::Error;
use crate::unit;

/// An account's number: its code, its unit, its shard and a count, so that constraints and people can read them from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
#[sqlx(transparent)]
pub struct AccountId(pub i64);

impl AccountId {
    const PER_CODE: i64 = 100_000_000_000_000;
    pub(crate) const PER_UNIT: i64 = 100_000_000_000;
    const PER_SHARD: i64 = 1_000_000_000;

    /// The `number`th account of a shard, counted over all codes from 1. *Errors*: [`Error::UnknownUnit`].
    pub(crate) fn try_new(key: AccountKey, shard: i16, number: i64) -> Result<Self, Error> {
        assert!((1..Self::PER_SHARD).contains(&number), "a shard holds a billion accounts");
        let unit = unit::number(key.unit)?;
        let (code, shard) = (i64::from(key.code.number()), i64::from(shard));
        Ok(Self(code * Self::PER_CODE + unit * Self::PER_UNIT + shard * Self::PER_SHARD + number))
    }

    /// The code in the chart, when it is one of ours.
    pub fn code(self) -> Option<Code> {
        i16::try_from(self.0 / Self::PER_CODE).ok().and_then(Code::from_number)
    }

    /// The unit, when it is one of ours.
    pub fn unit(self) -> Option<Currency> {
        unit::from_number(self.0 / Self::PER_UNIT % 1000)
    }

    /// The shard that keeps it.
    pub fn shard(self) -> i16 {
        i16::try_from(self.0 / Self::PER_SHARD % 100).expect("two digits")
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What an account is for: opened when the first transfer touches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountKey {
    /// The chart's code.
    pub code: Code,
    /// The tenant or provider it belongs to; none for the platform's own.
    pub owner: Option<Uuid>,
    /// The credit lot, pack or contract, where the code has such.
    pub lot: Option<Uuid>,
    /// The currency, or the quantity.
    pub unit: Currency,
}

impl AccountKey {
    /// One of the platform's own accounts.
    pub fn platform(code: Code, unit: Currency) -> Self {
        Self { code, owner: None, lot: None, unit }
    }

    /// A tenant's or provider's account without lots.
    pub fn owned(code: Code, owner: impl Into<Uuid>, unit: Currency) -> Self {
        Self { code, owner: Some(owner.into()), lot: None, unit }
    }

    /// A tenant's credit lot, pack or contract.
    pub fn lot(code: Code, owner: impl Into<Uuid>, lot: Uuid, unit: Currency) -> Self {
        Self { code, owner: Some(owner.into()), lot: Some(lot), unit }
    }
}

/// What an account may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// Everything.
    #[default]
    Open,
    /// Take in, and resolve what it holds; it pays for nothing new.
    Frozen,
    /// Nothing, for good: it is empty.
    Closed,
}

impl AccountState {
    /// The word stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Frozen => "frozen",
            Self::Closed => "closed",
        }
    }

    /// The state of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Frozen, Self::Closed].into_iter().find(|state| state.as_str() == word)
    }
}

/// When a credit lot is spent: the lowest priority first, then the soonest to lapse. *Units*: 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Priority(pub i16);

impl Priority {
    /// Gifts.
    pub const PROMO: Self = Self(20);
    /// Payments.
    pub const PAID: Self = Self(50);
}

/// What is fixed when an account is opened and its key does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub priority: Priority,
    pub expires_at: Option<DateTime<Utc>>,
}

impl Terms {
    /// Of accounts that nobody said anything about.
    pub fn of(code: Code) -> Self {
        let given = matches!(code, Code::PromoCredits | Code::ServiceCredits);
        let priority = if given { Priority::PROMO } else { Priority::PAID };
        Self { priority, expires_at: None }
    }
}

/// An account with its balances, as the writer keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub id: AccountId,
    pub key: AccountKey,
    pub terms: Terms,
    pub state: AccountState,
    pub debits_posted: i64,
    pub credits_posted: i64,
    pub debits_pending: i64,
    pub credits_pending: i64,
    /// The last transfer over it.
    pub last_seq: i64,
    /// How many there were.
    pub transfers: i64,
}

impl Account {
    pub fn open(id: AccountId, key: AccountKey, terms: Terms) -> Self {
        Self {
            id,
            key,
            terms,
            state: AccountState::Open,
            debits_posted: 0,
            credits_posted: 0,
            debits_pending: 0,
            credits_pending: 0,
            last_seq: 0,
            transfers: 0,
        }
    }

    /// What is posted less what open holds take, on the normal side.
    pub fn available(&self) -> i128 {
        let [dr, cr, dr_held, cr_held] =
            [self.debits_posted, self.credits_posted, self.debits_pending, self.credits_pending].map(i128::from);
        match self.key.code.side() {
            Side::Credit => cr - dr - dr_held,
            Side::Debit => dr - cr - cr_held,
        }
    }

    /// What is posted, on the normal side.
    pub fn posted(&self) -> i128 {
        let posted = i128::from(self.credits_posted) - i128::from(self.debits_posted);
        if self.key.code.side() == Side::Credit { posted } else { -posted }
    }

    /// What may still be spent or held: nothing of a frozen account, nor beyond what an amount can be.
    pub fn spendable(&self) -> Nanos {
        match self.state {
            AccountState::Open => Nanos(i64::try_from(self.available().max(0)).unwrap_or(i64::MAX)),
            AccountState::Frozen | AccountState::Closed => Nanos::ZERO,
        }
    }

    /// True for a lot whose time has come.
    pub fn lapsed(&self, at: DateTime<Utc>) -> bool {
        self.terms.expires_at.is_some_and(|expires_at| expires_at <= at)
    }

    /// Sorts a tenant's lots: the lowest priority first, then the soonest to lapse.
    pub fn spending_order(&self) -> (Priority, bool, Option<DateTime<Utc>>, i64) {
        let Terms { priority, expires_at } = self.terms;
        // The last digits of an id count the accounts, whatever their code.
        (priority, expires_at.is_none(), expires_at, self.id.0 % AccountId::PER_SHARD)
    }

    /// Adds the transfer `seq` to the debit side, or to the credit side.
    ///
    /// *Errors*: an overdraft where none is allowed, a closed account that would move, a balance beyond `i64`; the account is then
    /// as it was. What a frozen account may not is told by a whole group: [`Self::check_frozen`].
    pub fn add(&mut self, seq: i64, side: Side, posted: i64, pending: i64) -> Result<(), Error> {
        let mut after = *self;
        let (total, held) = match side {
            Side::Debit => (&mut after.debits_posted, &mut after.debits_pending),
            Side::Credit => (&mut after.credits_posted, &mut after.credits_pending),
        };
        *total = total.checked_add(posted).ok_or(Error::OutOfRange { account: self.id })?;
        *held = held.checked_add(pending).ok_or(Error::OutOfRange { account: self.id })?;
        assert!(after.debits_pending >= 0 && after.credits_pending >= 0, "no hold is released twice");
        let paid = after.available() < self.available();
        if self.state == AccountState::Closed {
            return Err(Error::AccountClosed { account: self.id });
        }
        if self.key.code.no_overdraft() && paid && after.available() < 0 {
            return Err(Error::Overdraft { account: self.id, available: self.spendable() });
        }
        after.last_seq = seq;
        after.transfers += 1;
        *self = after;
        Ok(())
    }

    /// Refuses what a group has made of an account that was frozen `before`, where it pays: a hold's part may be taken in several
    /// transfers, of which the first releases it, so one transfer alone does not tell.
    pub fn check_frozen(&self, before: &Self) -> Result<(), Error> {
        let paid = before.state == AccountState::Frozen && self.available() < before.available();
        if paid { Err(Error::AccountFrozen { account: self.id }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paid() -> Account {
        let key = AccountKey::platform(Code::PaidCredits, Currency::USD);
        Account::open(AccountId::try_new(key, 0, 1).unwrap(), key, Terms::of(key.code))
    }

    #[test]
    fn an_accounts_number_tells_its_code_and_its_unit() {
        for &code in Code::ALL {
            let key = AccountKey::platform(code, "EUR".parse().unwrap());
            let id = AccountId::try_new(key, 99, 999_999_999).unwrap();
            assert_eq!((id.code(), id.unit()), (Some(code), Some(key.unit)));
        }
        let key = AccountKey::platform(Code::PromoCredits, Currency::USD);
        assert_eq!(AccountId::try_new(key, 0, 17).unwrap().to_string(), "201084000000000017");
    }

    #[test]
    fn a_prepaid_account_refuses_to_go_below_zero_and_stays_as_it_was() {
        let mut account = paid();
        account.add(1, Side::Credit, 5, 0).unwrap();
        account.add(2, Side::Debit, 0, 4).unwrap();
        let before = account;
        assert!(matches!(account.add(3, Side::Debit, 2, 0), Err(Error::Overdraft { available: Nanos(1), .. })));
        assert!(matches!(account.add(3, Side::Credit, i64::MAX, 0), Err(Error::OutOfRange { .. })));
        assert_eq!(account, before);
    }

    #[test]
    fn a_frozen_account_takes_in_and_resolves_but_pays_for_nothing_new() {
        let mut account = paid();
        account.add(1, Side::Credit, 10, 0).unwrap();
        account.add(2, Side::Debit, 0, 4).unwrap();
        account.state = AccountState::Frozen;
        assert_eq!(account.spendable(), Nanos::ZERO);
        let frozen = account;
        account.add(3, Side::Debit, 1, -4).unwrap();
        account.add(4, Side::Debit, 3, 0).unwrap();
        account.check_frozen(&frozen).unwrap();
        account.add(5, Side::Debit, 0, 1).unwrap();
        assert!(matches!(account.check_frozen(&frozen), Err(Error::AccountFrozen { .. })));
        account.add(6, Side::Credit, 1, 0).unwrap();
        account.check_frozen(&frozen).unwrap();
        account.state = AccountState::Closed;
        assert!(matches!(account.add(7, Side::Credit, 1, 0), Err(Error::AccountClosed { .. })));
    }
}
