//! Accounts: the chart, their identity, and their balances.

use std::fmt;

use chrono::{DateTime, Utc};
use primitives::money::{Currency, Nanos};
use uuid::Uuid;

use crate::error::Error;

/// An account's code in the chart of accounts; a code joins when the first recipe uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Code {
    /// Money at the bank.
    Bank = 1000,
    /// What a tenant paid and has not used.
    PaidCredits = 2000,
    /// What a tenant was given and has not used.
    PromoCredits = 2010,
    /// The other side of promo credits, so that gifts are no debt.
    PromoContra = 2019,
    /// What a provider has earned and was not paid.
    ProviderPayable = 2100,
    /// Gross revenue from inference.
    InferenceRevenue = 4000,
    /// The part of the revenue that gifts paid for.
    PromoContraRevenue = 4900,
    /// What providers cost.
    ProviderCost = 5000,
}

/// The side that makes an account grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Assets, costs and contra accounts.
    Debit,
    /// Liabilities and revenue.
    Credit,
}

impl Side {
    /// The word stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 8] = [
        Self::Bank,
        Self::PaidCredits,
        Self::PromoCredits,
        Self::PromoContra,
        Self::ProviderPayable,
        Self::InferenceRevenue,
        Self::PromoContraRevenue,
        Self::ProviderCost,
    ];

    /// The number in the chart.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// The code of that number.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// The name in the chart.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::PaidCredits => "paid credits",
            Self::PromoCredits => "promo credits",
            Self::PromoContra => "promo contra",
            Self::ProviderPayable => "provider payable",
            Self::InferenceRevenue => "inference revenue",
            Self::PromoContraRevenue => "promo contra-revenue",
            Self::ProviderCost => "provider cost",
        }
    }

    /// The side that makes accounts of this code grow.
    pub fn side(self) -> Side {
        match self {
            Self::Bank | Self::PromoContra | Self::PromoContraRevenue | Self::ProviderCost => Side::Debit,
            Self::PaidCredits | Self::PromoCredits | Self::ProviderPayable | Self::InferenceRevenue => Side::Credit,
        }
    }

    /// True where what is posted less what is held may never go below zero: credits are prepaid.
    pub fn no_overdraft(self) -> bool {
        matches!(self, Self::PaidCredits | Self::PromoCredits)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}

/// An account's number: its code, its shard and a count, so that constraints and people can read the code from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct AccountId(pub i64);

impl AccountId {
    const PER_CODE: i64 = 100_000_000_000_000;
    const PER_SHARD: i64 = 10_000_000_000;

    /// The `number`th account of a shard, counted over all codes from 1.
    pub(crate) fn new(code: Code, shard: i16, number: i64) -> Self {
        assert!((1..Self::PER_SHARD).contains(&number), "a shard holds ten billion accounts");
        Self(i64::from(code.number()) * Self::PER_CODE + i64::from(shard) * Self::PER_SHARD + number)
    }

    /// The code in the chart, when it is one of ours.
    pub fn code(self) -> Option<Code> {
        i16::try_from(self.0 / Self::PER_CODE).ok().and_then(Code::from_number)
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountKey {
    /// The chart's code.
    pub code: Code,
    /// The tenant or provider it belongs to; none for the platform's own.
    pub owner: Option<Uuid>,
    /// The credit lot, where the code has lots.
    pub lot: Option<Uuid>,
    /// The currency.
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

    /// A tenant's credit lot.
    pub fn lot(code: Code, owner: impl Into<Uuid>, lot: Uuid, unit: Currency) -> Self {
        Self { code, owner: Some(owner.into()), lot: Some(lot), unit }
    }
}

/// An account with its balances, as the writer keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub id: AccountId,
    pub key: AccountKey,
    /// When a lot's credit lapses.
    pub expires_at: Option<DateTime<Utc>>,
    pub debits_posted: i64,
    pub credits_posted: i64,
    pub debits_pending: i64,
    pub credits_pending: i64,
}

impl Account {
    pub fn open(id: AccountId, key: AccountKey, expires_at: Option<DateTime<Utc>>) -> Self {
        let (debits_posted, credits_posted, debits_pending, credits_pending) = (0, 0, 0, 0);
        Self { id, key, expires_at, debits_posted, credits_posted, debits_pending, credits_pending }
    }

    /// What may still be spent or held: posted less what open holds take, on the normal side.
    pub fn available(&self) -> i128 {
        let [dr, cr, dr_held, cr_held] =
            [self.debits_posted, self.credits_posted, self.debits_pending, self.credits_pending].map(i128::from);
        match self.key.code.side() {
            Side::Credit => cr - dr - dr_held,
            Side::Debit => dr - cr - cr_held,
        }
    }

    /// True for a lot whose time has come.
    pub fn lapsed(&self, at: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= at)
    }

    /// Sorts a tenant's lots: gifts before payments, the soonest to lapse first.
    pub fn spending_order(&self) -> (bool, bool, Option<DateTime<Utc>>, AccountId) {
        (self.key.code != Code::PromoCredits, self.expires_at.is_none(), self.expires_at, self.id)
    }

    /// Adds to the debit side, or to the credit side.
    ///
    /// *Errors*: an overdraft where none is allowed, or a balance beyond `i64`; the account is then as it was.
    pub fn add(&mut self, side: Side, posted: i64, pending: i64) -> Result<(), Error> {
        let mut after = *self;
        let (total, held) = match side {
            Side::Debit => (&mut after.debits_posted, &mut after.debits_pending),
            Side::Credit => (&mut after.credits_posted, &mut after.credits_pending),
        };
        let range = Error::OutOfRange { account: self.id };
        *total = total.checked_add(posted).ok_or(range)?;
        *held = held.checked_add(pending).ok_or(Error::OutOfRange { account: self.id })?;
        assert!(after.debits_pending >= 0 && after.credits_pending >= 0, "no hold is released twice");
        if self.key.code.no_overdraft() && after.available() < 0 {
            let available = Nanos(i64::try_from(self.available()).unwrap_or(i64::MAX));
            return Err(Error::Overdraft { account: self.id, available });
        }
        *self = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accounts_number_tells_its_code() {
        for code in Code::ALL {
            assert_eq!(AccountId::new(code, 9_999, 9_999_999_999).code(), Some(code));
        }
        assert_eq!(AccountId::new(Code::PromoCredits, 0, 17).to_string(), "201000000000000017");
    }

    #[test]
    fn a_prepaid_account_refuses_to_go_below_zero_and_stays_as_it_was() {
        let key = AccountKey::platform(Code::PaidCredits, Currency::USD);
        let mut account = Account::open(AccountId::new(key.code, 0, 1), key, None);
        account.add(Side::Credit, 5, 0).unwrap();
        account.add(Side::Debit, 0, 4).unwrap();
        let before = account;
        assert!(matches!(account.add(Side::Debit, 2, 0), Err(Error::Overdraft { .. })));
        assert!(matches!(account.add(Side::Credit, i64::MAX, 0), Err(Error::OutOfRange { .. })));
        assert_eq!(account, before);
    }
}
