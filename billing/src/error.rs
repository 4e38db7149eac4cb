//! Every way in which billing refuses.

use chrono::{DateTime, Utc};
use primitives::id::PriceId;
use primitives::money::{Currency, OutOfRange};
use primitives::tx::Failure;

use crate::meter::Meter;

/// Why billing did not do as asked; nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // Refused: the caller's doing.
    /// The model has no price for that meter at that instant.
    #[error("{model} has no price in {currency} for {meter} tokens")]
    NoPrice {
        /// The model.
        model: String,
        /// What would be counted.
        meter: Meter,
        /// In what.
        currency: Currency,
    },
    /// A price would reach into the past, over jobs that ran.
    #[error("a price cannot begin in the past ({valid_from})")]
    PriceInThePast {
        /// When it would begin.
        valid_from: DateTime<Utc>,
    },
    /// A price for the same tokens begins at the same instant.
    #[error("{model} has a price for {meter} tokens from {valid_from} already; choose another instant")]
    PriceExists {
        /// The model.
        model: String,
        /// What is counted.
        meter: Meter,
        /// When both begin.
        valid_from: DateTime<Utc>,
    },
    /// A charge beyond what an account can hold.
    #[error("the charge is too large")]
    TooLarge(#[from] OutOfRange),
    // Broken: ours.
    /// A price that does not mean anything.
    #[error("price {price_id} has a bad {column}")]
    BadRow {
        /// The row of `billing.prices`.
        price_id: PriceId,
        /// The column.
        column: &'static str,
    },
    /// The database failed.
    #[error("billing's database failed")]
    Database(#[from] sqlx::Error),
}

impl Failure for Error {
    fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}
