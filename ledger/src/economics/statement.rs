//! The statement: the report of the ledger's own records.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use primitives::money::Currency;

use super::assumptions::Assumptions;
use super::bucket::{Bucket, Dimension, IDLE};
use super::cost::Cost;
use super::error::Error;
use super::exact::{Exact, ratio, whole};
use super::facts::Facts;
use super::figure::{Basis, Denomination, Figure, Group, Rows};
use super::reconciliation::{PassedThrough, Reconciliation};
use super::record::{Records, View};
use super::report::{PeriodFigures, Report, common, slices};
use super::scale::Allocation;
use crate::chart::Code;
use crate::period::Month;

/// What a report of the ledger is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The functional currency.
    pub currency: Currency,
    /// How late corrections are dated; the records were read so.
    pub view: View,
    /// What capacity is measured in.
    pub basis: Basis,
    /// How scale is given to those who used it.
    pub allocation: Allocation,
    /// By what the slices are told apart.
    pub group_by: Vec<Dimension>,
    /// A month that still runs has the hours up to here.
    pub as_of: DateTime<Utc>,
}

impl Report {
    /// The report of the ledger's records. *Units*: nano-units.
    ///
    /// *Errors*: those of [`Reconciliation::of`]: there is no report with a figure that the ledger does not bear out.
    pub fn of_ledger(records: &Records, assumptions: &Assumptions, question: &Question) -> Result<Self, Error> {
        let Question { currency, view, basis, allocation, group_by, as_of } = question;
        let Reconciliation { facts, passed, slices: proven } =
            Reconciliation::of(records, assumptions, *basis, *allocation)?;
        let shown = Denomination::ledger(*currency, *basis);
        let names = records.months.map(|month| month.to_string());
        let mut periods = [0, 1].map(|at| {
            let name = names[at].as_str();
            let hours = hours_of(records.months[at], *as_of);
            PeriodFigures::of(&facts, name, hours.clone(), Cost::nothing(0))
        });
        for period in &mut periods {
            period.cost = Cost::of_records(records, assumptions, period.name, &period.hours);
        }
        let models = values(&facts, Dimension::Model, &[]);
        let nodes = values(&facts, Dimension::Node, &[]);
        let tenants = values(&facts, Dimension::Tenant, &[IDLE]);
        let mut report = Rows::new(&shown)
            .with("currency", currency.as_str())
            .with("periods", Figure::words(names.clone()))
            .with("view", view.as_str())
            .with("basis", basis.as_str())
            .with("allocation", allocation.as_str())
            .with("indexVersion", assumptions.index_version())
            .with("weightVersion", assumptions.weight_version())
            .done();
        report.extend(common(&shown, &facts, &periods, [&models, &nodes, &tenants])?);
        let waterfalls = names.iter().map(|name| (name.clone(), waterfall(&shown, records, &facts, name).into()));
        report.insert(shown.name("value_waterfall_cny"), Figure::Group(waterfalls.collect()));
        report.insert("slices".to_owned(), slices(&shown, &facts, group_by));
        report.insert("passed_through".to_owned(), passed_rows(&shown, &passed));
        let checks = [
            ("slices_reconciled_exactly".to_owned(), Figure::of_count(proven)),
            ("leaves_passed_through".to_owned(), Figure::of_count(passed.len())),
        ];
        report.insert("checks".to_owned(), Figure::Group(checks.into()));
        Ok(Self::new(report))
    }
}

/// The hours of a month, or of the part of it that has passed; an hour at least.
fn hours_of(month: Month, as_of: DateTime<Utc>) -> Exact {
    let passed = as_of.min(month.ends_at()) - month.begins_at();
    ratio(passed.num_milliseconds().max(3_600_000), 3_600_000_u64)
}

/// Every value of a dimension in order, those of `last` at the end.
fn values<'a>(facts: &'a Facts, dimension: Dimension, last: &[&'a str]) -> Vec<&'a str> {
    let leaves = facts.production().iter().map(|made| &made.leaf);
    let names: BTreeSet<&str> = leaves.filter_map(|leaf| leaf.get(dimension)).collect();
    names.into_iter().filter(|name| !last.contains(name)).chain(last.iter().copied()).collect()
}

/// From what productive usage was charged to the posted revenue, exactly. The list price and discounts are the price book's.
fn waterfall(shown: &Denomination, records: &Records, facts: &Facts, period: &str) -> Group {
    let posted = facts.slice(|leaf| leaf.period == period).productive();
    let rows = records.revenue.iter().filter(|row| row.leaf.period == period && row.bucket == Bucket::Productive);
    let sum = |of: fn(Code) -> bool| rows.clone().filter(|row| of(row.code)).map(|row| row.amount).sum::<i128>();
    let charged = sum(|code| !matches!(code, Code::PromoContraRevenue | Code::RefundsAllowed));
    let promo = sum(|code| code == Code::PromoContraRevenue);
    let refunds = sum(|code| code == Code::RefundsAllowed);
    Rows::new(shown)
        .with("1_charged", shown.money(charged))
        .with("2_promo_credits", shown.money(promo))
        .with("3_refunds", shown.money(refunds))
        .with("4_passed_through_or_adjusted", shown.money(posted - charged - promo - refunds))
        .with("5_posted_R", shown.money(posted))
        .done()
}

fn passed_rows(shown: &Denomination, passed: &[PassedThrough]) -> Figure {
    let row = |passed: &PassedThrough| {
        let parts = Dimension::ALL.map(|dimension| {
            let part = passed.leaf.get(dimension).map_or(Figure::Absent, Figure::from);
            (dimension.as_str().to_owned(), part)
        });
        let mut row: Group = parts.into();
        row.insert("reason".to_owned(), passed.reason.into());
        row.insert("raw_tokens".to_owned(), Figure::Count(passed.tokens.raw()));
        row.insert("revenue".to_owned(), shown.money(passed.revenue));
        row.into()
    };
    Figure::List(passed.iter().map(row).collect())
}

impl Cost {
    /// The cost of a month of the ledger.
    ///
    /// A cost with a model is its tokens'; one with a tenant and a node alone is a rental's; one with a node alone is the node's
    /// time, given to deployments and rentals by reserved share × hours, the rest unallocated; one without a node is no
    /// capacity's.
    pub(super) fn of_records(records: &Records, assumptions: &Assumptions, period: &str, hours: &Exact) -> Self {
        let mut cost = Self::nothing(0);
        for spent in records.costs.iter().filter(|spent| spent.leaf.period == period) {
            let (amount, leaf) = (whole(spent.amount), &spent.leaf);
            cost.ledger += spent.amount;
            match (&leaf.model, &leaf.node, &leaf.tenant) {
                (Some(_), _, _) => cost.token += amount,
                (None, Some(_), Some(_)) => cost.rental += amount,
                (None, Some(node), None) => {
                    let reserved = cost.reserve(records, period, node, spent.amount, hours);
                    cost.unallocated += amount - reserved;
                }
                (None, None, _) => cost.other += spent.amount,
            }
        }
        cost.memo(records, assumptions, period, hours);
        cost
    }

    /// Gives the reserved part of a node's cost to those who had it, and tells how much that is.
    fn reserve(&mut self, records: &Records, period: &str, node: &str, amount: i128, hours: &Exact) -> Exact {
        let per_hour = whole(amount) / hours;
        let mut reserved = Exact::ZERO;
        let here = |leaf: &super::Leaf| leaf.period == period && leaf.node.as_deref() == Some(node);
        for capacity in records.capacity.iter().filter(|capacity| here(&capacity.leaf)) {
            let part = &per_hour * capacity.share_hours();
            reserved += &part;
            *(if capacity.leaf.model.is_some() { &mut self.token } else { &mut self.rental }) += part;
        }
        reserved
    }

    /// What the deployments' hours depreciated, drew, and could have made otherwise; absent where anything needed is unknown.
    fn memo(&mut self, records: &Records, assumptions: &Assumptions, period: &str, hours: &Exact) {
        let all: Exact = assumptions
            .all_hardware()
            .fold(Exact::ZERO, |sum, hardware| sum + hardware.depreciation_per_hour() * hours);
        let deployed = records.capacity.iter().filter(|c| c.leaf.period == period && c.leaf.model.is_some());
        let [mut depreciated, mut rented, mut drawn, mut baseline] = [(); 4].map(|()| Some(Exact::ZERO));
        for capacity in deployed {
            let share_hours = capacity.share_hours();
            let hardware = capacity.leaf.node.as_deref().and_then(|node| assumptions.hardware(node));
            let model = capacity.leaf.model.as_deref().unwrap_or_default();
            let add = |sum: &mut Option<Exact>, more: Option<Exact>| *sum = sum.take().zip(more).map(|(a, b)| a + b);
            add(&mut depreciated, hardware.map(|hardware| hardware.depreciation_per_hour() * &share_hours));
            add(&mut rented, hardware.map(|hardware| hardware.market_rental_per_hour() * &share_hours));
            add(&mut drawn, hardware.map(|hardware| hardware.kilowatts() * &share_hours));
            add(&mut baseline, assumptions.baseline(model).map(|per_hour| whole(per_hour) * capacity.rcu_hours()));
        }
        self.depreciation = depreciated.is_some().then_some(all);
        (self.token_depreciation, self.market_rental) = (depreciated, rented);
        (self.kilowatt_hours, self.baseline_tokens) = (drawn, baseline);
    }
}
