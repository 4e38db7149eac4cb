//! The verifier: recomputes every block's hash from its rows and every balance from its transfers.

use sqlx::{Connection, PgConnection};

use super::audit::Audit;
use super::read;
use crate::account::AccountId;
use crate::block::{Block, BlockRef};
use crate::core::Tip;
use crate::error::Error;
use crate::period::Month;
use crate::repo::{post, proof as repo};

/// How many wrong balances are named.
const WRONG_BALANCES_MAX: usize = 100;

/// What the verifier found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Blocks that are as they were made.
    pub blocks: i64,
    /// Transfers in them.
    pub transfers: i64,
    /// Usage facts in them.
    pub facts: i64,
    /// The last good block of each shard.
    pub heads: Vec<(i16, BlockRef)>,
    /// The first bad block of each shard that has one.
    pub bad_blocks: Vec<BadBlock>,
    /// Accounts whose balance, history or state is not what their transfers and states make of it; at most a hundred are named.
    pub wrong_balances: Vec<AccountId>,
    /// Months whose beginning, totals or late groups are not what the groups booked in them make of them.
    pub wrong_months: Vec<Month>,
}

/// A block that is not as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBlock {
    /// The shard.
    pub shard: i16,
    /// The block, or the one that would be next where rows belong to none.
    pub height: i64,
    /// What is wrong.
    pub reason: &'static str,
}

impl Verification {
    /// True when nothing is wrong.
    pub fn passed(&self) -> bool {
        self.bad_blocks.is_empty() && self.wrong_balances.is_empty() && self.wrong_months.is_empty()
    }
}

/// Recomputes the whole ledger as of one instant; writers go on meanwhile. `watch` is told how many blocks of a shard are
/// done, and how many there are.
///
/// The one reader that begins its own transaction, since it must see one instant. *Errors*: a database that does not answer;
/// what is wrong with the books is in the answer.
pub async fn verify(conn: &mut PgConnection, mut watch: impl FnMut(i64, i64)) -> Result<Verification, Error> {
    let mut tx = conn.begin().await?;
    repo::freeze(&mut tx).await?;
    let mut found = Verification::default();
    let mut audit = Audit::default();
    for shard in repo::shards(&mut tx).await? {
        verify_shard(&mut tx, shard, &mut found, &mut audit, &mut watch).await?;
    }
    // Where a block is bad, rows may be missing or too many all over.
    if found.bad_blocks.is_empty() && repo::counts(&mut tx).await? != audit.seen {
        let (shard, head) = found.heads.last().copied().unwrap_or((0, BlockRef::GENESIS));
        let reason = "there are rows that belong to no block";
        found.bad_blocks.push(BadBlock { shard, height: head.height + 1, reason });
    }
    found.transfers = audit.seen.transfers;
    found.facts = audit.seen.usage;
    found.wrong_months = std::mem::take(&mut audit.months).wrong(&mut tx).await?;
    found.wrong_balances = audit.wrong_accounts(&mut tx, WRONG_BALANCES_MAX).await?;
    tx.commit().await?;
    Ok(found)
}

async fn verify_shard(
    conn: &mut PgConnection,
    shard: i16,
    found: &mut Verification,
    audit: &mut Audit,
    watch: &mut impl FnMut(i64, i64),
) -> Result<(), Error> {
    let last = post::tip(conn, shard).await?.block.height;
    let mut good = Tip::genesis(shard);
    let mut bad = false;
    let mut read = 0;
    loop {
        let page = read::page(conn, shard, read).await?;
        if page.is_empty() {
            break;
        }
        for block in page {
            read = block.row.height;
            let misfit = audit.add(&block.rows);
            if bad {
                // The rest is read for its balances alone.
                continue;
            }
            if let Some(reason) = fault(&block, &good).or(misfit) {
                found.bad_blocks.push(BadBlock { shard, height: good.block.height + 1, reason });
                bad = true;
                continue;
            }
            good = Tip {
                block: BlockRef { height: block.row.height, hash: block.hash() },
                at: block.row.at,
                next_seq: block.row.first_seq + i64::from(block.row.transfers_count),
                accounts_total: block.row.accounts_total,
                leaves_total: block.row.leaves_total,
                open_from_seq: block.row.open_from_seq,
                ..good
            };
        }
        watch(read, last);
    }
    found.blocks += good.block.height;
    found.heads.push((shard, good.block));
    Ok(())
}

/// What is wrong with the block after the one that ends at `tip`, if anything.
fn fault(block: &Block, tip: &Tip) -> Option<&'static str> {
    let Block { row, rows, .. } = block;
    let same = |count: i32, rows: usize| i64::from(count) == rows as i64;
    if row.height != tip.block.height + 1 {
        Some("a block is missing")
    } else if row.prev_hash != tip.block.hash {
        Some("it does not follow the block before")
    } else if row.at < tip.at {
        Some("it is older than the block before")
    } else if row.first_seq != tip.next_seq
        || !(row.first_seq..).zip(&rows.transfers).all(|(seq, transfer)| transfer.seq == seq)
        || rows.transfers.first().is_some_and(|transfer| transfer.link_id.is_none())
    {
        Some("its transfers are not numbered without gaps")
    } else if row.accounts_total != tip.accounts_total + i64::from(row.accounts_count)
        || row.leaves_total != tip.leaves_total + row.leaves_count
    {
        Some("its accounts or leaves are miscounted")
    } else if !(same(row.accounts_count, rows.accounts.len())
        && same(row.leaves_count, rows.leaves.len())
        && same(row.transfers_count, rows.transfers.len())
        && same(row.usage_count, rows.usage.len())
        && same(row.capacity_count, rows.capacity.len())
        && same(row.states_count, rows.states.len())
        && same(row.periods_count, rows.periods.len()))
    {
        Some("rows are missing or added")
    } else if row.hash != block.hash() {
        Some("its rows do not give its hash")
    } else {
        None
    }
}
