//! Turning blocks of numbers: what was row i is column i.

#![allow(unsafe_code, reason = "vector instructions of the processor at hand")]

use std::arch::x86_64::*;
use std::mem::transmute;

/// Rows and columns of a block: the numbers of 32 bits of a vector.
const SIDE: usize = 16;

/// Turns a block.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn turn(block: &mut [[u32; SIDE]; SIDE]) {
    // SAFETY: a row is 64 bytes, as a vector is.
    let rows = unsafe { transmute::<[[u32; SIDE]; SIDE], [__m512i; SIDE]>(*block) };
    let zero = _mm512_setzero_si512();
    // Blocks of 4 x 4 are turned within vectors. `fours[4 i + j]` has column j of each block of rows 4 i to 4 i + 3.
    let mut fours = [zero; SIDE];
    for (four, rows) in fours.as_chunks_mut::<4>().0.iter_mut().zip(rows.as_chunks::<4>().0) {
        let low = [_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpacklo_epi32(rows[2], rows[3])];
        let high = [_mm512_unpackhi_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[2], rows[3])];
        *four = [
            _mm512_unpacklo_epi64(low[0], low[1]),
            _mm512_unpackhi_epi64(low[0], low[1]),
            _mm512_unpacklo_epi64(high[0], high[1]),
            _mm512_unpackhi_epi64(high[0], high[1]),
        ];
    }
    // Then whole blocks change their places. Of two vectors, these take blocks 0 and 2 of each, or 1 and 3.
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let mut columns = [zero; SIDE];
    for j in 0..4 {
        let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
        let even = [_mm512_shuffle_i32x4::<EVEN>(a, b), _mm512_shuffle_i32x4::<EVEN>(c, d)];
        let odd = [_mm512_shuffle_i32x4::<ODD>(a, b), _mm512_shuffle_i32x4::<ODD>(c, d)];
        columns[j] = _mm512_shuffle_i32x4::<EVEN>(even[0], even[1]);
        columns[4 + j] = _mm512_shuffle_i32x4::<EVEN>(odd[0], odd[1]);
        columns[8 + j] = _mm512_shuffle_i32x4::<ODD>(even[0], even[1]);
        columns[12 + j] = _mm512_shuffle_i32x4::<ODD>(odd[0], odd[1]);
    }
    // SAFETY: as above.
    *block = unsafe { transmute::<[__m512i; SIDE], [[u32; SIDE]; SIDE]>(columns) };
}
