//! Any sequence of requests, held against a model that a child could check: credit in a list of lots, holds in a map.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Grant { tenant: u8, amount: i64 },
    TopUp { tenant: u8, amount: i64 },
    Hold { job: u8, tenant: u8, amount: i64 },
    Settle { job: u8, tenant: u8, amounts: Vec<i64>, owe: bool },
    Void { job: u8 },
    Seal,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = || 1..60_i64;
    let step = prop_oneof![
        1 => (0..3_u8, amount()).prop_map(|(tenant, amount)| Step::Grant { tenant, amount }),
        1 => (0..3_u8, amount()).prop_map(|(tenant, amount)| Step::TopUp { tenant, amount }),
        4 => (0..12_u8, 0..3_u8, amount()).prop_map(|(job, tenant, amount)| Step::Hold { job, tenant, amount }),
        4 => (0..12_u8, 0..3_u8, prop::collection::vec(0..30_i64, 0..4), any::<bool>())
            .prop_map(|(job, tenant, amounts, owe)| Step::Settle { job, tenant, amounts, owe }),
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
    owed: HashMap<u8, i64>,
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
            Step::Settle { job, tenant, amounts, owe } => {
                if let Some(body) = self.done.get(&(*job, 1)) {
                    return *body == format!("{step:?}");
                }
                let charge: i64 = amounts.iter().sum();
                match self.held.get(job) {
                    Some((owner, held)) if owner == tenant && (*owe || charge <= *held) => {
                        *self.available.entry(*tenant).or_default() += (held - charge).max(0);
                        *self.owed.entry(*tenant).or_default() += (charge - held).max(0);
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
        Step::TopUp { tenant, amount } => top_up(number.into(), *tenant, *amount),
        Step::Hold { job, tenant, amount } => hold(*job, *tenant, *amount),
        Step::Settle { job, tenant, amounts, owe: false } => settle(*job, *tenant, amounts),
        Step::Settle { job, tenant, amounts, owe: true } => settle_or_owe(*job, *tenant, amounts),
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
pub(super) fn replay<'a>(rows: impl IntoIterator<Item = &'a TransferRow>) -> HashMap<i64, [i64; 4]> {
    let mut balances: HashMap<i64, [i64; 4]> = HashMap::new();
    let mut pending = HashMap::new();
    for row in rows {
        let held =
            row.pending_seq.map_or(0, |of| pending.remove(&of).expect("a hold is resolved once, after it was placed"));
        assert!(row.amount > 0 && row.debit_account_id != row.credit_account_id);
        let (posted, on_hold) = match Kind::from_number(row.kind).unwrap() {
            Kind::Posted => (row.amount, 0),
            Kind::Pending => {
                pending.insert(row.seq, row.amount);
                (0, row.amount)
            }
            Kind::Capture => {
                assert!(row.amount <= held, "a capture is at most its hold");
                (row.amount, -held)
            }
            Kind::Void => {
                assert_eq!(row.amount, held, "a void releases its whole hold");
                (0, -held)
            }
            Kind::Note => panic!("a note moves nothing"),
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

/// The transfers over an account, walked from its last one back to its first.
pub(super) fn history(rows: &[TransferRow], account: &Account) -> Vec<i64> {
    let mut seqs = vec![];
    let mut next = account.last_seq;
    while next != 0 {
        seqs.push(next);
        let row = &rows[rows.binary_search_by_key(&next, |row| row.seq).unwrap()];
        next = if row.debit_account_id == account.id.0 { row.debit_prev_seq } else { row.credit_prev_seq };
        assert!(next < row.seq);
    }
    seqs
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
            for number in 0..3 {
                assert_eq!(owed(core, number), i128::from(model.owed.get(&number).copied().unwrap_or(0)));
            }
            let accounts = core.books.all();
            assert!(accounts.iter().all(|account| !account.key.code.no_overdraft() || account.available() >= 0));
            assert!((0..12).all(|number| core.books.open_hold(job(number).0).is_ok() == model.held.contains_key(&number)));
        });
        let rows: Vec<TransferRow> = blocks.iter().flat_map(|block| block.rows.transfers.clone()).collect();
        prop_assert!(rows.iter().zip(1..).all(|(row, seq)| row.seq == seq));
        let balances = replay(&rows);
        for account in core.books.all() {
            let over = |row: &&TransferRow| [row.debit_account_id, row.credit_account_id].contains(&account.id.0);
            let seqs: Vec<i64> = rows.iter().filter(over).map(|row| row.seq).rev().collect();
            prop_assert_eq!(history(&rows, account), seqs);
            let stored = [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending];
            prop_assert_eq!(stored, balances.get(&account.id.0).copied().unwrap_or_default());
        }
        let sum = |column: usize| balances.values().map(|balance| balance[column]).sum::<i64>();
        prop_assert_eq!((sum(0), sum(2)), (sum(1), sum(3)));
        let revenue: i64 = balances.iter().filter(|(id, _)| AccountId(**id).code() == Some(Code::InferenceRevenue))
            .map(|(_, balance)| balance[1]).sum();
        prop_assert_eq!(revenue, model.earned);
        let used: i64 = blocks.iter().flat_map(|block| &block.rows.usage).map(|fact| fact.amount).sum();
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
        let rows = |blocks: &[Block]| blocks.iter().flat_map(|block| block.rows.transfers.clone()).collect::<Vec<_>>();
        let one = core.seal(noon()).map(|(_, block)| block);
        prop_assert_eq!(rows(one.as_slice()), rows(&blocks));
    }
}
