//! A job's money: held before it runs, settled when it ends, voided when it fails.

use chrono::{DateTime, Utc};
use primitives::id::{JobId, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Entry, OnHold, Recipe, Template, UsageDraft, leg, positive};
use crate::account::AccountKey;
use crate::books::{Books, Purse};
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::economics::Bucket;
use crate::economics::tokens::Waste;
use crate::error::Error;
use crate::hold::OpenHold;
use crate::leaf::Leaf;
use crate::transfer::{Draft, Movement};

pub(crate) static HOLD: Template = Template {
    number: 10,
    name: "job_hold",
    event: "A job's worst case is set aside before it runs.",
    legs: &[leg(
        "2010 promo credits, 2015 service credits, then 2000 paid credits",
        "4000 inference revenue",
        "pending: the hold, lot by lot",
    )],
};

pub(crate) static SETTLE: Template = Template {
    number: 11,
    name: "job_settle",
    event: "A job ended: what it cost is taken, the rest of its hold is free, its providers are credited, its usage is kept.",
    legs: &[
        leg(
            "2010 promo credits, 2015 service credits, then 2000 paid credits",
            "4000 inference revenue",
            "capture: the charge, by node",
        ),
        leg("4900 promo contra-revenue", "2019 promo contra", "what promo lots paid, by node"),
        leg(
            "1130 overrun receivable",
            "4000 inference revenue",
            "what the charge exceeds the hold by, where that is allowed",
        ),
        leg("5000 provider cost", "2100 provider payable", "each provider's share"),
        leg("2010, 2015, 2000", "4000 inference revenue", "void: parts of the hold that the charge did not reach"),
    ],
};

pub(crate) static VOID: Template = Template {
    number: 12,
    name: "job_void",
    event: "A job failed, or the time of a hold is over: the whole hold is free.",
    legs: &[leg("2010, 2015, 2000", "4000 inference revenue or 4020 lease revenue", "void: every part of the hold")],
};

/// Sets the worst case of a job aside, before it runs.
///
/// Lots are spent by priority, the soonest to lapse before the others; lapsed and frozen ones pay for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
/// A capture releases what is left of its part. Revenue is posted for each node that worked, as the usage says, so a part
/// that pays for several nodes is captured for the first and posted for the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSettlement {
    /// The job.
    pub job_id: JobId,
    /// What the tenant pays: the sum of the usage's amounts; at most the hold, unless `overrun` says otherwise.
    pub charge: Nanos,
    /// What becomes of a charge above the hold.
    pub overrun: Overrun,
    /// What providers earn.
    pub shares: Vec<ProviderShare>,
    /// What was used, and what each line costs.
    pub usage: Vec<UsageFact>,
    /// Where the revenue belongs.
    pub dimensions: Dimensions,
    /// When the job ended.
    pub event_at: DateTime<Utc>,
}

/// What becomes of the part of a charge that the hold does not cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overrun {
    /// The settlement is refused.
    #[default]
    Refuse,
    /// The tenant owes it.
    Owe,
}

/// What one provider earns for one segment of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Why they are not effective; none when they are.
    pub waste: Option<Waste>,
    /// How long the deployment worked for them. *Units*: milliseconds.
    pub compute_ms: i32,
}

/// Where a job's revenue belongs in token economics; nodes and providers are in the usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimensions {
    /// Who pays.
    pub tenant_id: TenantId,
    /// The model that served.
    pub model: String,
    /// What was sold, such as `inference`.
    pub product_line: String,
}

/// Ends a job that failed, or whose time is over: the whole hold is free again. Any other hold is voided the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Void {
    /// What the hold is for.
    pub link: Uuid,
}

impl Recipe for JobHold {
    fn template(&self) -> &'static Template {
        &HOLD
    }

    fn link(&self) -> Uuid {
        self.job_id.0
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.text(self.currency.as_str());
        out.i64(self.amount.0);
        out.instant(self.expires_at);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn on_hold(&self) -> OnHold {
        OnHold::Places(self.job_id.0)
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let credit = AccountKey::platform(Code::InferenceRevenue, self.currency);
        let purses = books.purses(self.tenant_id.0, self.currency, now);
        let parts = spend(self.tenant_id, positive("hold", self.amount)?, &purses)?;
        let drafts = parts.into_iter().map(|(debit, amount)| Draft {
            movement: Movement::Pending,
            debit,
            credit,
            amount,
            leaf: None,
        });
        Ok(Entry { expires_at: Some(self.expires_at), ..Entry::of(drafts.collect()) })
    }
}

/// Takes an amount from purses in their order. *Errors*: [`Error::InsufficientFunds`] with what is there.
pub(crate) fn spend(tenant_id: TenantId, amount: Nanos, purses: &[Purse]) -> Result<Vec<(AccountKey, Nanos)>, Error> {
    let mut missing = amount.0;
    let mut parts = Vec::with_capacity(1);
    for purse in purses {
        let part = missing.min(purse.available.0);
        if part > 0 {
            missing -= part;
            parts.push((purse.lot, Nanos(part)));
        }
    }
    if missing > 0 {
        return Err(Error::InsufficientFunds { tenant_id, needed: amount, available: Nanos(amount.0 - missing) });
    }
    Ok(parts)
}

impl Recipe for JobSettlement {
    fn template(&self) -> &'static Template {
        &SETTLE
    }

    fn link(&self) -> Uuid {
        self.job_id.0
    }

    fn body(&self, out: &mut Canonical) {
        out.i64(self.charge.0);
        out.bytes(&[u8::from(self.overrun == Overrun::Owe)]);
        ProviderShare::write(&self.shares, out);
        out.count(self.usage.len());
        for fact in &self.usage {
            out.i16(fact.segment);
            out.uuid(fact.node_id.0);
            out.uuid(fact.provider_id.0);
            out.text(&fact.meter);
            out.option(fact.waste.map(Waste::as_str), Canonical::text);
            out.i64(fact.quantity);
            out.uuid(fact.price_id.0);
            out.i64(fact.amount.0);
            out.i32(fact.compute_ms);
        }
        out.uuid(self.dimensions.tenant_id.0);
        out.text(&self.dimensions.model);
        out.text(&self.dimensions.product_line);
        out.instant(self.event_at);
    }

    fn owners(&self) -> Vec<Uuid> {
        let providers = self.shares.iter().map(|share| share.provider_id.0);
        std::iter::once(self.dimensions.tenant_id.0).chain(providers).collect()
    }

    fn on_hold(&self) -> OnHold {
        OnHold::Resolves(self.job_id.0)
    }

    fn event_at(&self) -> Option<DateTime<Utc>> {
        Some(self.event_at)
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let hold = books.open_hold(self.job_id.0)?;
        self.check(hold)?;
        let mut drafts = self.captures(hold);
        drafts.extend(self.earnings(hold.parts[0].debit.unit));
        Ok(Entry { usage: self.usage_drafts(), ..Entry::of(drafts) })
    }
}

impl JobSettlement {
    pub(super) fn check(&self, hold: &OpenHold) -> Result<(), Error> {
        let (charge, held) = (self.charge, hold.amount());
        if hold.owner() != Some(self.dimensions.tenant_id.0) {
            return Err(Error::StrangersHold { link: hold.link, tenant_id: self.dimensions.tenant_id });
        }
        self.check_work()?;
        if charge > held && self.overrun == Overrun::Refuse {
            return Err(Error::ChargeAboveHold { link: hold.link, held, charge });
        }
        Ok(())
    }

    /// Refuses amounts that are none, and usage that does not explain the charge.
    pub(super) fn check_work(&self) -> Result<(), Error> {
        let (job_id, charge) = (self.job_id, self.charge);
        if charge < Nanos::ZERO {
            return Err(Error::BadAmount { what: "charge", amount: charge });
        }
        if let Some(share) = self.shares.iter().find(|share| share.amount < Nanos::ZERO) {
            return Err(Error::BadAmount { what: "share", amount: share.amount });
        }
        let explained: i128 = self.usage.iter().map(|fact| i128::from(fact.amount.0)).sum();
        let mut lines: Vec<_> = self.usage.iter().map(|fact| (fact.segment, &fact.meter, fact.waste)).collect();
        lines.sort();
        let once = lines.windows(2).all(|pair| pair[0] != pair[1]);
        if explained != i128::from(charge.0) || !self.usage.iter().all(UsageFact::sensible) || !once {
            return Err(Error::UsageMismatch { job_id, charge });
        }
        Ok(())
    }

    /// What providers earn, as a cost in the leaf of their work.
    pub(super) fn earnings(&self, unit: Currency) -> Vec<Draft> {
        let leaf = |share: &ProviderShare| self.leaf(Bucket::Productive, share.node_id, share.provider_id);
        self.shares.iter().filter_map(|share| share.draft(unit, leaf(share))).collect()
    }

    /// Walks along the hold's parts and the leaves' amounts side by side: each overlap is one transfer. What no part covers is owed.
    fn captures(&self, hold: &OpenHold) -> Vec<Draft> {
        let mut drafts = Vec::with_capacity(4);
        let mut leaves = self.revenue().into_iter();
        let mut leaf = leaves.next();
        for part in &hold.parts {
            let (of, held) = (part.seq, part.amount);
            let mut movement = Movement::Capture { of, held };
            let mut left = held.0;
            while let Some((leaf_, due)) = leaf.as_mut().filter(|_| left > 0) {
                let amount = left.min(*due);
                left -= amount;
                *due -= amount;
                let (debit, credit, amount, of_leaf) = (part.debit, part.credit, Nanos(amount), Some(leaf_.clone()));
                drafts.push(Draft { movement, debit, credit, amount, leaf: of_leaf });
                if debit.code == Code::PromoCredits {
                    drafts.push(contra(debit.unit, amount, leaf_.clone()));
                }
                movement = Movement::Posted;
                if *due == 0 {
                    leaf = leaves.next();
                }
            }
            if left == held.0 {
                let movement = Movement::Void { of, held };
                drafts.push(Draft { movement, debit: part.debit, credit: part.credit, amount: held, leaf: None });
            }
        }
        let (tenant_id, credit) = (self.dimensions.tenant_id, hold.parts[0].credit);
        for (leaf, due) in leaf.into_iter().chain(leaves) {
            let owed = AccountKey::owned(Code::OverrunReceivable, tenant_id, credit.unit);
            drafts.push(Draft::posted(owed, credit, Nanos(due), Some(leaf)));
        }
        drafts
    }

    /// The charge by leaf, in the order in which nodes worked; nothing that is zero.
    pub(super) fn revenue(&self) -> Vec<(Leaf, i64)> {
        let mut usage: Vec<_> = self.usage.iter().filter(|fact| fact.amount > Nanos::ZERO).collect();
        usage.sort_by_key(|fact| fact.segment);
        let mut leaves: Vec<(Leaf, i64)> = Vec::with_capacity(1);
        for fact in usage {
            let leaf = self.leaf(fact.bucket(), fact.node_id, fact.provider_id);
            match leaves.iter_mut().find(|(known, _)| *known == leaf) {
                Some((_, due)) => *due += fact.amount.0,
                None => leaves.push((leaf, fact.amount.0)),
            }
        }
        leaves
    }

    /// The usage in canonical order: by segment, then by meter.
    pub(super) fn usage_drafts(&self) -> Vec<UsageDraft> {
        let mut usage: Vec<_> = self.usage.iter().collect();
        usage.sort_by_key(|fact| (fact.segment, &fact.meter, fact.waste));
        let draft = |fact: &UsageFact| UsageDraft {
            leaf: Leaf {
                meter: Some(fact.meter.clone()),
                waste: fact.waste,
                price_id: Some(fact.price_id),
                ..self.leaf(fact.bucket(), fact.node_id, fact.provider_id)
            },
            segment: fact.segment,
            quantity: fact.quantity,
            amount: fact.amount,
            compute_ms: fact.compute_ms,
        };
        usage.into_iter().map(draft).collect()
    }

    pub(super) fn leaf(&self, bucket: Bucket, node_id: NodeId, provider_id: ProviderId) -> Leaf {
        let Dimensions { tenant_id, model, product_line } = &self.dimensions;
        Leaf {
            tenant_id: Some(*tenant_id),
            model: Some(model.clone()),
            node_id: Some(node_id),
            provider_id: Some(provider_id),
            ..Leaf::new(bucket, product_line)
        }
    }
}

impl ProviderShare {
    pub(super) fn write(shares: &[Self], out: &mut Canonical) {
        out.count(shares.len());
        for share in shares {
            out.uuid(share.provider_id.0);
            out.uuid(share.node_id.0);
            out.i16(share.segment);
            out.i64(share.amount.0);
        }
    }

    /// Credits the provider; none for a share of nothing.
    pub(super) fn draft(&self, unit: Currency, leaf: Leaf) -> Option<Draft> {
        let payable = AccountKey::owned(Code::ProviderPayable, self.provider_id, unit);
        let cost = AccountKey::platform(Code::ProviderCost, unit);
        (self.amount > Nanos::ZERO).then(|| Draft::posted(cost, payable, self.amount, Some(leaf)))
    }
}

impl UsageFact {
    /// Billed although they came late: revenue at risk. What is wasted otherwise is not billed.
    pub(super) fn bucket(&self) -> Bucket {
        if self.waste.is_none() { Bucket::Productive } else { Bucket::NonEffective }
    }

    pub(super) fn billed(&self) -> bool {
        matches!(self.waste, None | Some(Waste::SloMiss))
    }

    fn sensible(&self) -> bool {
        self.quantity >= 0
            && self.amount >= Nanos::ZERO
            && self.segment >= 0
            && self.compute_ms >= 0
            && (self.billed() || self.amount == Nanos::ZERO)
    }
}

impl Recipe for Void {
    fn template(&self) -> &'static Template {
        &VOID
    }

    fn link(&self) -> Uuid {
        self.link
    }

    fn body(&self, _: &mut Canonical) {}

    fn owners(&self) -> Vec<Uuid> {
        Vec::new()
    }

    fn on_hold(&self) -> OnHold {
        OnHold::Resolves(self.link)
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let parts = &books.open_hold(self.link)?.parts;
        let void = |part: &crate::hold::HoldPart| Draft {
            movement: Movement::Void { of: part.seq, held: part.amount },
            debit: part.debit,
            credit: part.credit,
            amount: part.amount,
            leaf: None,
        };
        Ok(Entry::of(parts.iter().map(void).collect()))
    }
}

/// What a gift paid is no revenue: taken off in the same leaf.
pub(crate) fn contra(unit: Currency, amount: Nanos, leaf: Leaf) -> Draft {
    let off = AccountKey::platform(Code::PromoContraRevenue, unit);
    Draft::posted(off, AccountKey::platform(Code::PromoContra, unit), amount, Some(leaf))
}
