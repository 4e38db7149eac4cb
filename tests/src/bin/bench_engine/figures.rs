//! What was measured, round by round.

use std::collections::BTreeMap;

use ::tests::bench::figure::middle;

use crate::side::Side;

/// One-sided 95 % quantiles of Student's distribution, by degrees of freedom from 1 on; then the normal one's.
const STUDENT_95: [f64; 9] = [6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833];
const NORMAL_95: f64 = 1.645;

/// Figures by name and side, one a round.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<(String, Side), Vec<f64>>);

impl Figures {
    /// Keeps one more.
    pub fn add(&mut self, name: impl Into<String>, side: Side, figure: f64) {
        self.0.entry((name.into(), side)).or_default().push(figure);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Side, &[f64])> {
        self.0.iter().map(|((name, side), rounds)| (name.as_str(), *side, rounds.as_slice()))
    }

    /// The median over the rounds.
    pub fn median(&self, name: &str, side: Side) -> Option<f64> {
        middle(self.rounds(name, side)?.to_vec())
    }

    /// The median over the rounds of one side's figure divided by another's of the same round.
    pub fn ratio(&self, name: &str, of: Side, by: Side) -> Option<f64> {
        middle(self.ratios(name, of, by)?)
    }

    /// What that ratio is at least, with 95 % confidence: from the rounds' logarithms, which are taken for normal.
    pub fn ratio_at_least(&self, name: &str, of: Side, by: Side) -> Option<f64> {
        let logs: Vec<f64> = self.ratios(name, of, by)?.into_iter().map(f64::ln).collect();
        let count = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / count;
        let freedom = logs.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / freedom as f64;
        let quantile = STUDENT_95.get(freedom - 1).copied().unwrap_or(NORMAL_95);
        Some((mean - quantile * (variance / count).sqrt()).exp())
    }

    fn rounds(&self, name: &str, side: Side) -> Option<&[f64]> {
        self.0.get(&(name.to_owned(), side)).map(Vec::as_slice)
    }

    fn ratios(&self, name: &str, of: Side, by: Side) -> Option<Vec<f64>> {
        let ratios = self.rounds(name, of)?.iter().zip(self.rounds(name, by)?).map(|(of, by)| of / by);
        Some(ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_one_round_and_their_lower_bound_is_students() {
        let mut figures = Figures::default();
        for (ours, theirs) in [(4.0, 2.0), (9.0, 3.0), (4.0, 1.0)] {
            figures.add("x", Side::Ours, ours);
            figures.add("x", Side::Unbatched, theirs);
        }
        assert_eq!(figures.ratio("x", Side::Ours, Side::Unbatched), Some(3.0));
        // ln 2, ln 3, ln 4: mean 1.0593, deviation 0.3485, so 1.0593 - 2.920 × 0.3485 ÷ √3.
        let least = figures.ratio_at_least("x", Side::Ours, Side::Unbatched).unwrap();
        assert!((least - 1.6027).abs() < 1e-3, "{least}");
        assert_eq!(figures.ratio("x", Side::Ours, Side::LlamaServer), None);
    }
}
