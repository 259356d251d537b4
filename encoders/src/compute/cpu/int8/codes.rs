//! Scales and codes of numbers.

use super::super::isa::{Arithmetic, PANEL};

/// Below this the largest number of a group counts as 0: its inverse would be infinite.
pub(in super::super) const SMALLEST: f32 = 1e-30;

/// Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits of the mantissa.
pub(super) const ROUND: f32 = 12_582_912.0;

/// 127 / max and max / 127 of a group.
#[inline(always)]
pub(super) fn of_largest(largest: f32) -> (f32, f32) {
    if largest < SMALLEST { (0.0, 0.0) } else { (127.0 / largest, largest * (1.0 / 127.0)) }
}

/// The same, of the group's numbers. If a number of it is none or infinite, so is the second factor, and with it all
/// that is computed of the group.
#[inline(always)]
pub(super) fn factors<A: Arithmetic>(group: &[f32]) -> (f32, f32) {
    let mut largest = [0.0f32; PANEL];
    // A maximum passes NaN over. Zero times NaN or infinity is NaN.
    let mut zero = [0.0f32; PANEL];
    let (chunks, rest) = group.as_chunks::<PANEL>();
    for chunk in chunks {
        for lane in 0..PANEL {
            largest[lane] = largest[lane].max(chunk[lane].abs());
            zero[lane] = A::mul_add(chunk[lane], 0.0, zero[lane]);
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        largest[lane] = largest[lane].max(x.abs());
        zero[lane] = A::mul_add(*x, 0.0, zero[lane]);
    }
    let mut width = PANEL / 2;
    while width > 0 {
        for lane in 0..width {
            largest[lane] = largest[lane].max(largest[lane + width]);
            zero[lane] += zero[lane + width];
        }
        width /= 2;
    }
    let (inverse, scale) = of_largest(largest[0]);
    (inverse, scale + zero[0])
}

/// The codes of up to [`PANEL`] numbers, those that are not there as zeros, plus `offset`.
#[inline(always)]
pub(super) fn encode<A: Arithmetic>(values: &[f32], inverse: f32, offset: u8) -> [u8; PANEL] {
    let round = ROUND + f32::from(offset);
    let mut whole = [0.0; PANEL];
    // No closures: those that are not inlined are compiled without the vector instructions.
    match <&[f32; PANEL]>::try_from(values) {
        Ok(values) => whole = *values,
        Err(_) => whole[..values.len()].copy_from_slice(values),
    }
    let mut codes = [0; PANEL];
    for lane in 0..PANEL {
        codes[lane] = A::mul_add(whole[lane], inverse, round).to_bits() as u8;
    }
    codes
}
