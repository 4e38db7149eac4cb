//! States: months closed, accounts frozen. They move no money; their groups are notes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Entry, Recipe, Template, leg};
use crate::account::{AccountKey, AccountState};
use crate::books::Books;
use crate::canonical::Canonical;
use crate::error::Error;
use crate::period::{Month, PeriodState};
use crate::transfer::named_link;

pub(crate) static PERIOD_STATE: Template = Template {
    number: 1,
    name: "period_state",
    event: "A month is soft-closed, opened again, or closed for good.",
    legs: &[leg("none", "none", "a note")],
};

pub(crate) static ACCOUNT_STATE: Template = Template {
    number: 2,
    name: "account_state",
    event: "An account is frozen, opened again, or closed.",
    legs: &[leg("none", "none", "a note")],
};

/// Closes a month, or opens it again while that can be. Of this room alone, because what is looked at before a close is looked at
/// by [`Writer::close_period`](crate::Writer::close_period): nobody outside can post one without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeriodChange {
    /// The change, once.
    pub change_id: Uuid,
    /// The month.
    pub month: Month,
    /// What may be booked in it from now on.
    pub state: PeriodState,
    /// Who decided, and why.
    pub reason: String,
}

/// Freezes, opens or closes an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChange {
    /// The change, once.
    pub change_id: Uuid,
    /// The account.
    pub account: AccountKey,
    /// What it may do from now on.
    pub state: AccountState,
    /// Who decided, and why.
    pub reason: String,
}

impl Recipe for PeriodChange {
    fn template(&self) -> &'static Template {
        &PERIOD_STATE
    }

    fn link(&self) -> Uuid {
        named_link(&[b"period", self.change_id.as_bytes()])
    }

    fn body(&self, out: &mut Canonical) {
        out.i16(self.month.number());
        out.text(self.state.as_str());
        out.text(&self.reason);
    }

    fn owners(&self) -> Vec<Uuid> {
        Vec::new()
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let month = self.month;
        if month >= Month::of(now) && self.state != PeriodState::Open {
            return Err(Error::PeriodRunning { month });
        }
        if books.period(month) == PeriodState::Hard {
            return Err(Error::PeriodClosed { month });
        }
        let reference = Some(self.reason.clone());
        Ok(Entry { period_states: vec![(month, self.state)], reference, ..Entry::default() })
    }
}

impl Recipe for AccountChange {
    fn template(&self) -> &'static Template {
        &ACCOUNT_STATE
    }

    fn link(&self) -> Uuid {
        named_link(&[b"account", self.change_id.as_bytes()])
    }

    fn body(&self, out: &mut Canonical) {
        out.key(&self.account);
        out.text(self.state.as_str());
        out.text(&self.reason);
    }

    fn owners(&self) -> Vec<Uuid> {
        self.account.owner.into_iter().collect()
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let AccountKey { code, owner, .. } = self.account;
        let account = books.account(&self.account).ok_or(Error::UnknownAccount { code, owner })?;
        let held = account.debits_pending > 0 || account.credits_pending > 0;
        if account.state == AccountState::Closed {
            return Err(Error::AccountClosed { account: account.id });
        }
        if self.state == AccountState::Closed && (account.posted() != 0 || held) {
            return Err(Error::AccountNotEmpty { account: account.id });
        }
        let reference = Some(self.reason.clone());
        Ok(Entry { states: vec![(self.account, self.state)], reference, ..Entry::default() })
    }
}
