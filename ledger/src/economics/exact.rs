//! Exact numbers: rationals for what is computed, decimals for what is shown, and the one rounding of each kind.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

/// A rational number of any size; no sum, product or quotient of these loses a digit.
pub type Exact = RBig;

/// `numerator / denominator`, in lowest terms.
///
/// # Panics
///
/// When the denominator is zero: the caller knows that it is not.
pub fn ratio(numerator: impl Into<IBig>, denominator: impl Into<UBig>) -> Exact {
    Exact::from_parts(numerator.into(), denominator.into())
}

/// A whole number, exactly.
pub fn whole(number: impl Into<IBig>) -> Exact {
    Exact::from(number.into())
}

/// `a / b`, or nothing where `b` is zero: an undefined factor is absent, never zero.
pub fn quotient(a: &Exact, b: &Exact) -> Option<Exact> {
    (!b.is_zero()).then(|| a / b)
}

/// The nearest whole number; a tie goes to the even one.
pub fn round_half_even(value: &Exact) -> IBig {
    let floor = value.floor();
    let twice = (value - whole(floor.clone())) * whole(2);
    let odd = &floor % IBig::from(2) != IBig::ZERO;
    match twice.cmp(&Exact::ONE) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Equal if !odd => floor,
        _ => floor + IBig::ONE,
    }
}

/// Whole numbers that add up to `total`: each value's floor, then one more for the largest remainders, first come first
/// where they tie.
///
/// *Shape*: `values` add up to `total` but for an error far below one; so at most one more is due to each.
pub fn largest_remainder(values: &[Exact], total: &IBig) -> Vec<IBig> {
    let mut parts: Vec<IBig> = values.iter().map(Exact::floor).collect();
    let missing = total - parts.iter().sum::<IBig>();
    let missing = usize::try_from(missing).expect("values that add up to the total leave less than one unit each");
    assert!(missing <= values.len(), "values that add up to the total leave less than one unit each");
    let mut order: Vec<usize> = (0..values.len()).collect();
    let remainder = |at: &usize| &values[*at] - whole(parts[*at].clone());
    order.sort_by_cached_key(|at| std::cmp::Reverse(remainder(at)));
    for at in order.into_iter().take(missing) {
        parts[at] += IBig::ONE;
    }
    parts
}

/// The number in decimal with that many places, half to even; never a negative zero.
pub fn decimal(value: &Exact, places: usize) -> String {
    let scaled = round_half_even(&(value * whole(IBig::from(10).pow(places))));
    let shown = scaled.to_string();
    let (sign, digits) = shown.strip_prefix('-').map_or(("", shown.as_str()), |digits| ("-", digits));
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (integer, fraction) = digits.split_at(digits.len() - places);
    if places == 0 { format!("{sign}{integer}") } else { format!("{sign}{integer}.{fraction}") }
}

/// The number as `numerator/denominator` in lowest terms; whole numbers over 1.
pub fn fraction(value: &Exact) -> String {
    format!("{}/{}", value.numerator(), value.denominator())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_goes_to_the_even_number_on_both_sides_of_zero() {
        let rounded = |n: i64, d: u64| round_half_even(&ratio(n, d));
        assert_eq!([rounded(1, 2), rounded(3, 2), rounded(5, 2)], [0, 2, 2].map(IBig::from));
        assert_eq!([rounded(-1, 2), rounded(-3, 2), rounded(-7, 4)], [0, -2, -2].map(IBig::from));
    }

    #[test]
    fn a_decimal_has_its_places_and_no_negative_zero() {
        assert_eq!(decimal(&ratio(-1, 3u32), 3), "-0.333");
        assert_eq!(decimal(&ratio(-1, 3000u32), 3), "0.000");
        assert_eq!(decimal(&whole(1234), 2), "1234.00");
        assert_eq!(decimal(&ratio(5, 2u32), 0), "2");
        assert_eq!(fraction(&whole(0)), "0/1");
    }

    #[test]
    fn the_largest_remainder_gets_the_missing_unit_and_the_first_of_a_tie() {
        let parts = largest_remainder(&[ratio(1, 2u32), ratio(-1, 2u32), ratio(0, 1u32)], &IBig::ZERO);
        assert_eq!(parts, [1, -1, 0].map(IBig::from));
    }
}
