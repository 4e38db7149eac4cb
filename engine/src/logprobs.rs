//! How likely tokens were: the logarithms of the probabilities that the model gave.

use primitives::node_protocol::{TokenLogprob, TokenLogprobs};

use crate::words::Words;

/// The most likely tokens that are told beside a drawn one.
pub const TOP_MAX: u8 = 20;

/// The drawn token and the likeliest `top`, by these logits, as the model gave them.
pub fn logprobs(logits: &[f32], drawn: u32, top: u8, words: &Words) -> TokenLogprobs {
    let greatest = logits.iter().copied().filter(|logit| !logit.is_nan()).fold(f32::NEG_INFINITY, f32::max);
    let shares = logits.iter().filter(|logit| !logit.is_nan());
    let sum: f64 = shares.map(|logit| f64::from(logit - greatest).exp()).sum();
    let whole = f64::from(greatest) + sum.ln();
    let token = |id: u32| TokenLogprob {
        id,
        bytes: words.piece(id).to_vec(),
        // JSON has no infinity; nothing is less likely than this.
        logprob: (f64::from(logits[id as usize]) - whole).max(-9_999.0) as f32,
    };
    TokenLogprobs { drawn: token(drawn), top: likeliest(logits, usize::from(top)).into_iter().map(token).collect() }
}

/// The ids of the greatest logits, the greatest first and the lowest id of equals.
fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..).zip(logits).filter(|(_, logit)| !logit.is_nan()).map(|(id, _)| id).collect();
    let order = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if count < ids.len() {
        ids.select_nth_unstable_by(count, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_in_order_and_undefined_ones_never() {
        assert_eq!(likeliest(&[0.0, 3.0, f32::NAN, 3.0, 1.0], 3), [1, 3, 4]);
        assert_eq!(likeliest(&[0.0, 3.0], 5), [1, 0]);
        assert_eq!(likeliest(&[0.0, 3.0], 0), [0_u32; 0]);
    }
}
