//! The bootstrap: how far a mean over queries would move with other queries of the same kind.

use secateur_random::SplitMix64;
use serde::{Deserialize, Serialize};

use super::normal;
use super::quantile::quantile;

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// How an interval of a mean is found: bias-corrected and accelerated (BCa; Efron 1987, "Better bootstrap confidence
/// intervals"), as scipy's `bootstrap` does unless told otherwise.
///
/// ```
/// use secateur::statistics::Bootstrap;
/// let ndcg = [0.0, 0.3, 1.0, 0.6, 0.5, 1.0, 0.0, 0.9];
/// let interval = Bootstrap::default().of_mean(&ndcg).unwrap();
/// assert!(interval.low < 0.5375 && 0.5375 < interval.high);
/// assert_eq!(Bootstrap::default().of_mean(&ndcg), Some(interval));
/// assert_eq!(Bootstrap::default().of_mean(&[0.5]), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// The probability that the interval covers the true mean.
    pub level: f64,
    /// How many samples are drawn.
    pub resamples: usize,
    /// Decides which.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 95%, of 10,000 samples.
    fn default() -> Bootstrap {
        Bootstrap { level: 0.95, resamples: 10_000, seed: 0 }
    }
}

impl Bootstrap {
    /// The interval of the mean; `None` of fewer than two values, which say nothing of others.
    pub fn of_mean(&self, values: &[f64]) -> Option<Interval> {
        self.of_means(values, &self.means(values))
    }

    /// The means of samples of as many values, drawn with repetition.
    fn means(&self, values: &[f64]) -> Vec<f64> {
        let count = values.len();
        let mut random = SplitMix64::keyed(&[self.seed, count as u64]);
        let mut mean = || {
            let sum: f64 = (0..count).map(|_| values[random.below(count as u64) as usize]).sum();
            sum / count as f64
        };
        if count == 0 { Vec::new() } else { (0..self.resamples).map(|_| mean()).collect() }
    }

    /// The interval, where these are the means of samples.
    fn of_means(&self, values: &[f64], means: &[f64]) -> Option<Interval> {
        let count = values.len() as f64;
        if values.len() < 2 || means.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count;
        // What is left of the mean without each value, as differences from the mean of all those.
        let deviations = values.iter().map(|value| value - mean);
        let [squares, cubes] = deviations.fold([0.0, 0.0], |[s, c], d| [s + d * d, c + d * d * d]);
        if squares == 0.0 {
            return Some(Interval { low: mean, high: mean });
        }
        let acceleration = cubes / count.powi(3) / (squares / count.powi(2)).powf(1.5) / 6.0;
        let mut sorted = means.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let below = sorted.partition_point(|other| *other < mean);
        let up_to = sorted.partition_point(|other| *other <= mean);
        let bias = normal::quantile((below + up_to) as f64 / (2 * sorted.len()) as f64);
        let tail = normal::quantile((1.0 - self.level) / 2.0);
        let end = |z: f64| {
            let moved = bias + (bias + z) / (1.0 - acceleration * (bias + z));
            quantile(&sorted, normal::cdf(moved))
        };
        Some(Interval { low: end(tail), high: end(-tail) })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        name: String,
        level: f64,
        values: Vec<f64>,
        means: Vec<f64>,
        interval: [f64; 2],
        of_many: [f64; 2],
    }

    fn cases() -> Vec<Case> {
        let fixture = include_str!("../../tests/fixtures/statistics/bootstrap.json");
        serde_json::from_str(fixture).unwrap()
    }

    /// From the same samples scipy finds the same interval.
    #[test]
    fn intervals_of_recorded_samples_are_those_of_scipy() {
        for case in cases() {
            let bootstrap = Bootstrap { level: case.level, ..Bootstrap::default() };
            let Interval { low, high } = bootstrap.of_means(&case.values, &case.means).unwrap();
            for (got, want) in [low, high].into_iter().zip(case.interval) {
                assert!((got - want).abs() < 1e-12, "{}: {got}, scipy {want}", case.name);
            }
        }
    }

    /// From samples of its own, as far as drawing others allows: a twentieth of the interval.
    #[test]
    fn intervals_of_own_samples_are_near_those_of_scipy() {
        for case in cases() {
            let bootstrap = Bootstrap { level: case.level, seed: 7, ..Bootstrap::default() };
            let Interval { low, high } = bootstrap.of_mean(&case.values).unwrap();
            let width = case.of_many[1] - case.of_many[0];
            for (got, want) in [low, high].into_iter().zip(case.of_many) {
                assert!((got - want).abs() < 0.05 * width, "{}: {got}, scipy {want}", case.name);
            }
        }
    }

    #[test]
    fn equal_values_have_an_interval_of_no_width_and_few_none() {
        let bootstrap = Bootstrap::default();
        assert_eq!(bootstrap.of_mean(&[0.25; 5]), Some(Interval { low: 0.25, high: 0.25 }));
        assert_eq!((bootstrap.of_mean(&[]), bootstrap.of_mean(&[1.0])), (None, None));
    }
}
