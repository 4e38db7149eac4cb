//! Figures: their medians, and how people read them.

/// The median, of two middle ones the mean.
pub fn middle(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let last = figures.len().checked_sub(1)?;
    Some((figures[last / 2] + figures[last.div_ceil(2)]) / 2.0)
}

/// Three figures that count, thousands grouped.
pub fn short(figure: f64) -> String {
    match figure.abs() {
        100.0.. => grouped(figure),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// Whole, with commas between thousands.
pub fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([0.187, 3.0, 27.44, 151.2, 33_312.4].map(short), ["0.19", "3.00", "27.4", "151", "33,312"]);
        assert_eq!([0.4, 999.0, 1_000_000.0].map(grouped), ["0", "999", "1,000,000"]);
    }

    #[test]
    fn medians_ignore_one_bad_round() {
        assert_eq!(middle(vec![]), None);
        assert_eq!(middle(vec![3.0]), Some(3.0));
        assert_eq!(middle(vec![9.0, 1.0]), Some(5.0));
        assert_eq!(middle(vec![2.0, 900.0, 1.0]), Some(2.0));
    }
}
