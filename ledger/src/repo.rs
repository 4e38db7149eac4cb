//! All the SQL of the room: what the writer says ([`post`]), what the verifier reads ([`proof`]), what a report reads
//! ([`economics`]), what replicas know of each other ([`replica`]), what whoever is connected may do ([`role`]), and what anyone may
//! read, one noun a file.

mod balance;
mod clearing;
mod economics;
pub(crate) mod hold;
pub(crate) mod journal;
pub(crate) mod period;
pub(crate) mod post;
pub(crate) mod proof;
mod provider;
pub(crate) mod replica;
pub(crate) mod reversal;
mod role;
pub(crate) mod simulate;
mod statement;
mod trial;
mod unit;
mod usage;

pub use balance::{balance, balance_as_of, totals, totals_as_of, totals_at};
pub use clearing::unsettled;
pub use economics::economics_records;
pub use hold::open_holds;
pub use journal::{link_groups, link_transfers, month_groups, reference_groups};
pub use provider::{payable_lines, provider_accounts, provider_total};
pub use replica::living_replicas;
pub use role::loose_role;
pub use statement::statement;
pub use trial::{account_totals, trial_balance, trial_balance_of};
pub use unit::scales;
pub use usage::usage_facts;

use std::fmt::Display;

use crate::account::AccountId;
use crate::error::Error;

/// The most that one page of any list has.
pub const PAGE_MAX: u16 = 1_000;

/// A row that we cannot make sense of.
pub(crate) fn bad_row(table: &'static str, column: &'static str, row: impl Display) -> Error {
    Error::BadRow { table, column, row: row.to_string() }
}

/// An account's name in the chart, such as `2010 promo credits`.
fn account_name(id: i64) -> Result<String, Error> {
    let code = AccountId(id).code().ok_or_else(|| bad_row("ledger.accounts", "code", id))?;
    Ok(code.to_string())
}

/// How many rows a page may have: at least one, at most [`PAGE_MAX`].
fn page(limit: u16) -> i64 {
    i64::from(limit.clamp(1, PAGE_MAX))
}
