//! Token packs: tokens are bought ahead and drawn as jobs use them. Money and tokens move in one group, each in its own unit.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::expiry::{Lapse, lapsed};
use super::job::JobSettlement;
use super::purchase::Purchase;
use super::{Entry, Recipe, Template, leg, positive};
use crate::account::{AccountKey, Priority, Terms};
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::rounding::share;
use crate::transfer::Draft;
use crate::unit;

pub(crate) static PACK_BUY: Template = Template {
    number: 50,
    name: "pack_buy",
    event: "A tenant bought tokens ahead.",
    legs: &[
        leg("5100 processor fees", "2020 token-pack obligation", "the fee, when paid by card"),
        leg("1010 processor clearing", "2020 token-pack obligation", "the price less the fee, when paid by card"),
        leg(
            "1100 accounts receivable or 2000 paid credits",
            "2020 token-pack obligation",
            "the price, when invoiced or paid from credit",
        ),
        leg("1010 processor clearing or 1100 accounts receivable or 2000 paid credits", "2200 tax payable", "the tax"),
        leg("8000 pack tokens issued", "8010 pack tokens held", "the tokens, in TOK"),
    ],
};

pub(crate) static PACK_DRAW: Template = Template {
    number: 51,
    name: "pack_draw",
    event: "A job used tokens of a pack: what they were bought for is earned, by node.",
    legs: &[
        leg(
            "2020 token-pack obligation",
            "4000 inference revenue",
            "price × drawn ÷ bought, halves to even; the last draw takes the rest",
        ),
        leg("8010 pack tokens held", "8020 pack tokens burned", "the tokens drawn, in TOK"),
        leg("5000 provider cost", "2100 provider payable", "each provider's share"),
    ],
};

pub(crate) static PACK_EXPIRY: Template = Template {
    number: 52,
    name: "pack_expiry",
    event: "A pack lapsed: its rest is revenue, or kept for its owner where the law says so.",
    legs: &[
        leg("2020 token-pack obligation", "4050 breakage revenue or 2900 unclaimed property", "the rest of the price"),
        leg("8010 pack tokens held", "8030 pack tokens expired", "the rest of the tokens, in TOK"),
    ],
};

/// Sells tokens ahead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackBuy {
    /// The pack, once.
    pub pack_id: Uuid,
    /// How many tokens.
    pub tokens: i64,
    /// When what is left lapses.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who buys it, and for how much.
    pub purchase: Purchase,
}

/// Draws what a job used from a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackDraw {
    /// The pack.
    pub pack_id: Uuid,
    /// In what it was paid.
    pub currency: Currency,
    /// How many tokens; what a job's tokens weigh in a pack is told by the pack's terms.
    pub tokens: i64,
    /// The job. It is paid by the pack, so its charge and its lines' amounts are zero.
    pub job: JobSettlement,
}

/// Ends a pack whose time has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackExpiry {
    /// The pack.
    pub pack_id: Uuid,
    /// Whose.
    pub tenant_id: TenantId,
    /// In what it was paid.
    pub currency: Currency,
    /// What becomes of what was paid.
    pub lapse: Lapse,
}

fn obligation(tenant_id: TenantId, pack_id: Uuid, currency: Currency) -> AccountKey {
    AccountKey::lot(Code::PackObligation, tenant_id, pack_id, currency)
}

fn held(tenant_id: TenantId, pack_id: Uuid) -> AccountKey {
    AccountKey::lot(Code::PackHeld, tenant_id, pack_id, unit::tokens())
}

impl Recipe for PackBuy {
    fn template(&self) -> &'static Template {
        &PACK_BUY
    }

    fn link(&self) -> Uuid {
        self.pack_id
    }

    fn body(&self, out: &mut Canonical) {
        out.i64(self.tokens);
        out.option(self.expires_at, Canonical::instant);
        self.purchase.write(out);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.purchase.tenant_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let Purchase { tenant_id, currency, .. } = self.purchase;
        let (money, tokens) = (obligation(tenant_id, self.pack_id, currency), held(tenant_id, self.pack_id));
        let mut drafts = self.purchase.drafts(money, books, now)?;
        let issued = AccountKey::platform(Code::PackIssued, unit::tokens());
        drafts.push(Draft::posted(issued, tokens, positive("pack", Nanos(self.tokens))?, None));
        let terms = Terms { priority: Priority::PAID, expires_at: self.expires_at };
        Ok(Entry { terms: vec![(money, terms), (tokens, terms)], ..Entry::of(drafts) })
    }
}

impl Recipe for PackDraw {
    fn template(&self) -> &'static Template {
        &PACK_DRAW
    }

    fn link(&self) -> Uuid {
        self.job.job_id.0
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.pack_id);
        out.text(self.currency.as_str());
        out.i64(self.tokens);
        self.job.body(out);
    }

    fn owners(&self) -> Vec<Uuid> {
        self.job.owners()
    }

    fn event_at(&self) -> Option<DateTime<Utc>> {
        Some(self.job.event_at)
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        self.job.check_work()?;
        let refused = |reason| Error::BadEvent { recipe: PACK_DRAW.name, reason };
        if self.job.charge != Nanos::ZERO || self.job.usage.iter().any(|fact| fact.amount != Nanos::ZERO) {
            return Err(refused("its job is paid by the pack and has no charge of its own"));
        }
        let drawn = positive("draw", Nanos(self.tokens))?;
        let tenant_id = self.job.dimensions.tenant_id;
        let (money, tokens) = (obligation(tenant_id, self.pack_id, self.currency), held(tenant_id, self.pack_id));
        let missing = || Error::NothingLeft { code: tokens.code, owner: tokens.owner };
        let account = books.account(&tokens).ok_or_else(missing)?;
        if account.lapsed(now) {
            return Err(missing());
        }
        let left = books.rest(&tokens)?;
        if drawn > left {
            return Err(Error::Overdraft { account: account.id, available: left });
        }
        let worth = worth(books, (&money, &tokens), drawn, left);
        let revenue = AccountKey::platform(Code::InferenceRevenue, self.currency);
        let mut drafts = Vec::with_capacity(4);
        let leaves = self.leaves();
        let whole: i128 = leaves.iter().map(|(_, quantity)| i128::from(*quantity)).sum();
        if whole == 0 {
            return Err(refused("its job used nothing"));
        }
        // Rounded where each leaf's part ends, so that all parts are the whole.
        let (mut before, mut part) = (0, Nanos::ZERO);
        for (leaf, quantity) in leaves {
            before += i128::from(quantity);
            let end = share(worth, before, whole).expect("a part of what an account holds");
            if end > part {
                drafts.push(Draft::posted(money, revenue, Nanos(end.0 - part.0), Some(leaf)));
                part = end;
            }
        }
        drafts.push(Draft::posted(tokens, AccountKey::platform(Code::PackBurned, tokens.unit), drawn, None));
        drafts.extend(self.job.earnings(self.currency));
        Ok(Entry { usage: self.job.usage_drafts(), ..Entry::of(drafts) })
    }
}

/// What drawn tokens were bought for: the last ones for all that is left, and none for more than that.
fn worth(books: &Books, (money, tokens): (&AccountKey, &AccountKey), drawn: Nanos, left: Nanos) -> Nanos {
    let rest = books.rest(money).unwrap_or(Nanos::ZERO);
    let bought = |key| books.account(key).map_or(0, |account: &crate::account::Account| account.credits_posted);
    if drawn == left {
        return rest;
    }
    let price = share(Nanos(bought(money)), drawn.0, bought(tokens));
    price.map_or(rest, |price| price.min(rest))
}

impl PackDraw {
    /// What was used and is billed, by leaf, in the order in which nodes worked.
    fn leaves(&self) -> Vec<(Leaf, i64)> {
        let mut usage: Vec<_> = self.job.usage.iter().filter(|fact| fact.billed() && fact.quantity > 0).collect();
        usage.sort_by_key(|fact| fact.segment);
        let mut leaves: Vec<(Leaf, i64)> = Vec::with_capacity(1);
        for fact in usage {
            let leaf = self.job.leaf(fact.bucket(), fact.node_id, fact.provider_id);
            match leaves.iter_mut().find(|(known, _)| *known == leaf) {
                Some((_, quantity)) => *quantity = quantity.saturating_add(fact.quantity),
                None => leaves.push((leaf, fact.quantity)),
            }
        }
        leaves
    }
}

impl Recipe for PackExpiry {
    fn template(&self) -> &'static Template {
        &PACK_EXPIRY
    }

    fn link(&self) -> Uuid {
        self.pack_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        self.lapse.write(out);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let money = obligation(self.tenant_id, self.pack_id, self.currency);
        let tokens = held(self.tenant_id, self.pack_id);
        let rest = lapsed(books, &tokens, now)?;
        let expired = AccountKey::platform(Code::PackExpired, tokens.unit);
        let mut drafts = Vec::with_capacity(2);
        if let Ok(amount) = books.rest(&money) {
            drafts.push(self.lapse.draft(money, amount, self.tenant_id, "pack"));
        }
        drafts.push(Draft::posted(tokens, expired, rest, None));
        Ok(Entry::of(drafts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::purchase::PaidBy;
    use crate::recipe::tests::{Desk, at, settlement, tenant, usage, usd, uuid};

    fn buy(net: i64, tokens: i64) -> PackBuy {
        let (tenant_id, currency, paid_by) = (tenant(1), usd(), PaidBy::Card { fee: Nanos(0) });
        let purchase = Purchase { tenant_id, currency, net: Nanos(net), tax: Nanos(0), paid_by };
        PackBuy { pack_id: uuid(1, 1), tokens, expires_at: Some(at(60)), purchase }
    }

    /// A job on one node that draws tokens.
    fn draw(job: u8, tokens: i64) -> PackDraw {
        PackDraw { pack_id: uuid(1, 1), currency: usd(), tokens, job: settlement(job, 1, &[0]) }
    }

    fn expiry() -> PackExpiry {
        PackExpiry { pack_id: uuid(1, 1), tenant_id: tenant(1), currency: usd(), lapse: Lapse::Breakage }
    }

    #[test]
    fn a_pack_is_bought_in_two_units_and_drawn_to_the_last_of_both() {
        let mut desk = Desk::open();
        assert_eq!(desk.post(buy(100, 30)).unwrap(), ["1010 > 2020 100 posted", "8000 > 8010 30 posted"]);
        assert_eq!(desk.post(buy(100, 30)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(buy(100, 31)), Err(Error::IdReused { .. })));
        // 100 × 7 ÷ 30 is 23.3.
        assert_eq!(desk.post(draw(1, 7)).unwrap(), ["2020 > 4000 23 posted", "8010 > 8020 7 posted"]);
        assert_eq!(desk.post(draw(1, 7)).unwrap(), [""; 0]);
        assert!(matches!(desk.post(draw(1, 8)), Err(Error::IdReused { .. })));
        assert!(matches!(desk.post(draw(2, 24)), Err(Error::Overdraft { available: Nanos(23), .. })));
        assert_eq!(desk.post(draw(2, 23)).unwrap(), ["2020 > 4000 77 posted", "8010 > 8020 23 posted"]);
        assert!(matches!(desk.post(draw(3, 1)), Err(Error::NothingLeft { code: Code::PackHeld, .. })));
    }

    #[test]
    fn draws_that_are_all_rounded_up_never_take_more_than_was_paid() {
        let mut desk = Desk::open();
        desk.post(buy(5, 9)).unwrap();
        let money: Vec<_> = (1..=9).map(|job| desk.post(draw(job, 1)).unwrap().len()).collect();
        // 5 ÷ 9 rounds up to 1 five times; then only tokens are left.
        assert_eq!(money, [2, 2, 2, 2, 2, 1, 1, 1, 1]);
        assert_eq!((desk.posted(Code::PackObligation), desk.posted(Code::PackHeld)), (0, 0));
        let mut desk = Desk::open();
        desk.post(buy(i64::MAX, i64::MAX)).unwrap();
        let wanted = [format!("2020 > 4000 {} posted", i64::MAX - 1), format!("8010 > 8020 {} posted", i64::MAX - 1)];
        assert_eq!(desk.post(draw(1, i64::MAX - 1)).unwrap(), wanted);
    }

    #[test]
    fn revenue_is_told_apart_by_node_as_the_usage_says() {
        let mut desk = Desk::open();
        desk.post(buy(100, 10)).unwrap();
        let mut pack = draw(1, 5);
        pack.job.usage = vec![usage(1, 2, 0), usage(2, 1, 0)];
        pack.job.shares = vec![crate::recipe::tests::share(2, 9)];
        let wanted = ["2020 > 4000 33 posted", "2020 > 4000 17 posted", "8010 > 8020 5 posted", "5000 > 2100 9 posted"];
        assert_eq!(desk.post(pack).unwrap(), wanted);
    }

    #[test]
    fn what_is_left_of_a_pack_lapses_at_its_time() {
        let mut desk = Desk::open();
        assert!(matches!(desk.post(expiry()), Err(Error::NothingLeft { .. })));
        desk.post(buy(100, 30)).unwrap();
        desk.post(draw(1, 7)).unwrap();
        assert!(matches!(desk.post(expiry()), Err(Error::NotLapsed { .. })));
        desk.now = at(60);
        assert!(matches!(desk.post(draw(2, 1)), Err(Error::NothingLeft { .. })), "it has lapsed");
        assert_eq!(desk.post(expiry()).unwrap(), ["2020 > 4050 77 posted", "8010 > 8030 23 posted"]);
        assert_eq!(desk.last_leaves(2)[0], "BREAKAGE pack");
        assert_eq!(desk.post(expiry()).unwrap(), [""; 0]);
    }

    #[test]
    fn packs_and_draws_that_cannot_be_are_refused() {
        let mut desk = Desk::open();
        for (net, tokens) in [(0, 1), (-1, 1), (1, 0), (1, -1), (1, i64::MIN)] {
            assert!(matches!(desk.post(buy(net, tokens)), Err(Error::BadAmount { .. })), "{net} {tokens}");
        }
        assert!(matches!(desk.post(draw(1, 1)), Err(Error::NothingLeft { .. })), "nothing was bought");
        desk.post(buy(100, 30)).unwrap();
        for tokens in [0, -1] {
            assert!(matches!(desk.post(draw(1, tokens)), Err(Error::BadAmount { what: "draw", .. })));
        }
        let charged = PackDraw { job: settlement(1, 1, &[5]), ..draw(1, 1) };
        assert!(matches!(desk.post(charged), Err(Error::BadEvent { .. })));
        let mut idle = draw(1, 1);
        idle.job.usage.clear();
        assert!(matches!(desk.post(idle), Err(Error::BadEvent { reason: "its job used nothing", .. })));
        let stranger = PackDraw { job: settlement(1, 2, &[0]), ..draw(1, 1) };
        assert!(matches!(desk.post(stranger), Err(Error::NothingLeft { .. })), "another tenant's pack");
    }
}
