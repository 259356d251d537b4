//! Products of f32 numbers that are rounded to bf16 on the way, forward and back. Sums are f32, and what is multiplied
//! is kept in f32.
//!
//! The plain algorithm, and what processors without AMX and AVX-512 BF16 do: round A and B, multiply them in f32. See
//! [`Factors::numbers`] and [`Factors::matrix`]. With either, both are rounded into tiles.
//!
//! A sum depends on a row of A and a row of B alone, so the number of threads changes nothing.

#[cfg(target_arch = "x86_64")]
mod gemm;
#[cfg(target_arch = "x86_64")]
mod products;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiles;

use std::borrow::Cow;

#[cfg(target_arch = "x86_64")]
pub(super) use gemm::HalfGemm;
#[cfg(target_arch = "x86_64")]
pub(super) use tiles::{Panels, RoundedRows};

use super::packed_matrix::PackedMatrix;
use crate::compute::precision::Precision;

/// What products multiply that training goes back through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    /// The numbers as they are.
    F32,
    /// The numbers rounded to bf16, in tiles.
    #[cfg(target_arch = "x86_64")]
    Tiles,
    /// The numbers rounded to bf16, in f32.
    Rounded,
}

impl Factors {
    /// The fastest on this machine.
    pub(crate) fn of(precision: Precision) -> Factors {
        match precision {
            Precision::F32 => Factors::F32,
            #[cfg(target_arch = "x86_64")]
            Precision::Bf16 if super::half_tiles::are_there() => Factors::Tiles,
            Precision::Bf16 => Factors::Rounded,
            Precision::Int8 => unreachable!("settings of training that ask for 8 bits are refused"),
        }
    }

    /// Whether tiles are multiplied.
    pub(super) fn are_tiles(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Factors::Tiles;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Numbers as they are multiplied in f32.
    pub(super) fn numbers(self, values: &[f32]) -> Cow<'_, [f32]> {
        match self {
            Factors::Rounded => values.iter().map(|x| rounded(*x)).collect(),
            _ => values.into(),
        }
    }

    /// The same of a matrix.
    pub(super) fn matrix(self, matrix: &PackedMatrix) -> Cow<'_, PackedMatrix> {
        match self {
            Factors::Rounded => Cow::Owned(matrix.map(rounded)),
            _ => Cow::Borrowed(matrix),
        }
    }
}

/// To nearest, ties to even.
fn rounded(x: f32) -> f32 {
    half::bf16::from_f32(x).to_f32()
}
