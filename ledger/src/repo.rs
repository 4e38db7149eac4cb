//! All the SQL of the room: what the writer says ([`post`]), what anyone may read ([`read`]), what the verifier reads
//! ([`proof`]), what a report reads ([`economics`]).

mod economics;
pub(crate) mod post;
pub(crate) mod proof;
mod read;

pub use economics::economics_records;
pub use read::{balance, link_transfers, open_holds, trial_balance, usage_facts};

use std::fmt::Display;

use crate::error::Error;

/// A row that we cannot make sense of.
fn bad_row(table: &'static str, column: &'static str, row: impl Display) -> Error {
    Error::BadRow { table, column, row: row.to_string() }
}
