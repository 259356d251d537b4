//! Quantiles of a sample.

/// The `q` quantile of numbers, 0 to 1, as numpy's `quantile` computes it: between two neighbors it is interpolated.
/// 0 of no numbers.
///
/// ```
/// use secateur::statistics::quantile_of;
/// let milliseconds = [4.0, 1.0, 3.0, 2.0];
/// assert_eq!([0.0, 0.5, 0.95, 1.0].map(|q| quantile_of(&milliseconds, q)), [1.0, 2.5, 3.8499999999999996, 4.0]);
/// ```
pub fn quantile_of(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile(&sorted, q)
}

/// [`quantile_of`] numbers that are in ascending order.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (below, share) = (place.floor(), place.fract());
    let (low, high) = (sorted[below as usize], sorted[(below as usize + 1).min(last)]);
    // numpy's order of operations: from the nearer neighbor.
    if share < 0.5 { low + (high - low) * share } else { high - (high - low) * (1.0 - share) }
}
