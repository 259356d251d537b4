//! How much two rankings of the same query agree.

use std::collections::BTreeSet;

/// The share of the first `k` of a ranking that is among the first `k` of another. A ranking that is shorter than `k`
/// cannot agree in more than it has. `None` if both are empty.
///
/// ```
/// use secateur::statistics::overlap;
/// assert_eq!(overlap(&["a", "b", "c"], &["b", "a", "d"], 2), Some(1.0));
/// assert_eq!(overlap(&["a", "b", "c"], &["b"], 2), Some(0.5));
/// assert_eq!(overlap::<&str>(&[], &[], 2), None);
/// ```
pub fn overlap<T: Ord>(first: &[T], second: &[T], k: usize) -> Option<f64> {
    let [first, second] = [first, second].map(|ranking| &ranking[..ranking.len().min(k)]);
    let longer = first.len().max(second.len());
    let known: BTreeSet<&T> = first.iter().collect();
    let common = second.iter().filter(|item| known.contains(item)).count();
    (longer > 0).then(|| common as f64 / longer as f64)
}

/// Kendall's tau-b of the ranks that two rankings give to what is among the first `k` of either. What one of them
/// lacks shares its rank `k + 1`. `None` where one of them ranks nothing above anything.
///
/// ```
/// use secateur::statistics::rank_correlation;
/// assert_eq!(rank_correlation(&["a", "b", "c"], &["a", "b", "c"], 3), Some(1.0));
/// assert_eq!(rank_correlation(&["a", "b", "c"], &["c", "b", "a"], 3), Some(-1.0));
/// assert_eq!(rank_correlation(&["a"], &["a"], 3), None);
/// ```
pub fn rank_correlation<T: Ord>(first: &[T], second: &[T], k: usize) -> Option<f64> {
    let [first, second] = [first, second].map(|ranking| &ranking[..ranking.len().min(k)]);
    let items: BTreeSet<&T> = first.iter().chain(second).collect();
    let rank = |ranking: &[T], item: &T| {
        ranking.iter().position(|other| other == item).map_or(k as f64 + 1.0, |place| place as f64 + 1.0)
    };
    let ranks = |ranking: &[T]| items.iter().map(|item| rank(ranking, item)).collect::<Vec<f64>>();
    kendall_tau_b(&ranks(first), &ranks(second))
}

/// Kendall's tau-b of pairs of numbers (Kendall 1945, with ties). `None` if one side is constant.
///
/// # Panics
///
/// If the sides differ in length.
pub fn kendall_tau_b(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "each number has one to compare with");
    // (concordant - discordant, pairs that differ in x, pairs that differ in y)
    let (mut difference, mut in_x, mut in_y) = (0i64, 0i64, 0i64);
    for i in 0..x.len() {
        for j in 0..i {
            let sign = |a: f64, b: f64| i64::from(a > b) - i64::from(a < b);
            let (of_x, of_y) = (sign(x[i], x[j]), sign(y[i], y[j]));
            difference += of_x * of_y;
            in_x += of_x.abs();
            in_y += of_y.abs();
        }
    }
    let tau = || difference as f64 / (in_x as f64).sqrt() / (in_y as f64).sqrt();
    // As scipy does: rounding leads beyond 1.
    (in_x > 0 && in_y > 0).then(|| tau().clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        x: Vec<f64>,
        y: Vec<f64>,
        tau_b: Option<f64>,
    }

    #[test]
    fn tau_is_that_of_scipy() {
        let fixture = include_str!("../../tests/fixtures/statistics/kendall.json");
        let cases: Vec<Case> = serde_json::from_str(fixture).unwrap();
        assert!(cases.iter().any(|case| case.tau_b.is_none()));
        for Case { x, y, tau_b } in cases {
            let got = kendall_tau_b(&x, &y);
            assert_eq!(got.is_some(), tau_b.is_some(), "{x:?} {y:?}");
            let difference = got.unwrap_or_default() - tau_b.unwrap_or_default();
            assert!(difference.abs() < 1e-12, "{x:?} {y:?}: {got:?}, scipy {tau_b:?}");
        }
    }
}
