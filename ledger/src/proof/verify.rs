//! The verifier: recomputes every block's hash from its rows and every balance from its transfers.

use sqlx::{Connection, PgConnection};

use super::read;
use crate::account::AccountId;
use crate::block::{Block, BlockRef};
use crate::error::Error;
use crate::repo::{post, proof as repo};

/// How many wrong balances are named.
const WRONG_BALANCES_MAX: i64 = 100;

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
    /// Accounts whose balance is not the sum of their transfers; at most a hundred are named.
    pub wrong_balances: Vec<AccountId>,
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
        self.bad_blocks.is_empty() && self.wrong_balances.is_empty()
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
    for shard in repo::shards(&mut tx).await? {
        verify_shard(&mut tx, shard, &mut found, &mut watch).await?;
    }
    found.wrong_balances = repo::wrong_balances(&mut tx, WRONG_BALANCES_MAX).await?;
    tx.commit().await?;
    Ok(found)
}

async fn verify_shard(
    conn: &mut PgConnection,
    shard: i16,
    found: &mut Verification,
    watch: &mut impl FnMut(i64, i64),
) -> Result<(), Error> {
    let last = post::tip(conn, shard).await?.block.height;
    let mut head = BlockRef::GENESIS;
    let mut seen = repo::Counts::default();
    loop {
        let page = read::page(conn, shard, head.height).await?;
        if page.is_empty() {
            break;
        }
        for block in page {
            if let Some(reason) = fault(&block, head, &seen) {
                found.bad_blocks.push(BadBlock { shard, height: head.height + 1, reason });
                return Ok(());
            }
            seen.accounts += i64::from(block.row.accounts_count);
            seen.groups += i64::from(block.row.groups_count);
            seen.transfers += i64::from(block.row.transfers_count);
            seen.facts += i64::from(block.row.facts_count);
            head = BlockRef { height: block.row.height, hash: block.hash() };
        }
        watch(head.height, last);
    }
    if repo::counts(conn, shard).await? != seen {
        let reason = "there are rows that belong to no block";
        found.bad_blocks.push(BadBlock { shard, height: head.height + 1, reason });
    }
    found.blocks += head.height;
    found.transfers += seen.transfers;
    found.facts += seen.facts;
    found.heads.push((shard, head));
    Ok(())
}

/// What is wrong with the block after `head`, if anything.
fn fault(block: &Block, head: BlockRef, seen: &repo::Counts) -> Option<&'static str> {
    let row = &block.row;
    let same = |count: i32, rows: usize| i64::from(count) == rows as i64;
    if row.height != head.height + 1 {
        Some("a block is missing")
    } else if row.prev_hash != head.hash {
        Some("it does not follow the block before")
    } else if row.first_group_seq != seen.groups + 1
        || !(0..)
            .zip(&block.groups)
            .all(|(i, group)| group.seq == row.first_group_seq + i && group.block_height == row.height)
    {
        Some("its groups are not numbered without gaps")
    } else if row.accounts_total != seen.accounts + i64::from(row.accounts_count) {
        Some("its accounts are miscounted")
    } else if !(same(row.groups_count, block.groups.len())
        && same(row.accounts_count, block.accounts.len())
        && same(row.transfers_count, block.transfers.len())
        && same(row.facts_count, block.facts.len()))
    {
        Some("rows are missing or added")
    } else if row.hash != block.hash() {
        Some("its rows do not give its hash")
    } else {
        None
    }
}
