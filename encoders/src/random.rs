//! Random numbers that depend on a seed alone, or on a seed and a name.

/// A generator of Steele, Lea and Flood (2014), SplitMix64.
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// One for each seed and name.
    pub(crate) fn new(seed: u64, name: &str) -> Random {
        let hash = blake3::Hasher::new().update(&seed.to_le_bytes()).update(name.as_bytes()).finalize();
        let bytes: [u8; 8] = hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes");
        Random { state: u64::from_le_bytes(bytes) }
    }

    /// The one that begins at a state.
    pub(crate) fn from_state(state: u64) -> Random {
        Random { state }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}
