//! Figures: of one side in one cell of one round, and the medians over the rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use ::tests::bench::figure::middle;
use ::tests::bench::processor::Spent;

use crate::load::Workload;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Bare insertions; an operation is a row.
    Raw,
    /// pgbench's TPC-B.
    Tpcb,
    /// The plain row-locking ledger.
    Plain,
    /// pgledger.
    Pgledger,
    /// TigerBeetle.
    TigerBeetle,
    /// Ours, with hardly a row.
    Ours,
    /// Ours, filled.
    OursFilled,
}

impl Side {
    /// The word in figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Tpcb => "tpcb",
            Self::Plain => "plain",
            Self::Pgledger => "pgledger",
            Self::TigerBeetle => "tigerbeetle",
            Self::Ours => "ours",
            Self::OursFilled => "ours_filled",
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw insertions, rows/s",
            Self::Tpcb => "pgbench TPC-B",
            Self::Plain => "plain ledger",
            Self::Pgledger => "pgledger",
            Self::TigerBeetle => "TigerBeetle",
            Self::Ours => "ours",
            Self::OursFilled => "ours, filled",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// Of whom.
    pub side: Side,
    /// Doing what; TPC-B and raw insertions count as uniform.
    pub workload: Workload,
    /// Asked by how many.
    pub callers: usize,
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Operations a second.
    pub rate: f64,
    /// Latencies, where they are known. *Units*: milliseconds.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Processor time an operation, of PostgreSQL and of whoever asks it, where it is known. *Units*: milliseconds.
    pub server_cpu_ms: Option<f64>,
    pub client_cpu_ms: Option<f64>,
}

impl Sample {
    /// Of latencies in microseconds within `window`.
    pub fn of(mut latencies: Vec<u32>, window: Duration, spent: Spent) -> Self {
        latencies.sort_unstable();
        let quantile = |share: f64| {
            let at = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
            latencies.get(at).map(|&micros| f64::from(micros) / 1_000.0)
        };
        let done = latencies.len() as f64;
        let rate = done / window.as_secs_f64();
        Self { rate, p50_ms: quantile(0.5), p99_ms: quantile(0.99), ..Self::default() }.with_cpu(done, spent)
    }

    /// With the processor time that `done` operations took together.
    pub fn with_cpu(self, done: f64, spent: Spent) -> Self {
        let each = |seconds: f64| (done > 0.0).then(|| seconds * 1_000.0 / done);
        Self { server_cpu_ms: each(spent.server), client_cpu_ms: each(spent.client), ..self }
    }

    /// Both sides' processor time. *Units*: milliseconds an operation.
    pub fn cpu_ms(&self) -> Option<f64> {
        Some(self.server_cpu_ms? + self.client_cpu_ms?)
    }
}

/// All that was measured, round by round.
#[derive(Clone, Debug, Default)]
pub struct Samples(BTreeMap<Cell, Vec<Sample>>);

impl Samples {
    /// Keeps one more.
    pub fn add(&mut self, side: Side, workload: Workload, callers: usize, sample: Sample) {
        self.0.entry(Cell { side, workload, callers }).or_default().push(sample);
    }

    /// All cells with their rounds.
    pub fn iter(&self) -> impl Iterator<Item = (&Cell, &Vec<Sample>)> {
        self.0.iter()
    }

    /// The medians of a cell.
    pub fn median(&self, side: Side, workload: Workload, callers: usize) -> Option<Sample> {
        self.0.get(&Cell { side, workload, callers }).map(|rounds| median(rounds))
    }

    /// A side's best rate with any number of callers, and that number.
    pub fn best(&self, side: Side, workload: Workload) -> Option<(f64, usize)> {
        let of_side = self.0.iter().filter(|(cell, _)| (cell.side, cell.workload) == (side, workload));
        of_side.map(|(cell, rounds)| (median(rounds).rate, cell.callers)).max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// The median over the rounds of one side's rate by another's of the same round.
    pub fn paired_ratio(&self, workload: Workload, callers: usize, of: Side, by: Side) -> Option<f64> {
        let rates = |side| self.0.get(&Cell { side, workload, callers });
        let ratios = rates(of)?.iter().zip(rates(by)?).map(|(of, by)| of.rate / by.rate);
        middle(ratios.filter(|ratio| ratio.is_finite()).collect())
    }
}

/// Each figure's median over the rounds.
pub fn median(rounds: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> Option<f64>| middle(rounds.iter().filter_map(figure).collect());
    Sample {
        rate: of(|sample| Some(sample.rate)).unwrap_or_default(),
        p50_ms: of(|sample| sample.p50_ms),
        p99_ms: of(|sample| sample.p99_ms),
        server_cpu_ms: of(|sample| sample.server_cpu_ms),
        client_cpu_ms: of(|sample| sample.client_cpu_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_tells_rates_latencies_and_processor_time_an_operation() {
        let spent = Spent { server: 0.2, client: 0.1 };
        let sample = Sample::of((1..=100).map(|ms| ms * 1_000).collect(), Duration::from_millis(500), spent);
        assert_eq!((sample.rate, sample.p50_ms, sample.p99_ms), (200.0, Some(51.0), Some(100.0)));
        assert!((sample.cpu_ms().unwrap() - 3.0).abs() < 1e-9);
    }
}
