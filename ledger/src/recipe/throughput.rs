//! Reserved throughput: paid ahead, earned hour by hour whether it is used or not, credited where the service missed.

use chrono::{DateTime, Utc};
use primitives::id::{NodeId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::contract::{Contract, just_before};
use super::job::ProviderShare;
use super::purchase::PaidBy;
use super::refund::given_back;
use super::{Entry, Recipe, Template, leg, not_negative, positive};
use crate::account::{AccountKey, Priority, Terms};
use crate::books::Books;
use crate::canonical::Canonical;
use crate::chart::Code;
use crate::economics::Bucket;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::period::Month;
use crate::rounding::share;
use crate::transfer::Draft;

pub(crate) static THROUGHPUT_BUY: Template = Template {
    number: 40,
    name: "throughput_buy",
    event: "A tenant reserved throughput for a time and pays ahead.",
    legs: &[
        leg("5100 processor fees", "2030 deferred throughput", "the fee, when paid by card"),
        leg("1010 processor clearing", "2030 deferred throughput", "the price less the fee, when paid by card"),
        leg(
            "1100 accounts receivable or 2000 paid credits",
            "2030 deferred throughput",
            "the price, when invoiced or paid from credit",
        ),
        leg("1010 processor clearing or 1100 accounts receivable or 2000 paid credits", "2200 tax payable", "the tax"),
    ],
};

pub(crate) static THROUGHPUT_RECOGNITION: Template = Template {
    number: 41,
    name: "throughput_recognition",
    event: "Time for which throughput was reserved is over: it is earned, used (PRODUCTIVE, by node) or not (RESERVED_UNUSED).",
    legs: &[
        leg(
            "2030 deferred throughput",
            "4010 reserved-throughput revenue",
            "what the time was worth, in a straight line, by leaf",
        ),
        leg("5000 provider cost", "2100 provider payable", "each provider's share"),
    ],
};

pub(crate) static SLA_CREDIT: Template = Template {
    number: 42,
    name: "sla_credit",
    event: "Reserved throughput missed its objective: revenue is given back as credit or off an invoice (NON_EFFECTIVE).",
    legs: &[leg(
        "4010 reserved-throughput revenue",
        "2015 service credits or 1100 accounts receivable",
        "what is given back",
    )],
};

/// What was sold.
const LINE: &str = "reserved";
/// All of what is reserved. *Units*: millionths.
const WHOLE_PPM: i64 = 1_000_000;

/// Reserves throughput for a time, paid ahead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThroughputBuy {
    /// What is bought.
    pub contract: Contract,
    /// The tax on it.
    pub tax: Nanos,
    /// How it is paid.
    pub paid_by: PaidBy,
}

/// Recognises what of a reservation is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThroughputRecognition {
    /// What was bought.
    pub contract: Contract,
    /// Up to when; in steps of an hour or a day.
    pub until: DateTime<Utc>,
    /// What was used of it since the last step; the rest is RESERVED_UNUSED.
    pub used: Vec<QuotaUse>,
    /// What providers earn for keeping it ready.
    pub shares: Vec<ProviderShare>,
}

/// What was used of a reservation on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaUse {
    /// The model that served.
    pub model: String,
    /// Where.
    pub node_id: NodeId,
    /// Whose node.
    pub provider_id: ProviderId,
    /// How much of what was reserved. *Units*: millionths.
    pub share_ppm: i32,
}

/// Gives back revenue for throughput that missed its objective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaCredit {
    /// The credit, once; it is the lot's name too.
    pub credit_id: Uuid,
    /// To whom.
    pub tenant_id: TenantId,
    /// How much.
    pub amount: Nanos,
    /// In what.
    pub currency: Currency,
    /// How the tenant gets it.
    pub credited_to: CreditedTo,
    /// The model that missed, where one did.
    pub model: Option<String>,
    /// The month in which it missed.
    pub of: Month,
}

/// How a service credit reaches its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CreditedTo {
    /// As a lot of credit.
    Lot {
        /// When it lapses.
        expires_at: Option<DateTime<Utc>>,
    },
    /// Off an invoice.
    Invoice(Uuid),
}

impl Recipe for ThroughputBuy {
    fn template(&self) -> &'static Template {
        &THROUGHPUT_BUY
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
        self.contract.bought(Code::DeferredThroughput, &THROUGHPUT_BUY, (self.tax, &self.paid_by), (books, now))
    }
}

impl Recipe for ThroughputRecognition {
    fn template(&self) -> &'static Template {
        &THROUGHPUT_RECOGNITION
    }

    fn link(&self) -> Uuid {
        self.contract.recognition_link(self.until)
    }

    fn body(&self, out: &mut Canonical) {
        self.contract.write(out);
        out.count(self.used.len());
        for used in &self.used {
            out.text(&used.model);
            out.uuid(used.node_id.0);
            out.uuid(used.provider_id.0);
            out.i32(used.share_ppm);
        }
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
        let which = (Code::DeferredThroughput, &THROUGHPUT_RECOGNITION);
        let (deferred, earned) = self.contract.earned(which, self.until, (books, now))?;
        let used: i64 = self.used.iter().map(|used| i64::from(used.share_ppm)).sum();
        if used > WHOLE_PPM || self.used.iter().any(|used| used.share_ppm < 1) {
            return Err(Error::BadEvent {
                recipe: which.1.name,
                reason: "more was used than was reserved, or less than nothing",
            });
        }
        for share in &self.shares {
            not_negative("share", share.amount)?;
        }
        let revenue = AccountKey::platform(Code::ThroughputRevenue, self.contract.currency);
        let (mut drafts, mut before, mut part) = (Vec::new(), 0_i64, Nanos::ZERO);
        let rest = WHOLE_PPM - used;
        let leaves = self.used.iter().map(|used| (i64::from(used.share_ppm), self.leaf(used)));
        let unused = Leaf { tenant_id: Some(self.contract.tenant_id), ..Leaf::new(Bucket::ReservedUnused, LINE) };
        // Rounded where each share ends, so that all shares are the whole.
        for (share_ppm, leaf) in leaves.chain((rest > 0).then_some((rest, unused))) {
            before += share_ppm;
            let end = share(earned, before, WHOLE_PPM).expect("a part of what an account holds");
            if end > part {
                drafts.push(Draft::posted(deferred, revenue, Nanos(end.0 - part.0), Some(leaf)));
                part = end;
            }
        }
        let leaf = |share: &ProviderShare| Leaf {
            tenant_id: Some(self.contract.tenant_id),
            node_id: Some(share.node_id),
            provider_id: Some(share.provider_id),
            ..Leaf::new(Bucket::Productive, LINE)
        };
        drafts.extend(self.shares.iter().filter_map(|share| share.draft(self.contract.currency, leaf(share))));
        Ok(Entry::of(drafts))
    }
}

impl ThroughputRecognition {
    fn leaf(&self, used: &QuotaUse) -> Leaf {
        Leaf {
            tenant_id: Some(self.contract.tenant_id),
            model: Some(used.model.clone()),
            node_id: Some(used.node_id),
            provider_id: Some(used.provider_id),
            ..Leaf::new(Bucket::Productive, LINE)
        }
    }
}

impl Recipe for SlaCredit {
    fn template(&self) -> &'static Template {
        &SLA_CREDIT
    }

    fn link(&self) -> Uuid {
        self.credit_id
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.tenant_id.0);
        out.i64(self.amount.0);
        out.text(self.currency.as_str());
        match self.credited_to {
            CreditedTo::Lot { expires_at } => {
                out.bytes(&[0]);
                out.option(expires_at, Canonical::instant);
            }
            CreditedTo::Invoice(invoice_id) => {
                out.bytes(&[1]);
                out.uuid(invoice_id);
            }
        }
        out.option(self.model.as_deref(), Canonical::text);
        out.i16(self.of.number());
    }

    fn owners(&self) -> Vec<Uuid> {
        vec![self.tenant_id.0]
    }

    fn entry(&self, _: &Books, now: DateTime<Utc>) -> Result<Entry, Error> {
        if self.of > Month::of(now) {
            return Err(Error::BadEvent { recipe: SLA_CREDIT.name, reason: "its month is still to come" });
        }
        let mut terms = Vec::new();
        let to = match self.credited_to {
            CreditedTo::Lot { expires_at } => {
                let lot = AccountKey::lot(Code::ServiceCredits, self.tenant_id, self.credit_id, self.currency);
                terms.push((lot, Terms { priority: Priority::PROMO, expires_at }));
                lot
            }
            CreditedTo::Invoice(invoice_id) => {
                AccountKey::lot(Code::Receivable, self.tenant_id, invoice_id, self.currency)
            }
        };
        let leaf = Leaf {
            tenant_id: Some(self.tenant_id),
            model: self.model.clone(),
            ..Leaf::new(Bucket::NonEffective, LINE)
        };
        let revenue = AccountKey::platform(Code::ThroughputRevenue, self.currency);
        let leaf = given_back(&leaf, self.of, now);
        let draft = Draft::posted(revenue, to, positive("service credit", self.amount)?, Some(leaf));
        Ok(Entry { terms, ..Entry::of(vec![draft]) })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::recipe::tests::{Desk, at, node, provider, tenant, usd, uuid};

    /// Ten hours for a price.
    fn contract(fee: i64) -> Contract {
        let (contract_id, tenant_id, to_at) = (uuid(1, 1), tenant(1), at(600));
        Contract { contract_id, tenant_id, currency: usd(), fee: Nanos(fee), from_at: at(0), to_at }
    }

    fn buy(fee: i64) -> ThroughputBuy {
        ThroughputBuy { contract: contract(fee), tax: Nanos(19), paid_by: PaidBy::Card { fee: Nanos(2) } }
    }

    fn used(number: u8, share_ppm: i32) -> QuotaUse {
        QuotaUse { model: "spark-1".into(), node_id: node(number), provider_id: provider(number), share_ppm }
    }

    fn recognise(fee: i64, hours: i64, used: Vec<QuotaUse>) -> ThroughputRecognition {
        ThroughputRecognition {
            contract: contract(fee),
            until: at(60 * hours),
            used,
            shares: vec![crate::recipe::tests::share(1, 4)],
        }
    }

    #[test]
    fn a_reservation_is_earned_in_a_straight_line_used_or_not() {
        let mut desk = Desk::open();
        let wanted = ["5100 > 2030 2 posted", "1010 > 2030 99 posted", "1010 > 2200 19 posted"];
        assert_eq!(desk.post(buy(101)).unwrap(), wanted);
        assert_eq!(desk.post(buy(101)).unwrap(), [""; 0]);
        desk.now = at(60);
        // 101 less nine tenths of it, 90.9.
        let wanted = ["2030 > 4010 3 posted", "2030 > 4010 4 posted", "2030 > 4010 3 posted", "5000 > 2100 4 posted"];
        assert_eq!(desk.post(recognise(101, 1, vec![used(1, 333_333), used(2, 333_333)])).unwrap(), wanted);
        let wanted = ["PRODUCTIVE reserved", "PRODUCTIVE reserved", "RESERVED_UNUSED reserved", "PRODUCTIVE reserved"];
        assert_eq!(desk.last_leaves(4), wanted);
        desk.now = at(599);
        assert!(matches!(desk.post(recognise(101, 10, vec![])), Err(Error::BadEvent { .. })), "it is not over");
        // Steps left out are caught up with.
        assert_eq!(desk.post(recognise(101, 9, vec![used(1, 1_000_000)])).unwrap()[0], "2030 > 4010 81 posted");
        desk.now = at(600);
        assert_eq!(desk.post(recognise(101, 10, vec![])).unwrap()[0], "2030 > 4010 10 posted");
        assert_eq!(desk.posted(Code::DeferredThroughput), 0);
        assert!(matches!(desk.post(recognise(101, 5, vec![])), Err(Error::NothingLeft { .. })));
    }

    #[test]
    fn a_recognition_that_does_not_fit_the_contract_is_refused() {
        let mut desk = Desk::open();
        desk.now = at(600);
        assert!(matches!(desk.post(recognise(100, 1, vec![])), Err(Error::NothingLeft { .. })), "nothing was bought");
        desk.post(buy(100)).unwrap();
        for (fee, hours, used) in [
            (101, 1, vec![]),
            (100, 0, vec![]),
            (100, 11, vec![]),
            (100, 1, vec![used(1, 0)]),
            (100, 1, vec![used(1, 600_000), used(2, 400_001)]),
        ] {
            let refused = desk.post(recognise(fee, hours, used)).unwrap_err();
            assert!(matches!(refused, Error::BadEvent { .. }), "{refused}");
        }
        let longer = Contract { to_at: at(601), ..contract(100) };
        let longer = ThroughputRecognition { contract: longer, ..recognise(100, 1, vec![]) };
        assert!(matches!(desk.post(longer), Err(Error::BadEvent { reason: "another contract was bought", .. })));
        let negative =
            ThroughputRecognition { shares: vec![crate::recipe::tests::share(1, -1)], ..recognise(100, 1, vec![]) };
        assert!(matches!(desk.post(negative), Err(Error::BadAmount { what: "share", .. })));
        let backwards = Contract { to_at: at(0), contract_id: uuid(1, 2), ..contract(100) };
        assert!(matches!(desk.post(ThroughputBuy { contract: backwards, ..buy(100) }), Err(Error::BadEvent { .. })));
        // The dearest contract that an account can hold is recognised too.
        let dearest = Contract { contract_id: uuid(1, 3), fee: Nanos(i64::MAX - 200), ..contract(100) };
        let edge = ThroughputBuy {
            contract: dearest.clone(),
            tax: Nanos(0),
            paid_by: PaidBy::Invoice { invoice_id: uuid(2, 1) },
        };
        desk.post(edge).unwrap();
        let edge = ThroughputRecognition { contract: dearest, shares: vec![], ..recognise(100, 10, vec![]) };
        assert_eq!(desk.post(edge).unwrap(), [format!("2030 > 4010 {} posted", i64::MAX - 200)]);
    }

    #[test]
    fn a_service_credit_is_owed_and_is_no_gift_when_it_is_spent() {
        let mut desk = Desk::open();
        let credit = |number, amount, credited_to, of: &str| SlaCredit {
            credit_id: uuid(1, number),
            tenant_id: tenant(1),
            amount: Nanos(amount),
            currency: usd(),
            credited_to,
            model: None,
            of: of.parse().unwrap(),
        };
        let lot = CreditedTo::Lot { expires_at: Some(desk.now + TimeDelta::hours(9)) };
        assert!(matches!(desk.post(credit(1, 0, lot, "2026-11")), Err(Error::BadAmount { .. })));
        assert!(matches!(desk.post(credit(1, 30, lot, "2026-12")), Err(Error::BadEvent { .. })));
        assert_eq!(desk.post(credit(1, 30, lot, "2026-11")).unwrap(), ["4010 > 2015 30 posted"]);
        assert_eq!(desk.last_leaves(1), ["NON_EFFECTIVE reserved"]);
        let off = CreditedTo::Invoice(uuid(2, 1));
        assert_eq!(desk.post(credit(2, 5, off, "2026-10")).unwrap(), ["4010 > 1100 5 posted"]);
        assert_eq!(desk.last_leaves(1), ["PRIOR_PERIOD reserved"]);
        desk.hold(1, 1, 30);
        assert_eq!(desk.settle(1, 1, &[30]), ["2015 > 4000 30 capture", "5000 > 2100 15 posted"]);
    }
}
