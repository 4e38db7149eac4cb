//! The card processor's payouts to our bank.

use chrono::{DateTime, Utc};
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Entry, Recipe, Template, leg, positive};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::error::Error;
use crate::transfer::{Draft, named_link};

pub(crate) static PROCESSOR_PAYOUT: Template = Template {
    number: 26,
    name: "processor_payout",
    event: "The card processor sent money to the bank; it is on its way, under the payout's name.",
    legs: &[leg("1020 payout in transit", "1010 processor clearing", "what was sent")],
};

pub(crate) static PROCESSOR_PAYOUT_ARRIVED: Template = Template {
    number: 27,
    name: "processor_payout_arrived",
    event: "What the card processor sent came in at the bank.",
    legs: &[leg("1000 bank", "1020 payout in transit", "what was sent")],
};

/// Notes that the card processor has sent money to the bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorPayout {
    /// The processor's name for it; once.
    pub payout: String,
    /// How much.
    pub amount: Nanos,
    /// In what.
    pub currency: Currency,
}

/// Notes that it came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorPayoutArrival {
    /// The processor's name for it.
    pub payout: String,
    /// In what.
    pub currency: Currency,
}

fn link(payout: &str) -> Uuid {
    named_link(&[b"payout", payout.as_bytes()])
}

/// Each payout is on its way by itself, so that what is stuck is seen.
fn transit(payout: &str, unit: Currency) -> AccountKey {
    AccountKey { lot: Some(link(payout)), ..AccountKey::platform(Code::PayoutInTransit, unit) }
}

impl Recipe for ProcessorPayout {
    fn template(&self) -> &'static Template {
        &PROCESSOR_PAYOUT
    }

    fn link(&self) -> Uuid {
        link(&self.payout)
    }

    fn body(&self, out: &mut Canonical) {
        out.i64(self.amount.0);
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        Vec::new()
    }

    fn entry(&self, _: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let processor = AccountKey::platform(Code::ProcessorClearing, self.currency);
        let transit = transit(&self.payout, self.currency);
        let draft = Draft::posted(transit, processor, positive("payout", self.amount)?, None);
        Ok(Entry { reference: Some(self.payout.clone()), ..Entry::of(vec![draft]) })
    }
}

impl Recipe for ProcessorPayoutArrival {
    fn template(&self) -> &'static Template {
        &PROCESSOR_PAYOUT_ARRIVED
    }

    fn link(&self) -> Uuid {
        link(&self.payout)
    }

    fn body(&self, out: &mut Canonical) {
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        Vec::new()
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let transit = transit(&self.payout, self.currency);
        let bank = AccountKey::platform(Code::Bank, self.currency);
        let draft = Draft::posted(bank, transit, books.rest(&transit)?, None);
        Ok(Entry { reference: Some(self.payout.clone()), ..Entry::of(vec![draft]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::tests::{Desk, usd};

    #[test]
    fn a_payout_is_on_its_way_until_it_arrives_and_arrives_whole_once() {
        let mut desk = Desk::open();
        let sent = |amount| ProcessorPayout { payout: "po_1".into(), amount: Nanos(amount), currency: usd() };
        let arrival = || ProcessorPayoutArrival { payout: "po_1".into(), currency: usd() };
        assert!(matches!(desk.post(arrival()), Err(Error::NothingLeft { code: Code::PayoutInTransit, owner: None })));
        for amount in [0, -1] {
            assert!(matches!(desk.post(sent(amount)), Err(Error::BadAmount { what: "payout", .. })));
        }
        assert_eq!(desk.post(sent(70)).unwrap(), ["1020 > 1010 70 posted"]);
        assert_eq!(desk.post(sent(70)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(sent(71)), Err(Error::IdReused { .. })));
        assert_eq!(desk.post(arrival()).unwrap(), ["1000 > 1020 70 posted"]);
        assert_eq!(desk.post(arrival()).unwrap(), [""; 0]);
        assert_eq!(desk.posted(Code::PayoutInTransit), 0);
    }
}
