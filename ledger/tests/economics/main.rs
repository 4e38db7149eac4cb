//! Token economics against its definition: the worked example, the edge cases, and what holds for any input.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod books;
mod counters;
mod fleet;
mod golden;
mod lmdi;
mod properties;
mod records;
mod refusals;
