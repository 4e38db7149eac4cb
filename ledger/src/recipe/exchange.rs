//! Money changes its currency: each currency's leg goes through its own clearing account, and both are one group.

use chrono::{DateTime, Utc};
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Entry, Recipe, Template, leg, positive};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::{Code, Side};
use crate::error::Error;
use crate::period::Month;
use crate::rounding::share;
use crate::transfer::Draft;

pub(crate) static CONVERSION: Template = Template {
    number: 100,
    name: "conversion",
    event: "Money changed its currency at a rate: what is ours, what a tenant paid or what a provider is owed.",
    legs: &[
        leg("9900 exchange clearing", "1000 bank or 1010 processor clearing", "what is changed, of what is ours"),
        leg(
            "1000 bank or 1010 processor clearing",
            "9900 exchange clearing",
            "amount × rate, halves to even, of what is ours",
        ),
        leg("2000 paid credits or 2100 provider payable", "9900 exchange clearing", "what is changed, of what is owed"),
        leg(
            "9900 exchange clearing",
            "2000 paid credits or 2100 provider payable",
            "amount × rate, halves to even, of what is owed",
        ),
    ],
};

pub(crate) static EXCHANGE_DIFFERENCE: Template = Template {
    number: 101,
    name: "exchange_difference",
    event: "What is open on a clearing account is worth more or less than it was: gain or loss.",
    legs: &[
        leg("7000 exchange difference", "9900 exchange clearing", "a loss"),
        leg("9900 exchange clearing", "7000 exchange difference", "a gain"),
    ],
};

/// How many of a rate's units are one.
const PICO: i128 = 1_000_000_000_000;

/// Changes money's currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// The conversion, once.
    pub conversion_id: Uuid,
    /// What is changed: bank, processor clearing, paid credits or provider payable.
    pub code: Code,
    /// The tenant or provider, where it is owed to one.
    pub owner: Option<Uuid>,
    /// The currency that it is in.
    pub from: Currency,
    /// The currency that it will be in.
    pub to: Currency,
    /// How much.
    pub amount: Nanos,
    /// The rate's name, for those who look it up.
    pub rate_id: Uuid,
    /// The rate. *Units*: 10⁻¹² of `to` for one of `from`.
    pub rate_picos: i64,
}

/// Books what a change of rates made of the open clearing accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeDifference {
    /// The difference, once.
    pub difference_id: Uuid,
    /// In what.
    pub currency: Currency,
    /// Which way.
    pub outcome: Outcome,
    /// How much.
    pub amount: Nanos,
    /// The month that it belongs to, soft-closed or not; none for the open one.
    pub month: Option<Month>,
}

/// Which way a difference goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// More is there than was.
    Gain,
    /// Less is there than was.
    Loss,
}

impl Recipe for Conversion {
    fn template(&self) -> &'static Template {
        &CONVERSION
    }

    fn link(&self) -> Uuid {
        self.conversion_id
    }

    fn body(&self, out: &mut Canonical) {
        out.i16(self.code.number());
        out.option(self.owner, Canonical::uuid);
        out.text(self.from.as_str());
        out.text(self.to.as_str());
        out.i64(self.amount.0);
        out.uuid(self.rate_id);
        out.i64(self.rate_picos);
    }

    fn owners(&self) -> Vec<Uuid> {
        self.owner.into_iter().collect()
    }

    fn entry(&self, _: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let refused = |reason| Error::BadEvent { recipe: CONVERSION.name, reason };
        let owned = match self.code {
            Code::Bank | Code::ProcessorClearing => false,
            Code::PaidCredits | Code::ProviderPayable => true,
            _ => return Err(refused("such an account does not change its currency")),
        };
        if owned != self.owner.is_some() {
            return Err(refused("an account of ours has no owner, and one of others has"));
        }
        if self.from == self.to {
            return Err(refused("a currency does not change into itself"));
        }
        let (amount, rate) = (positive("conversion", self.amount)?, positive("rate", Nanos(self.rate_picos))?);
        let into = share(amount, rate.0, PICO);
        let into = into.filter(|into| *into > Nanos::ZERO).ok_or(Error::BadAmount { what: "conversion", amount })?;
        let account = |unit| AccountKey { code: self.code, owner: self.owner, lot: None, unit };
        let clearing = |unit| AccountKey::platform(Code::ExchangeClearing, unit);
        let (from, to) = (self.from, self.to);
        let drafts = match self.code.side() {
            Side::Debit => vec![
                Draft::posted(clearing(from), account(from), amount, None),
                Draft::posted(account(to), clearing(to), into, None),
            ],
            Side::Credit => vec![
                Draft::posted(account(from), clearing(from), amount, None),
                Draft::posted(clearing(to), account(to), into, None),
            ],
        };
        Ok(Entry { reference: Some(self.rate_id.to_string()), ..Entry::of(drafts) })
    }
}

impl Recipe for ExchangeDifference {
    fn template(&self) -> &'static Template {
        &EXCHANGE_DIFFERENCE
    }

    fn link(&self) -> Uuid {
        self.difference_id
    }

    fn body(&self, out: &mut Canonical) {
        out.text(self.currency.as_str());
        out.bytes(&[u8::from(self.outcome == Outcome::Loss)]);
        out.i64(self.amount.0);
        out.option(self.month.map(Month::number), Canonical::i16);
    }

    fn owners(&self) -> Vec<Uuid> {
        Vec::new()
    }

    fn entry(&self, _: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let amount = positive("exchange difference", self.amount)?;
        let platform = |code| AccountKey::platform(code, self.currency);
        let (difference, clearing) = (platform(Code::ExchangeDifference), platform(Code::ExchangeClearing));
        let draft = match self.outcome {
            Outcome::Gain => Draft::posted(clearing, difference, amount, None),
            Outcome::Loss => Draft::posted(difference, clearing, amount, None),
        };
        Ok(Entry { month: self.month, ..Entry::of(vec![draft]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::tests::{Desk, tenant, usd, uuid};

    fn eur() -> Currency {
        "EUR".parse().unwrap()
    }

    fn conversion(code: Code, owner: Option<Uuid>, amount: i64, rate_picos: i64) -> Conversion {
        let (conversion_id, rate_id, amount) = (uuid(1, 1), uuid(2, 1), Nanos(amount));
        Conversion { conversion_id, code, owner, from: usd(), to: eur(), amount, rate_id, rate_picos }
    }

    #[test]
    fn both_legs_go_through_clearing_and_each_is_in_one_currency() {
        let mut desk = Desk::open();
        let bank = || conversion(Code::Bank, None, 100, 925_000_000_000);
        // 92.5 is rounded to even.
        assert_eq!(desk.post(bank()).unwrap(), ["9900 > 1000 100 posted", "1000 > 9900 92 posted"]);
        assert_eq!(desk.post(bank()).unwrap(), [""; 0]);
        let other = Conversion { rate_id: uuid(2, 2), ..bank() };
        assert!(matches!(desk.post(other), Err(Error::IdReused { .. })));
        let mut desk = Desk::open();
        desk.top_up(1, 100);
        let credit = |amount| conversion(Code::PaidCredits, Some(tenant(1).0), amount, 935_000_000_000);
        assert!(matches!(desk.post(credit(101)), Err(Error::Overdraft { available: Nanos(100), .. })));
        assert_eq!(desk.post(credit(100)).unwrap(), ["2000 > 9900 100 posted", "9900 > 2000 94 posted"]);
        assert_eq!(desk.available(1), 0);
    }

    #[test]
    fn conversions_that_cannot_be_are_refused() {
        let mut desk = Desk::open();
        let one = 1_000_000_000_000;
        for (amount, rate) in
            [(0, one), (-1, one), (1, 0), (1, -1), (1, one / 2), (i64::MAX, one + 1), (i64::MAX, i64::MAX)]
        {
            assert!(
                matches!(desk.post(conversion(Code::Bank, None, amount, rate)), Err(Error::BadAmount { .. })),
                "{amount} {rate}"
            );
        }
        for (code, owner) in [
            (Code::InferenceRevenue, None),
            (Code::PromoCredits, Some(tenant(1).0)),
            (Code::Bank, Some(tenant(1).0)),
            (Code::PaidCredits, None),
        ] {
            assert!(matches!(desk.post(conversion(code, owner, 1, one)), Err(Error::BadEvent { .. })), "{code}");
        }
        let same = Conversion { to: usd(), ..conversion(Code::Bank, None, 1, one) };
        assert!(matches!(desk.post(same), Err(Error::BadEvent { .. })));
        let unknown = Conversion { to: "ZZZ".parse().unwrap(), ..conversion(Code::Bank, None, 1, one) };
        assert!(matches!(desk.post(unknown), Err(Error::UnknownUnit { .. })));
        assert_eq!(desk.post(conversion(Code::Bank, None, i64::MAX, one)).unwrap().len(), 2);
    }

    #[test]
    fn a_difference_is_a_gain_or_a_loss() {
        let mut desk = Desk::open();
        let difference = |number, outcome, amount| ExchangeDifference {
            difference_id: uuid(1, number),
            currency: usd(),
            outcome,
            amount: Nanos(amount),
            month: Some("2026-10".parse().unwrap()),
        };
        assert_eq!(desk.post(difference(1, Outcome::Gain, 7)).unwrap(), ["9900 > 7000 7 posted"]);
        assert_eq!(desk.post(difference(2, Outcome::Loss, 9)).unwrap(), ["7000 > 9900 9 posted"]);
        assert_eq!(desk.post(difference(2, Outcome::Loss, 9)).unwrap(), [""; 0]);
        for amount in [0, -1] {
            assert!(matches!(desk.post(difference(3, Outcome::Gain, amount)), Err(Error::BadAmount { .. })));
        }
    }
}
