//! Which token comes next: pure functions of the logits, the request's settings and the position.
//!
//! Randomness comes from a counter-based generator keyed by (seed, position) alone: nothing else in the batch, no earlier
//! draw and no restart changes it. So a sequence that goes on at another node draws what it would have drawn here, as far as
//! the logits agree (see [`crate::backend::llama`] on where they do not).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use primitives::grammar::Allowed;
use primitives::node_protocol::Sampling;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A token with this share of the probability is drawn without a choice that could tell anything.
pub const CERTAIN: f64 = 0.99;

/// A bias that bars a token altogether.
const BARRED: f32 = -100.0;

/// Draws one request's tokens and remembers them for the penalties.
#[derive(Debug)]
pub struct Sampler {
    settings: Sampling,
    drawn: BTreeMap<u32, u32>,
}

impl Sampler {
    /// A sampler that has drawn nothing.
    pub fn new(settings: Sampling) -> Self {
        Self { settings, drawn: BTreeMap::new() }
    }

    /// Counts a token of the output, drawn here or at another node.
    pub fn record(&mut self, id: u32) {
        *self.drawn.entry(id).or_default() += 1;
    }

    /// The token at this position of the sequence, one of the allowed ones where not all are; none if no such logit is a number.
    pub fn sample(&self, logits: &[f32], position: usize, allowed: Option<&Allowed>) -> Option<u32> {
        let adjusted;
        let logits = if self.leaves_logits() && allowed.is_none() {
            logits
        } else {
            adjusted = self.adjusted(logits, allowed);
            &adjusted
        };
        if self.settings.temperature <= 0.0 {
            return likeliest(logits);
        }
        draw(logits, &self.settings, fraction(self.settings.seed, position))
    }

    /// How far the distribution would have to move for this token to be the one that is drawn at this position; 0 where it is drawn as
    /// it is. *Units*: probability, at temperature 1 where the settings sharpen the distribution, since that sharpens what an honest
    /// engine's last bits do as well.
    ///
    /// None where there was no choice to judge: the likeliest token is all but [certain](CERTAIN) and this is it, or the logits are no
    /// distribution. `top_k` and `top_p` are not looked at.
    pub fn slack(&self, logits: &[f32], position: usize, id: u32) -> Option<f32> {
        let logits = if self.leaves_logits() { logits } else { &self.adjusted(logits, None) };
        let greatest = f64::from(logits[likeliest(logits)? as usize]);
        let own = *logits.get(id as usize)?;
        if !greatest.is_finite() {
            return None;
        }
        let greedy = self.settings.temperature <= 0.0;
        let temperature = if greedy { 1.0 } else { f64::from(self.settings.temperature) };
        // What is no number is drawn by nobody.
        let weight =
            |logit: f32| if logit.is_nan() { 0.0 } else { ((f64::from(logit) - greatest) / temperature).exp() };
        let before: f64 = logits[..id as usize].iter().copied().map(weight).sum();
        let own = weight(own);
        let whole = before + own + logits[id as usize + 1..].iter().copied().map(weight).sum::<f64>();
        if own / whole >= CERTAIN {
            return None;
        }
        let slack = if greedy {
            // As much taken from the likeliest as given to this one.
            (1.0 - own) / whole / 2.0
        } else {
            let drawn = fraction(self.settings.seed, position);
            (before / whole - drawn).max(drawn - (before + own) / whole).max(0.0)
        };
        Some((slack * temperature.min(1.0)) as f32)
    }

    fn leaves_logits(&self) -> bool {
        let Sampling { frequency_penalty, presence_penalty, ref logit_bias, .. } = self.settings;
        frequency_penalty == 0.0 && presence_penalty == 0.0 && logit_bias.is_empty()
    }

    /// The logits with bias, less `frequency_penalty` for each time a token was drawn and `presence_penalty` once; those of tokens
    /// that are not allowed are infinitely small.
    fn adjusted(&self, logits: &[f32], allowed: Option<&Allowed>) -> Vec<f32> {
        let mut logits = logits.to_vec();
        for &(id, bias) in &self.settings.logit_bias {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if bias <= BARRED { f32::NEG_INFINITY } else { *logit + bias };
            }
        }
        for (&id, &times) in &self.drawn {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit -= self.settings.frequency_penalty * times as f32 + self.settings.presence_penalty;
            }
        }
        if let Some(allowed) = allowed {
            for (id, logit) in (0..).zip(&mut logits) {
                if !allowed.contains(id) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        logits
    }
}

/// The token of the greatest logit, the lowest id of equals.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (id, &logit) in (0..).zip(logits) {
        if !logit.is_nan() && best.is_none_or(|(_, greatest)| logit > greatest) {
            best = Some((id, logit));
        }
    }
    best.filter(|&(_, logit)| logit > f32::NEG_INFINITY).map(|(id, _)| id)
}

/// A number of [0, 1) that is a function of seed and position: ChaCha8 with the seed as key and the position as stream.
fn fraction(seed: u64, position: usize) -> f64 {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut generator = ChaCha8Rng::from_seed(key);
    generator.set_stream(position as u64);
    (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[derive(Clone, Copy)]
struct Candidate {
    id: u32,
    /// The probability, up to a factor that all candidates share.
    weight: f64,
}

/// Likelier first, the lower id of equals.
fn by_weight(a: &Candidate, b: &Candidate) -> Ordering {
    b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id))
}

/// Temperature, then `top_k`, then `top_p` of what is left, then the draw.
fn draw(logits: &[f32], settings: &Sampling, fraction: f64) -> Option<u32> {
    let greatest = logits[likeliest(logits)? as usize];
    let temperature = f64::from(settings.temperature);
    let weight = |logit: f32| match f64::from(logit) - f64::from(greatest) {
        // Of infinite or undefined logits the greatest counts and the others do not.
        difference if difference.is_nan() => f64::from(u8::from(logit == greatest)),
        difference => (difference / temperature).exp(),
    };
    let mut candidates: Vec<Candidate> =
        (0..).zip(logits).map(|(id, &logit)| Candidate { id, weight: weight(logit) }).collect();
    if settings.top_k > 0 {
        rank(&mut candidates, settings.top_k as usize);
        candidates.truncate(settings.top_k as usize);
    }
    if settings.top_p < 1.0 {
        let kept = nucleus(&mut candidates, f64::from(settings.top_p));
        candidates.truncate(kept);
    }
    pick(&candidates, fraction)
}

/// Puts the likeliest `count` first, in order.
fn rank(candidates: &mut [Candidate], count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, by_weight);
    }
    let count = count.min(candidates.len());
    candidates[..count].sort_unstable_by(by_weight);
}

/// How many of the likeliest it takes to reach the probability; ranks those. At least one.
fn nucleus(candidates: &mut [Candidate], probability: f64) -> usize {
    let wanted = probability * candidates.iter().map(|candidate| candidate.weight).sum::<f64>();
    // A nucleus is nearly always small: ranking ever wider beginnings avoids sorting the whole vocabulary.
    let mut width = 64;
    loop {
        rank(candidates, width);
        let mut sum = 0.0;
        for (count, candidate) in (1..).zip(candidates.iter().take(width)) {
            sum += candidate.weight;
            if sum >= wanted {
                return count;
            }
        }
        if width >= candidates.len() {
            return candidates.len();
        }
        width *= 8;
    }
}

/// The candidate under which the fraction of the whole weight falls.
fn pick(candidates: &[Candidate], fraction: f64) -> Option<u32> {
    let mut left = fraction * candidates.iter().map(|candidate| candidate.weight).sum::<f64>();
    for candidate in candidates {
        left -= candidate.weight;
        if left < 0.0 {
            return Some(candidate.id);
        }
    }
    // Rounding may leave a crumb: the last that can be drawn at all.
    candidates.iter().rev().find(|candidate| candidate.weight > 0.0).map(|candidate| candidate.id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(temperature: f32, top_k: u32, top_p: f32, seed: u64) -> Sampling {
        Sampling { temperature, top_k, top_p, seed, ..Sampling::greedy() }
    }

    const DRAWS: usize = 5_000;

    fn frequencies(settings: &Sampling, logits: &[f32]) -> Vec<f64> {
        let sampler = Sampler::new(settings.clone());
        let mut counts = vec![0_u32; logits.len()];
        for position in 0..DRAWS {
            counts[sampler.sample(logits, position, None).unwrap() as usize] += 1;
        }
        counts.into_iter().map(|count| f64::from(count) / DRAWS as f64).collect()
    }

    #[test]
    fn greedy_takes_the_greatest_and_the_lowest_id_of_equals() {
        let sampler = Sampler::new(Sampling::greedy());
        assert_eq!(sampler.sample(&[1.0, 3.0, 3.0, f32::NAN], 0, None), Some(1));
        assert_eq!(sampler.sample(&[f32::NAN, f32::NEG_INFINITY], 0, None), None);
        assert_eq!(sampler.sample(&[f32::NAN, -5.0, f32::INFINITY], 0, None), Some(2));
    }

    #[test]
    fn the_slack_is_the_distance_from_the_fraction_to_the_tokens_part() {
        let logits = [f32::NAN, 0.5_f32.ln() + 9.0, 0.3_f32.ln() + 9.0, 0.2_f32.ln() + 9.0];
        let sampler = Sampler::new(settings(1.0, 0, 1.0, 0));
        // The fraction of seed and position is 0.8369, within the last token's part.
        for (id, expected) in [(3, 0.0), (2, 0.0369), (1, 0.3369), (0, 0.8369)] {
            let found = sampler.slack(&logits, 0, id).unwrap();
            assert!((found - expected).abs() < 1e-4, "{id}: {found}");
        }
        assert_eq!((sampler.slack(&logits, 0, 4), sampler.slack(&[f32::NEG_INFINITY], 0, 0)), (None, None));
        // What is all but certain tells nothing, unless something else was delivered.
        let certain = [6.0, 0.0];
        assert_eq!(sampler.slack(&certain, 0, 0), None);
        assert!(sampler.slack(&certain, 0, 1).unwrap() > 0.1);
        // The likeliest has none; another would have to become as likely.
        let greedy = Sampler::new(Sampling::greedy());
        for (id, expected) in [(1, 0.0), (2, 0.1), (3, 0.15)] {
            let found = greedy.slack(&logits, 0, id).unwrap();
            assert!((found - expected).abs() < 1e-6, "{id}: {found}");
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln(), f32::NEG_INFINITY];
        let measured = frequencies(&settings(1.0, 0, 1.0, 7), &logits);
        for (measured, expected) in measured.iter().zip([0.5, 0.3, 0.2, 0.0]) {
            assert!((measured - expected).abs() < 0.02, "{measured} for {expected}");
        }
    }

    #[test]
    fn top_k_and_top_p_keep_the_likeliest() {
        let logits = [0.2_f32.ln(), 0.5_f32.ln(), 0.3_f32.ln()];
        assert_eq!(frequencies(&settings(1.0, 2, 1.0, 1), &logits)[0], 0.0);
        assert_eq!(frequencies(&settings(1.0, 0, 0.79, 1), &logits)[0], 0.0);
        assert!(frequencies(&settings(1.0, 0, 0.81, 1), &logits)[0] > 0.0);
        // top_p is of what top_k left: 0.5 / 0.8 reaches 0.6.
        assert_eq!(frequencies(&settings(1.0, 2, 0.6, 1), &logits)[1], 1.0);
        assert_eq!(frequencies(&settings(1.0, 0, 0.0, 1), &logits)[1], 1.0);
    }

    #[test]
    fn a_low_temperature_sharpens_and_a_high_one_flattens() {
        let logits = [0.0, 1.0];
        assert!(frequencies(&settings(0.1, 0, 1.0, 3), &logits)[1] > 0.99);
        assert!(frequencies(&settings(100.0, 0, 1.0, 3), &logits)[1] < 0.53);
        assert_eq!(frequencies(&settings(f32::MIN_POSITIVE, 0, 1.0, 3), &logits)[1], 1.0);
    }

    #[test]
    fn penalties_lower_what_was_drawn() {
        let mut sampler =
            Sampler::new(Sampling { frequency_penalty: 0.4, presence_penalty: 0.3, ..Sampling::greedy() });
        let logits = [1.0, 0.0];
        sampler.record(0);
        assert_eq!(sampler.sample(&logits, 0, None), Some(0), "1.0 - 0.4 - 0.3 > 0");
        sampler.record(0);
        assert_eq!(sampler.sample(&logits, 0, None), Some(1), "1.0 - 0.8 - 0.3 < 0");
    }

    #[test]
    fn a_bias_raises_a_token_and_bars_it_at_its_end() {
        let sampler =
            |bias: f32| Sampler::new(Sampling { logit_bias: vec![(1, bias), (9, 5.0)], ..Sampling::greedy() });
        assert_eq!(sampler(2.0).sample(&[1.0, 0.0], 0, None), Some(1));
        assert_eq!(sampler(0.5).sample(&[1.0, 0.0], 0, None), Some(0));
        assert_eq!(sampler(-100.0).sample(&[f32::NEG_INFINITY, 1_000.0], 0, None), None);
    }

    /// Pins the generator: a change here breaks resuming between nodes of two versions.
    #[test]
    fn the_fraction_of_a_seed_and_position_never_changes() {
        let fractions = [fraction(0, 0), fraction(0, 1), fraction(1, 0), fraction(u64::MAX, 4_095)];
        assert_eq!(fractions.map(|fraction| (fraction * 1e6) as u32), [836_919, 789_161, 381_489, 215_178]);
    }

    proptest! {
        #[test]
        fn what_was_drawn_has_no_slack(
            logits in proptest::collection::vec(-8.0_f32..8.0, 1..300),
            seed in any::<u64>(), position in 0_usize..100_000, temperature in 0.0_f32..2.0, penalty in -1.0_f32..1.0,
        ) {
            let settings = Sampling { frequency_penalty: penalty, ..settings(temperature, 0, 1.0, seed) };
            let mut sampler = Sampler::new(settings);
            sampler.record(0);
            let drawn = sampler.sample(&logits, position, None).unwrap();
            prop_assert!(sampler.slack(&logits, position, drawn).unwrap_or(0.0) < 1e-6);
        }

        #[test]
        fn a_draw_depends_on_seed_and_position_alone(
            logits in proptest::collection::vec(-8.0_f32..8.0, 1..300),
            seed in any::<u64>(), position in 0_usize..100_000, top_k in 0_u32..100, top_p in 0.0_f32..=1.0,
        ) {
            let sampler = Sampler::new(settings(0.8, top_k, top_p, seed));
            let first = sampler.sample(&logits, position, None);
            // Whatever others drew in between.
            let _ = sampler.sample(&logits, position + 1, None);
            let _ = Sampler::new(settings(0.8, top_k, top_p, seed ^ 1)).sample(&logits, position, None);
            prop_assert_eq!(first, Sampler::new(settings(0.8, top_k, top_p, seed)).sample(&logits, position, None));
            prop_assert!((first.unwrap() as usize) < logits.len());
        }

        #[test]
        fn the_nucleus_found_by_widening_is_the_nucleus_found_by_sorting(
            logits in proptest::collection::vec(-3.0_f32..3.0, 1..700), probability in 0.0_f64..1.0,
        ) {
            let mut candidates: Vec<Candidate> =
                (0..).zip(&logits).map(|(id, logit)| Candidate { id, weight: f64::from(logit.exp()) }).collect();
            let mut sorted = candidates.clone();
            sorted.sort_by(by_weight);
            let count = nucleus(&mut candidates, probability);
            let ids = |of: &[Candidate]| of[..count].iter().map(|candidate| candidate.id).collect::<Vec<_>>();
            prop_assert_eq!(ids(&candidates), ids(&sorted));
            let total: f64 = sorted.iter().map(|candidate| candidate.weight).sum();
            let mass = |count: usize| sorted[..count].iter().map(|candidate| candidate.weight).sum::<f64>();
            prop_assert!(mass(count) >= probability * total * (1.0 - 1e-9));
            prop_assert!(count == 1 || mass(count - 1) < probability * total * (1.0 + 1e-9));
        }
    }
}
