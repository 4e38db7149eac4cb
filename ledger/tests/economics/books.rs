//! The worked example in the books: its two months are posted through the writer, and the report reads them back.
//!
//! One money unit of the example is one of the ledger's, so that effects are rounded at the same digit: every figure of money
//! has the example's digits, three places further behind the point.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use ledger::economics::inputs::Usage;
use ledger::economics::tokens::{Class, Waste};
use ledger::economics::value::{Tariff, credit};
use ledger::economics::{Allocation, Assumptions, Basis, Bucket, Dimension, Inputs, Question, Records, Report, View};
use ledger::{
    AccountKey, CapacityReport, CapacityShare, CapacityUse, Code, Dimensions, JobHold, JobSettlement, JournalEntry,
    JournalLine, Leaf, Month, Overrun, TopUp, UsageFact, Writer, WriterTask,
};
use primitives::clock::Clock;
use primitives::id::{Ids, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

/// A running ledger of the example's names.
pub struct House {
    pub pool: PgPool,
    pub clock: Clock,
    pub ids: Ids,
    pub writer: Writer,
    task: WriterTask,
}

impl House {
    pub async fn open(pool: PgPool, at: &str) -> Self {
        let clock = Clock::manual(at.parse().unwrap());
        let ids = Ids::seeded(clock.clone(), 7);
        let (writer, task) = Writer::start(pool.clone(), clock.clone()).await.unwrap();
        Self { pool, clock, ids, writer, task }
    }

    /// Ends the writer with its books proven.
    pub async fn close(self) {
        self.task.shutdown().await.unwrap();
        let mut conn = self.pool.acquire().await.unwrap();
        let found = ledger::proof::verify(&mut conn, |_, _| {}).await.unwrap();
        assert!(found.passed(), "{found:?}");
    }

    pub async fn top_up(&self, tenant: &str, amount: i64) {
        let (tenant_id, reference) = (tenant_id(tenant), self.ids.next::<PriceId>().to_string());
        self.writer.top_up(TopUp { tenant_id, amount: Nanos(amount), currency: cny(), reference }).await.unwrap();
    }

    pub async fn book(&self, debit: AccountKey, credit: AccountKey, amount: i128, leaf: Leaf, month: Option<Month>) {
        let amount = Nanos(i64::try_from(amount).unwrap());
        let line = JournalLine { debit, credit, amount, leaf: Some(leaf) };
        let entry_id = self.ids.next::<PriceId>().0;
        let reason = "by hand".to_owned();
        self.writer.post(JournalEntry { entry_id, lines: vec![line], month, reason }).await.unwrap();
    }

    pub async fn deploy(
        &self,
        node: &str,
        provider: &str,
        from_at: DateTime<Utc>,
        to_at: DateTime<Utc>,
        shares: Vec<(i32, CapacityUse)>,
        rcu_milli: i32,
    ) {
        let shares = shares.into_iter().map(|(share_ppm, used_for)| CapacityShare { share_ppm, used_for }).collect();
        let (node_id, provider_id) = (node_id(node), provider_id(provider));
        self.writer.post(CapacityReport { node_id, provider_id, from_at, to_at, rcu_milli, shares }).await.unwrap();
    }

    /// A job from its hold to its settlement.
    pub async fn serve(&self, dimensions: Dimensions, usage: Vec<UsageFact>, event_at: DateTime<Utc>) -> Uuid {
        let (job_id, tenant_id) = (self.ids.next(), dimensions.tenant_id);
        let charge = Nanos(usage.iter().map(|fact| fact.amount.0).sum());
        let expires_at = self.clock.now() + TimeDelta::minutes(10);
        let amount = charge.max(Nanos(1));
        let hold = JobHold { job_id, tenant_id, currency: cny(), amount, expires_at };
        self.writer.hold(hold).await.unwrap().durable().await.unwrap();
        let (overrun, shares) = (Overrun::Refuse, vec![]);
        let settlement = JobSettlement { job_id, charge, overrun, shares, usage, dimensions, event_at };
        self.writer.settle(settlement).await.unwrap();
        job_id.0
    }

    pub async fn records(&self, months: [&str; 2], view: View) -> Result<Records, ledger::Error> {
        let mut conn = self.pool.acquire().await.unwrap();
        ledger::economics_records(&mut conn, months.map(|month| month.parse().unwrap()), cny(), view).await
    }

    pub async fn report(&self, months: [&str; 2]) -> Result<Report, ledger::economics::Error> {
        let records = self.records(months, View::AsPosted).await.unwrap();
        Report::of_ledger(&records, &Assumptions::default(), &question())
    }
}

pub fn question() -> Question {
    Question {
        currency: cny(),
        view: View::AsPosted,
        basis: Basis::Rcu,
        allocation: Allocation::Absorbed,
        group_by: vec![Dimension::Tenant, Dimension::Line],
        as_of: "2027-01-01T00:00:00Z".parse().unwrap(),
    }
}

pub fn cny() -> Currency {
    "CNY".parse().unwrap()
}

/// A name as an identifier: its letters.
fn id(name: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Uuid::from_bytes(bytes)
}

pub fn tenant_id(name: &str) -> TenantId {
    TenantId(id(name))
}

pub fn node_id(name: &str) -> NodeId {
    NodeId(id(name))
}

pub fn provider_id(name: &str) -> ProviderId {
    ProviderId(id(name))
}

pub fn fact(node: &str, provider: &str, meter: &str, quantity: i64, amount: i64) -> UsageFact {
    UsageFact {
        segment: 1,
        node_id: node_id(node),
        provider_id: provider_id(provider),
        meter: meter.to_owned(),
        quantity,
        price_id: PriceId(id("price")),
        amount: Nanos(amount),
        waste: None,
        compute_ms: 0,
    }
}

/// Posts the example's inputs, month by month; the first month's costs are booked late, in the second.
async fn post(house: &House, inputs: &Inputs) {
    let Inputs { periods, rentals, licences, prior_period_refunds, .. } = inputs;
    let months: Vec<Month> = periods.keys().map(|period| period.parse().unwrap()).collect();
    for tenant in ["t-acme", "t-beta"] {
        house.top_up(tenant, 100_000_000_000).await;
    }
    for month in &months {
        let period = month.to_string();
        let almost = month.ends_at() - TimeDelta::hours(1);
        house.clock.advance(almost - house.clock.now());
        for node in inputs.nodes.keys() {
            deploy(house, inputs, *month, node).await;
        }
        for usage in inputs.usage.iter().filter(|usage| usage.period == period) {
            serve(house, inputs, usage, almost).await;
        }
        let paid = |tenant: &str| AccountKey::owned(Code::Receivable, tenant_id(tenant), cny());
        let platform = |code| AccountKey::platform(code, cny());
        for rental in rentals.get(&period).into_iter().flatten() {
            let leaf = Leaf {
                tenant_id: Some(tenant_id(&rental.tenant)),
                node_id: Some(node_id(&rental.node)),
                provider_id: Some(provider_id(&inputs.nodes[&rental.node].provider)),
                ..Leaf::new(Bucket::Lease, "lease")
            };
            let fee = i128::from(rental.ucny_per_h) * i128::from(rental.hours);
            house.book(paid(&rental.tenant), platform(Code::LeaseRevenue), fee, leaf, None).await;
        }
        for licence in licences.get(&period).into_iter().flatten() {
            let leaf = Leaf { tenant_id: Some(tenant_id(&licence.tenant)), ..Leaf::new(Bucket::Licence, "licence") };
            house.book(paid(&licence.tenant), platform(Code::LicenceRevenue), licence.ucny.into(), leaf, None).await;
        }
        for refund in prior_period_refunds.iter().filter(|refund| refund.period == period) {
            let place = (&*refund.tenant, &*refund.model, &*refund.node, &*refund.line);
            let of_period = Some(refund.of_period.parse().unwrap());
            let leaf = Leaf { of_period, ..leaf(inputs, Bucket::PriorPeriod, place) };
            house.book(platform(Code::RefundsAllowed), paid(&refund.tenant), refund.ucny.into(), leaf, None).await;
        }
    }
    for (month, spec) in months.iter().zip(periods.values()) {
        for (name, node) in &inputs.nodes {
            let energy = node.power_w * node.pue_milli * node.energy_ucny_per_kwh * spec.hours / 1_000_000;
            let hire = node.hire_ucny_per_h * spec.hours;
            for (owner, amount) in [(node.provider.as_str(), hire), ("energy", energy)] {
                let payable = AccountKey::owned(Code::ProviderPayable, provider_id(owner), cny());
                let leaf = Leaf { node_id: Some(node_id(name)), ..Leaf::new(Bucket::PassThrough, "node") };
                let cost = AccountKey::platform(Code::ProviderCost, cny());
                house.book(cost, payable, amount.into(), leaf, Some(*month)).await;
            }
        }
    }
}

fn leaf(inputs: &Inputs, bucket: Bucket, (tenant, model, node, line): (&str, &str, &str, &str)) -> Leaf {
    Leaf {
        tenant_id: Some(tenant_id(tenant)),
        model: Some(model.to_owned()),
        node_id: Some(node_id(node)),
        provider_id: Some(provider_id(&inputs.nodes[node].provider)),
        ..Leaf::new(bucket, line)
    }
}

/// One report for each stretch of time in which a node's shares stay the same.
async fn deploy(house: &House, inputs: &Inputs, month: Month, node: &str) {
    let period = month.to_string();
    let mut shares: Vec<(u64, i32, CapacityUse)> = vec![];
    for deployment in inputs.deployments[&period].iter().filter(|deployment| deployment.node == node) {
        let share = i32::try_from(deployment.share_ppm).unwrap();
        shares.push((deployment.hours, share, CapacityUse::Model(deployment.model.clone())));
    }
    for rental in inputs.rentals[&period].iter().filter(|rental| rental.node == node) {
        let share = i32::try_from(rental.share_ppm).unwrap();
        shares.push((rental.hours, share, CapacityUse::Rental(tenant_id(&rental.tenant))));
    }
    let mut ends: Vec<u64> = shares.iter().map(|(hours, ..)| *hours).collect();
    ends.sort_unstable();
    ends.dedup();
    let at = |hours: u64| month.begins_at() + TimeDelta::hours(i64::try_from(hours).unwrap());
    let rcu_milli = i32::try_from(inputs.nodes[node].rcu_milli).unwrap();
    let mut from = 0;
    for to in ends {
        let now = shares.iter().filter(|(hours, ..)| *hours >= to);
        let now = now.map(|(_, share, used_for)| (*share, used_for.clone())).collect();
        house.deploy(node, &inputs.nodes[node].provider, at(from), at(to), now, rcu_milli).await;
        from = to;
    }
}

/// One job for each row of usage, and the credit for what came late.
async fn serve(house: &House, inputs: &Inputs, usage: &Usage, at: DateTime<Utc>) {
    let (tariff, provider) = (Tariff::of(inputs, usage), &inputs.nodes[&usage.node].provider);
    let line = |meter: &str, waste, tokens: u64, amount: i128| UsageFact {
        waste,
        ..fact(&usage.node, provider, meter, i64::try_from(tokens).unwrap(), i64::try_from(amount).unwrap())
    };
    let (mut facts, mut credits) = (vec![], 0);
    for (&class, &tokens) in &usage.eff {
        facts.push(line(meter(class), None, tokens, tariff.charge(class, tokens)));
    }
    for (&class, &tokens) in &usage.slo_miss {
        let charge = tariff.charge(class, tokens);
        facts.push(line(meter(class), Some(Waste::SloMiss), tokens, charge));
        credits += credit(charge, inputs.slo_miss_credit_bp);
    }
    for (&reason, &tokens) in &usage.unbilled {
        facts.push(line("output", Some(reason), tokens, 0));
    }
    facts[0].compute_ms = i32::try_from(usage.compute_s * 1_000).unwrap();
    let (model, product_line) = (usage.model.clone(), usage.line.clone());
    house.serve(Dimensions { tenant_id: tenant_id(&usage.tenant), model, product_line }, facts, at).await;
    if credits > 0 {
        let place = (&*usage.tenant, &*usage.model, &*usage.node, &*usage.line);
        let off = AccountKey::platform(Code::RefundsAllowed, cny());
        let purse = AccountKey::owned(Code::PaidCredits, tenant_id(&usage.tenant), cny());
        house.book(off, purse, credits, leaf(inputs, Bucket::NonEffective, place), None).await;
    }
}

fn meter(class: Class) -> &'static str {
    let meters = ["input", "cached_input", "output", "reasoning", "cache_write", "embedding"];
    meters.into_iter().find(|meter| Class::of_meter(meter) == Some(class)).unwrap()
}

/// What the example knows and the ledger does not; money in the ledger's unit.
fn assumptions(inputs: &Value) -> Assumptions {
    let money = |units: &Value| json!(Nanos(units.as_i64().unwrap()).to_string());
    let nodes = inputs["nodes"].as_object().unwrap().iter().map(|(name, node)| {
        let hardware = json!({
            "capex": money(&node["capex_ucny"]), "life_hours": node["life_hours"], "power_w": node["power_w"],
            "pue_milli": node["pue_milli"], "market_rental_per_h": money(&node["market_rental_ucny_per_h"]),
        });
        (node_id(name).to_string(), hardware)
    });
    let config = json!({
        "weight_version": "tw-golden", "token_weights_milli": inputs["token_weights_milli"],
        "intelligence_index": inputs["intelligence_index"], "nodes": nodes.collect::<serde_json::Map<_, _>>(),
        "rental_baseline_etok_per_rcu_h": inputs["rental_baseline_etok_per_rcu_h"],
    });
    serde_json::from_value(config).unwrap()
}

/// The report with the example's names in the place of identifiers.
fn named(report: &Report, inputs: &Inputs) -> Value {
    let mut text = serde_json::to_string(report).unwrap();
    for (name, node) in &inputs.nodes {
        text = text.replace(&node_id(name).to_string(), name);
        text = text.replace(&provider_id(&node.provider).to_string(), &node.provider);
    }
    for tenant in inputs.tenant_discount_bp.keys() {
        text = text.replace(&tenant_id(tenant).to_string(), tenant);
    }
    serde_json::from_str(&text).unwrap()
}

/// The same figure: the same digits, wherever the point is.
#[track_caller]
fn check_same(path: &str, ours: &Value, golden: &Value) {
    match golden {
        Value::Object(figures) => {
            for (name, figure) in figures {
                check_same(&format!("{path}.{name}"), &ours[name.replace("ucny", "nanos")], figure);
            }
        }
        Value::Array(items) => {
            assert_eq!(ours.as_array().unwrap().len(), items.len(), "{path}");
            let key =
                |item: &Value| [&item["cell"], &item["period"], &item["model"], &item["node"]].map(Value::to_string);
            for (at, item) in items.iter().enumerate() {
                let same = ours.as_array().unwrap().iter().find(|ours| key(ours) == key(item) && !item.is_string());
                check_same(&format!("{path}[{at}]"), same.unwrap_or(&ours[at]), item);
            }
        }
        Value::String(text) if path.ends_with("V_cny_per_etok.frac") => {
            let [ours, golden] = [ours.as_str().unwrap(), text].map(|fraction| {
                let (above, below) = fraction.split_once('/').unwrap();
                [above, below].map(|part| part.parse::<u128>().unwrap())
            });
            assert_eq!(ours[0] * 1_000 * golden[1], golden[0] * ours[1], "{path}");
        }
        Value::String(text) if path.ends_with("etok_per_depreciation_cny") => {
            // Tokens for a thousand times as many money units, at the same places: three digits more.
            let (ours, golden) = (digits(ours.as_str().unwrap()), digits(text));
            assert_eq!((ours.parse::<i128>().unwrap() + 500) / 1_000, golden.parse().unwrap(), "{path}");
        }
        Value::String(text) => assert_eq!(digits(ours.as_str().unwrap_or("none")), digits(text), "{path}"),
        _ => assert_eq!(ours, golden, "{path}"),
    }
}

fn digits(text: &str) -> String {
    let number = text.trim_start_matches('-');
    if !number.starts_with(|first: char| first.is_ascii_digit()) || number.contains(['/', ' ']) {
        return text.to_owned();
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    format!("{sign}{:0>1}", number.replace('.', "").trim_start_matches('0'))
}

#[sqlx::test(migrations = "../migrations")]
async fn the_worked_example_comes_back_out_of_the_books_to_the_last_digit(pool: PgPool) {
    let golden: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    let inputs: Inputs = serde_json::from_value(golden["inputs"].clone()).unwrap();
    let house = House::open(pool, "2026-03-01T00:00:00Z").await;
    post(&house, &inputs).await;
    let records = house.records(["2026-03", "2026-04"], View::AsPosted).await.unwrap();
    let report = Report::of_ledger(&records, &assumptions(&golden["inputs"]), &question()).unwrap();
    let ours = named(&report, &inputs);
    let mut covered = BTreeMap::new();
    for (section, figures) in golden["expected"].as_object().unwrap() {
        match section.as_str() {
            // The price book's: list prices and discounts are not in the ledger, the posted revenue is.
            "value_waterfall_cny" => {
                for period in ["2026-03", "2026-04"] {
                    let posted = |of: &Value| digits(of.as_str().unwrap()).trim_end_matches('0').to_owned();
                    let (ours, golden) = (&ours[section][period]["5_posted_R"], &figures[period]["6_posted_R"]);
                    assert_eq!(posted(ours), posted(golden));
                }
            }
            "checks" => {
                let proven = "slices_reconciled_exactly";
                assert_eq!(ours[section][proven], figures[proven]);
            }
            _ => check_same(section, &ours[section], figures),
        }
        covered.insert(section, ());
    }
    assert_eq!(covered.len(), golden["expected"].as_object().unwrap().len());
    let table = report.table();
    assert!(
        table.contains("\nbridge\n  R0_ledger            20.828600017\n  scale                 0.231915413\n"),
        "{table}"
    );
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_restated_report_dates_refunds_where_they_belong(pool: PgPool) {
    let golden: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    let inputs: Inputs = serde_json::from_value(golden["inputs"].clone()).unwrap();
    let house = House::open(pool, "2026-03-01T00:00:00Z").await;
    post(&house, &inputs).await;
    for (view, before, after) in [(View::AsPosted, 0, -25_500_000), (View::Restated, -25_500_000, 0)] {
        let records = house.records(["2026-03", "2026-04"], view).await.unwrap();
        let question = Question { view, ..question() };
        Report::of_ledger(&records, &Assumptions::default(), &question).unwrap();
        let refunded = |period: &str| -> i128 {
            let rows =
                records.revenue.iter().filter(|row| row.bucket == Bucket::PriorPeriod && row.leaf.period == period);
            rows.map(|row| row.amount).sum()
        };
        assert_eq!((refunded("2026-03"), refunded("2026-04")), (before, after), "{view:?}");
    }
    house.close().await;
}
