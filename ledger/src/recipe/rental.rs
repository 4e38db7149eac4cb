//! Rentals, which people see as compute leases: capacity sold by time.
//!
//! Either held from credit and metered period by period, or paid ahead and earned by time.
//!
//! A rental's hold is one hold at a time: each metered period captures what it cost and holds the rest again under its own link, so
//! that what is held is what is still to come, and a period can neither be left out nor metered twice.

use chrono::{DateTime, Utc};
use primitives::id::{NodeId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::contract::{Contract, just_before};
use super::job::{ProviderShare, contra, spend};
use super::purchase::PaidBy;
use super::{Entry, OnHold, Recipe, Template, leg, not_negative, positive};
use crate::account::AccountKey;
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::economics::Bucket;
use crate::error::Error;
use crate::hold::OpenHold;
use crate::leaf::Leaf;
use crate::transfer::{Draft, Movement, named_link};

/// The accounts that pay for a rental.
const CREDIT: &str = "2010 promo credits, 2015 service credits, then 2000 paid credits";

pub(crate) static RENTAL_HOLD: Template = Template {
    number: 60,
    name: "rental_hold",
    event: "A rental begins: what its hours will cost is set aside.",
    legs: &[leg(CREDIT, "4020 lease revenue", "pending: the hold, lot by lot")],
};

pub(crate) static RENTAL_METER: Template = Template {
    number: 61,
    name: "rental_meter",
    event: "A period of a rental is over: what it cost is taken, the rest is held again, its provider is credited.",
    legs: &[
        leg(CREDIT, "4020 lease revenue", "capture: what the period cost, lot by lot"),
        leg(CREDIT, "4020 lease revenue", "void: parts of the hold that it did not reach"),
        leg(CREDIT, "4020 lease revenue", "pending: the rest of the hold, lot by lot"),
        leg("4900 promo contra-revenue", "2019 promo contra", "what promo lots paid"),
        leg("5000 provider cost", "2100 provider payable", "each provider's share"),
    ],
};

pub(crate) static RENTAL_END: Template = Template {
    number: 62,
    name: "rental_end",
    event: "A rental ended early: the rest of its hold is free.",
    legs: &[leg(CREDIT, "4020 lease revenue", "void: the rest of the hold, lot by lot")],
};

pub(crate) static RENTAL_BUY: Template = Template {
    number: 63,
    name: "rental_buy",
    event: "A tenant rented capacity for a time and pays ahead.",
    legs: &[
        leg("5100 processor fees", "2040 deferred compute lease", "the fee, when paid by card"),
        leg("1010 processor clearing", "2040 deferred compute lease", "the price less the fee, when paid by card"),
        leg(
            "1100 accounts receivable or 2000 paid credits",
            "2040 deferred compute lease",
            "the price, when invoiced or paid from credit",
        ),
        leg("1010 processor clearing or 1100 accounts receivable or 2000 paid credits", "2200 tax payable", "the tax"),
    ],
};

pub(crate) static RENTAL_RECOGNITION: Template = Template {
    number: 64,
    name: "rental_recognition",
    event: "Time of a rental that was paid ahead is over: it is earned.",
    legs: &[
        leg("2040 deferred compute lease", "4020 lease revenue", "what the time was worth, in a straight line"),
        leg("5000 provider cost", "2100 provider payable", "each provider's share"),
    ],
};

/// Sets aside what a rental will cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentalHold {
    /// The rental, once.
    pub rental_id: Uuid,
    /// Who pays.
    pub tenant_id: TenantId,
    /// In what.
    pub currency: Currency,
    /// What all its periods may cost.
    pub amount: Nanos,
    /// When the sweeper may void what is left: after the rental's end and the time that metering may take.
    pub expires_at: DateTime<Utc>,
}

/// Takes what a period of a rental cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentalMeter {
    /// The rental.
    pub rental_id: Uuid,
    /// Which period: 1, 2, 3 … without a gap.
    pub period: i32,
    /// Who pays.
    pub tenant_id: TenantId,
    /// What it cost; at most what is still held.
    pub charge: Nanos,
    /// What was rented.
    pub rented: Rented,
    /// What providers earn.
    pub shares: Vec<ProviderShare>,
    /// When the period ended.
    pub event_at: DateTime<Utc>,
}

/// Frees what a rental still holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentalEnd {
    /// The rental.
    pub rental_id: Uuid,
    /// The last period that was metered; 0 for none.
    pub period: i32,
    /// Whose rental it is.
    pub tenant_id: TenantId,
}

/// Rentals capacity for a time, paid ahead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentalBuy {
    /// What is rented.
    pub contract: Contract,
    /// The tax on it.
    pub tax: Nanos,
    /// How it is paid.
    pub paid_by: PaidBy,
}

/// Recognises what of a rental is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentalRecognition {
    /// What was bought.
    pub contract: Contract,
    /// Up to when.
    pub until: DateTime<Utc>,
    /// What was rented.
    pub rented: Rented,
    /// What providers earn.
    pub shares: Vec<ProviderShare>,
}

/// What was rented, and what it served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rented {
    /// The node.
    pub node_id: NodeId,
    /// Whose it is.
    pub provider_id: ProviderId,
    /// What the tenant did with it.
    pub used_for: RentalUse,
}

/// What rented capacity did in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RentalUse {
    /// What we do not see.
    Bare,
    /// It served this model on our engine, whose tokens are metered.
    Served(String),
    /// It was ready to serve this model, and nobody asked.
    Idle(String),
}

impl Rented {
    fn write(&self, out: &mut Canonical) {
        out.uuid(self.node_id.0);
        out.uuid(self.provider_id.0);
        let (kind, model) = match &self.used_for {
            RentalUse::Bare => (0, None),
            RentalUse::Served(model) => (1, Some(model)),
            RentalUse::Idle(model) => (2, Some(model)),
        };
        out.bytes(&[kind]);
        out.option(model.map(String::as_str), Canonical::text);
    }

    fn leaf(&self, tenant_id: TenantId) -> Leaf {
        let (bucket, line, model) = match &self.used_for {
            RentalUse::Bare => (Bucket::Lease, "lease", None),
            RentalUse::Served(model) => (Bucket::Productive, "dedicated", Some(model.clone())),
            RentalUse::Idle(model) => (Bucket::LeaseIdle, "dedicated", Some(model.clone())),
        };
        let (node_id, provider_id) = (Some(self.node_id), Some(self.provider_id));
        Leaf { tenant_id: Some(tenant_id), model, node_id, provider_id, ..Leaf::new(bucket, line) }
    }
}

/// Names a rental's hold once that many periods are metered.
fn hold_link(rental_id: Uuid, periods: i32) -> Uuid {
    match periods {
        0 => rental_id,
        _ => named_link(&[b"rental", rental_id.as_bytes(), &periods.to_le_bytes()]),
    }
}

/// The provider's part in the leaf of the rental.
fn earnings(shares: &[ProviderShare], unit: Currency, leaf: &Leaf) -> Result<Vec<Draft>, Error> {
    for share in shares {
        not_negative("share", share.amount)?;
    }
    let leaf = |share: &ProviderShare| {
        let (node_id, provider_id) = (Some(share.node_id), Some(share.provider_id));
        Leaf { node_id, provider_id, ..leaf.clone() }
    };
    Ok(shares.iter().filter_map(|share| share.draft(unit, leaf(share))).collect())
}

impl Recipe for RentalHold {
    fn template(&self) -> &'static Template {
        &RENTAL_HOLD
    }

    fn link(&self) -> Uuid {
        hold_link(self.rental_id, 0)
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
        OnHold::MayPlace(self.link())
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let revenue = AccountKey::platform(Code::LeaseRevenue, self.currency);
        let purses = books.purses(self.tenant_id.0, self.currency, now);
        let parts = spend(self.tenant_id, positive("hold", self.amount)?, &purses)?;
        let drafts = parts.into_iter().map(|(lot, amount)| pending(lot, revenue, amount));
        Ok(Entry { expires_at: Some(self.expires_at), ..Entry::of(drafts.collect()) })
    }
}

fn pending(debit: AccountKey, credit: AccountKey, amount: Nanos) -> Draft {
    Draft { movement: Movement::Pending, ..Draft::posted(debit, credit, amount, None) }
}

impl Recipe for RentalMeter {
    fn template(&self) -> &'static Template {
        &RENTAL_METER
    }

    fn link(&self) -> Uuid {
        hold_link(self.rental_id, self.period)
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.i64(self.charge.0);
        self.rented.write(out);
        ProviderShare::write(&self.shares, out);
        out.instant(self.event_at);
    }

    fn owners(&self) -> Vec<Uuid> {
        let providers = self.shares.iter().map(|share| share.provider_id.0);
        std::iter::once(self.tenant_id.0).chain(providers).collect()
    }

    fn on_hold(&self) -> OnHold {
        OnHold::Renews { of: hold_link(self.rental_id, self.period.wrapping_sub(1)), by: self.link() }
    }

    fn event_at(&self) -> Option<DateTime<Utc>> {
        Some(self.event_at)
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        if self.period < 1 {
            return Err(Error::BadEvent { recipe: RENTAL_METER.name, reason: "a rental's first period is 1" });
        }
        let link = hold_link(self.rental_id, self.period - 1);
        let hold = books.open_hold(link)?;
        let (charge, held) = (positive("charge", self.charge)?, hold.amount());
        if hold.owner() != Some(self.tenant_id.0) {
            return Err(Error::StrangersHold { link, tenant_id: self.tenant_id });
        }
        if charge > held {
            return Err(Error::ChargeAboveHold { link, held, charge });
        }
        let leaf = self.rented.leaf(self.tenant_id);
        let (mut drafts, rest) = capture(hold, charge, &leaf);
        let expires_at = (!rest.is_empty()).then_some(hold.expires_at);
        drafts.extend(rest);
        drafts.extend(earnings(&self.shares, hold.parts[0].debit.unit, &leaf)?);
        Ok(Entry { expires_at, ..Entry::of(drafts) })
    }
}

/// Takes a charge from a hold's parts in their order; and what holds the rest of each again.
fn capture(hold: &OpenHold, charge: Nanos, leaf: &Leaf) -> (Vec<Draft>, Vec<Draft>) {
    let (mut drafts, mut rest, mut due) = (Vec::new(), Vec::new(), charge.0);
    for part in &hold.parts {
        let (of, held) = (part.seq, part.amount);
        let taken = due.min(held.0);
        due -= taken;
        let (movement, amount, leaf_) = match taken {
            0 => (Movement::Void { of, held }, held, None),
            _ => (Movement::Capture { of, held }, Nanos(taken), Some(leaf.clone())),
        };
        drafts.push(Draft { movement, ..Draft::posted(part.debit, part.credit, amount, leaf_) });
        if taken > 0 && part.debit.code == Code::PromoCredits {
            drafts.push(contra(part.debit.unit, amount, leaf.clone()));
        }
        if taken < held.0 {
            rest.push(pending(part.debit, part.credit, Nanos(held.0 - taken)));
        }
    }
    (drafts, rest)
}

impl Recipe for RentalEnd {
    fn template(&self) -> &'static Template {
        &RENTAL_END
    }

    fn link(&self) -> Uuid {
        hold_link(self.rental_id, self.period)
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn on_hold(&self) -> OnHold {
        OnHold::Resolves(self.link())
    }

    fn entry(&self, books: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let hold = books.open_hold(self.link())?;
        if hold.owner() != Some(self.tenant_id.0) {
            return Err(Error::StrangersHold { link: hold.link, tenant_id: self.tenant_id });
        }
        let void = |part: &crate::hold::HoldPart| Draft {
            movement: Movement::Void { of: part.seq, held: part.amount },
            ..Draft::posted(part.debit, part.credit, part.amount, None)
        };
        Ok(Entry::of(hold.parts.iter().map(void).collect()))
    }
}

impl Recipe for RentalBuy {
    fn template(&self) -> &'static Template {
        &RENTAL_BUY
    }

    fn link(&self) -> Uuid {
        self.contract.contract_id
    }

    fn body(&self, out: &mut Canonical) {
        self.contract.write(out);
        self.contract.purchase(self.tax, &self.paid_by).write(out);
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.contract.tenant_id.0]
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        self.contract.bought(Code::DeferredLease, &RENTAL_BUY, (self.tax, &self.paid_by), (books, now))
    }
}

impl Recipe for RentalRecognition {
    fn template(&self) -> &'static Template {
        &RENTAL_RECOGNITION
    }

    fn link(&self) -> Uuid {
        self.contract.recognition_link(self.until)
    }

    fn body(&self, out: &mut Canonical) {
        self.contract.write(out);
        self.rented.write(out);
        ProviderShare::write(&self.shares, out);
    }

    fn owners(&self) -> Vec<Uuid> {
        let providers = self.shares.iter().map(|share| share.provider_id.0);
        std::iter::once(self.contract.tenant_id.0).chain(providers).collect()
    }

    fn event_at(&self) -> Option<DateTime<Utc>> {
        Some(just_before(self.until))
    }

    fn entry(&self, books: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        let Contract { tenant_id, currency, .. } = self.contract;
        let which = (Code::DeferredLease, &RENTAL_RECOGNITION);
        let (deferred, earned) = self.contract.earned(which, self.until, (books, now))?;
        let leaf = self.rented.leaf(tenant_id);
        let revenue = AccountKey::platform(Code::LeaseRevenue, currency);
        let mut drafts = vec![Draft::posted(deferred, revenue, earned, Some(leaf.clone()))];
        drafts.extend(earnings(&self.shares, currency, &leaf)?);
        Ok(Entry::of(drafts))
    }
}

#[cfg(test)]
mod tests;
