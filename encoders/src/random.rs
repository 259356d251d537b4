//! Random numbers that depend on a seed and a name, so that a tensor's do not depend on the others.

use secateur_random::SplitMix64;

/// The generator of a seed and a name.
pub(crate) fn named(seed: u64, name: &str) -> SplitMix64 {
    let hash = blake3::Hasher::new().update(&seed.to_le_bytes()).update(name.as_bytes()).finalize();
    let bytes: [u8; 8] = hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes");
    SplitMix64::new(u64::from_le_bytes(bytes))
}
