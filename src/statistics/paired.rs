//! Whether two systems differ by more than chance, by what each has of the same queries.

use secateur_random::SplitMix64;
use serde::{Deserialize, Serialize};

use super::student;

/// Student's t-test of pairs: whether the mean of the differences is 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TTest {
    /// The mean over its standard error. Infinite where all differences are one number beside 0.
    pub t: f64,
    /// The probability of a `t` as far from 0, if there were no difference: two-sided, with n - 1 degrees of freedom.
    pub p: f64,
}

/// Student's t-test of the differences of pairs, as scipy's `ttest_rel`. `None` of fewer than two differences, and of
/// differences that are all 0.
///
/// ```
/// use secateur::statistics::paired_t_test;
/// let test = paired_t_test(&[0.1, 0.3, -0.1, 0.2]).unwrap();
/// assert!((test.t - 1.4638).abs() < 1e-4 && (test.p - 0.2394).abs() < 1e-4);
/// assert_eq!(paired_t_test(&[0.0, 0.0]), None);
/// ```
pub fn paired_t_test(differences: &[f64]) -> Option<TTest> {
    let count = differences.len() as f64;
    if differences.len() < 2 || differences.iter().all(|difference| *difference == 0.0) {
        return None;
    }
    let mean = differences.iter().sum::<f64>() / count;
    let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
    let error = (squares / (count - 1.0) / count).sqrt();
    let t = mean / error;
    Some(TTest { t, p: student::two_sided(t, count - 1.0) })
}

/// Fisher's randomization test: the two systems change places at random in each pair. It counts how often the mean of
/// the differences is as far from 0 then. See Smucker, Allan & Carterette 2007, "A comparison of statistical
/// significance tests for information retrieval evaluation". Differences of 0 change nothing by that, so that a test of
/// zeros has p = 1.
///
/// ```
/// use secateur::statistics::Randomization;
/// // Of the 8 ways to change signs, two are as far from 0 as all of one sign.
/// assert_eq!(Randomization::default().p(&[0.1, 0.2, 0.1]), Some(0.25));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Randomization {
    /// How many ways to change places are drawn. If there are no more than that, each is tried once, and p is exact.
    pub permutations: usize,
    /// Decides which.
    pub seed: u64,
}

impl Default for Randomization {
    /// 100,000 permutations.
    fn default() -> Randomization {
        Randomization { permutations: 100_000, seed: 0 }
    }
}

/// Sums that differ by rounding alone are one sum: scipy's tolerance, a hundred roundings.
const TOLERANCE: f64 = 100.0 * f64::EPSILON;

impl Randomization {
    /// The probability, two-sided. Of drawn permutations it is (hits + 1) / (permutations + 1), so that it is never 0
    /// and the test keeps its level. `None` without a difference.
    pub fn p(&self, differences: &[f64]) -> Option<f64> {
        if differences.is_empty() {
            return None;
        }
        let observed = differences.iter().sum::<f64>().abs();
        let least = observed - TOLERANCE * observed;
        // What is 0 has no sign to change.
        let moving: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
        let count = u32::try_from(moving.len()).unwrap_or(u32::MAX);
        match 1usize.checked_shl(count) {
            Some(all) if all <= self.permutations => Some(exact(&moving, all, least)),
            _ => Some(self.drawn(&moving, least)),
        }
    }

    fn drawn(&self, moving: &[f64], least: f64) -> f64 {
        let mut random = SplitMix64::keyed(&[self.seed, moving.len() as u64]);
        let mut hits = 0usize;
        for _ in 0..self.permutations {
            let mut sum = 0.0;
            for part in moving.chunks(64) {
                let mut signs = random.bits();
                for difference in part {
                    sum += if signs & 1 == 0 { *difference } else { -difference };
                    signs >>= 1;
                }
            }
            hits += usize::from(f64::abs(sum) >= least);
        }
        (hits + 1) as f64 / (self.permutations + 1) as f64
    }
}

/// The share of all ways to choose signs.
fn exact(moving: &[f64], all: usize, least: f64) -> f64 {
    let sum = |signs: usize| -> f64 {
        let signed = |(place, difference): (usize, &f64)| {
            if signs >> place & 1 == 0 { *difference } else { -difference }
        };
        moving.iter().enumerate().map(signed).sum()
    };
    (0..all).filter(|signs| sum(*signs).abs() >= least).count() as f64 / all as f64
}

/// Probabilities of several tests, adjusted for their number. The chance of any false alarm stays below the level that
/// each is compared with. See Holm 1979, "A simple sequentially rejective multiple test procedure".
///
/// ```
/// use secateur::statistics::holm;
/// assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
/// ```
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0f64;
    for (place, test) in order.into_iter().enumerate() {
        largest = largest.max((p.len() - place) as f64 * p[test]).min(1.0);
        adjusted[test] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Case {
        first: Vec<f64>,
        second: Vec<f64>,
        t: Option<f64>,
        p: Option<f64>,
        exact: Option<f64>,
        drawn: f64,
    }

    #[derive(Deserialize)]
    struct Recorded {
        pairs: Vec<Case>,
        holm: Vec<(Vec<f64>, Vec<f64>)>,
    }

    fn recorded() -> Recorded {
        serde_json::from_str(include_str!("../../tests/fixtures/statistics/paired.json")).unwrap()
    }

    fn is_near(got: Option<f64>, want: Option<f64>) -> bool {
        match (got, want) {
            (Some(got), Some(want)) => (got - want).abs() <= 1e-11 * want.abs(),
            (got, want) => got == want,
        }
    }

    #[test]
    fn tests_are_those_of_scipy_and_ranx() {
        let cases = recorded().pairs;
        assert!(cases.iter().any(|case| case.exact.is_none()) && cases.iter().any(|case| case.t.is_none()));
        for case in cases {
            let differences: Vec<f64> = case.second.iter().zip(&case.first).map(|(b, a)| b - a).collect();
            let test = paired_t_test(&differences);
            assert!(is_near(test.map(|test| test.t), case.t), "{differences:?}: {test:?}, {:?}", case.t);
            assert!(is_near(test.map(|test| test.p), case.p), "{differences:?}: {test:?}, {:?}", case.p);
            let test = Randomization::default();
            let p = test.p(&differences).unwrap();
            if let Some(exact) = case.exact {
                let all = Randomization { permutations: 1 << 20, ..test };
                assert_eq!(all.p(&differences), Some(exact), "{differences:?}");
            }
            // Four standard errors of two draws of 100,000.
            let error = (2.0 * case.drawn * (1.0 - case.drawn) / 100_000.0).sqrt();
            assert!(
                (p - case.drawn).abs() <= 4.0 * error + 2e-5,
                "{differences:?}: {p}, ranx {}",
                case.drawn
            );
        }
    }

    #[test]
    fn adjusted_as_statsmodels_does() {
        for (p, want) in recorded().holm {
            let got = holm(&p);
            assert!(
                got.len() == want.len() && got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-15),
                "{got:?} {want:?}"
            );
        }
        assert_eq!(holm(&[]), [0.0; 0]);
    }

    #[test]
    fn constant_differences() {
        let test = paired_t_test(&[0.5, 0.5, 0.5]).unwrap();
        assert_eq!((test.t, test.p), (f64::INFINITY, 0.0));
        assert_eq!(Randomization::default().p(&[0.0; 50]), Some(1.0));
        assert_eq!(Randomization::default().p(&[]), None);
    }

    #[test]
    fn a_seed_decides_all_that_is_random() {
        let differences: Vec<f64> = (0..60).map(|i| f64::from(i % 7) - 2.6).collect();
        let p = |seed| Randomization { seed, permutations: 1000 }.p(&differences);
        assert_eq!(p(1), p(1));
        assert_ne!(p(1), p(2));
    }
}
