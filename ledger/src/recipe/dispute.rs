//! Disputes: a card holder takes a payment back. What the tenant has not used is frozen until it is decided.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::job::spend;
use super::{Entry, OnHold, Recipe, Template, leg, not_negative, plus, positive};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::error::Error;
use crate::hold::OpenHold;
use crate::period::Month;
use crate::transfer::{Draft, Movement};

pub(crate) static DISPUTE_OPENED: Template = Template {
    number: 33,
    name: "dispute_opened",
    event: "A card holder disputes a payment: the processor takes it and a fee, and unused credit up to the amount is frozen.",
    legs: &[
        leg("1120 disputed funds", "1010 processor clearing", "what is disputed"),
        leg("5200 dispute losses and fees", "1010 processor clearing", "the processor's fee"),
        leg("2000 paid credits", "1120 disputed funds", "pending: up to what is disputed, lot by lot"),
    ],
};

pub(crate) static DISPUTE_LOST: Template = Template {
    number: 34,
    name: "dispute_lost",
    event: "A dispute is lost: what was frozen is taken, what was used is owed by the tenant or lost.",
    legs: &[
        leg("2000 paid credits", "1120 disputed funds", "capture: all that was frozen"),
        leg(
            "1130 overrun receivable or 5200 dispute losses and fees",
            "1120 disputed funds",
            "the rest of what is disputed",
        ),
    ],
};

pub(crate) static DISPUTE_WON: Template = Template {
    number: 35,
    name: "dispute_won",
    event: "A dispute is won: the processor gives the payment back, and what was frozen is free.",
    legs: &[
        leg("1010 processor clearing", "1120 disputed funds", "what was disputed"),
        leg("2000 paid credits", "1120 disputed funds", "void: all that was frozen"),
    ],
};

/// Notes that a payment is disputed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeOpened {
    /// The dispute, once.
    pub dispute_id: Uuid,
    /// Whose payment it was.
    pub tenant_id: TenantId,
    /// How much is disputed.
    pub amount: Nanos,
    /// What the processor takes for it.
    pub fee: Nanos,
    /// In what.
    pub currency: Currency,
}

/// Notes that a dispute was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeLost {
    /// The dispute.
    pub dispute_id: Uuid,
    /// Whose payment it was.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
    /// What becomes of the part that was used.
    pub used_part: UsedPart,
}

/// What becomes of the part of a lost dispute that the tenant had used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UsedPart {
    /// The tenant owes it.
    Owed,
    /// It is lost.
    Lost,
}

/// Notes that a dispute was won.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeWon {
    /// The dispute.
    pub dispute_id: Uuid,
    /// Whose payment it was.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
}

/// Each dispute stands by itself.
fn disputed(tenant_id: TenantId, dispute_id: Uuid, unit: Currency) -> AccountKey {
    AccountKey::lot(Code::DisputedFunds, tenant_id, dispute_id, unit)
}

/// The end of all months that can be booked in: a dispute's hold ends with the dispute, which no sweeper decides.
fn never() -> DateTime<Utc> {
    Month::try_from_number(9912).expect("December of 2099").ends_at()
}

impl Recipe for DisputeOpened {
    fn template(&self) -> &'static Template {
        &DISPUTE_OPENED
    }

    fn link(&self) -> Uuid {
        self.dispute_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.i64(self.amount.0);
        out.i64(self.fee.0);
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn on_hold(&self) -> OnHold {
        OnHold::MayPlace(self.dispute_id)
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let (amount, fee) = (positive("dispute", self.amount)?, not_negative("fee", self.fee)?);
        plus("fee", amount, fee)?;
        let platform = |code| AccountKey::platform(code, self.currency);
        let (disputed, processor) =
            (disputed(self.tenant_id, self.dispute_id, self.currency), platform(Code::ProcessorClearing));
        let mut drafts = vec![Draft::posted(disputed, processor, amount, None)];
        if fee > Nanos::ZERO {
            drafts.push(Draft::posted(platform(Code::DisputeLosses), processor, fee, None));
        }
        let mut purses = books.purses(self.tenant_id.0, self.currency, now);
        purses.retain(|purse| purse.lot.code == Code::PaidCredits);
        let there: i128 = purses.iter().map(|purse| i128::from(purse.available.0)).sum();
        let frozen = Nanos(i64::try_from(there).unwrap_or(i64::MAX).min(amount.0));
        let parts = spend(self.tenant_id, frozen, &purses)?;
        let pending =
            |(debit, amount)| Draft { movement: Movement::Pending, ..Draft::posted(debit, disputed, amount, None) };
        drafts.extend(parts.into_iter().map(pending));
        Ok(Entry { expires_at: Some(never()), ..Entry::of(drafts) })
    }
}

impl Recipe for DisputeLost {
    fn template(&self) -> &'static Template {
        &DISPUTE_LOST
    }

    fn link(&self) -> Uuid {
        self.dispute_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        out.bytes(&[u8::from(self.used_part == UsedPart::Lost)]);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn on_hold(&self) -> OnHold {
        OnHold::MayResolve(self.dispute_id)
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let disputed = disputed(self.tenant_id, self.dispute_id, self.currency);
        let whole = books.rest(&disputed)?;
        let hold = books.open_hold(self.dispute_id).ok();
        let mut drafts = resolve(hold, |of, held| Movement::Capture { of, held });
        let used = Nanos(whole.0 - hold.map_or(0, |hold| hold.amount().0));
        if used > Nanos::ZERO {
            let to = match self.used_part {
                UsedPart::Owed => AccountKey::owned(Code::OverrunReceivable, self.tenant_id, self.currency),
                UsedPart::Lost => AccountKey::platform(Code::DisputeLosses, self.currency),
            };
            drafts.push(Draft::posted(to, disputed, used, None));
        }
        Ok(Entry::of(drafts))
    }
}

impl Recipe for DisputeWon {
    fn template(&self) -> &'static Template {
        &DISPUTE_WON
    }

    fn link(&self) -> Uuid {
        self.dispute_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn on_hold(&self) -> OnHold {
        OnHold::MayResolve(self.dispute_id)
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let disputed = disputed(self.tenant_id, self.dispute_id, self.currency);
        let processor = AccountKey::platform(Code::ProcessorClearing, self.currency);
        let mut drafts = vec![Draft::posted(processor, disputed, books.rest(&disputed)?, None)];
        drafts.extend(resolve(books.open_hold(self.dispute_id).ok(), |of, held| Movement::Void { of, held }));
        Ok(Entry::of(drafts))
    }
}

/// Every part of a hold, if there is one, resolved whole.
fn resolve(hold: Option<&OpenHold>, movement: fn(i64, Nanos) -> Movement) -> Vec<Draft> {
    let parts = hold.map(|hold| hold.parts.as_slice()).unwrap_or_default();
    let draft = |part: &crate::hold::HoldPart| Draft {
        movement: movement(part.seq, part.amount),
        ..Draft::posted(part.debit, part.credit, part.amount, None)
    };
    parts.iter().map(draft).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::tests::{Desk, tenant, usd, uuid};

    fn opened(amount: i64, fee: i64) -> DisputeOpened {
        let (dispute_id, tenant_id, currency) = (uuid(1, 1), tenant(1), usd());
        DisputeOpened { dispute_id, tenant_id, amount: Nanos(amount), fee: Nanos(fee), currency }
    }

    fn lost(used_part: UsedPart) -> DisputeLost {
        DisputeLost { dispute_id: uuid(1, 1), tenant_id: tenant(1), currency: usd(), used_part }
    }

    fn won() -> DisputeWon {
        DisputeWon { dispute_id: uuid(1, 1), tenant_id: tenant(1), currency: usd() }
    }

    #[test]
    fn a_lost_dispute_takes_what_was_frozen_and_the_tenant_owes_what_it_used() {
        let mut desk = Desk::open();
        desk.top_up(1, 40);
        let wanted = ["1120 > 1010 100 posted", "5200 > 1010 15 posted", "2000 > 1120 40 pending"];
        assert_eq!(desk.post(opened(100, 15)).unwrap(), wanted);
        assert_eq!(desk.post(opened(100, 15)).unwrap(), [""; 0]);
        assert_eq!(desk.available(1), 0, "it is frozen");
        desk.top_up(1, 500);
        let wanted = ["2000 > 1120 40 capture", "1130 > 1120 60 posted"];
        assert_eq!(desk.post(lost(UsedPart::Owed)).unwrap(), wanted);
        assert_eq!(desk.post(lost(UsedPart::Owed)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(lost(UsedPart::Lost)), Err(Error::IdReused { .. })));
        assert!(matches!(desk.post(won()), Err(Error::NothingLeft { code: Code::DisputedFunds, .. })));
        assert_eq!((desk.available(1), desk.posted(Code::DisputedFunds)), (500, 0));
    }

    #[test]
    fn a_won_dispute_frees_what_was_frozen() {
        let mut desk = Desk::open();
        desk.top_up(1, 140);
        assert_eq!(desk.post(opened(100, 0)).unwrap(), ["1120 > 1010 100 posted", "2000 > 1120 100 pending"]);
        assert_eq!(desk.available(1), 40);
        assert_eq!(desk.post(won()).unwrap(), ["1010 > 1120 100 posted", "2000 > 1120 100 void"]);
        assert_eq!(desk.available(1), 140);
        assert!(matches!(desk.post(lost(UsedPart::Lost)), Err(Error::NothingLeft { .. })));
    }

    #[test]
    fn a_dispute_of_what_was_all_used_freezes_nothing_and_is_lost() {
        let mut desk = Desk::open();
        assert!(matches!(desk.post(won()), Err(Error::NothingLeft { .. })));
        assert_eq!(desk.post(opened(100, 15)).unwrap(), ["1120 > 1010 100 posted", "5200 > 1010 15 posted"]);
        assert_eq!(desk.post(opened(100, 15)).unwrap(), [""; 0], "a repetition without a hold is answered too");
        assert_eq!(desk.post(lost(UsedPart::Lost)).unwrap(), ["5200 > 1120 100 posted"]);
    }

    #[test]
    fn amounts_that_are_none_are_refused() {
        let mut desk = Desk::open();
        for (amount, fee) in [(0, 0), (-1, 0), (1, -1), (i64::MAX, 1)] {
            assert!(matches!(desk.post(opened(amount, fee)), Err(Error::BadAmount { .. })), "{amount} {fee}");
        }
    }
}
