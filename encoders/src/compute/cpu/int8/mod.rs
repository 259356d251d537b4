//! Products in 8 bits.
//!
//! Weights and activations are quantized in groups of [`GROUP`] numbers along K, without calibration:
//!
//! ```text
//! scale = max |x| / 127        over the group
//! code  = round(x / scale)     -127 to 127
//! ```
//!
//! Llama.cpp's Q8_0 is the same with groups of 32. An outlier costs precision in its own group alone. The product of A
//! (M, K) and B (N, K):
//!
//! ```text
//! for i in 0..M
//!     for j in 0..N
//!         C[i, j] = 0
//!         for g in groups
//!             sum = 0                                         an integer
//!             for k in g
//!                 sum += code of A[i, k] * code of B[j, k]
//!             C[i, j] = fma(sum, scale of A[i, g] * scale of B[j, g], C[i, j])
//! ```
//!
//! Sums of a group are exact in i32 and in f32: at most 127 * 127 * 128 < 2^24. So whatever [`Units`] computes, C has
//! the same bits, and a row of C depends on its row of A alone.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512_vnni;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod codes;
mod gemm;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panels;
mod portable;
mod quantize;
#[cfg(test)]
mod tests;
mod tile;

#[cfg(target_arch = "x86_64")]
pub(super) use codes::SMALLEST;
pub(super) use gemm::{Int8Gemm, QuantizingGemm};
pub(crate) use panels::quantize_rows;
pub(super) use panels::{Int8Panels, Row};
pub(super) use quantize::{Quantize, QuantizedRows, TileStrip};

use super::isa::PANEL;
pub(super) use crate::architecture::INT8_GROUP as GROUP;

/// Codes that are multiplied with one instruction and added to one sum.
const QUAD: usize = 4;

/// Their bytes, in the order of k.
type Quad = u32;

/// Panels that are multiplied together: both use what is read of A.
pub(super) const WIDE: usize = 2;

/// Quads of a row that units multiply with one instruction at most. Rows are filled up to a multiple with zeros.
const STEP: usize = 16;

/// Quads of a row of `depth` numbers.
fn quads(depth: usize) -> usize {
    depth.div_ceil(QUAD).next_multiple_of(STEP)
}

/// Rows of the tallest tile.
const MAX_ROWS: usize = 16;

/// Sums of a tile: row by row, panel by panel. Each is in a cache line of its own.
#[repr(C, align(64))]
struct Sums([[[f32; PANEL]; WIDE]; MAX_ROWS]);

/// The instructions that multiply codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Units {
    /// What every processor of the target has.
    Portable,
    /// AVX2: codes are widened to 16 bits, because its products of 8 bits saturate.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-VNNI.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX-VNNI's kernel with the instruction of AVX-512 VNNI.
    #[cfg(all(test, target_arch = "x86_64"))]
    AvxVnniByAvx512,
    /// AVX-512 VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AMX, beside AVX-512.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// NEON with dot products.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Units {
    /// The best of this processor.
    pub(super) fn detect() -> Units {
        *Units::available().last().expect("the portable units are always there")
    }

    /// All that this processor has, slowest first.
    pub(crate) fn available() -> Vec<Units> {
        #[allow(unused_mut, reason = "targets without units of ours add none")]
        let mut found = vec![Units::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Units::Avx2);
                if is_x86_feature_detected!("avxvnni") {
                    found.push(Units::AvxVnni);
                }
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                    #[cfg(test)]
                    if is_x86_feature_detected!("avx512vl") {
                        found.push(Units::AvxVnniByAvx512);
                    }
                    found.push(Units::Avx512Vnni);
                    if super::amx::is_there() {
                        found.push(Units::Amx);
                    }
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            found.push(Units::Neon);
        }
        found
    }

    /// Rows of the tallest tile whose sums fit the registers.
    fn tile_rows(self) -> usize {
        match self {
            Units::Portable => MAX_ROWS,
            #[cfg(target_arch = "x86_64")]
            Units::Avx2 => avx2::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Units::AvxVnni => avx_vnni::TILE_ROWS,
            #[cfg(all(test, target_arch = "x86_64"))]
            Units::AvxVnniByAvx512 => avx_vnni::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Units::Avx512Vnni => avx512_vnni::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Units::Amx => MAX_ROWS,
            #[cfg(target_arch = "aarch64")]
            Units::Neon => neon::TILE_ROWS,
        }
    }

    /// What is added to the codes of A: VNNI multiplies unsigned numbers with signed ones.
    fn offset(self) -> u8 {
        match self {
            Units::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            Units::Avx2 | Units::Amx => 0,
            #[cfg(target_arch = "aarch64")]
            Units::Neon => 0,
            #[cfg(target_arch = "x86_64")]
            _ => 128,
        }
    }

    /// Rows of a tile of `rows` rows as it is stored. All tiles of AMX have one shape.
    fn stored_rows(self, rows: usize) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Units::Amx => MAX_ROWS,
            _ => rows,
        }
    }
}
