//! A job's money: held before it runs, settled when it ends, voided when it fails.

use chrono::{DateTime, Utc};
use primitives::id::{JobId, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};

use crate::account::{AccountKey, Code};
use crate::error::Error;
use crate::hold::{HoldPart, OpenHold};
use crate::row::Canonical;
use crate::transfer::{Bucket, Draft, Leaf, Movement};

/// The recipe of [`JobHold`].
pub const HOLD: &str = "job_hold";
/// The recipe of [`JobSettlement`].
pub const SETTLE: &str = "job_settle";
/// The recipe of [`Writer::void`](crate::Writer::void).
pub const VOID: &str = "job_void";

/// Sets the worst case of a job aside, before it runs.
///
/// | pending Dr | pending Cr | amount |
/// |---|---|---|
/// | 2010 promo credits, then 2000 paid credits | 4000 inference revenue | the hold, lot by lot |
///
/// Promo lots go first, the soonest to lapse before the others; lapsed lots pay for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobHold {
    /// The job.
    pub job_id: JobId,
    /// Who pays.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
    /// The most that the job may cost; above zero, a nano-unit for a job that is free.
    pub amount: Nanos,
    /// When the sweeper may void it.
    pub expires_at: DateTime<Utc>,
}

/// Ends a job: what it cost is taken, the rest of the hold is free again.
///
/// | Dr | Cr | amount |
/// |---|---|---|
/// | capture 2010, then 2000 | 4000 inference revenue | the charge, in the hold's order, by node |
/// | 4900 promo contra-revenue | 2019 promo contra | what promo lots paid, by node |
/// | 5000 provider cost | 2100 provider payable | each share |
/// | void 2010, 2000 | 4000 | parts of the hold that the charge did not reach |
///
/// A capture releases what is left of its part. Revenue is posted for each node that worked, as the usage says, so a part
/// that pays for several nodes is captured for the first and posted for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSettlement {
    /// The job.
    pub job_id: JobId,
    /// What the tenant pays: the sum of the usage's amounts, at most the hold.
    pub charge: Nanos,
    /// What providers earn.
    pub shares: Vec<ProviderShare>,
    /// What was used, and what each line costs.
    pub usage: Vec<UsageFact>,
    /// Where the revenue belongs.
    pub dimensions: Dimensions,
    /// When the job ended.
    pub event_at: DateTime<Utc>,
}

/// What one provider earns for one segment of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderShare {
    /// Who.
    pub provider_id: ProviderId,
    /// With which node.
    pub node_id: NodeId,
    /// Which segment.
    pub segment: i16,
    /// How much; zero posts nothing.
    pub amount: Nanos,
}

/// Tokens that one node of a job made or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageFact {
    /// The lease's epoch: 1 for the first node, then one more each time another went on.
    pub segment: i16,
    /// Which node.
    pub node_id: NodeId,
    /// Whose it is.
    pub provider_id: ProviderId,
    /// What was metered, such as `input`; once a segment.
    pub meter: String,
    /// How many. *Units*: the meter's, tokens for now.
    pub quantity: i64,
    /// The price they are charged at.
    pub price_id: PriceId,
    /// What they are charged.
    pub amount: Nanos,
}

/// Where a job's revenue belongs in token economics; nodes and providers are in the usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// Who pays.
    pub tenant_id: TenantId,
    /// The model that served.
    pub model: String,
    /// What was sold, such as `inference`.
    pub product_line: String,
}

/// Ends a job that failed: the whole hold is free again.
///
/// | Dr | Cr | amount |
/// |---|---|---|
/// | void 2010, 2000 | 4000 inference revenue | each part of the hold |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobVoid {
    pub job_id: JobId,
}

/// A credit lot that may pay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purse {
    pub lot: AccountKey,
    pub available: Nanos,
}

impl JobHold {
    /// The hold's transfers from lots in spending order.
    pub(crate) fn drafts(&self, purses: &[Purse]) -> Result<Vec<Draft>, Error> {
        if self.amount <= Nanos::ZERO {
            return Err(Error::BadAmount { what: "hold", amount: self.amount });
        }
        let mut missing = self.amount.0;
        let mut drafts = Vec::with_capacity(1);
        for purse in purses {
            let amount = missing.min(purse.available.0);
            if amount > 0 {
                missing -= amount;
                drafts.push(revenue(Movement::Pending, purse.lot, Nanos(amount), None));
            }
        }
        if missing > 0 {
            let available = Nanos(self.amount.0 - missing);
            return Err(Error::InsufficientFunds { tenant_id: self.tenant_id, needed: self.amount, available });
        }
        Ok(drafts)
    }

    pub(crate) fn write(&self, body: &mut Canonical) {
        body.uuid(self.tenant_id.0);
        body.text(self.currency.as_str());
        body.i64(self.amount.0);
        body.instant(self.expires_at);
    }
}

impl JobSettlement {
    /// The settlement's transfers against the job's open hold.
    pub(crate) fn drafts(&self, hold: &OpenHold) -> Result<Vec<Draft>, Error> {
        self.check(hold)?;
        let mut drafts = self.captures(hold);
        for share in self.shares.iter().filter(|share| share.amount > Nanos::ZERO) {
            drafts.push(Draft {
                movement: Movement::Posted,
                debit: AccountKey::platform(Code::ProviderCost, hold.currency),
                credit: AccountKey::owned(Code::ProviderPayable, share.provider_id, hold.currency),
                amount: share.amount,
                bucket: None,
                leaf: Some(self.leaf(share.node_id, share.provider_id)),
            });
        }
        Ok(drafts)
    }

    fn check(&self, hold: &OpenHold) -> Result<(), Error> {
        let (job_id, charge, held) = (self.job_id, self.charge, hold.amount());
        if hold.tenant_id != self.dimensions.tenant_id {
            return Err(Error::StrangersHold { job_id, tenant_id: self.dimensions.tenant_id });
        }
        if charge < Nanos::ZERO {
            return Err(Error::BadAmount { what: "charge", amount: charge });
        }
        if charge > held {
            return Err(Error::ChargeAboveHold { job_id, held, charge });
        }
        if let Some(share) = self.shares.iter().find(|share| share.amount < Nanos::ZERO) {
            return Err(Error::BadAmount { what: "share", amount: share.amount });
        }
        let explained: i128 = self.usage.iter().map(|fact| i128::from(fact.amount.0)).sum();
        let sensible =
            self.usage.iter().all(|fact| fact.quantity >= 0 && fact.amount >= Nanos::ZERO && fact.segment >= 0);
        let mut lines: Vec<_> = self.usage.iter().map(|fact| (fact.segment, &fact.meter)).collect();
        lines.sort();
        let once = lines.windows(2).all(|pair| pair[0] != pair[1]);
        if explained != i128::from(charge.0) || !sensible || !once {
            return Err(Error::UsageMismatch { job_id, charge });
        }
        Ok(())
    }

    /// Walks along the hold's parts and the nodes' amounts side by side: each overlap is one transfer.
    fn captures(&self, hold: &OpenHold) -> Vec<Draft> {
        let mut drafts = Vec::with_capacity(4);
        let mut nodes = self.by_node().into_iter();
        let mut node = nodes.next();
        for (part, &lot) in hold.parts.iter().zip(&hold.lots) {
            let (of, held) = (part.transfer_id, part.amount);
            let mut movement = Movement::Capture { of, held };
            let mut left = held.0;
            while let Some((leaf, due)) = node.as_mut().filter(|_| left > 0) {
                let amount = left.min(*due);
                left -= amount;
                *due -= amount;
                drafts.push(revenue(movement, lot, Nanos(amount), Some(leaf.clone())));
                if lot.code == Code::PromoCredits {
                    drafts.push(contra(lot, Nanos(amount), leaf.clone()));
                }
                movement = Movement::Posted;
                if *due == 0 {
                    node = nodes.next();
                }
            }
            if left == held.0 {
                drafts.push(revenue(Movement::Void { of, held }, lot, held, None));
            }
        }
        debug_assert!(node.is_none(), "the hold covers the charge, and the usage adds up to it");
        drafts
    }

    /// What each node is charged for, in the order in which they worked; nothing that is zero.
    fn by_node(&self) -> Vec<(Leaf, i64)> {
        let mut usage: Vec<_> = self.usage.iter().filter(|fact| fact.amount > Nanos::ZERO).collect();
        usage.sort_by_key(|fact| fact.segment);
        let mut nodes: Vec<(Leaf, i64)> = Vec::with_capacity(1);
        for fact in usage {
            let leaf = self.leaf(fact.node_id, fact.provider_id);
            match nodes.iter_mut().find(|(known, _)| *known == leaf) {
                Some((_, due)) => *due += fact.amount.0,
                None => nodes.push((leaf, fact.amount.0)),
            }
        }
        nodes
    }

    fn leaf(&self, node_id: NodeId, provider_id: ProviderId) -> Leaf {
        let Dimensions { tenant_id, model, product_line } = self.dimensions.clone();
        Leaf { tenant_id, model, node_id, provider_id, product_line }
    }

    pub(crate) fn write(&self, body: &mut Canonical) {
        body.i64(self.charge.0);
        body.count(self.shares.len());
        for share in &self.shares {
            body.uuid(share.provider_id.0);
            body.uuid(share.node_id.0);
            body.i16(share.segment);
            body.i64(share.amount.0);
        }
        body.count(self.usage.len());
        for fact in &self.usage {
            body.i16(fact.segment);
            body.uuid(fact.node_id.0);
            body.uuid(fact.provider_id.0);
            body.text(&fact.meter);
            body.i64(fact.quantity);
            body.uuid(fact.price_id.0);
            body.i64(fact.amount.0);
        }
        body.uuid(self.dimensions.tenant_id.0);
        body.text(&self.dimensions.model);
        body.text(&self.dimensions.product_line);
        body.instant(self.event_at);
    }
}

impl JobVoid {
    /// The void's transfers against the job's open hold.
    pub(crate) fn drafts(&self, hold: &OpenHold) -> Vec<Draft> {
        let void = |(part, lot): (&HoldPart, &AccountKey)| {
            let (of, held) = (part.transfer_id, part.amount);
            revenue(Movement::Void { of, held }, *lot, held, None)
        };
        hold.parts.iter().zip(&hold.lots).map(void).collect()
    }
}

/// From a tenant's lot to revenue; what moves money is productive and has its leaf.
fn revenue(movement: Movement, lot: AccountKey, amount: Nanos, leaf: Option<Leaf>) -> Draft {
    let bucket = leaf.as_ref().map(|_| Bucket::Productive);
    let credit = AccountKey::platform(Code::InferenceRevenue, lot.unit);
    Draft { movement, debit: lot, credit, amount, bucket, leaf }
}

/// What a gift paid is no revenue: taken off in the same leaf.
fn contra(lot: AccountKey, amount: Nanos, leaf: Leaf) -> Draft {
    Draft {
        movement: Movement::Posted,
        debit: AccountKey::platform(Code::PromoContraRevenue, lot.unit),
        credit: AccountKey::platform(Code::PromoContra, lot.unit),
        amount,
        bucket: Some(Bucket::Productive),
        leaf: Some(leaf),
    }
}
