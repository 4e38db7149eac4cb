//! Trust: does a node run what it says? What it signs is compared with what was delivered ([`crate::receipt`]); of some jobs, what it
//! delivered is [replayed](audit) by another provider's node and [judged](judgement), with [consequences](conviction).

pub mod audit;
pub mod conviction;
pub mod judgement;
