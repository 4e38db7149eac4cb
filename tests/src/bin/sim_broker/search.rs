//! The highest rate of requests at which nine in ten are kept their promise.

use crate::outcome::Figures;

/// The share of all requests that must be inside the promise.
pub const KEPT_MIN: f64 = 0.90;
/// The figure is exact to this ratio.
const EXACT: f64 = 1.02;
/// *Units*: requests a second.
const RATE_MIN: f64 = 0.25;
const RATE_MAX: f64 = 512.0;

/// The best rate and what was measured there; none when not even a trickle is kept its promise.
pub fn highest(run: impl Fn(f64) -> Figures, from: f64) -> Option<Figures> {
    let good = |figures: &Figures| figures.kept >= KEPT_MIN;
    let (mut rate, mut holds, mut fails) = (from, None, None);
    while holds.is_none() || fails.is_none() {
        let figures = run(rate);
        if good(&figures) {
            holds = Some(figures);
            if rate >= RATE_MAX {
                return holds;
            }
            rate *= 2.0;
        } else {
            fails = Some(rate);
            if rate <= RATE_MIN {
                return holds;
            }
            rate /= 2.0;
        }
    }
    let (mut holds, mut fails) = (holds?, fails?);
    while fails / holds.rate > EXACT {
        let middle = (fails * holds.rate).sqrt();
        let figures = run(middle);
        if good(&figures) {
            holds = figures;
        } else {
            fails = middle;
        }
    }
    Some(holds)
}
