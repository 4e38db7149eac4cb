//! An upstream's own gauges, out of the page that it shows to Prometheus.

/// The sum of a metric over its labels, under the first of these names that the page has; what is no number counts nothing.
pub fn sum(page: &str, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| {
        let values = page.lines().filter_map(|line| value(line, name)).filter(|value| value.is_finite());
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    })
}

/// The value on a line `name{labels} value timestamp`.
fn value(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let rest = match rest.strip_prefix('{') {
        Some(labels) => labels.rsplit_once('}')?.1,
        None => rest,
    };
    rest.strip_prefix(' ')?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_summed_and_longer_names_are_others() {
        let page = "# TYPE a gauge\na{x=\"1 } 2\"} 3\na{x=\"2\"} 4.5 1700000000\na_total 100\nb 1\nnan NaN\n";
        assert_eq!(sum(page, &["a"]), Some(7.5));
        assert_eq!(sum(page, &["old", "b"]), Some(1.0));
        assert_eq!(sum(page, &["c"]), None);
        assert_eq!(sum(page, &["nan"]), None);
    }
}
