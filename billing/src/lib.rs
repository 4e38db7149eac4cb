//! Billing: what does the tenant pay?
//!
//! The price book tells what a token costs and from when; a job pins the prices in force when it is admitted. The charge is
//! exact, with one rounding for each line of a job; its worst case is what the ledger holds.
//!
//! What is absent: floats, rounding by token, prices that change after the fact, and whoever does the work: what providers
//! earn is the broker's.

pub mod charge;
mod error;
mod meter;
pub mod price;
mod repo;

pub use charge::{Charge, Counts, Line};
pub use error::Error;
pub use meter::Meter;
pub use price::{NewPrice, Price, PriceList};
