//! Pseudo-random numbers that are the same on every machine and in every version.

/// SplitMix64 (Steele, Lea, Flood 2014): every seed gives another sequence, and neighboring seeds give unrelated
/// ones.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        SplitMix64(seed)
    }

    /// A separate generator for each list of numbers.
    pub(crate) fn keyed(keys: &[u64]) -> Self {
        SplitMix64(keys.iter().fold(0, |state, key| SplitMix64(state ^ key).next()))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, all equally likely (Lemire 2019, "Fast random integer generation in an interval").
    ///
    /// `end` must not be 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        loop {
            let product = u128::from(self.next()) * u128::from(end);
            // Rejects the lowest products: without this some results would be one case more likely than others.
            if product as u64 >= end.wrapping_neg() % end {
                return (product >> 64) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence() {
        // The first numbers for seed 1234567, as the reference implementation (prng.di.unimi.it/splitmix64.c) gives them.
        let mut random = SplitMix64::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([(); 3].map(|()| random.next()), expected);
    }

    #[test]
    fn numbers_below_an_end_are_equally_likely() {
        let mut random = SplitMix64::new(7);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        // 10,000 expected each, with a standard deviation of 91: five of them, for a test with a fixed seed.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 456), "{counts:?}");
    }

    #[test]
    fn keys_make_generators_of_their_own() {
        let firsts: std::collections::BTreeSet<u64> = [&[][..], &[0], &[1], &[0, 0], &[0, 1], &[1, 0]]
            .map(|keys| SplitMix64::keyed(keys).next())
            .into();
        assert_eq!(firsts.len(), 6);
    }
}
