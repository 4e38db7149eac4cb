//! Totals: of codes, of accounts, and of what is on its way.

use chrono::{DateTime, Utc};
use primitives::money::Currency;

use crate::account::{AccountId, AccountKey};
use crate::chart::{Code, Side};

/// One line of the trial balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialRow {
    /// The accounts' code.
    pub code: Code,
    /// Its name, such as `4000 inference revenue`.
    pub account: String,
    /// The unit.
    pub currency: Currency,
    /// All debits posted. *Units*: as amounts; a sum, so wider than one.
    pub debits: i128,
    /// All credits posted. *Units*: as `debits`.
    pub credits: i128,
}

/// What one account has, or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountTotals {
    /// The account.
    pub account: AccountId,
    /// What it is for.
    pub key: AccountKey,
    /// The last transfer over it, 0 when there was none.
    pub last_seq: i64,
    /// All debits posted.
    pub debits_posted: i64,
    /// All credits posted.
    pub credits_posted: i64,
    /// What open holds may debit.
    pub debits_pending: i64,
    /// What open holds may credit.
    pub credits_pending: i64,
}

impl AccountTotals {
    /// What is posted, on the account's normal side.
    pub fn balance(&self) -> i128 {
        self.on_normal_side(i128::from(self.debits_posted) - i128::from(self.credits_posted))
    }

    /// What is posted less what open holds may take of it.
    pub fn available(&self) -> i128 {
        let held = if self.key.code.side() == Side::Credit { self.debits_pending } else { self.credits_pending };
        self.balance() - i128::from(held)
    }

    fn on_normal_side(&self, debit: i128) -> i128 {
        if self.key.code.side() == Side::Debit { debit } else { -debit }
    }
}

/// A clearing account that is not at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The account.
    pub account: AccountId,
    /// What it is for.
    pub key: AccountKey,
    /// What stands on it, on its normal side; below zero when it stands on the other.
    pub balance: i128,
    /// The oldest transfer over it that is not wholly explained.
    pub oldest_seq: i64,
    /// When that happened.
    pub since: DateTime<Utc>,
}
