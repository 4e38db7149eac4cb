//! Recipes on the pure core: what each one does is told as `2010 > 4000 30 capture`, and the books are looked through after each.

mod random;

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{JobId, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use uuid::Uuid;

use super::credit::{PromoGrant, TopUp};
use super::job::{Dimensions, JobHold, JobSettlement, Overrun, ProviderShare, UsageFact};
use super::*;
use crate::account::AccountId;
use crate::books::Books;
use crate::core::{Core, Knowledge, Tip};
use crate::hold::HoldPart;
use crate::row::{LeafRow, TransferRow};
use crate::transfer::Kind;

/// Minutes after noon of a day in November.
pub(super) fn at(minutes: i64) -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minutes)
}

pub(super) fn uuid(kind: u8, number: u8) -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 | u128::from(kind) << 8 | u128::from(number))
}

pub(super) fn usd() -> Currency {
    Currency::USD
}

pub(super) fn tenant(number: u8) -> TenantId {
    TenantId(uuid(11, number))
}

pub(super) fn provider(number: u8) -> ProviderId {
    ProviderId(uuid(14, number))
}

pub(super) fn node(number: u8) -> NodeId {
    NodeId(uuid(13, number))
}

pub(super) fn share(number: u8, amount: i64) -> ProviderShare {
    ProviderShare {
        provider_id: provider(number),
        node_id: node(number),
        segment: i16::from(number),
        amount: Nanos(amount),
    }
}

/// One line of output on a node.
pub(super) fn usage(number: u8, quantity: i64, amount: i64) -> UsageFact {
    UsageFact {
        segment: i16::from(number),
        node_id: node(number),
        provider_id: provider(number),
        meter: "output".into(),
        quantity,
        price_id: PriceId(uuid(15, 0)),
        amount: Nanos(amount),
        waste: None,
        compute_ms: 5,
    }
}

/// The end of a job that ran on as many nodes as there are amounts, half of which their providers earn.
pub(super) fn settlement(job: u8, tenant_number: u8, amounts: &[i64]) -> JobSettlement {
    JobSettlement {
        job_id: JobId(uuid(12, job)),
        charge: Nanos(amounts.iter().sum()),
        overrun: Overrun::Refuse,
        shares: (0..).zip(amounts).map(|(number, amount)| share(number, amount / 2)).collect(),
        usage: (0..).zip(amounts).map(|(number, amount)| usage(number, 7, *amount)).collect(),
        dimensions: Dimensions {
            tenant_id: tenant(tenant_number),
            model: "spark-1".into(),
            product_line: "inference".into(),
        },
        event_at: at(0),
    }
}

/// A draft as people read it.
pub(super) fn told(draft: &Draft) -> String {
    let kind = draft.movement.kind().as_str();
    format!("{} > {} {} {kind}", draft.debit.code.number(), draft.credit.code.number(), draft.amount.0)
}

/// A ledger without a database, and a clock.
pub(super) struct Desk {
    core: Core,
    pub now: DateTime<Utc>,
    transfers: Vec<TransferRow>,
    leaves: Vec<LeafRow>,
}

impl Desk {
    pub fn open() -> Self {
        let core = Core::new(0, 1, Tip::genesis(0), Books::default());
        Self { core, now: at(0), transfers: Vec::new(), leaves: Vec::new() }
    }

    /// Decides as the writer does where nothing else is, and tells what was done; nothing for a repetition. Looks through what was
    /// written: it balances, it keeps to its template, and revenue has its leaf.
    pub fn post(&mut self, request: impl Into<Request>) -> Result<Vec<String>, Error> {
        let request = request.into();
        let needs = self.core.needs(&request, false);
        self.core.learn(needs, Knowledge::default());
        let before = self.balances();
        if let Err(refused) = self.core.decide(&request, self.now) {
            assert_eq!(self.balances(), before, "a refusal changes nothing: {refused}");
            return Err(refused);
        }
        let Some((block_ref, block)) = self.core.seal(self.now) else { return Ok(Vec::new()) };
        self.core.committed(block_ref);
        self.leaves.extend(block.rows.leaves);
        let rows = block.rows.transfers;
        let told = rows.iter().filter(|row| row.kind != Kind::Note.number()).map(tell).collect();
        for row in &rows {
            check(request.recipe().template(), row);
        }
        self.transfers.extend(rows);
        self.check_books();
        Ok(told)
    }

    pub fn books(&self) -> &Books {
        self.core.books()
    }

    pub fn top_up(&mut self, tenant_number: u8, amount: i64) {
        let reference = format!("bank-{}", self.transfers.len());
        let tenant_id = tenant(tenant_number);
        self.post(TopUp { tenant_id, amount: Nanos(amount), currency: usd(), reference }).unwrap();
    }

    pub fn grant(&mut self, lot: u8, tenant_number: u8, amount: i64, lapses_in_hours: Option<i64>) {
        let grant = PromoGrant {
            tenant_id: tenant(tenant_number),
            lot_id: uuid(6, lot),
            amount: Nanos(amount),
            currency: usd(),
            expires_at: lapses_in_hours.map(|hours| self.now + TimeDelta::hours(hours)),
        };
        self.post(grant).unwrap();
    }

    pub fn hold(&mut self, job: u8, tenant_number: u8, amount: i64) -> Vec<HoldPart> {
        let job_id = JobId(uuid(12, job));
        let (tenant_id, expires_at) = (tenant(tenant_number), self.now + TimeDelta::hours(1));
        self.post(JobHold { job_id, tenant_id, currency: usd(), amount: Nanos(amount), expires_at }).unwrap();
        self.books().open_hold(job_id.0).unwrap().parts.clone()
    }

    pub fn settle(&mut self, job: u8, tenant_number: u8, amounts: &[i64]) -> Vec<String> {
        self.post(settlement(job, tenant_number, amounts)).unwrap()
    }

    /// A job that held one amount and cost another.
    pub fn overrun(&mut self, job: u8, tenant_number: u8, held: i64, charge: i64) {
        self.hold(job, tenant_number, held);
        let job = JobSettlement { overrun: Overrun::Owe, ..settlement(job, tenant_number, &[charge]) };
        self.post(job).unwrap();
    }

    /// What a tenant can spend.
    pub fn available(&self, tenant_number: u8) -> i64 {
        self.books().purses(tenant(tenant_number).0, usd(), self.now).iter().map(|purse| purse.available.0).sum()
    }

    /// What all accounts of a code and any unit have on their normal side.
    pub fn posted(&self, code: Code) -> i128 {
        self.books().all().iter().filter(|account| account.key.code == code).map(crate::account::Account::posted).sum()
    }

    /// The leaf of the last transfer that has one.
    pub fn last_leaf(&self) -> Option<&LeafRow> {
        let id = self.transfers.iter().rev().find_map(|row| row.leaf_id)?;
        self.leaves.iter().find(|leaf| leaf.id == id)
    }

    /// The leaves of the last transfers, where they have one, as `bucket line`.
    pub fn last_leaves(&self, count: usize) -> Vec<String> {
        let rows = &self.transfers[self.transfers.len() - count..];
        let leaf = |id: i32| self.leaves.iter().find(|leaf| leaf.id == id).expect("leaves are written once");
        let shown =
            |row: &TransferRow| row.leaf_id.map(leaf).map(|leaf| format!("{} {}", leaf.bucket, leaf.product_line));
        rows.iter().map(|row| shown(row).unwrap_or_default()).collect()
    }

    /// What has an open hold.
    pub fn open_links(&self) -> Vec<Uuid> {
        self.books().holds().map(|hold| hold.link).collect()
    }

    /// Every balance that is not zero.
    fn balances(&self) -> Vec<(AccountId, [i64; 4])> {
        let accounts = self.books().all().iter();
        let sums = accounts.map(|a| (a.id, [a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending]));
        sums.filter(|(_, sums)| *sums != [0; 4]).collect()
    }

    /// Every unit balances, nothing prepaid is below zero, nothing is held below zero.
    fn check_books(&self) {
        let mut sums = std::collections::BTreeMap::<Currency, (i128, i128)>::new();
        for account in self.books().all() {
            let sum = sums.entry(account.key.unit).or_default();
            sum.0 += i128::from(account.debits_posted) - i128::from(account.credits_posted);
            sum.1 += i128::from(account.debits_pending) - i128::from(account.credits_pending);
            assert!(account.debits_pending >= 0 && account.credits_pending >= 0, "{account:?}");
            assert!(!account.key.code.no_overdraft() || account.available() >= 0, "{account:?}");
        }
        assert!(sums.values().all(|sum| *sum == (0, 0)), "{sums:?}");
    }
}

fn tell(row: &TransferRow) -> String {
    let name = |id: i64| AccountId(id).code().unwrap().number();
    let kind = Kind::from_number(row.kind).unwrap().as_str();
    format!("{} > {} {} {kind}", name(row.debit_account_id), name(row.credit_account_id), row.amount)
}

/// A transfer is one that the template tells of.
fn check(template: &Template, row: &TransferRow) {
    if row.kind == Kind::Note.number() {
        return;
    }
    let (debit, credit) = (AccountId(row.debit_account_id), AccountId(row.credit_account_id));
    assert_eq!(debit.unit(), credit.unit(), "one unit in a transfer");
    let [debit, credit] = [debit, credit].map(|id| id.code().unwrap());
    let kind = Kind::from_number(row.kind).unwrap();
    let fits = |leg: &&Leg| {
        let word = leg.amount.split_once(": ").map_or("posted", |(word, _)| word);
        // The parts of a hold that a settlement takes for its second node and later ones are posted.
        let kind = kind.as_str() == word || (kind == Kind::Posted && word == "capture");
        let names = |side: &str, code: Code| side.starts_with("any ") || side.contains(&code.number().to_string());
        kind && names(leg.debit, debit) && names(leg.credit, credit)
    };
    assert!(template.legs.iter().any(|leg| fits(&leg)), "{} does not tell of {}", template.name, tell(row));
    let told = kind == Kind::Pending || kind == Kind::Void || row.leaf_id.is_some();
    assert!(told || !(debit.revenue() || credit.revenue()), "revenue has its leaf: {}", tell(row));
}

#[test]
fn every_recipe_has_a_number_and_a_name_of_its_own_and_says_what_it_does() {
    assert!(TEMPLATES.windows(2).all(|pair| pair[0].number < pair[1].number));
    let mut names: Vec<_> = TEMPLATES.iter().map(|template| template.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TEMPLATES.len());
    assert!(TEMPLATES.iter().all(|template| template.event.ends_with('.') && !template.legs.is_empty()));
}

#[test]
fn every_account_that_a_template_names_is_in_the_chart_and_every_account_of_the_chart_is_in_a_template() {
    let mut used = std::collections::BTreeSet::new();
    for leg in TEMPLATES.iter().flat_map(|template| template.legs) {
        for side in [leg.debit, leg.credit] {
            for code in side.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() == 4) {
                let code: i16 = code.parse().unwrap();
                let known = Code::from_number(code).unwrap_or_else(|| panic!("{code} of {side} is not in the chart"));
                assert!(side.contains(known.name()) || side.contains(", "), "{side} misnames {known}");
                used.insert(known);
            }
        }
    }
    // Finance books what nobody could explain by hand.
    let unused: Vec<_> = Code::ALL.iter().filter(|code| !used.contains(code) && **code != Code::Suspense).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn a_frozen_tenants_job_on_two_nodes_still_settles() {
    let mut desk = Desk::open();
    desk.top_up(1, 100);
    desk.hold(1, 1, 50);
    let account = AccountKey::owned(Code::PaidCredits, tenant(1), usd());
    let (change_id, state, reason) = (uuid(1, 1), AccountState::Frozen, "look into it".to_owned());
    desk.post(crate::recipe::state::AccountChange { change_id, account, state, reason }).unwrap();
    let wanted = ["2000 > 4000 20 capture", "2000 > 4000 10 posted", "5000 > 2100 10 posted", "5000 > 2100 5 posted"];
    assert_eq!(desk.settle(1, 1, &[20, 10]), wanted);
    let hold = JobHold {
        job_id: JobId(uuid(12, 2)),
        tenant_id: tenant(1),
        currency: usd(),
        amount: Nanos(1),
        expires_at: at(9),
    };
    assert!(matches!(desk.post(hold), Err(Error::InsufficientFunds { .. })));
}
