//! The auditor: adds up every transfer, and holds what comes out against what the database says of each account.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::account::AccountId;
use crate::block::Rows;
use crate::core::CHECKPOINT_EVERY;
use crate::error::Error;
use crate::proof::months::Months;
use crate::repo::proof as repo;
use crate::row::{AccountRow, CheckpointRow, TransferRow};
use crate::transfer::Kind;

/// How many accounts or checkpoints are read at once.
const PAGE: i64 = 20_000;

/// What was added up so far, over all shards.
#[derive(Debug, Default)]
pub(super) struct Audit {
    pub seen: repo::Counts,
    /// What is booked in which month.
    pub months: Months,
    accounts: HashMap<i64, Sums>,
    /// What open holds hold, by the hold's transfer.
    holds: HashMap<i64, i64>,
    /// What checkpoints must say, in the order in which they are stored once sorted.
    checkpoints: Vec<CheckpointRow>,
}

/// What transfers and states make of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    debits_posted: i64,
    credits_posted: i64,
    debits_pending: i64,
    credits_pending: i64,
    last_seq: i64,
    transfers: i64,
    state: Option<(String, Option<i64>)>,
}

impl Audit {
    /// Takes the rows of the next block; tells what in them fits nothing that came before.
    pub fn add(&mut self, rows: &Rows) -> Option<&'static str> {
        self.seen.accounts += rows.accounts.len() as i64;
        self.seen.leaves += rows.leaves.len() as i64;
        self.seen.transfers += rows.transfers.len() as i64;
        self.seen.usage += rows.usage.len() as i64;
        self.seen.capacity += rows.capacity.len() as i64;
        self.seen.states += rows.states.len() as i64;
        self.seen.periods += rows.periods.len() as i64;
        for account in &rows.accounts {
            self.accounts.insert(account.id, Sums::default());
        }
        let mut misfit = None;
        for transfer in &rows.transfers {
            self.months.add(transfer);
            if transfer.kind == Kind::Note.number() {
                continue;
            }
            misfit = misfit.or(self.transfer(transfer));
        }
        for state in &rows.states {
            match self.accounts.get_mut(&state.account_id) {
                Some(sums) => sums.state = Some((state.state.clone(), state.floor)),
                None => misfit = misfit.or(Some("it sets the state of an account that was never opened")),
            }
        }
        misfit
    }

    fn transfer(&mut self, row: &TransferRow) -> Option<&'static str> {
        let amount = row.amount;
        let (posted, pending) = match Kind::from_number(row.kind) {
            Some(Kind::Posted) => (amount, 0),
            Some(Kind::Pending) => {
                self.holds.insert(row.seq, amount);
                (0, amount)
            }
            Some(Kind::Capture | Kind::Void) => {
                let Some(held) = row.pending_seq.and_then(|of| self.holds.remove(&of)) else {
                    return Some("it resolves a hold that is not open");
                };
                (if row.kind == Kind::Capture.number() { amount } else { 0 }, -held)
            }
            Some(Kind::Note) | None => return Some("it has a transfer of no kind"),
        };
        let debit = self.leg(row.debit_account_id, row.seq, row.debit_prev_seq, (posted, pending), (0, 0));
        let credit = self.leg(row.credit_account_id, row.seq, row.credit_prev_seq, (0, 0), (posted, pending));
        debit.or(credit)
    }

    /// Adds posted and pending amounts to an account's debits and credits.
    fn leg(
        &mut self,
        account_id: i64,
        seq: i64,
        prev_seq: i64,
        debits: (i64, i64),
        credits: (i64, i64),
    ) -> Option<&'static str> {
        let Some(sums) = self.accounts.get_mut(&account_id) else {
            return Some("it moves an account that was never opened");
        };
        let follows = sums.last_seq == prev_seq;
        // What wraps around differs from what is stored, so it is found.
        sums.debits_posted = sums.debits_posted.wrapping_add(debits.0);
        sums.debits_pending = sums.debits_pending.wrapping_add(debits.1);
        sums.credits_posted = sums.credits_posted.wrapping_add(credits.0);
        sums.credits_pending = sums.credits_pending.wrapping_add(credits.1);
        sums.last_seq = seq;
        sums.transfers += 1;
        if sums.transfers % CHECKPOINT_EVERY == 0 || self.months.edge().crossed(prev_seq) {
            self.checkpoints.push(CheckpointRow {
                account_id,
                seq,
                debits_posted: sums.debits_posted,
                credits_posted: sums.credits_posted,
                debits_pending: sums.debits_pending,
                credits_pending: sums.credits_pending,
            });
        }
        if follows { None } else { Some("a transfer does not follow its account's history") }
    }

    /// The accounts that are not what was added up; at most `max`.
    pub async fn wrong_accounts(mut self, conn: &mut PgConnection, max: usize) -> Result<Vec<AccountId>, Error> {
        let mut wrong = Vec::new();
        let mut above = 0;
        loop {
            let page = repo::accounts_above(conn, above, PAGE).await?;
            let Some(last) = page.last() else { break };
            above = last.id;
            for row in &page {
                if self.accounts.remove(&row.id).is_none_or(|sums| sums != Sums::stored(row, sums.state.is_some())) {
                    wrong.push(row.id);
                }
            }
        }
        // What is left was moved and is not there.
        wrong.extend(self.accounts.keys());
        wrong.extend(self.wrong_checkpoints(conn).await?);
        wrong.sort_unstable();
        wrong.dedup();
        wrong.truncate(max);
        Ok(wrong.into_iter().map(AccountId).collect())
    }

    /// The accounts whose checkpoints are not what was added up.
    async fn wrong_checkpoints(&mut self, conn: &mut PgConnection) -> Result<Vec<i64>, Error> {
        let key = |row: &CheckpointRow| (row.account_id, row.seq);
        self.checkpoints.sort_unstable_by_key(key);
        let mut expected = self.checkpoints.drain(..).peekable();
        let mut wrong = Vec::new();
        let mut above = (0, 0);
        loop {
            let page = repo::checkpoints(conn, above, PAGE).await?;
            let Some(last) = page.last() else { break };
            above = key(last);
            for row in page {
                while let Some(missing) = expected.next_if(|next| key(next) < key(&row)) {
                    wrong.push(missing.account_id);
                }
                if expected.next_if(|next| *next == row).is_none() {
                    wrong.push(row.account_id);
                    expected.next_if(|next| key(next) == key(&row));
                }
            }
        }
        wrong.extend(expected.map(|missing| missing.account_id));
        Ok(wrong)
    }
}

impl Sums {
    /// What the database says; an account whose state was never set is open.
    fn stored(row: &AccountRow, with_state: bool) -> Self {
        let open = row.state == "open" && row.floor.is_none();
        let state = (with_state || !open).then(|| (row.state.clone(), row.floor));
        Self {
            debits_posted: row.debits_posted,
            credits_posted: row.credits_posted,
            debits_pending: row.debits_pending,
            credits_pending: row.credits_pending,
            last_seq: row.last_seq,
            transfers: row.transfers_count,
            state,
        }
    }
}
