//! The ledger's one rounding: what a part of an amount is worth.

use primitives::money::Nanos;

/// The amount × `part` ÷ `whole`, halves to even; none beyond what an account can hold, or where `whole` is not above zero.
pub(crate) fn share(amount: Nanos, part: impl Into<i128>, whole: impl Into<i128>) -> Option<Nanos> {
    let (part, whole) = (part.into(), whole.into());
    let product = i128::from(amount.0).checked_mul(part).filter(|_| whole > 0)?;
    let (floor, rest) = (product.div_euclid(whole), product.rem_euclid(whole));
    // Compared without doubling, which could leave the range.
    let up = rest > whole - rest || (rest == whole - rest && floor % 2 != 0);
    i64::try_from(floor + i128::from(up)).map(Nanos).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_is_rounded_once_halves_to_even() {
        let share = |amount, part: i128, whole: i128| share(Nanos(amount), part, whole).map(|nanos| nanos.0);
        assert_eq!(
            [share(1, 1, 2), share(3, 1, 2), share(5, 1, 2), share(10, 1, 3)],
            [Some(0), Some(2), Some(2), Some(3)]
        );
        assert_eq!([share(-1, 1, 2), share(-3, 1, 2), share(i64::MAX, 7, 7)], [Some(0), Some(-2), Some(i64::MAX)]);
        assert_eq!([share(i64::MAX, 2, 1), share(1, 1, 0), share(i64::MAX, i128::MAX, 2)], [None; 3]);
    }

    proptest! {
        #[test]
        fn a_share_is_at_most_half_a_unit_away(amount: i64, part in 0..=i64::MAX, whole in 1..=i64::MAX) {
            let exact = i128::from(amount) * i128::from(part);
            match share(Nanos(amount), part, whole) {
                Some(got) => {
                    let off = (exact - i128::from(got.0) * i128::from(whole)).abs();
                    prop_assert!(off <= i128::from(whole) - off);
                }
                None => prop_assert!(part > whole),
            }
        }
    }
}
