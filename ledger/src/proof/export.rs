//! What is told of the books to somebody who has no database: where the chain ends, and its blocks.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::read;
use crate::block::{Block, BlockRef};
use crate::error::Error;
use crate::repo::post;

/// Where a chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The shard.
    pub shard: i16,
    /// The last block.
    pub block: BlockRef,
    /// When it was made.
    pub at: DateTime<Utc>,
}

impl Head {
    /// The bytes that are signed; the form is described in [`crate::proof`].
    pub fn message(&self) -> Vec<u8> {
        let mut message = b"tokengrid head v1\n".to_vec();
        message.extend(self.shard.to_le_bytes());
        message.extend(self.block.height.to_le_bytes());
        message.extend(self.block.hash);
        message.extend(self.at.timestamp_micros().to_le_bytes());
        message
    }
}

/// A block as a line of a proof spells it.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ProvenBlock(Block);

impl ProvenBlock {
    /// Its height.
    pub fn height(&self) -> i64 {
        self.0.row.height
    }

    /// The hash of the block before, as it is recorded in this one.
    pub fn prev_hash_hex(&self) -> String {
        hex::encode(&self.0.row.prev_hash)
    }
}

/// Where a shard's chain ends now; none before its first block. What it tells is durable: nobody will have to take it back.
pub async fn head(conn: &mut PgConnection, shard: i16) -> Result<Option<Head>, Error> {
    let tip = post::tip(conn, shard).await?;
    post::flush(conn).await?;
    head_at(conn, shard, tip.block.height).await
}

/// The head that a shard's chain had at a height; none where there is no such block.
pub async fn head_at(conn: &mut PgConnection, shard: i16, height: i64) -> Result<Option<Head>, Error> {
    let row = read::row(conn, shard, height).await?;
    Ok(row.map(|row| {
        let hash = row.hash.try_into().expect("a constraint of ledger.blocks keeps hashes 32 bytes long");
        Head { shard, block: BlockRef { height, hash }, at: row.at }
    }))
}

/// Some of a shard's blocks above a height, lowest first; none after the last. What they say is what is recorded, whether or not
/// it was changed: to find out is for the reader of the proof.
pub async fn blocks(conn: &mut PgConnection, shard: i16, above: i64) -> Result<Vec<ProvenBlock>, Error> {
    Ok(read::page(conn, shard, above).await?.into_iter().map(ProvenBlock).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heads_message_is_its_name_place_hash_and_instant() {
        let at = DateTime::from_timestamp_micros(0x0102_0304_0506).unwrap();
        let head = Head { shard: 7, block: BlockRef { height: 258, hash: [0xAB; 32] }, at };
        let expected =
            ["746f6b656e6772696420686561642076310a", "0700", "0201000000000000", &"ab".repeat(32), "0605040302010000"];
        assert_eq!(hex::encode(head.message()), expected.concat());
    }
}
