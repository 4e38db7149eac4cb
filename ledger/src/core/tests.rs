//! The core against a model that a child could check: credit in a list of lots, holds in a map.

use std::collections::HashMap;

use chrono::TimeDelta;
use primitives::id::{NodeId, PriceId, ProviderId, TenantId};
use proptest::prelude::*;

use super::*;
use crate::recipe::credit::{PromoGrant, TopUp};
use crate::recipe::job::{Dimensions, JobVoid, ProviderShare};

fn noon() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn uuid(kind: u8, number: u8) -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 | u128::from(kind) << 8 | u128::from(number))
}

fn tenant(number: u8) -> TenantId {
    TenantId(uuid(1, number))
}

fn job(number: u8) -> JobId {
    JobId(uuid(2, number))
}

fn hold(job_number: u8, tenant_number: u8, amount: i64) -> Request {
    Request::Hold(JobHold {
        job_id: job(job_number),
        tenant_id: tenant(tenant_number),
        currency: Currency::USD,
        amount: Nanos(amount),
        expires_at: noon() + TimeDelta::hours(1),
    })
}

/// A job whose charge is shared among as many nodes as there are amounts.
fn settle(job_number: u8, tenant_number: u8, amounts: &[i64]) -> Request {
    let usage = (0..).zip(amounts).map(|(segment, amount)| UsageFact {
        segment,
        node_id: NodeId(uuid(3, segment as u8)),
        provider_id: ProviderId(uuid(4, segment as u8)),
        meter: "output".into(),
        quantity: 7,
        price_id: PriceId(uuid(5, 0)),
        amount: Nanos(*amount),
    });
    let shares = (0..).zip(amounts).map(|(segment, amount)| ProviderShare {
        provider_id: ProviderId(uuid(4, segment as u8)),
        node_id: NodeId(uuid(3, segment as u8)),
        segment,
        amount: Nanos(amount / 2),
    });
    Request::Settle(JobSettlement {
        job_id: job(job_number),
        charge: Nanos(amounts.iter().sum()),
        shares: shares.collect(),
        usage: usage.collect(),
        dimensions: Dimensions {
            tenant_id: tenant(tenant_number),
            model: "spark-1".into(),
            product_line: "inference".into(),
        },
        event_at: noon(),
    })
}

fn void(job_number: u8) -> Request {
    Request::Void(JobVoid { job_id: job(job_number) })
}

fn grant(lot: u8, tenant_number: u8, amount: i64, lapses_in_hours: Option<i64>) -> Request {
    Request::Promo(PromoGrant {
        tenant_id: tenant(tenant_number),
        lot_id: uuid(6, lot),
        amount: Nanos(amount),
        currency: Currency::USD,
        expires_at: lapses_in_hours.map(|hours| noon() + TimeDelta::hours(hours)),
    })
}

fn top_up(number: u8, tenant_number: u8, amount: i64) -> Request {
    let reference = format!("bank-{number}");
    Request::TopUp(TopUp {
        tenant_id: tenant(tenant_number),
        amount: Nanos(amount),
        currency: Currency::USD,
        reference,
    })
}

fn empty() -> Core {
    Core::new(0, 1, Tip::GENESIS, Vec::new(), Vec::new())
}

/// Decides as the writer does, in a database where nothing else is.
fn decide(core: &mut Core, request: &Request) -> Result<Decision, Error> {
    let needs = core.needs(request, false);
    core.learn(needs, Knowledge::default());
    core.decide(request, noon())
}

fn available(core: &Core, tenant_number: u8) -> i128 {
    let lots = core.lots.get(&(tenant(tenant_number).0, Currency::USD)).cloned().unwrap_or_default();
    lots.iter().map(|id| core.accounts[id].available()).sum()
}

/// What a group did, as `debit > credit amount kind`.
fn told(core: &Core, from: usize) -> Vec<String> {
    let name = |id: i64| AccountId(id).code().unwrap().number();
    let row = |row: &TransferRow| {
        format!("{} > {} {} {}", name(row.debit_account_id), name(row.credit_account_id), row.amount_nanos, row.kind)
    };
    core.draft.transfers[from..].iter().map(row).collect()
}

#[test]
fn gifts_are_spent_first_and_the_soonest_to_lapse_before_the_others() {
    let mut core = empty();
    for request in [top_up(1, 1, 100), grant(1, 1, 10, None), grant(2, 1, 20, Some(5)), grant(3, 1, 30, Some(2))] {
        decide(&mut core, &request).unwrap();
    }
    // One that has lapsed pays for nothing.
    decide(&mut core, &grant(4, 1, 1_000, Some(0))).unwrap();
    let parts = decide(&mut core, &hold(1, 1, 65)).unwrap().parts;
    assert_eq!(parts.iter().map(|part| part.amount.0).collect::<Vec<_>>(), [30, 20, 10, 5]);
    let refused = decide(&mut core, &hold(2, 1, 96)).unwrap_err();
    assert!(matches!(refused, Error::InsufficientFunds { available: Nanos(95), .. }), "{refused}");
}

#[test]
fn a_settlement_takes_the_charge_in_order_and_frees_the_rest() {
    let mut core = empty();
    for request in [grant(1, 1, 30, None), top_up(1, 1, 100), hold(1, 1, 50)] {
        decide(&mut core, &request).unwrap();
    }
    let before = core.draft.transfers.len();
    decide(&mut core, &settle(1, 1, &[34])).unwrap();
    let wanted = ["2010 > 4000 30 capture", "4900 > 2019 30 posted", "2000 > 4000 4 capture", "5000 > 2100 17 posted"];
    assert_eq!(told(&core, before), wanted);
    assert_eq!(available(&core, 1), 96);
}

#[test]
fn a_part_that_the_charge_does_not_reach_is_voided() {
    let mut core = empty();
    for request in [grant(1, 1, 30, None), top_up(1, 1, 100), hold(1, 1, 50)] {
        decide(&mut core, &request).unwrap();
    }
    let before = core.draft.transfers.len();
    decide(&mut core, &settle(1, 1, &[1])).unwrap();
    assert_eq!(told(&core, before), ["2010 > 4000 1 capture", "4900 > 2019 1 posted", "2000 > 4000 20 void"]);
    assert_eq!(available(&core, 1), 129);
}

#[test]
fn each_nodes_revenue_is_its_own() {
    let mut core = empty();
    for request in [grant(1, 1, 30, None), top_up(1, 1, 100), hold(1, 1, 50)] {
        decide(&mut core, &request).unwrap();
    }
    let before = core.draft.transfers.len();
    decide(&mut core, &settle(1, 1, &[10, 25])).unwrap();
    let wanted = [
        "2010 > 4000 10 capture",
        "4900 > 2019 10 posted",
        "2010 > 4000 20 posted",
        "4900 > 2019 20 posted",
        "2000 > 4000 5 capture",
        "5000 > 2100 5 posted",
        "5000 > 2100 12 posted",
    ];
    assert_eq!(told(&core, before), wanted);
    let second = &core.draft.transfers[before + 2];
    assert_eq!((second.node_id, second.bucket.as_deref()), (Some(uuid(3, 1)), Some("PRODUCTIVE")));
    assert_eq!(available(&core, 1), 95);
}

#[test]
fn a_refused_settlement_leaves_the_hold_as_it_was() {
    let mut core = empty();
    for request in [top_up(1, 1, 100), hold(1, 1, 50)] {
        decide(&mut core, &request).unwrap();
    }
    let refuse = |core: &mut Core, request: Request| decide(core, &request).unwrap_err();
    assert!(matches!(refuse(&mut core, settle(1, 1, &[51])), Error::ChargeAboveHold { .. }));
    assert!(matches!(refuse(&mut core, settle(1, 2, &[5])), Error::StrangersHold { .. }));
    assert!(matches!(refuse(&mut core, settle(2, 1, &[5])), Error::NoOpenHold { .. }));
    let Request::Settle(mut odd) = settle(1, 1, &[5, 5]) else { unreachable!() };
    odd.usage[1].segment = 0;
    assert!(matches!(refuse(&mut core, Request::Settle(odd.clone())), Error::UsageMismatch { .. }));
    odd.usage[1].segment = 1;
    odd.charge = Nanos(9);
    assert!(matches!(refuse(&mut core, Request::Settle(odd.clone())), Error::UsageMismatch { .. }));
    odd.charge = Nanos(10);
    odd.shares[0].amount = Nanos(-1);
    assert!(matches!(refuse(&mut core, Request::Settle(odd)), Error::BadAmount { .. }));
    assert!(matches!(refuse(&mut core, hold(9, 1, 0)), Error::BadAmount { .. }));
    assert!(matches!(refuse(&mut core, top_up(9, 1, -1)), Error::BadAmount { .. }));
    assert_eq!(available(&core, 1), 50);
    decide(&mut core, &settle(1, 1, &[50])).unwrap();
    assert!(matches!(refuse(&mut core, void(1)), Error::NoOpenHold { .. }));
}

#[test]
fn a_group_that_fails_half_way_moves_nothing() {
    let mut core = empty();
    for request in [top_up(1, 1, i64::MAX), hold(1, 1, 10), settle(1, 1, &[10])] {
        decide(&mut core, &request).unwrap();
    }
    let (accounts, rows) = (core.accounts.clone(), core.draft.transfers.len());
    // The bank would pass what an account can hold.
    assert!(matches!(decide(&mut core, &top_up(2, 2, 1)), Err(Error::OutOfRange { .. })));
    assert_eq!(core.draft.transfers.len(), rows);
    assert!(accounts.iter().all(|(id, account)| core.accounts[id] == *account));
}

#[test]
fn a_repetition_gets_the_first_answer_and_another_body_is_a_conflict() {
    let mut core = empty();
    decide(&mut core, &top_up(1, 1, 100)).unwrap();
    let first = decide(&mut core, &hold(1, 1, 50)).unwrap();
    let rows = core.draft.transfers.len();
    let again = decide(&mut core, &hold(1, 1, 50)).unwrap();
    assert_eq!((again.height, &again.parts, again.block), (first.height, &first.parts, None));
    assert!(matches!(decide(&mut core, &hold(1, 1, 51)), Err(Error::IdReused { recipe: "job_hold", .. })));
    assert!(matches!(decide(&mut core, &top_up(1, 1, 99)), Err(Error::IdReused { .. })));
    decide(&mut core, &settle(1, 1, &[20])).unwrap();
    let (block, _) = core.seal(noon()).unwrap();
    core.committed(block);
    assert_eq!(decide(&mut core, &settle(1, 1, &[20])).unwrap().block, Some(block));
    assert!(matches!(decide(&mut core, &settle(1, 1, &[21])), Err(Error::IdReused { .. })));
    assert_eq!(rows + 2, 4, "nothing was posted by repetitions");
    assert!(!core.has_draft());
}

#[test]
fn an_untouched_core_seals_nothing_and_blocks_follow_one_another() {
    let mut core = empty();
    assert!(core.seal(noon()).is_none());
    decide(&mut core, &top_up(1, 1, 100)).unwrap();
    let (first, _) = core.seal(noon()).unwrap();
    decide(&mut core, &hold(1, 1, 10)).unwrap();
    let (second, block) = core.seal(noon()).unwrap();
    assert_eq!((first.height, second.height), (1, 2));
    assert_eq!(block.row.prev_hash, first.hash);
    assert_eq!((block.row.first_group_seq, block.row.open_from_seq), (2, 2));
    decide(&mut core, &void(1)).unwrap();
    assert_eq!(core.seal(noon()).unwrap().1.row.open_from_seq, 4);
}

#[derive(Clone, Debug)]
enum Step {
    Grant { tenant: u8, amount: i64 },
    TopUp { tenant: u8, amount: i64 },
    Hold { job: u8, tenant: u8, amount: i64 },
    Settle { job: u8, tenant: u8, amounts: Vec<i64> },
    Void { job: u8 },
    Seal,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = || 1..60_i64;
    let step = prop_oneof![
        1 => (0..3_u8, amount()).prop_map(|(tenant, amount)| Step::Grant { tenant, amount }),
        1 => (0..3_u8, amount()).prop_map(|(tenant, amount)| Step::TopUp { tenant, amount }),
        4 => (0..12_u8, 0..3_u8, amount()).prop_map(|(job, tenant, amount)| Step::Hold { job, tenant, amount }),
        4 => (0..12_u8, 0..3_u8, prop::collection::vec(0..30_i64, 0..4))
            .prop_map(|(job, tenant, amounts)| Step::Settle { job, tenant, amounts }),
        2 => (0..12_u8).prop_map(|job| Step::Void { job }),
        1 => Just(Step::Seal),
    ];
    prop::collection::vec(step, 1..80)
}

/// What must be true, kept in the simplest way.
#[derive(Default)]
struct Model {
    available: HashMap<u8, i64>,
    held: HashMap<u8, (u8, i64)>,
    /// The body of each job's hold, settlement and void.
    done: HashMap<(u8, u8), String>,
    earned: i64,
}

impl Model {
    /// True when the step must be taken; the balances follow.
    fn step(&mut self, step: &Step) -> bool {
        match step {
            Step::Seal => true,
            Step::Grant { tenant, amount } | Step::TopUp { tenant, amount } => {
                *self.available.entry(*tenant).or_default() += amount;
                true
            }
            Step::Hold { job, tenant, amount } => {
                if let Some(body) = self.done.get(&(*job, 0)) {
                    return *body == format!("{step:?}") && self.held.contains_key(job);
                }
                let available = self.available.entry(*tenant).or_default();
                if *available < *amount {
                    return false;
                }
                *available -= amount;
                self.held.insert(*job, (*tenant, *amount));
                self.done.insert((*job, 0), format!("{step:?}"));
                true
            }
            Step::Settle { job, tenant, amounts } => {
                if let Some(body) = self.done.get(&(*job, 1)) {
                    return *body == format!("{step:?}");
                }
                let charge: i64 = amounts.iter().sum();
                match self.held.get(job) {
                    Some((owner, held)) if owner == tenant && charge <= *held => {
                        *self.available.entry(*tenant).or_default() += held - charge;
                        self.earned += charge;
                        self.held.remove(job);
                        self.done.insert((*job, 1), format!("{step:?}"));
                        true
                    }
                    _ => false,
                }
            }
            Step::Void { job } => {
                if self.done.contains_key(&(*job, 2)) {
                    return true;
                }
                let Some((owner, held)) = self.held.remove(job) else { return false };
                *self.available.entry(owner).or_default() += held;
                self.done.insert((*job, 2), String::new());
                true
            }
        }
    }
}

/// The request of a step; none for a seal. `number` names what happens once.
fn request(number: u8, step: &Step) -> Option<Request> {
    Some(match step {
        Step::Grant { tenant, amount } => grant(number, *tenant, *amount, None),
        Step::TopUp { tenant, amount } => top_up(number, *tenant, *amount),
        Step::Hold { job, tenant, amount } => hold(*job, *tenant, *amount),
        Step::Settle { job, tenant, amounts } => settle(*job, *tenant, amounts),
        Step::Void { job } => void(*job),
        Step::Seal => return None,
    })
}

/// Runs the steps on the core; `after` sees each and whether it was taken.
fn run(steps: &[Step], mut after: impl FnMut(&Core, &Step, bool)) -> (Core, Vec<Block>) {
    let mut core = empty();
    let mut blocks = Vec::new();
    for (number, step) in (0_u8..).zip(steps) {
        let Some(request) = request(number, step) else {
            if let Some((reference, block)) = core.seal(noon()) {
                core.committed(reference);
                blocks.push(block);
            }
            after(&core, step, true);
            continue;
        };
        let taken = decide(&mut core, &request).is_ok();
        after(&core, step, taken);
    }
    if let Some((_, block)) = core.seal(noon()) {
        blocks.push(block);
    }
    (core, blocks)
}

/// The balances that rows alone make: debits posted, credits posted, debits pending, credits pending.
fn replay(blocks: &[Block]) -> HashMap<i64, [i64; 4]> {
    let mut balances: HashMap<i64, [i64; 4]> = HashMap::new();
    let mut pending = HashMap::new();
    for row in blocks.iter().flat_map(|block| &block.transfers) {
        let held =
            row.pending_id.map_or(0, |id| pending.remove(&id).expect("a hold is resolved once, after it was placed"));
        assert!(row.amount_nanos > 0 && row.debit_account_id != row.credit_account_id);
        let (posted, on_hold) = match row.kind.as_str() {
            "posted" => (row.amount_nanos, 0),
            "pending" => {
                pending.insert(row.id, row.amount_nanos);
                (0, row.amount_nanos)
            }
            "capture" => {
                assert!(row.amount_nanos <= held, "a capture is at most its hold");
                (row.amount_nanos, -held)
            }
            _ => {
                assert_eq!(row.amount_nanos, held, "a void releases its whole hold");
                (0, -held)
            }
        };
        let debit = balances.entry(row.debit_account_id).or_default();
        debit[0] += posted;
        debit[2] += on_hold;
        let credit = balances.entry(row.credit_account_id).or_default();
        credit[1] += posted;
        credit[3] += on_hold;
    }
    balances
}

proptest! {
    #[test]
    fn any_sequence_of_requests_ends_as_the_model_says(steps in steps()) {
        let mut model = Model::default();
        let (core, blocks) = run(&steps, |core, step, taken| {
            assert_eq!(taken, model.step(step), "{step:?}");
            for number in 0..3 {
                assert_eq!(available(core, number), i128::from(model.available.get(&number).copied().unwrap_or(0)));
            }
            assert!(core.accounts.values().all(|account| !account.key.code.no_overdraft() || account.available() >= 0));
            assert_eq!(core.holds.len(), model.held.len());
        });
        let balances = replay(&blocks);
        for account in core.accounts.values() {
            let stored = [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending];
            prop_assert_eq!(stored, balances.get(&account.id.0).copied().unwrap_or_default());
        }
        let sum = |column: usize| balances.values().map(|balance| balance[column]).sum::<i64>();
        prop_assert_eq!((sum(0), sum(2)), (sum(1), sum(3)));
        let revenue: i64 = balances.iter().filter(|(id, _)| AccountId(**id).code() == Some(Code::InferenceRevenue))
            .map(|(_, balance)| balance[1]).sum();
        prop_assert_eq!(revenue, model.earned);
        let used: i64 = blocks.iter().flat_map(|block| &block.facts).map(|fact| fact.amount_nanos).sum();
        prop_assert_eq!(revenue, used);
    }

    #[test]
    fn the_same_requests_give_the_same_blocks_and_where_blocks_end_changes_no_decision(steps in steps()) {
        let mut taken = Vec::new();
        let (_, blocks) = run(&steps, |_, step, ok| if !matches!(step, Step::Seal) { taken.push(ok) });
        prop_assert_eq!(&run(&steps, |_, _, _| {}).1, &blocks);
        let mut core = empty();
        let requests = (0_u8..).zip(&steps).filter_map(|(number, step)| request(number, step));
        let merged: Vec<bool> = requests.map(|request| decide(&mut core, &request).is_ok()).collect();
        prop_assert_eq!(merged, taken);
        let rows = |blocks: &[Block]| blocks.iter().flat_map(|block| block.transfers.clone()).collect::<Vec<_>>();
        let one = core.seal(noon()).map(|(_, block)| block);
        prop_assert_eq!(rows(one.as_slice()), rows(&blocks));
    }
}
