//! Amounts as decimals, exact.

/// An amount in whole units with all the decimals that its unit has: `-0.000000034`.
pub fn decimal(amount: i128, scale: u32) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let one = 10_u128.pow(scale);
    let (whole, rest) = (amount.unsigned_abs() / one, amount.unsigned_abs() % one);
    if scale == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{rest:0width$}", width = scale as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_written_to_its_last_unit() {
        for (amount, scale, text) in [
            (-34, 9, "-0.000000034"),
            (0, 9, "0.000000000"),
            (12_000_000_001, 9, "12.000000001"),
            (-7, 0, "-7"),
            (i128::from(i64::MIN), 9, "-9223372036.854775808"),
            (1_005, 2, "10.05"),
        ] {
            assert_eq!(decimal(amount, scale), text);
        }
    }
}
