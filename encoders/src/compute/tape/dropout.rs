//! Dropout whose mask is a function of where it is, so that computing a batch again drops the same.

use super::linear::LowRank;
use crate::random::Random;

/// What the masks of one forward depend on, apart from the adapter: nothing is dropped without a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropout {
    /// Of the batch.
    pub(crate) seed: Option<u64>,
}

impl Dropout {
    /// Whether an adapter's input is dropped at all.
    pub(super) fn drops(&self, adapter: &LowRank) -> bool {
        self.seed.is_some() && adapter.dropout > 0.0
    }

    /// Zeroes the share of the values that the adapter does not see and scales the others up (Srivastava et al. 2014), in
    /// place: the same positions for the same seed and adapter.
    pub(super) fn apply(&self, adapter: &LowRank, values: &mut [f32]) {
        let Some(seed) = self.seed else { return };
        // By tensor and block, so that the parts of a stacked layer drop apart.
        let state = seed ^ (adapter.b.parameter as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let key = Random::from_state(state).bits();
        let threshold = (f64::from(adapter.dropout) * f64::from(u32::MAX)) as u32;
        let kept = 1.0 / (1.0 - adapter.dropout);
        for (place, value) in values.iter_mut().enumerate() {
            let drawn = hash(place as u32 ^ key as u32).wrapping_add((key >> 32) as u32);
            *value *= if drawn < threshold { 0.0 } else { kept };
        }
    }
}

/// A bijection of 32 bits with little bias (Mueller's hash with Wellons's constants, 2018); vectorizes.
fn hash(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::super::parameters::Place;
    use super::*;

    fn adapter(parameter: usize, dropout: f32) -> LowRank {
        let place = Place { parameter, first_row: 0 };
        LowRank::new(0..1, [place, place], 1, 1.0, dropout)
    }

    /// The share dropped of n = 100,000 values is p within 5 standard deviations of a binomial, sqrt(p (1 - p) / n); masks of
    /// other seeds and other adapters agree where two independent ones would, p^2 + (1 - p)^2, within the same; what is kept
    /// is scaled so that the mean stays.
    #[test]
    fn masks_are_repeatable_independent_and_fair() {
        let n = 100_000;
        let dropped = |seed, parameter, p| {
            let mut values = vec![1.0; n];
            Dropout { seed: Some(seed) }.apply(&adapter(parameter, p), &mut values);
            values
        };
        for p in [0.1f32, 0.5] {
            let share = f64::from(p);
            let limit = |expected: f64| 5.0 * (expected * (1.0 - expected) / n as f64).sqrt();
            let first = dropped(1, 0, p);
            assert_eq!(first, dropped(1, 0, p));
            let zeros = first.iter().filter(|x| **x == 0.0).count() as f64 / n as f64;
            assert!((zeros - share).abs() < limit(share), "{zeros}");
            assert!(first.iter().all(|x| *x == 0.0 || (*x - 1.0 / (1.0 - p)).abs() < 1e-6));
            for other in [dropped(2, 0, p), dropped(1, 1, p)] {
                let same = first.iter().zip(&other).filter(|(a, b)| a == b).count() as f64 / n as f64;
                let expected = share * share + (1.0 - share) * (1.0 - share);
                assert!((same - expected).abs() < limit(expected), "{same} for {expected}");
            }
        }
        let mut values = vec![1.0; 8];
        Dropout::default().apply(&adapter(0, 0.5), &mut values);
        assert_eq!(values, [1.0; 8]);
    }
}
