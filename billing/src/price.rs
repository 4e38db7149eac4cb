//! Prices: the price book, and the prices that a job pins.

use chrono::{DateTime, Utc};
use primitives::id::PriceId;
use primitives::money::{AttoPrice, Currency};

use crate::meter::Meter;

pub use crate::repo::{get, in_force, insert, of_embeddings};

/// One price, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Its identifier, kept with every charge.
    pub id: PriceId,
    /// For one token.
    pub price: AttoPrice,
    /// From when it is in force.
    pub valid_from: DateTime<Utc>,
}

/// The prices in force for one job, pinned when it is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList {
    /// The model.
    pub model: String,
    /// The currency.
    pub currency: Currency,
    /// Of prompt tokens.
    pub input: Price,
    /// Of those that a cache held; without one they cost what the others do.
    pub cached_input: Option<Price>,
    /// Of output tokens.
    pub output: Price,
}

/// A price for the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPrice {
    /// The model.
    pub model: String,
    /// What is counted.
    pub meter: Meter,
    /// In what.
    pub currency: Currency,
    /// For one token.
    pub price: AttoPrice,
    /// From when it holds, until a later one does.
    pub valid_from: DateTime<Utc>,
}
