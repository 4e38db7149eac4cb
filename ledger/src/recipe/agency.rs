//! Jobs that a provider sells and the platform arranges: what the tenant pays is the provider's, less the platform's fee (net).
//!
//! [`JobSettlement`] is the other model: the platform sells (gross). Which one is right for a provider is told by its contract.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::job::{JobSettlement, contra};
use super::{Entry, OnHold, Recipe, Template, leg};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::error::Error;
use crate::hold::OpenHold;
use crate::leaf::Leaf;
use crate::transfer::{Draft, Movement};

pub(crate) static SETTLE_NET: Template = Template {
    number: 13,
    name: "job_settle_net",
    event: "A job ended whose seller is its provider: the tenant's credit pays the provider, and the platform keeps its fee.",
    legs: &[
        leg("2010, 2015, 2000", "4000 inference revenue", "void: every part of the hold"),
        leg(
            "2015 service credits, 2000 paid credits or 1130 overrun receivable",
            "2100 provider payable",
            "each provider's share",
        ),
        leg(
            "2010 promo credits, 2015 service credits, 2000 paid credits or 1130 overrun receivable",
            "4040 platform fee revenue",
            "the charge less the shares, and what gifts pay beyond that, by node",
        ),
        leg("4900 promo contra-revenue", "2019 promo contra", "what promo lots paid, by node"),
        leg(
            "5000 provider cost",
            "2100 provider payable",
            "shares that a gift should have paid, which the platform pays",
        ),
    ],
};

/// Ends a job whose seller is its provider. *Errors*: a settlement's; [`Error::BadAmount`] for shares above what their node is
/// charged for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetSettlement(pub JobSettlement);

/// What one leaf's provider gets, or what its platform keeps.
struct Due {
    leaf: Leaf,
    provider: Option<AccountKey>,
    amount: i64,
}

impl Recipe for NetSettlement {
    fn template(&self) -> &'static Template {
        &SETTLE_NET
    }

    fn link(&self) -> Uuid {
        self.0.link()
    }

    fn body(&self, out: &mut Canonical) {
        self.0.body(out);
    }

    fn owners(&self) -> Vec<Uuid> {
        self.0.owners()
    }

    fn on_hold(&self) -> OnHold {
        self.0.on_hold()
    }

    fn event_at(&self) -> Option<DateTime<Utc>> {
        self.0.event_at()
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let hold = books.open_hold(self.0.job_id.0)?;
        self.0.check(hold)?;
        let void = |part: &crate::hold::HoldPart| Draft {
            movement: Movement::Void { of: part.seq, held: part.amount },
            ..Draft::posted(part.debit, part.credit, part.amount, None)
        };
        let mut drafts: Vec<_> = hold.parts.iter().map(void).collect();
        drafts.extend(pay(self.money(hold), self.dues(hold)?));
        Ok(Entry { usage: self.0.usage_drafts(), ..Entry::of(drafts) })
    }
}

impl NetSettlement {
    /// What the charge takes from each lot in spending order, gifts last: a gift is no money that could be a provider's.
    fn money(&self, hold: &OpenHold) -> Vec<(AccountKey, i64)> {
        let mut due = self.0.charge.0;
        let mut money = Vec::with_capacity(2);
        for part in &hold.parts {
            let taken = due.min(part.amount.0);
            due -= taken;
            money.push((part.debit, taken));
        }
        let unit = hold.parts[0].debit.unit;
        money.push((AccountKey::owned(Code::OverrunReceivable, self.0.dimensions.tenant_id, unit), due));
        money.retain(|(_, amount)| *amount > 0);
        money.sort_by_key(|(lot, _)| lot.code == Code::PromoCredits);
        money
    }

    /// What becomes of the charge: the providers' shares first, then the platform's fees.
    fn dues(&self, hold: &OpenHold) -> Result<Vec<Due>, Error> {
        let unit = hold.parts[0].debit.unit;
        let mut left: Vec<_> = self.0.shares.iter().map(|share| (share, share.amount.0)).collect();
        let (mut shares, mut fees) = (Vec::new(), Vec::new());
        for (leaf, mut fee) in self.0.revenue() {
            let theirs = left.iter_mut().filter(|(share, _)| {
                (leaf.node_id, leaf.provider_id) == (Some(share.node_id), Some(share.provider_id))
            });
            for (share, amount) in theirs {
                let part = fee.min(*amount);
                (fee, *amount) = (fee - part, *amount - part);
                let provider = Some(AccountKey::owned(Code::ProviderPayable, share.provider_id, unit));
                shares.push(Due { leaf: leaf.clone(), provider, amount: part });
            }
            fees.push(Due { leaf, provider: None, amount: fee });
        }
        if let Some((share, _)) = left.iter().find(|(_, amount)| *amount > 0) {
            return Err(Error::BadAmount { what: "share", amount: share.amount });
        }
        shares.extend(fees);
        Ok(shares)
    }
}

/// Walks along the money and the dues side by side, which add up to the same: each overlap is paid by itself.
fn pay(money: Vec<(AccountKey, i64)>, dues: Vec<Due>) -> Vec<Draft> {
    let mut drafts = Vec::with_capacity(4);
    let mut money = money.into_iter();
    let mut lot = money.next();
    for mut due in dues {
        while let Some((debit, left)) = lot.as_mut().filter(|_| due.amount > 0) {
            let (debit, part) = (*debit, due.amount.min(*left));
            *left -= part;
            due.amount -= part;
            if *left == 0 {
                lot = money.next();
            }
            let (unit, amount) = (debit.unit, Nanos(part));
            let fee = AccountKey::platform(Code::PlatformFeeRevenue, unit);
            if debit.code != Code::PromoCredits {
                drafts.push(Draft::posted(debit, due.provider.unwrap_or(fee), amount, Some(due.leaf.clone())));
                continue;
            }
            drafts.push(Draft::posted(debit, fee, amount, Some(due.leaf.clone())));
            drafts.push(contra(unit, amount, due.leaf.clone()));
            if let Some(provider) = due.provider {
                let cost = AccountKey::platform(Code::ProviderCost, unit);
                drafts.push(Draft::posted(cost, provider, amount, Some(due.leaf.clone())));
            }
        }
    }
    drafts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::job::Overrun;
    use crate::recipe::tests::{Desk, settlement, share};

    #[test]
    fn the_tenants_credit_pays_the_provider_and_the_platform_keeps_its_fee() {
        let mut desk = Desk::open();
        desk.top_up(1, 100);
        desk.hold(1, 1, 60);
        let wanted = [
            "2000 > 4000 60 void",
            "2000 > 2100 15 posted",
            "2000 > 2100 5 posted",
            "2000 > 4040 16 posted",
            "2000 > 4040 6 posted",
        ];
        let net = || NetSettlement(settlement(1, 1, &[31, 11]));
        assert_eq!(desk.post(net()).unwrap(), wanted);
        assert_eq!(desk.post(net()).unwrap(), [""; 0]);
        assert!(matches!(desk.post(NetSettlement(settlement(1, 1, &[31, 12]))), Err(Error::IdReused { .. })));
        assert!(matches!(desk.post(settlement(1, 1, &[31, 11])), Err(Error::NoOpenHold { .. })), "settled once");
        assert_eq!(desk.available(1), 58);
    }

    #[test]
    fn gifts_pay_the_fee_and_the_platform_pays_what_they_should_have_paid_a_provider() {
        let mut desk = Desk::open();
        desk.grant(1, 1, 30, None);
        desk.top_up(1, 100);
        desk.hold(1, 1, 40);
        // Of 40, the gift covers 30, and the provider's 20 is covered by money for 10.
        let wanted = [
            "2010 > 4000 30 void",
            "2000 > 4000 10 void",
            "2000 > 2100 10 posted",
            "2010 > 4040 10 posted",
            "4900 > 2019 10 posted",
            "5000 > 2100 10 posted",
            "2010 > 4040 20 posted",
            "4900 > 2019 20 posted",
        ];
        assert_eq!(desk.post(NetSettlement(settlement(1, 1, &[40]))).unwrap(), wanted);
    }

    #[test]
    fn an_overrun_is_owed_and_a_share_above_the_charge_is_refused() {
        let mut desk = Desk::open();
        desk.top_up(1, 100);
        desk.hold(1, 1, 10);
        let refused = desk.post(NetSettlement(settlement(1, 1, &[14]))).unwrap_err();
        assert!(matches!(refused, Error::ChargeAboveHold { .. }));
        let mut greedy = settlement(1, 1, &[8]);
        greedy.shares = vec![share(0, 9)];
        assert!(matches!(desk.post(NetSettlement(greedy)), Err(Error::BadAmount { what: "share", amount: Nanos(9) })));
        let owed = JobSettlement { overrun: Overrun::Owe, ..settlement(1, 1, &[14]) };
        let wanted = ["2000 > 4000 10 void", "2000 > 2100 7 posted", "2000 > 4040 3 posted", "1130 > 4040 4 posted"];
        assert_eq!(desk.post(NetSettlement(owed)).unwrap(), wanted);
        let stranger = NetSettlement(settlement(2, 2, &[1]));
        assert!(matches!(desk.post(stranger), Err(Error::NoOpenHold { .. })));
    }
}
