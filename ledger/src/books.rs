//! What the ledger holds, as it will be once all that was decided is durable. Recipes read it; the core changes it.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use primitives::money::{Currency, Nanos};
use uuid::Uuid;

use crate::account::{Account, AccountKey};
use crate::error::Error;
use crate::hold::OpenHold;
use crate::period::{Month, PeriodState};

/// Where an account stands in memory.
pub(crate) type Slot = u32;

/// A credit lot that may pay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purse {
    pub lot: AccountKey,
    pub available: Nanos,
}

/// Accounts, open holds and closed months. An owner's accounts are here all or not at all.
#[derive(Debug, Default)]
pub(crate) struct Books {
    accounts: Vec<Account>,
    platform: HashMap<AccountKey, Slot>,
    /// Each owner's accounts in spending order.
    owners: HashMap<Uuid, Vec<Slot>>,
    holds: HashMap<Uuid, OpenHold>,
    open_seqs: BTreeSet<i64>,
    periods: HashMap<Month, PeriodState>,
}

impl Books {
    /// The platform's accounts, the open holds and the months that are not open; owners are learned.
    pub fn new(platform: Vec<Account>, holds: Vec<OpenHold>, periods: Vec<(Month, PeriodState)>) -> Self {
        let mut books = Self { periods: periods.into_iter().collect(), ..Self::default() };
        for account in platform {
            books.insert(account);
        }
        for hold in holds {
            books.place(hold);
        }
        books
    }

    /// True when an owner's accounts are here.
    pub fn knows(&self, owner: Uuid) -> bool {
        self.owners.contains_key(&owner)
    }

    /// Takes in all accounts of an owner; one that is known stays as it is.
    pub fn learn(&mut self, owner: Uuid, accounts: Vec<Account>) {
        if self.knows(owner) {
            return;
        }
        self.owners.insert(owner, Vec::new());
        for account in accounts {
            self.insert(account);
        }
    }

    /// The account of that key, when it is open.
    pub fn account(&self, key: &AccountKey) -> Option<&Account> {
        self.find(key).map(|slot| self.at(slot))
    }

    /// What can be spent of an account; nothing of one that was never opened.
    pub fn spendable(&self, key: &AccountKey) -> Nanos {
        self.account(key).map_or(Nanos::ZERO, Account::spendable)
    }

    /// What is left on an account. *Errors*: [`Error::NothingLeft`] for what is empty, or was never opened.
    pub fn rest(&self, key: &AccountKey) -> Result<Nanos, Error> {
        let posted = self.account(key).map_or(0, Account::posted);
        let rest = i64::try_from(posted).ok().filter(|&rest| rest > 0);
        rest.map(Nanos).ok_or(Error::NothingLeft { code: key.code, owner: key.owner })
    }

    /// An owner's accounts of one unit in spending order.
    pub fn accounts_of(&self, owner: Uuid, unit: Currency) -> impl Iterator<Item = &Account> {
        let slots = self.owners.get(&owner).map(Vec::as_slice).unwrap_or_default();
        slots.iter().map(|&slot| self.at(slot)).filter(move |account| account.key.unit == unit)
    }

    /// A tenant's credit that has not lapsed, in spending order.
    pub fn purses(&self, owner: Uuid, unit: Currency, now: DateTime<Utc>) -> Vec<Purse> {
        let credit = |account: &&Account| account.key.code.credit();
        let open = self.accounts_of(owner, unit).filter(credit).filter(|lot| !lot.lapsed(now));
        open.map(|lot| Purse { lot: lot.key, available: lot.spendable() }).collect()
    }

    /// The hold that a link has open. *Errors*: [`Error::NoOpenHold`].
    pub fn open_hold(&self, link: Uuid) -> Result<&OpenHold, Error> {
        self.holds.get(&link).ok_or(Error::NoOpenHold { link })
    }

    /// Whether a month is closed.
    pub fn period(&self, month: Month) -> PeriodState {
        self.periods.get(&month).copied().unwrap_or_default()
    }

    /// The first transfer of the oldest open hold.
    pub fn open_from(&self) -> Option<i64> {
        self.open_seqs.first().copied()
    }

    pub(super) fn find(&self, key: &AccountKey) -> Option<Slot> {
        match key.owner {
            None => self.platform.get(key).copied(),
            Some(owner) => self.owners.get(&owner)?.iter().copied().find(|&slot| self.at(slot).key == *key),
        }
    }

    pub(super) fn at(&self, slot: Slot) -> &Account {
        &self.accounts[slot as usize]
    }

    pub(super) fn at_mut(&mut self, slot: Slot) -> &mut Account {
        &mut self.accounts[slot as usize]
    }

    pub(super) fn insert(&mut self, account: Account) -> Slot {
        let slot = Slot::try_from(self.accounts.len()).expect("memory holds fewer than four billion accounts");
        self.accounts.push(account);
        match account.key.owner {
            None => {
                self.platform.insert(account.key, slot);
            }
            Some(owner) => {
                let slots = self.owners.get_mut(&owner).expect("an owner's accounts are learned first");
                let order = account.spending_order();
                let place = slots.partition_point(|&other| self.accounts[other as usize].spending_order() <= order);
                slots.insert(place, slot);
            }
        }
        slot
    }

    pub(super) fn place(&mut self, hold: OpenHold) {
        self.open_seqs.insert(hold.parts[0].seq);
        self.holds.insert(hold.link, hold);
    }

    pub(super) fn close_hold(&mut self, link: Uuid) {
        let hold = self.holds.remove(&link).expect("what was just resolved was open");
        self.open_seqs.remove(&hold.parts[0].seq);
    }

    pub(super) fn set_period(&mut self, month: Month, state: PeriodState) {
        self.periods.insert(month, state);
    }

    /// Every open hold.
    #[cfg(test)]
    pub fn holds(&self) -> impl Iterator<Item = &OpenHold> {
        self.holds.values()
    }

    /// Every account, the oldest in memory first.
    #[cfg(test)]
    pub fn all(&self) -> &[Account] {
        &self.accounts
    }
}
