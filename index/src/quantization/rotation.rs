//! One fixed rotation for all vectors of a length, which looks random.
//!
//! Flips of signs and Hadamard transforms alternate, which costs D log D instead of D². The method is that of Ailon &
//! Chazelle ("The fast Johnson-Lindenstrauss transform and approximate nearest neighbors", 2009). The transform needs a
//! power of two. Where the length is none, the transform is applied to the first and to the last components by turns,
//! as many as there can be.

use secateur_random::hash;

/// Vectors are rotated in blocks of this many components.
pub(crate) const BLOCK: usize = 64;

/// Two rounds rotate as well as a random rotation does, measured on rows with some components ten times as large as
/// the others. Of four rounds the first and the last components each get two.
const ROUNDS: usize = 4;

/// Rotates a vector whose length is a multiple of [`BLOCK`], at least 1. Every machine rounds alike.
pub(crate) fn rotate(vector: &mut [f32]) {
    let len = vector.len();
    let power = 1 << len.ilog2();
    for round in 0..ROUNDS {
        flip_signs(round as u64, vector);
        let first = if round % 2 == 0 { 0 } else { len - power };
        hadamard(&mut vector[first..first + power]);
    }
}

fn flip_signs(round: u64, vector: &mut [f32]) {
    for (number, block) in (0u32..).zip(vector.chunks_mut(BLOCK)) {
        let signs = hash(round, number);
        for (at, x) in block.iter_mut().enumerate() {
            *x = f32::from_bits(x.to_bits() ^ ((signs >> at) as u32 & 1) << 31);
        }
    }
}

/// The Walsh-Hadamard transform of a power of two components, divided by the root of their number: it keeps lengths.
fn hadamard(vector: &mut [f32]) {
    let mut half = 1;
    while half < vector.len() {
        for pair in vector.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let factor = 1.0 / (vector.len() as f32).sqrt();
    vector.iter_mut().for_each(|x| *x *= factor);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    /// Products stay as they are, and a vector along one axis is spread over all.
    #[test]
    fn products_are_kept_and_components_spread() {
        for len in [64, 128, 192, 320, 384, 448, 1024, 4096, 65_536] {
            let mut vectors: [Vec<f32>; 2] = [1, 2].map(|seed| random(seed).take(len).collect());
            let before = [dot(&vectors[0], &vectors[0]), dot(&vectors[0], &vectors[1])];
            vectors.iter_mut().for_each(|vector| rotate(vector));
            let after = [dot(&vectors[0], &vectors[0]), dot(&vectors[0], &vectors[1])];
            // Up to 4 * 17 additions one after the other, each rounded.
            let tolerance = 100.0 * f64::from(f32::EPSILON) * before[0];
            assert!(before.iter().zip(after).all(|(a, b)| (a - b).abs() < tolerance), "{before:?} {after:?}");
            for axis in [0, len / 2, len - 1] {
                let mut unit = vec![0.0; len];
                unit[axis] = 1.0;
                rotate(&mut unit);
                let largest = unit.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                // 8 times the root of the mean square: one normal number in 10¹⁵ is larger.
                assert!(largest < 8.0 / (len as f32).sqrt(), "{len}, {axis}: {largest}");
            }
        }
    }
}
