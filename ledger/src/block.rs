//! Blocks: what one commit makes durable, chained by SHA-256 so that no row can change unseen.
//!
//! *Shape* of what is hashed, in this order; all integers little-endian:
//!
//! 1. the 19 bytes `tokengrid block v2` and a line feed;
//! 2. the header: shard i16, height i64, epoch i64, at, first_seq i64, accounts_total i64, leaves_total i32, open_from_seq i64,
//!    then the 32 bytes of the hash of the block before (zeros for the first);
//! 3. the accounts it opens by id, its leaves by id, its transfers by seq, its usage facts and capacity facts by seq and line,
//!    its account states by seq and account, its period states by seq and period: each list as its count in u32, then its rows.
//!
//! A row is its columns in the order of `migrations/0006_books.sql`, without the shard, an account's block height and what comes
//! after an account's `expires_at`. smallint is i16, integer i32, bigint i64, boolean one byte; a text is its length in bytes as u32 and its UTF-8; a UUID is its
//! 16 bytes in network order; an instant is microseconds since 1970 in i64. What may be null is one byte, 0 when it is, or 1
//! followed by the value.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::canonical::Canonical;
use crate::row::{
    AccountRow, BlockRow, CapacityRow, CheckpointRow, LeafRow, PeriodRow, StateRow, TransferRow, UsageRow,
};

const CONTEXT: &[u8] = b"tokengrid block v2\n";

/// A committed block's place and proof.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// 1, 2, 3 … in the shard.
    pub height: i64,
    /// SHA-256 over the block and the hash of the one before.
    pub hash: [u8; 32],
}

impl BlockRef {
    /// Before the first block.
    pub(crate) const GENESIS: Self = Self { height: 0, hash: [0; 32] };

    /// The hash in hexadecimal, for people.
    pub fn hash_hex(&self) -> String {
        hex::encode(self.hash)
    }
}

impl fmt::Debug for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} {}", self.height, self.hash_hex())
    }
}

/// The rows of a block, each list in canonical order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Rows {
    pub accounts: Vec<AccountRow>,
    pub leaves: Vec<LeafRow>,
    pub transfers: Vec<TransferRow>,
    pub usage: Vec<UsageRow>,
    pub capacity: Vec<CapacityRow>,
    pub states: Vec<StateRow>,
    pub periods: Vec<PeriodRow>,
}

/// A block with its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Block {
    #[serde(flatten)]
    pub row: BlockRow,
    #[serde(flatten)]
    pub rows: Rows,
    /// Derived, so no hash covers them.
    #[serde(skip)]
    pub checkpoints: Vec<CheckpointRow>,
}

impl Block {
    /// The hash of all but `row.hash`; rows are in canonical order.
    pub fn hash(&self) -> [u8; 32] {
        let mut out = Canonical::new();
        let Self { row, rows, .. } = self;
        out.bytes(CONTEXT);
        out.i16(row.shard);
        out.i64(row.height);
        out.i64(row.epoch);
        out.instant(row.at);
        out.i64(row.first_seq);
        out.i64(row.accounts_total);
        out.i32(row.leaves_total);
        out.i64(row.open_from_seq);
        out.bytes(&row.prev_hash);
        out.rows(&rows.accounts);
        out.rows(&rows.leaves);
        out.rows(&rows.transfers);
        out.rows(&rows.usage);
        out.rows(&rows.capacity);
        out.rows(&rows.states);
        out.rows(&rows.periods);
        out.digest()
    }
}
