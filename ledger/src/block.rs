//! Blocks: what one commit makes durable, chained by SHA-256 so that no row can change unseen.
//!
//! *Shape* of what is hashed, in this order; all integers little-endian:
//!
//! 1. the 19 bytes `tokengrid block v1` and a line feed;
//! 2. the header: shard i16, height i64, epoch i64, at, first_group_seq i64, accounts_total i64, open_from_seq i64, then the
//!    32 bytes of the hash of the block before (zeros for the first);
//! 3. the accounts it opens by id, its groups by seq, its transfers by group and position, its usage facts by group, segment
//!    and meter: each list as its count in u32, then its rows.
//!
//! An account: id i64, code i16, normal_side, no_overdraft one byte, unit, owner_id?, lot_id?, expires_at?.
//! A group: seq i64, link_id, recipe, 32 bytes of body_hash, event_at, expires_at?, reference?.
//! A transfer: group_seq i64, position i16, id, kind, debit and credit account i64, amount_nanos i64, pending_id?, bucket?,
//! tenant_id?, model?, node_id?, provider_id?, product_line?.
//! A usage fact: group_seq i64, job_id, segment i16, meter, tenant_id, model, node_id, provider_id, quantity i64, price_id,
//! amount_nanos i64, event_at.
//!
//! A text is its length in bytes as u32 and its UTF-8; a UUID is its 16 bytes in network order; an instant is microseconds
//! since 1970 in i64. What is marked `?` is one byte, 0 when absent, or 1 followed by the value.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::row::{AccountRow, BlockRow, Canonical, FactRow, GroupRow, TransferRow};

const CONTEXT: &[u8] = b"tokengrid block v1\n";

/// A committed block's place and proof.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
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

/// A block with its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Block {
    #[serde(flatten)]
    pub row: BlockRow,
    pub accounts: Vec<AccountRow>,
    pub groups: Vec<GroupRow>,
    pub transfers: Vec<TransferRow>,
    pub facts: Vec<FactRow>,
}

impl Block {
    /// The hash of all but `row.hash`; rows are in canonical order.
    pub fn hash(&self) -> [u8; 32] {
        let mut out = Canonical(Sha256::new());
        let row = &self.row;
        out.bytes(CONTEXT);
        out.i16(row.shard);
        out.i64(row.height);
        out.i64(row.epoch);
        out.instant(row.at);
        out.i64(row.first_group_seq);
        out.i64(row.accounts_total);
        out.i64(row.open_from_seq);
        out.bytes(&row.prev_hash);
        out.count(self.accounts.len());
        self.accounts.iter().for_each(|account| account.write(&mut out));
        out.count(self.groups.len());
        self.groups.iter().for_each(|group| group.write(&mut out));
        out.count(self.transfers.len());
        self.transfers.iter().for_each(|transfer| transfer.write(&mut out));
        out.count(self.facts.len());
        self.facts.iter().for_each(|fact| fact.write(&mut out));
        out.0.finalize().into()
    }
}
