//! The block being built.

use crate::account::{Account, AccountState};
use crate::block::{Block, Rows};
use crate::core::Tip;
use crate::period::{Month, PeriodState};
use crate::recipe::{CapacityDraft, GroupKey, UsageDraft};
use crate::row::{BlockRow, CapacityRow, CheckpointRow, PeriodRow, StateRow, UsageRow};

/// Rows as they are decided.
#[derive(Clone, Debug, Default)]
pub(super) struct DraftBlock {
    pub keys: Vec<GroupKey>,
    pub rows: Rows,
    pub checkpoints: Vec<CheckpointRow>,
}

impl DraftBlock {
    pub fn use_tokens(&mut self, seq: i64, leaf_id: i32, fact: &UsageDraft) {
        self.rows.usage.push(UsageRow {
            seq,
            quantity: fact.quantity,
            amount: fact.amount.0,
            leaf_id,
            compute_ms: fact.compute_ms,
            line: next_line(self.rows.usage.last().map(|row| (row.seq, row.line)), seq),
            segment: fact.segment,
        });
    }

    pub fn deploy(&mut self, seq: i64, leaf_id: i32, fact: &CapacityDraft) {
        self.rows.capacity.push(CapacityRow {
            seq,
            leaf_id,
            line: next_line(self.rows.capacity.last().map(|row| (row.seq, row.line)), seq),
            share_ppm: fact.share_ppm,
            rcu_milli: fact.rcu_milli,
            from_at: fact.from_at,
            to_at: fact.to_at,
        });
    }

    pub fn close(&mut self, seq: i64, month: Month, state: PeriodState) {
        self.rows.periods.push(PeriodRow { seq, period: month.number(), state: state.as_str().to_owned() });
    }

    /// The block after `tip.block`, without its hash, and the groups that it keeps.
    pub fn seal(mut self, shard: i16, epoch: i64, tip: &Tip) -> (Block, Vec<GroupKey>) {
        self.rows.accounts.sort_by_key(|account| account.id);
        let count = |rows: usize| i32::try_from(rows).expect("a block is bounded far below two billion rows");
        let rows = self.rows;
        let row = BlockRow {
            shard,
            height: tip.block.height + 1,
            epoch,
            at: tip.at,
            first_seq: rows.transfers[0].seq,
            transfers_count: count(rows.transfers.len()),
            accounts_count: count(rows.accounts.len()),
            leaves_count: count(rows.leaves.len()),
            usage_count: count(rows.usage.len()),
            capacity_count: count(rows.capacity.len()),
            states_count: count(rows.states.len()),
            periods_count: count(rows.periods.len()),
            accounts_total: tip.accounts_total,
            leaves_total: tip.leaves_total,
            open_from_seq: tip.open_from_seq,
            prev_hash: tip.block.hash.to_vec(),
            hash: Vec::new(),
        };
        let mut block = Block { row, rows, checkpoints: self.checkpoints };
        block.row.hash = block.hash().to_vec();
        (block, self.keys)
    }
}

impl StateRow {
    /// The state that an account has from the group `seq` on.
    pub(super) fn of(seq: i64, account: &Account) -> Self {
        let frozen = account.state == AccountState::Frozen;
        // Below zero for an account that may be overdrawn and is. What an amount cannot say is nearest to its end.
        let available = account.available().clamp(i64::MIN.into(), i64::MAX.into());
        let available = i64::try_from(available).expect("it was clamped");
        Self {
            seq,
            account_id: account.id.0,
            state: account.state.as_str().to_owned(),
            floor: frozen.then_some(available),
        }
    }
}

/// The line after the last one of the same group, or the first.
fn next_line(last: Option<(i64, i16)>, seq: i64) -> i16 {
    last.filter(|&(group, _)| group == seq).map_or(0, |(_, line)| line + 1)
}
