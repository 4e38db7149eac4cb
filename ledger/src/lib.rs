//! The ledger: who holds what, and why?
//!
//! An append-only double-entry book in PostgreSQL. One row is one *transfer*, a balanced debit and credit; transfers of one
//! business event form a *linked group* that stands or falls together; the groups of one commit form a *block*, chained to
//! the one before by SHA-256. What each event debits and credits is its [`recipe`].
//!
//! All changes go through the one [`Writer`] of a shard: it decides requests in the order of their arrival against balances
//! in memory, and makes them durable by group commit, one database call for all that queued during the last one. Several
//! processes over the same books are each a [`Replica`]; a handle of any of them reaches the writer, wherever it is. The
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
pub mod plaintext;
pub mod proof;
pub mod recipe;
mod replica;
mod repo;
mod rounding;
mod row;
pub mod sim;
mod transfer;
pub mod unit;
mod view;
mod writer;

pub use account::{AccountId, AccountKey, AccountState, Priority};
pub use block::BlockRef;
pub use chart::{Code, Side};
pub use error::{Error, Word};
pub use hold::{Hold, HoldPart, OpenHold};
pub use leaf::Leaf;
pub use period::{BadMonth, Month, PeriodState};
pub use recipe::Request;
pub use recipe::agency::NetSettlement;
pub use recipe::capacity::{CapacityReport, CapacityShare, CapacityUse};
pub use recipe::contract::Contract;
pub use recipe::credit::{CardTopUp, OverrunCollection, PaidLot, PromoGrant, TopUp};
pub use recipe::dispute::{DisputeLost, DisputeOpened, DisputeWon, UsedPart};
pub use recipe::exchange::{Conversion, ExchangeDifference, Outcome};
pub use recipe::expiry::{CreditExpiry, Lapse, LapsingCredit, PromoExpiry};
pub use recipe::job::{Dimensions, JobHold, JobSettlement, Overrun, ProviderShare, UsageFact};
pub use recipe::journal::{JournalEntry, JournalLine};
pub use recipe::licence::{LicenceInvoice, LicenceRecognition};
pub use recipe::pack::{PackBuy, PackDraw, PackExpiry};
pub use recipe::payout::{ProcessorPayout, ProcessorPayoutArrival};
pub use recipe::postpaid::{Invoice, InvoicePayment, PostpaidUsage, Recovery, WriteOff};
pub use recipe::provider::{
    Clawback, EarningForfeit, EarningRelease, EarningReserve, PaidFrom, ProviderPayout, ProviderPayoutPaid,
};
pub use recipe::purchase::{PaidBy, Purchase};
pub use recipe::refund::{CreditNote, CreditRefund, NoteSettled, RefundPaid};
pub use recipe::rental::{RentalBuy, RentalEnd, RentalHold, RentalMeter, RentalRecognition, RentalUse, Rented};
pub use recipe::state::AccountChange;
pub use recipe::throughput::{CreditedTo, QuotaUse, SlaCredit, ThroughputBuy, ThroughputRecognition};
pub use replica::letter::{BadLetter, Carried, Carrier, NotCarried};
pub use replica::{Pace, Replica, ReplicaTask};
pub use repo::{
    PAGE_MAX, account_totals, balance, balance_as_of, economics_records, link_groups, link_transfers, living_replicas,
    loose_role, month_groups, open_holds, payable_lines, provider_accounts, provider_total, reference_groups, scales,
    statement, totals, totals_as_of, totals_at, trial_balance, trial_balance_of, unsettled, usage_facts,
};
pub use transfer::Kind;
pub use view::{
    AccountTotals, Balance, GroupLine, JournalGroup, Lot, PayableLine, PayablePage, ProviderAccount, Statement,
    StatementLine, TransferView, TrialRow, Unsettled, UsageView,
};
pub use writer::{Closing, GroupRef, Writer, WriterTask, closing_reasons};

/// The only shard so far.
pub const SHARD: i16 = 0;
