//! What providers earn: reserved and released, paid out in whole cents, taken back.

use chrono::{DateTime, Utc};
use primitives::id::ProviderId;
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::expiry::lapsed;
use super::{Entry, Recipe, Template, leg, pair, positive};
use crate::account::{AccountKey, Priority, Terms};
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::rounding::share;
use crate::transfer::Draft;
use crate::unit;

pub(crate) static EARNING_RESERVE: Template = Template {
    number: 90,
    name: "earning_reserve",
    event: "A provider's earning is kept back for a time, in case it has to be given back.",
    legs: &[leg("2100 provider payable", "2110 provider payable on hold", "the reserve")],
};

pub(crate) static EARNING_RELEASE: Template = Template {
    number: 91,
    name: "earning_release",
    event: "The time of a reserve is over: it can be paid out.",
    legs: &[leg("2110 provider payable on hold", "2100 provider payable", "the whole reserve")],
};

pub(crate) static PROVIDER_PAYOUT: Template = Template {
    number: 92,
    name: "provider_payout",
    event: "A provider is paid what it earned, in whole cents, less what it was paid too much and the tax withheld.",
    legs: &[
        leg("2100 provider payable", "1200 provider advances", "what it was paid too much before"),
        leg("2100 provider payable", "1020 payout in transit", "the payout less the tax withheld"),
        leg("2100 provider payable", "2210 withholding payable", "the tax withheld"),
    ],
};

pub(crate) static PROVIDER_PAYOUT_PAID: Template = Template {
    number: 93,
    name: "provider_payout_paid",
    event: "A provider's payout has left.",
    legs: &[leg("1020 payout in transit", "1010 processor clearing or 1000 bank", "the payout less the tax withheld")],
};

pub(crate) static CLAWBACK: Template = Template {
    number: 94,
    name: "clawback",
    event: "A provider gives back what it should not have earned: from what it is owed, else as an advance.",
    legs: &[
        leg("2100 provider payable", "5000 provider cost", "as far as it is owed anything"),
        leg("1200 provider advances", "5000 provider cost", "the rest"),
    ],
};

pub(crate) static EARNING_FORFEIT: Template = Template {
    number: 95,
    name: "earning_forfeit",
    event: "A reserve is given back: what earned it was not what it was sold as.",
    legs: &[leg("2110 provider payable on hold", "5000 provider cost", "the whole reserve")],
};

/// Everything. *Units*: millionths.
const WHOLE_PPM: i32 = 1_000_000;

/// Keeps an earning back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarningReserve {
    /// The reserve, once.
    pub reserve_id: Uuid,
    /// Whose earning.
    pub provider_id: ProviderId,
    /// How much; at most what it is owed.
    pub amount: Nanos,
    /// In what.
    pub currency: Currency,
    /// Until when.
    pub release_at: DateTime<Utc>,
}

/// Releases a reserve whose time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarningRelease {
    /// The reserve.
    pub reserve_id: Uuid,
    /// Whose earning.
    pub provider_id: ProviderId,
    /// In what.
    pub currency: Currency,
}

/// Takes a reserve from a provider, whether its time is over or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarningForfeit {
    /// The reserve.
    pub reserve_id: Uuid,
    /// Whose earning it was.
    pub provider_id: ProviderId,
    /// In what.
    pub currency: Currency,
    /// Where the cost was posted.
    pub leaf: Leaf,
}

/// Pays a provider all that it is owed; what is less than a cent stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderPayout {
    /// The payout, once.
    pub payout_id: Uuid,
    /// To whom.
    pub provider_id: ProviderId,
    /// In what.
    pub currency: Currency,
    /// The tax to withhold, rounded to cents. *Units*: millionths of the payout.
    pub withheld_ppm: i32,
}

/// Notes that a provider's payout has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderPayoutPaid {
    /// The payout.
    pub payout_id: Uuid,
    /// To whom.
    pub provider_id: ProviderId,
    /// In what.
    pub currency: Currency,
    /// Where the money came from.
    pub paid_from: PaidFrom,
}

/// Where our money leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaidFrom {
    /// What is at the card processor.
    Processor,
    /// The bank.
    Bank,
}

/// Takes back what a provider should not have earned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clawback {
    /// The clawback, once.
    pub clawback_id: Uuid,
    /// From whom.
    pub provider_id: ProviderId,
    /// How much.
    pub amount: Nanos,
    /// In what.
    pub currency: Currency,
    /// Where the cost was posted.
    pub leaf: Leaf,
}

fn payable(provider_id: ProviderId, unit: Currency) -> AccountKey {
    AccountKey::owned(Code::ProviderPayable, provider_id, unit)
}

fn reserve(provider_id: ProviderId, reserve_id: Uuid, unit: Currency) -> AccountKey {
    AccountKey::lot(Code::ProviderReserve, provider_id, reserve_id, unit)
}

/// Each payout is on its way by itself, so that what is stuck is seen.
fn transit(provider_id: ProviderId, payout_id: Uuid, unit: Currency) -> AccountKey {
    AccountKey::lot(Code::PayoutInTransit, provider_id, payout_id, unit)
}

impl Recipe for EarningReserve {
    fn template(&self) -> &'static Template {
        &EARNING_RESERVE
    }

    fn link(&self) -> Uuid {
        self.reserve_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.provider_id.0);
        out.i64(self.amount.0);
        out.text(self.currency.as_str());
        out.instant(self.release_at);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.provider_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let (owed, amount) = (payable(self.provider_id, self.currency), positive("reserve", self.amount)?);
        let account = books.account(&owed).ok_or(Error::NothingLeft { code: owed.code, owner: owed.owner })?;
        if account.spendable() < amount {
            return Err(Error::Overdraft { account: account.id, available: account.spendable() });
        }
        let reserve = reserve(self.provider_id, self.reserve_id, self.currency);
        let terms = Terms { priority: Priority::PAID, expires_at: Some(self.release_at) };
        Ok(Entry { terms: vec![(reserve, terms)], ..Entry::of(vec![Draft::posted(owed, reserve, amount, None)]) })
    }
}

impl Recipe for EarningRelease {
    fn template(&self) -> &'static Template {
        &EARNING_RELEASE
    }

    fn link(&self) -> Uuid {
        self.reserve_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.provider_id.0);
        out.text(self.currency.as_str());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.provider_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let reserve = reserve(self.provider_id, self.reserve_id, self.currency);
        let amount = lapsed(books, &reserve, now)?;
        Ok(Entry::of(vec![Draft::posted(reserve, payable(self.provider_id, self.currency), amount, None)]))
    }
}

impl Recipe for EarningForfeit {
    fn template(&self) -> &'static Template {
        &EARNING_FORFEIT
    }

    fn link(&self) -> Uuid {
        self.reserve_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.provider_id.0);
        out.text(self.currency.as_str());
        out.leaf(&self.leaf);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.provider_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        if self.leaf.provider_id != Some(self.provider_id) {
            return Err(Error::BadEvent { recipe: EARNING_FORFEIT.name, reason: "the cost is another provider's" });
        }
        if self.leaf.model.is_none() || self.leaf.node_id.is_none() {
            return Err(Error::BadEvent {
                recipe: EARNING_FORFEIT.name,
                reason: "no node's and model's cost is named",
            });
        }
        let amount = books.rest(&reserve(self.provider_id, self.reserve_id, self.currency))?;
        let cost = AccountKey::platform(Code::ProviderCost, self.currency);
        let reserve = reserve(self.provider_id, self.reserve_id, self.currency);
        Ok(Entry::of(vec![Draft::posted(reserve, cost, amount, Some(self.leaf.clone()))]))
    }
}

impl Recipe for ProviderPayout {
    fn template(&self) -> &'static Template {
        &PROVIDER_PAYOUT
    }

    fn link(&self) -> Uuid {
        self.payout_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.provider_id.0);
        out.text(self.currency.as_str());
        out.i32(self.withheld_ppm);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.provider_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        if !(0..=WHOLE_PPM).contains(&self.withheld_ppm) {
            return Err(Error::BadEvent {
                recipe: PROVIDER_PAYOUT.name,
                reason: "more is withheld than is paid, or less than nothing",
            });
        }
        let owed = payable(self.provider_id, self.currency);
        let advances = AccountKey::owned(Code::ProviderAdvances, self.provider_id, self.currency);
        let there = books.spendable(&owed);
        let back = books.rest(&advances).unwrap_or(Nanos::ZERO).min(there);
        let cent = unit::cent(self.currency);
        let cents = (there.0 - back.0) / cent;
        if cents == 0 && back == Nanos::ZERO {
            return Err(Error::NothingLeft { code: owed.code, owner: owed.owner });
        }
        let withheld = share(Nanos(cents), self.withheld_ppm, WHOLE_PPM).expect("a part of what is paid");
        let withheld = Nanos(withheld.0 * cent);
        let transit = transit(self.provider_id, self.payout_id, self.currency);
        let tax = AccountKey::owned(Code::WithholdingPayable, self.provider_id, self.currency);
        let paid = Nanos(cents * cent);
        let credits = [(advances, back), (transit, Nanos(paid.0 - withheld.0)), (tax, withheld)];
        Ok(Entry::of(pair([(owed, Nanos(back.0 + paid.0))], credits, None)))
    }
}

impl Recipe for ProviderPayoutPaid {
    fn template(&self) -> &'static Template {
        &PROVIDER_PAYOUT_PAID
    }

    fn link(&self) -> Uuid {
        self.payout_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.provider_id.0);
        out.text(self.currency.as_str());
        out.bytes(&[u8::from(self.paid_from == PaidFrom::Bank)]);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.provider_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let transit = transit(self.provider_id, self.payout_id, self.currency);
        // On its way out, so it stands on the other side of the account.
        let out = books.account(&transit).map_or(0, |account| account.credits_posted - account.debits_posted);
        if out <= 0 {
            return Err(Error::NothingLeft { code: transit.code, owner: transit.owner });
        }
        let from = match self.paid_from {
            PaidFrom::Processor => Code::ProcessorClearing,
            PaidFrom::Bank => Code::Bank,
        };
        Ok(Entry::of(vec![Draft::posted(transit, AccountKey::platform(from, self.currency), Nanos(out), None)]))
    }
}

impl Recipe for Clawback {
    fn template(&self) -> &'static Template {
        &CLAWBACK
    }

    fn link(&self) -> Uuid {
        self.clawback_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.provider_id.0);
        out.i64(self.amount.0);
        out.text(self.currency.as_str());
        out.leaf(&self.leaf);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.provider_id.0]
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        if self.leaf.provider_id != Some(self.provider_id) {
            return Err(Error::BadEvent { recipe: CLAWBACK.name, reason: "the cost is another provider's" });
        }
        let (amount, owed) = (positive("clawback", self.amount)?, payable(self.provider_id, self.currency));
        let there = books.spendable(&owed).min(amount);
        let advances = AccountKey::owned(Code::ProviderAdvances, self.provider_id, self.currency);
        let cost = AccountKey::platform(Code::ProviderCost, self.currency);
        let debits = [(owed, there), (advances, Nanos(amount.0 - there.0))];
        Ok(Entry::of(pair(debits, [(cost, amount)], Some(&self.leaf))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::economics::Bucket;
    use crate::recipe::postpaid::PostpaidUsage;
    use crate::recipe::tests::{Desk, at, provider, settlement, usd, uuid};

    const CENT: i64 = 10_000_000;

    /// A provider that earned something.
    fn earned(amount: i64) -> Desk {
        let mut desk = Desk::open();
        earn(&mut desk, 1, amount);
        desk
    }

    fn earn(desk: &mut Desk, job: u8, amount: i64) {
        let mut job = settlement(job, 1, &[1]);
        job.shares = vec![crate::recipe::tests::share(1, amount)];
        desk.post(PostpaidUsage { invoice_id: uuid(9, 1), currency: usd(), job }).unwrap();
    }

    fn payout(number: u8, withheld_ppm: i32) -> ProviderPayout {
        ProviderPayout { payout_id: uuid(1, number), provider_id: provider(1), currency: usd(), withheld_ppm }
    }

    fn paid(number: u8, paid_from: PaidFrom) -> ProviderPayoutPaid {
        ProviderPayoutPaid { payout_id: uuid(1, number), provider_id: provider(1), currency: usd(), paid_from }
    }

    fn clawback(number: u8, amount: i64) -> Clawback {
        let leaf = Leaf { provider_id: Some(provider(1)), ..Leaf::new(Bucket::Productive, "inference") };
        let (clawback_id, provider_id, currency) = (uuid(2, number), provider(1), usd());
        Clawback { clawback_id, provider_id, amount: Nanos(amount), currency, leaf }
    }

    #[test]
    fn a_reserve_is_kept_until_its_time_and_released_whole() {
        let mut desk = earned(100);
        let reserve = |amount| EarningReserve {
            reserve_id: uuid(3, 1),
            provider_id: provider(1),
            amount: Nanos(amount),
            currency: usd(),
            release_at: at(60),
        };
        let release = || EarningRelease { reserve_id: uuid(3, 1), provider_id: provider(1), currency: usd() };
        for amount in [0, -1] {
            assert!(matches!(desk.post(reserve(amount)), Err(Error::BadAmount { what: "reserve", .. })));
        }
        for amount in [101, i64::MAX] {
            assert!(matches!(desk.post(reserve(amount)), Err(Error::Overdraft { available: Nanos(100), .. })));
        }
        assert!(matches!(desk.post(release()), Err(Error::NothingLeft { code: Code::ProviderReserve, .. })));
        assert_eq!(desk.post(reserve(30)).unwrap(), ["2100 > 2110 30 posted"]);
        assert_eq!(desk.post(reserve(30)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(release()), Err(Error::NotLapsed { .. })));
        desk.now = at(60);
        assert_eq!(desk.post(release()).unwrap(), ["2110 > 2100 30 posted"]);
        assert_eq!(desk.post(release()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_forfeited_reserve_lessens_the_cost_at_any_time_and_is_not_released() {
        let mut desk = earned(100);
        let (reserve_id, provider_id, currency) = (uuid(3, 1), provider(1), usd());
        let reserve = EarningReserve { reserve_id, provider_id, amount: Nanos(30), currency, release_at: at(60) };
        let forfeit = |n| {
            let (model, node_id) = (Some("spark-1".to_owned()), Some(crate::recipe::tests::node(1)));
            let leaf =
                Leaf { provider_id: Some(provider(n)), model, node_id, ..Leaf::new(Bucket::Productive, "inference") };
            EarningForfeit { reserve_id, provider_id, currency, leaf }
        };
        let nobodys = || EarningForfeit { leaf: Leaf { model: None, ..forfeit(1).leaf }, ..forfeit(1) };
        assert!(matches!(desk.post(forfeit(1)), Err(Error::NothingLeft { .. })));
        desk.post(reserve).unwrap();
        for bad in [forfeit(2), nobodys()] {
            assert!(matches!(desk.post(bad), Err(Error::BadEvent { .. })));
        }
        assert_eq!(desk.post(forfeit(1)).unwrap(), ["2110 > 5000 30 posted"]);
        assert_eq!(desk.last_leaves(1), ["PRODUCTIVE inference"]);
        assert_eq!(desk.post(forfeit(1)).unwrap(), [""; 0]);
        desk.now = at(60);
        let release = EarningRelease { reserve_id, provider_id, currency };
        assert!(matches!(desk.post(release), Err(Error::NothingLeft { .. })));
    }

    #[test]
    fn a_payout_is_whole_cents_less_what_is_withheld_and_the_rest_stays() {
        let mut desk = earned(300 * CENT + 7);
        let wanted = ["2100 > 1020 2280000000 posted", "2100 > 2210 720000000 posted"];
        assert_eq!(desk.post(payout(1, 240_000)).unwrap(), wanted);
        assert_eq!(desk.post(payout(1, 240_000)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(payout(1, 0)), Err(Error::IdReused { .. })));
        assert_eq!(desk.posted(Code::ProviderPayable), 7);
        assert!(matches!(desk.post(payout(2, 0)), Err(Error::NothingLeft { code: Code::ProviderPayable, .. })));
        for ppm in [-1, 1_000_001] {
            assert!(matches!(desk.post(payout(2, ppm)), Err(Error::BadEvent { .. })));
        }
        assert!(matches!(desk.post(paid(2, PaidFrom::Bank)), Err(Error::NothingLeft { .. })));
        assert_eq!(desk.post(paid(1, PaidFrom::Processor)).unwrap(), ["1020 > 1010 2280000000 posted"]);
        assert_eq!(desk.post(paid(1, PaidFrom::Processor)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(paid(1, PaidFrom::Bank)), Err(Error::IdReused { .. })));
        assert_eq!(desk.posted(Code::PayoutInTransit), 0);
    }

    #[test]
    fn a_clawback_takes_what_is_owed_then_an_advance_that_the_next_payout_is_less() {
        let mut desk = earned(2 * CENT);
        for amount in [0, -1] {
            assert!(matches!(desk.post(clawback(1, amount)), Err(Error::BadAmount { what: "clawback", .. })));
        }
        let stranger = Clawback { provider_id: provider(2), ..clawback(1, 1) };
        assert!(matches!(desk.post(stranger), Err(Error::BadEvent { .. })));
        let wanted = ["2100 > 5000 20000000 posted", "1200 > 5000 10000000 posted"];
        assert_eq!(desk.post(clawback(1, 3 * CENT)).unwrap(), wanted);
        assert_eq!(desk.last_leaves(2), ["PRODUCTIVE inference"; 2]);
        assert_eq!(desk.post(clawback(1, 3 * CENT)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(payout(1, 0)), Err(Error::NothingLeft { .. })));
        earn(&mut desk, 2, 5 * CENT);
        assert_eq!(desk.post(payout(1, 0)).unwrap(), ["2100 > 1200 10000000 posted", "2100 > 1020 40000000 posted"]);
        assert_eq!(desk.post(paid(1, PaidFrom::Bank)).unwrap(), ["1020 > 1000 40000000 posted"]);
        assert_eq!(desk.posted(Code::ProviderAdvances), 0);
    }

    #[test]
    fn the_largest_amounts_are_paid_and_taken_back() {
        let mut desk = earned(i64::MAX);
        let cents = i64::MAX / CENT * CENT;
        assert_eq!(desk.post(payout(1, 0)).unwrap(), [format!("2100 > 1020 {cents} posted")]);
        let mut desk = Desk::open();
        assert_eq!(desk.post(clawback(1, i64::MAX)).unwrap(), [format!("1200 > 5000 {} posted", i64::MAX)]);
        assert!(matches!(desk.post(clawback(2, 1)), Err(Error::OutOfRange { .. })));
    }
}
