//! The judgement of a replay: were these tokens drawn from the model that they were sold as?
//!
//! A token is a function of the model's distribution and of a fraction that the seed and the position fix. Whoever has the reference
//! weights reads the delivered tokens and tells each one's *slack*: how far the distribution would have to move for the fraction to draw
//! it. Only tokens that were a choice have one: where a model is all but certain, its smaller copy says the same, and nobody is wronged.
//! An honest engine's numbers differ in their last bits, so its token may be another where the fraction falls near the border of two
//! tokens; the slack is next to nothing then. A model in fewer bits moves the distribution by much more, again and again.
//!
//! *Source*: Token-DiFR (arXiv 2511.20621), with distances on the inverse of the cumulative distribution instead of Gumbel's noise.

use serde::Serialize;

/// Tokens that one judgement takes, of those that were a choice.
pub const POSITIONS: usize = 300;
/// A token counts as another's when its slack is more than this. *Units*: probability.
pub const TOLERANCE: f32 = 0.02;
/// At most this share of an honest engine's tokens is beyond the tolerance: several times what was measured (`docs/trust.md`).
pub const HONEST_RATE: f64 = 0.002;
/// An honest node is judged to run another model in at most this share of judgements.
pub const FALSE_ALARM: f64 = 0.001;

/// The fewest tokens beyond the tolerance that convict; a test holds it to the rates above.
pub const CONVICTING: i64 = 5;

/// What a replay of some positions says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// Tokens looked at, at most [`POSITIONS`].
    pub positions: usize,
    /// Tokens beyond the tolerance.
    pub apart: usize,
    /// How likely so many or more would be among [`POSITIONS`] of an honest engine.
    pub chance: f64,
}

impl Judgement {
    /// Judges the first [`POSITIONS`] of these slacks. Fewer may be judged again with more behind them: they convict of nothing that the
    /// whole would not, so looking early makes no honest node's conviction more likely.
    pub fn of(slacks: impl IntoIterator<Item = f32>) -> Self {
        let (mut positions, mut apart) = (0, 0);
        for slack in slacks.into_iter().take(POSITIONS) {
            positions += 1;
            apart += usize::from(slack > TOLERANCE || slack.is_nan());
        }
        Self { positions, apart, chance: at_least(apart, POSITIONS, HONEST_RATE) }
    }

    /// True when an honest engine would hardly ever give such tokens.
    pub fn convicts(&self) -> bool {
        self.chance <= FALSE_ALARM
    }

    /// True when there are as many positions as a judgement takes.
    pub fn is_whole(&self) -> bool {
        self.positions == POSITIONS
    }
}

/// The probability of at least `count` of `total`, each with probability `share`.
fn at_least(count: usize, total: usize, share: f64) -> f64 {
    let mut term = (total as f64 * (-share).ln_1p()).exp();
    let mut below = 0.0;
    for index in 0..count {
        below += term;
        term *= (total - index) as f64 / (index + 1) as f64 * share / (1.0 - share);
    }
    (1.0 - below).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slacks(apart: usize, of: usize) -> Vec<f32> {
        (0..of).map(|n| if n < apart { 0.2 } else { 0.5 * TOLERANCE }).collect()
    }

    #[test]
    fn five_tokens_apart_in_three_hundred_convict_and_four_do_not() {
        let judge = |apart| Judgement::of(slacks(apart, POSITIONS));
        let fewest = (0..).find(|apart| judge(*apart).convicts()).unwrap();
        assert_eq!(i64::try_from(fewest), Ok(CONVICTING));
        assert_eq!(judge(0), Judgement { positions: POSITIONS, apart: 0, chance: 1.0 });
        assert!(!judge(4).convicts() && judge(5).convicts(), "{:?} {:?}", judge(4), judge(5));
    }

    #[test]
    fn a_part_convicts_of_no_more_than_the_whole_and_what_is_beyond_it_is_not_looked_at() {
        assert!(!Judgement::of([]).convicts());
        let part = Judgement::of(slacks(5, 10));
        assert!(part.convicts() && !part.is_whole() && part.chance == Judgement::of(slacks(5, POSITIONS)).chance);
        let late = slacks(0, POSITIONS).into_iter().chain(slacks(50, 50));
        assert_eq!(Judgement::of(late), Judgement::of(slacks(0, POSITIONS)));
        assert_eq!(Judgement::of([f32::NAN]).apart, 1);
    }

    #[test]
    fn the_tail_is_that_of_the_binomial_distribution() {
        for (count, total, share, expected) in
            [(0, 10, 0.5, 1.0), (10, 10, 0.5, 0.000_976_56), (2, 300, 0.001, 0.036_86)]
        {
            let found = at_least(count, total, share);
            assert!((found - expected).abs() < 5e-4 * expected.max(0.1), "{count} of {total}: {found}");
        }
    }
}
