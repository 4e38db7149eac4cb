//! Blocks with their rows, page by page, so that a book of any length is read in bounded memory.

use std::iter::Peekable;
use std::vec::IntoIter;

use sqlx::PgConnection;

use crate::block::{Block, Rows};
use crate::error::Error;
use crate::repo::proof as repo;
use crate::row::BlockRow;

/// How many blocks, and about how many transfers, are read at once.
const PAGE_BLOCKS: i64 = 512;
const PAGE_TRANSFERS: i64 = 50_000;

/// The row of one block.
pub(super) async fn row(conn: &mut PgConnection, shard: i16, height: i64) -> Result<Option<BlockRow>, Error> {
    let next = repo::blocks(conn, shard, height - 1, 1).await?.pop();
    Ok(next.filter(|row| row.height == height))
}

/// The next blocks above a height with their rows, lowest first; none after the last.
pub(super) async fn page(conn: &mut PgConnection, shard: i16, above: i64) -> Result<Vec<Block>, Error> {
    let mut page = repo::blocks(conn, shard, above, PAGE_BLOCKS).await?;
    let mut transfers = 0;
    let fits = page.iter().take_while(|row| {
        transfers += i64::from(row.transfers_count);
        transfers <= PAGE_TRANSFERS
    });
    page.truncate(fits.count().max(1));
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(Vec::new()) };
    let (from, to) = (first.first_seq, last.first_seq + i64::from(last.transfers_count));
    let leaves_before = first.leaves_total - first.leaves_count;
    let mut accounts = peekable(repo::accounts(conn, shard, first.height, last.height).await?);
    let mut leaves = peekable(repo::leaves(conn, shard, leaves_before, last.leaves_total).await?);
    let mut transfers = peekable(repo::transfers(conn, from, to).await?);
    let mut usage = peekable(repo::usage(conn, from, to).await?);
    let mut capacity = peekable(repo::capacity(conn, from, to).await?);
    let mut states = peekable(repo::states(conn, from, to).await?);
    let mut periods = peekable(repo::periods(conn, from, to).await?);
    let blocks = page.into_iter().map(|row| {
        let end = row.first_seq + i64::from(row.transfers_count);
        let rows = Rows {
            accounts: take_while(&mut accounts, |account| account.block_height <= row.height),
            leaves: take_while(&mut leaves, |leaf| leaf.id <= row.leaves_total),
            transfers: take_while(&mut transfers, |transfer| transfer.seq < end),
            usage: take_while(&mut usage, |fact| fact.seq < end),
            capacity: take_while(&mut capacity, |fact| fact.seq < end),
            states: take_while(&mut states, |state| state.seq < end),
            periods: take_while(&mut periods, |period| period.seq < end),
        };
        Block { row, rows, checkpoints: Vec::new() }
    });
    Ok(blocks.collect())
}

fn peekable<T>(rows: Vec<T>) -> Peekable<IntoIter<T>> {
    rows.into_iter().peekable()
}

fn take_while<T>(rows: &mut Peekable<IntoIter<T>>, belongs: impl Fn(&T) -> bool) -> Vec<T> {
    std::iter::from_fn(|| rows.next_if(&belongs)).collect()
}
