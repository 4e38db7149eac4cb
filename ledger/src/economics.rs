//! Token economics: what did capacity become, and why did revenue change?
//!
//! Productivity is scale × efficiency × value, S × E × V. The three come from three records (the register of deployments, the
//! tokens delivered, the ledger), and their product is the ledger's revenue exactly, for any slice: [`Facts::reconcile`]
//! proves it before anything is shown. It is an accounting identity, not a claim about causes.
//!
//! Pure functions over plain values: nothing here reads a clock, a database or a file. Money is whole units, quotients are
//! [`Exact`] rationals, and logarithms have 60 digits, so the same inputs give the same bytes on every machine.
//!
//! What is absent: floats, small numbers put in the place of zero, imputed scale, a report that does not reconcile.

pub mod assumptions;
pub mod bridge;
pub mod bucket;
pub mod cost;
pub mod error;
pub mod exact;
pub mod factors;
pub mod facts;
pub mod figure;
pub mod inputs;
pub mod journal;
pub mod lmdi;
pub mod reconciliation;
pub mod record;
pub mod report;
pub mod scale;
pub mod statement;
pub mod table;
pub mod tokens;
pub mod value;

pub use assumptions::Assumptions;
pub use bridge::{Bridge, Leaves};
pub use bucket::{Bucket, Dimension, Leaf};
pub use error::Error;
pub use exact::Exact;
pub use factors::{Factors, Split};
pub use facts::{Facts, Production, Revenue, Slice};
pub use figure::{Basis, Denomination, Figure, Group};
pub use inputs::Inputs;
pub use journal::Journal;
pub use lmdi::{Effects, Rule};
pub use reconciliation::{PassedThrough, Reconciliation};
pub use record::{Records, View};
pub use report::Report;
pub use scale::Allocation;
pub use statement::Question;
