//! What is booked in which month, added up from every transfer and held against what the database says.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use crate::account::AccountId;
use crate::error::Error;
use crate::period::{Month, MonthEdge};
use crate::repo::{bad_row, period as repo};
use crate::row::TransferRow;
use crate::transfer::{Kind, SEQS_PER_SHARD};

/// Months as the transfers make them; those of one shard after the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Months {
    shard: i16,
    edge: MonthEdge,
    /// The month of the group that is being read.
    current: i16,
    stored: repo::StoredMonths,
}

impl Months {
    /// Takes the next transfer, in the order of their numbers.
    pub fn add(&mut self, row: &TransferRow) {
        let shard = (row.seq / SEQS_PER_SHARD) as i16;
        if shard != self.shard {
            (self.shard, self.edge) = (shard, MonthEdge::default());
        }
        if let Some(month) = row.period {
            self.edge = self.edge.after(month, row.seq);
            self.current = month;
            self.stored.begun.entry((shard, month)).or_insert(row.seq);
            if self.edge.latest > Some(month) {
                self.stored.late.insert((month, row.seq));
            }
        }
        if row.kind == Kind::Posted.number() || row.kind == Kind::Capture.number() {
            let amount = i128::from(row.amount);
            self.total(row.debit_account_id).0 += amount;
            self.total(row.credit_account_id).1 += amount;
        }
    }

    fn total(&mut self, account: i64) -> &mut (i128, i128) {
        self.stored.totals.entry((self.shard, self.current, account / AccountId::PER_UNIT)).or_default()
    }

    /// Where the latest month of the shard being read began.
    pub fn edge(&self) -> MonthEdge {
        self.edge
    }

    /// The months that the database tells otherwise.
    pub async fn wrong(self, conn: &mut PgConnection) -> Result<Vec<Month>, Error> {
        let stored = repo::stored_months(conn).await?;
        let mut wrong: BTreeSet<i16> = BTreeSet::new();
        wrong.extend(differing(&self.stored.begun, &stored.begun).map(|(_, month)| *month));
        wrong.extend(differing(&self.stored.totals, &stored.totals).map(|(_, month, _)| *month));
        wrong.extend(self.stored.late.symmetric_difference(&stored.late).map(|(month, _)| *month));
        let month = |number| Month::try_from_number(number).map_err(|_| bad_row("ledger.months", "period", number));
        wrong.into_iter().map(month).collect()
    }
}

/// The keys whose values are not the same on both sides.
fn differing<'a, K: Ord, V: PartialEq>(
    one: &'a BTreeMap<K, V>,
    other: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let keys = one.keys().chain(other.keys());
    keys.filter(|key| one.get(key) != other.get(key))
}
