//! Pseudo-random numbers that are the same on every machine and in every version.
//!
//! Graphs, batches, masks and new weights depend on them bit for bit, so the sequence never changes. The crate stands
//! alone because `index` and `encoders` know neither each other nor the data sets, and because numbers have nothing
//! to do with files.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// What the state grows by: 2^64 divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"). Every seed gives another
/// sequence, and neighboring seeds give unrelated ones.
///
/// ```
/// use secateur_random::SplitMix64;
///
/// let mut random = SplitMix64::new(1_234_567);
/// assert_eq!(random.bits(), 6_457_827_717_110_365_317);
/// assert!(random.below(6) < 6);
/// ```
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The generator that begins at a state.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    /// A separate generator for each list of numbers.
    pub fn keyed(keys: &[u64]) -> SplitMix64 {
        SplitMix64(keys.iter().fold(0, |state, key| SplitMix64(state ^ key).bits()))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A number below `end`, all equally likely (Lemire 2019, "Fast random integer generation in an interval").
    ///
    /// `end` must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        loop {
            let product = u128::from(self.bits()) * u128::from(end);
            // Rejects the lowest products: without this some results would be one case more likely than others.
            if product as u64 >= end.wrapping_neg() % end {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number from 0 to below 1: one of 2^53, all equally likely.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// 64 bits for each seed and number, which look random. Any of them can be had without those before it.
pub fn hash(seed: u64, number: u32) -> u64 {
    mix(seed ^ (u64::from(number) + 1).wrapping_mul(GAMMA))
}

/// The output function of SplitMix64: a permutation of the 64-bit numbers.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers for seed 1234567, as the reference implementation (prng.di.unimi.it/splitmix64.c) gives them.
    const REFERENCE: [u64; 3] =
        [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];

    #[test]
    fn the_published_sequence() {
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!([(); 3].map(|()| random.bits()), REFERENCE);
        let unit = SplitMix64::new(1_234_567).unit();
        assert_eq!(unit, (REFERENCE[0] >> 11) as f64 / 9_007_199_254_740_992.0);
    }

    /// With seed 0 a hash is the number of the sequence at its place.
    #[test]
    fn a_hash_is_a_step_of_the_sequence() {
        let mut random = SplitMix64::new(0);
        for number in 0..100 {
            assert_eq!(hash(0, number), random.bits());
        }
        // Levels of graphs depend on it.
        assert_eq!(hash(42, 7), mix(42 ^ GAMMA.wrapping_mul(8)));
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
            .map(|keys| SplitMix64::keyed(keys).bits())
            .into();
        assert_eq!(firsts.len(), 6);
    }
}
