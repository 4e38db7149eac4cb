//! What benches have in common: figures, goals with their verdicts, a picture of those, the processors' time.

pub mod chart;
pub mod figure;
pub mod goal;
pub mod processor;
