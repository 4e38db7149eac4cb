//! The ledger: who holds what, and why?
//!
//! An append-only double-entry book in PostgreSQL. One row is one *transfer*, a balanced debit and credit; transfers of one
//! business event form a *linked group* that stands or falls together; the groups of one commit form a *block*, chained to
//! the one before by SHA-256. What each event debits and credits is its [`recipe`].
//!
//! All changes go through the one [`Writer`] of a shard: it decides requests in the order of their arrival against balances
//! in memory, and makes them durable by group commit, one database call for all that queued during the last one. The
//! database moves the balances itself, from the same rows, and refuses what must never be.
//!
//! What is absent: updates and deletions, floats, balances set by hand, locks on accounts, a wait timer before a commit.

mod account;
mod block;
mod core;
pub mod economics;
mod error;
mod hold;
pub mod proof;
pub mod recipe;
mod repo;
mod row;
mod transfer;
mod view;
mod writer;

pub use account::{AccountId, AccountKey, Code, Side};
pub use block::BlockRef;
pub use error::Error;
pub use hold::{Hold, HoldPart, OpenHold};
pub use recipe::credit::{PromoGrant, TopUp};
pub use recipe::job::{Dimensions, JobHold, JobSettlement, ProviderShare, UsageFact};
pub use repo::{balance, job_transfers, open_holds, trial_balance, usage_facts};
pub use transfer::{Bucket, Kind};
pub use view::{Balance, Lot, TransferView, TrialRow, UsageView};
pub use writer::{Writer, WriterTask};

/// The only shard so far.
pub const SHARD: i16 = 0;
