//! Blocks with their rows, page by page, so that a book of any length is read in bounded memory.

use std::iter::Peekable;
use std::vec::IntoIter;

use sqlx::PgConnection;

use crate::block::Block;
use crate::error::Error;
use crate::repo::proof as repo;
use crate::row::BlockRow;

/// How many blocks are read at once.
const PAGE_BLOCKS: i64 = 256;

/// The row of one block.
pub(super) async fn row(conn: &mut PgConnection, shard: i16, height: i64) -> Result<Option<BlockRow>, Error> {
    let next = repo::blocks(conn, shard, height - 1, 1).await?.pop();
    Ok(next.filter(|row| row.height == height))
}

/// The next blocks above a height with their rows, lowest first; none after the last.
pub(super) async fn page(conn: &mut PgConnection, shard: i16, above: i64) -> Result<Vec<Block>, Error> {
    let page = repo::blocks(conn, shard, above, PAGE_BLOCKS).await?;
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(Vec::new()) };
    let (from, to) = (first.first_group_seq, last.first_group_seq + i64::from(last.groups_count));
    let mut accounts = repo::accounts(conn, shard, first.height, last.height).await?.into_iter().peekable();
    let mut groups = repo::groups(conn, shard, from, to).await?.into_iter().peekable();
    let mut transfers = repo::transfers(conn, shard, from, to).await?.into_iter().peekable();
    let mut facts = repo::facts(conn, shard, from, to).await?.into_iter().peekable();
    let blocks = page.into_iter().map(|row| {
        let end = row.first_group_seq + i64::from(row.groups_count);
        Block {
            accounts: take_while(&mut accounts, |account| account.block_height <= row.height),
            groups: take_while(&mut groups, |group| group.seq < end),
            transfers: take_while(&mut transfers, |transfer| transfer.group_seq < end),
            facts: take_while(&mut facts, |fact| fact.group_seq < end),
            row,
        }
    });
    Ok(blocks.collect())
}

fn take_while<T>(rows: &mut Peekable<IntoIter<T>>, belongs: impl Fn(&T) -> bool) -> Vec<T> {
    std::iter::from_fn(|| rows.next_if(&belongs)).collect()
}
