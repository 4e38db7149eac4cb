//! How sure a share of many is.

/// The lower end of a share: with 95 % confidence the true share is not less (Clopper and Pearson's bound, one-sided).
///
/// It takes positions for independent, which tokens of one answer are not quite; so does everyone who reports such a share.
pub fn lower_bound(hits: u64, total: u64) -> f64 {
    if hits == 0 || total == 0 {
        return 0.0;
    }
    let misses = total - hits;
    if misses == 0 {
        return 0.05_f64.powf(1.0 / total as f64);
    }
    // The share of misses at which so few of them would be seen one time in twenty.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if at_most(misses, total, middle) > 0.05 { low = middle } else { high = middle }
    }
    1.0 - high
}

/// The probability of at most `count` of `total`, each with probability `share`.
fn at_most(count: u64, total: u64, share: f64) -> f64 {
    let (log_share, log_rest) = (share.ln(), (-share).ln_1p());
    let mut log_term = total as f64 * log_rest;
    let mut sum = log_term.exp();
    for index in 0..count {
        log_term += ((total - index) as f64 / (index + 1) as f64).ln() + log_share - log_rest;
        sum += log_term.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_that_of_the_tables() {
        for (hits, total, expected) in [
            (2_995, 2_995, 0.999_0),
            (4_741, 4_742, 0.999_0),
            (95, 100, 0.897_75),
            (0, 10, 0.0),
            (99_960, 100_000, 0.999_48),
        ] {
            let bound = lower_bound(hits, total);
            assert!((bound - expected).abs() < 2e-5_f64.max(expected * 5e-5), "{hits} of {total}: {bound}");
        }
    }

    #[test]
    fn more_evidence_brings_it_nearer() {
        assert!(lower_bound(99, 100) < lower_bound(990, 1_000));
        assert!(lower_bound(990, 1_000) < 0.99);
    }
}
