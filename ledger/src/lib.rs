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
mod books;
mod canonical;
mod chart;
mod core;
pub mod economics;
mod error;
mod hold;
mod leaf;
mod period;
pub mod proof;
pub mod recipe;
mod repo;
mod row;
mod transfer;
pub mod unit;
mod view;
mod writer;

pub use account::{AccountId, AccountKey, AccountState, Priority};
pub use block::BlockRef;
pub use chart::{Code, Side};
pub use error::Error;
pub use hold::{Hold, HoldPart, OpenHold};
pub use leaf::Leaf;
pub use period::{BadMonth, Month, PeriodState};
pub use recipe::Request;
pub use recipe::capacity::{CapacityReport, CapacityShare, CapacityUse};
pub use recipe::credit::{PromoGrant, TopUp};
pub use recipe::job::{Dimensions, JobHold, JobSettlement, Overrun, ProviderShare, UsageFact};
pub use recipe::journal::{JournalEntry, JournalLine};
pub use recipe::state::{AccountChange, PeriodChange};
pub use repo::{balance, economics_records, link_transfers, open_holds, trial_balance, usage_facts};
pub use transfer::Kind;
pub use view::{Balance, Lot, TransferView, TrialRow, UsageView};
pub use writer::{Writer, WriterTask};

/// The only shard so far.
pub const SHARD: i16 = 0;
