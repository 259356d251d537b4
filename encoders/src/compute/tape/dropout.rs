//! Dropout whose mask is a function of seed and position, so that computing a batch again drops the same values.

use secateur_random::SplitMix64;

use super::ParameterRows;

/// What the masks of one forward depend on, beside the adapter. Without a seed nothing is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropout {
    /// The seed of the batch.
    pub(crate) seed: Option<u64>,
}

impl Dropout {
    /// The key of the mask of an adapter, whose B is in these rows; none where nothing is dropped. By tensor and
    /// block, so that the parts of a stacked layer drop apart.
    pub(super) fn key(&self, b: &ParameterRows, share: f32) -> Option<u64> {
        let seed = self.seed.filter(|_| share > 0.0)?;
        let state = seed ^ (b.parameter as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Some(SplitMix64::new(state).bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Backend;
    use crate::compute::backward::Backward;
    use crate::compute::cpu::Cpu;

    fn key(seed: Option<u64>, parameter: usize, share: f32) -> Option<u64> {
        Dropout { seed }.key(&ParameterRows { parameter, first_row: 0 }, share)
    }

    /// The dropped share of n = 100,000 values is p within 5 standard deviations of a binomial, sqrt(p (1 - p) / n).
    /// Masks of other seeds and adapters agree as often as independent ones, p^2 + (1 - p)^2, within the same bound.
    /// Kept values are scaled so that the mean stays.
    #[test]
    fn masks_are_repeatable_independent_and_fair() {
        let n = 100_000;
        let dropped = |seed, parameter, p| {
            let cpu = Cpu::serial();
            let mut values = cpu.upload(&vec![1.0; n], n).unwrap();
            cpu.dropout(&mut values, key(Some(seed), parameter, p).unwrap(), p).unwrap();
            values.values().to_vec()
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
        assert_eq!((key(None, 0, 0.5), key(Some(1), 0, 0.0)), (None, None));
    }
}
