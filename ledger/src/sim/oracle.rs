//! The oracle: knows what was promised to whom, and holds rows and answers against it. It shares no line with the core.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use primitives::money::Nanos;

use super::database::{Database, Tables};
use super::workload::Wish;
use crate::block::BlockRef;
use crate::period::MonthEdge;
use crate::recipe::{GroupKey, Request};

/// Everything that somebody was told is kept.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    kept: HashMap<GroupKey, (i64, BlockRef)>,
}

impl Oracle {
    /// A caller was told that its request is kept in that block.
    pub fn kept(&mut self, database: &Database, request: &Request, block: BlockRef) {
        let (key, body) = (request.key(), request.body());
        let group = database.durable_group(&key).unwrap_or_else(|| panic!("{key:?} was said to be kept and is not"));
        assert_eq!(
            (group.body, group.height, group.hash),
            (body, block.height, block.hash),
            "{key:?} is kept otherwise"
        );
        if let Some(before) = self.kept.insert(key, (body, block)) {
            assert_eq!(before, (body, block), "{key:?} got two answers");
        }
    }

    /// The books after a power cut: nothing that was said to be kept is lost.
    pub fn after_crash(&self, database: &Database) {
        for (key, (body, block)) in &self.kept {
            let group = database.durable_group(key).unwrap_or_else(|| panic!("a crash lost {key:?}"));
            assert_eq!((group.body, group.height, group.hash), (*body, block.height, block.hash));
        }
    }

    /// A hold was decided by a writer that had the truth (`view`): it is refused exactly when the money is short.
    pub fn judge(&self, view: &Tables, wish: &Wish, refused: Option<Nanos>, now: DateTime<Utc>) {
        let (Some(payer), Some(amount)) = (wish.payer(), wish.amount()) else { return };
        let key = wish.request().key();
        if view.groups.contains_key(&key) {
            // A repetition: whatever it is told, nothing happens, and a hold that is open is not refused for want of money.
            let open = view.holds.values().any(|(_, head, _)| head.link_id == Some(key.link));
            assert!(!open || refused.is_none(), "an open hold was refused for want of money");
            return;
        }
        let spendable = view.spendable(payer, now);
        match refused {
            Some(available) => {
                assert_eq!(available, Nanos(spendable), "the refusal tells what is there");
                assert!(amount > spendable, "{amount} was refused with {spendable} at hand");
            }
            None => assert!(amount <= spendable, "{amount} was held with {spendable} at hand"),
        }
    }

    /// The books in the end: balanced in every unit, nobody overdrawn, usage and revenue alike, the chain whole.
    pub fn close(&self, database: &Database) {
        self.after_crash(database);
        let mut sums: HashMap<&str, [i64; 4]> = HashMap::new();
        for (row, _) in database.tables().accounts.values() {
            let sum = sums.entry(row.unit.as_str()).or_default();
            sum[0] += row.debits_posted;
            sum[1] += row.credits_posted;
            sum[2] += row.debits_pending;
            sum[3] += row.credits_pending;
        }
        assert!(sums.values().all(|[dr, cr, dr_held, cr_held]| dr == cr && dr_held == cr_held), "{sums:?}");
        let revenue: i64 = database
            .tables()
            .accounts
            .values()
            .filter(|(row, _)| row.code == 4000)
            .map(|(row, _)| row.credits_posted)
            .sum();
        let used: i64 = database.blocks().iter().flat_map(|block| &block.rows.usage).map(|fact| fact.amount).sum();
        assert_eq!(revenue, used, "revenue is what usage explains");
        let mut before = BlockRef::GENESIS;
        for block in database.blocks() {
            assert_eq!((block.row.prev_hash.as_slice(), block.row.height), (before.hash.as_slice(), before.height + 1));
            before = BlockRef { height: block.row.height, hash: block.hash() };
        }
        self.checkpoints(database);
    }

    /// Checkpoints and chains of transfers lead where they should.
    fn checkpoints(&self, database: &Database) {
        let mut last: HashMap<i64, (i64, i64)> = HashMap::new();
        let mut due: HashMap<(i64, i64), ()> = HashMap::new();
        let mut edge = MonthEdge::default();
        for block in database.blocks() {
            for row in &block.rows.transfers {
                edge = row.period.map_or(edge, |month| edge.after(month, row.seq));
                if row.kind == 5 {
                    continue;
                }
                for (id, prev) in
                    [(row.debit_account_id, row.debit_prev_seq), (row.credit_account_id, row.credit_prev_seq)]
                {
                    let (seq, count) = last.entry(id).or_default();
                    assert_eq!(*seq, prev, "transfer {} does not follow account {id}'s history", row.seq);
                    (*seq, *count) = (row.seq, *count + 1);
                    if *count % crate::core::CHECKPOINT_EVERY == 0 || edge.crossed(prev) {
                        due.insert((id, row.seq), ());
                    }
                }
            }
            for checkpoint in &block.checkpoints {
                assert!(due.remove(&(checkpoint.account_id, checkpoint.seq)).is_some(), "{checkpoint:?} is not due");
            }
        }
        assert!(due.is_empty(), "checkpoints are missing: {due:?}");
    }
}
