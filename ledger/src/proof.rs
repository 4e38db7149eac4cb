//! The proof that the books are as they were written: for whoever has the database ([`verify`]), and for whoever does not
//! ([`blocks`], [`head`]).
//!
//! A *head* says where a chain ends. Whoever keeps a signed one can tell later that no block under it was changed, removed or
//! added. The bytes that are signed with Ed25519, integers little-endian: `tokengrid head v1` and a line feed; shard i16,
//! height i64, the block's hash (32 bytes), the block's instant in microseconds since 1970 in i64.
//!
//! A *proof* is a file that `docs/verify.py` checks without a database and without us. *Shape*: JSON, one object a line.
//!
//! 1. The header: `format` (`tokengrid ledger proof v2`); `shard`; `from_height` and `to_height`, both included; `prev_hash`,
//!    the hash before the first block; `head`, the last block's: `shard`, `height`, `hash`, `at`, and, where it is signed,
//!    `public_key` and `signature`. Keys, signatures and hashes are hexadecimal; a head's `at` is RFC 3339 with microseconds.
//! 2. The blocks, lowest first, each with exactly what its hash covers, in the order in which it is hashed (`block.rs` has the
//!    canonical form): the columns of `ledger.blocks` without shard and counts, then `accounts`, `leaves`, `transfers`, `usage`,
//!    `capacity`, `states` and `periods`, whose rows have the columns of their tables without the shard and what is derived.
//!    Instants are microseconds since 1970; what is absent is null.

mod audit;
mod export;
mod months;
mod read;
mod verify;

pub use export::{Head, ProvenBlock, blocks, head, head_at};
pub use verify::{BadBlock, Verification, verify};
