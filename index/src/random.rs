//! Numbers that look random and are the same on every machine.

/// A number that looks random (SplitMix64; Steele, Lea & Flood 2014).
pub(crate) fn hash(seed: u64, row: u32) -> u64 {
    let mut x = seed ^ (u64::from(row) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
