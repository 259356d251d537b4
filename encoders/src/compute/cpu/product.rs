//! The product of a linear layer, by whatever its matrix is packed for.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::gemm::{BLOCK_ROWS, Epilogue, Gemm, PackTiles};
use super::half_products::Factors;
use super::int8::{Int8Gemm, Int8Panels, Quantize, QuantizedRows, WIDE};
use super::linear::{Packed, PackedLinear};
use super::packed_matrix::PackedMatrix;
use super::strips::columns_of;
use super::{Activations, Cpu, Memory, bf16};

impl Cpu {
    /// `out` = x M^T by the epilogue.
    pub(super) fn product<E: Epilogue + Sync>(
        &self,
        x: &Activations,
        linear: &PackedLinear,
        epilogue: E,
        out: &mut Activations,
    ) {
        let matrix = &linear.matrix;
        assert_eq!(x.columns, matrix.depth(), "a linear layer's input has as many columns as its weight");
        #[cfg(target_arch = "x86_64")]
        if self.factors.are_tiles() {
            return self.half_product(x, linear, epilogue, out);
        }
        let (isa, stride) = (self.isa, x.columns);
        let factors = if matches!(matrix, Packed::Rounded(_)) { Factors::Rounded } else { self.factors };
        let a = &*factors.numbers(&x.values);
        let dense = match matrix {
            Packed::Dense(matrix) => factors.matrix(matrix),
            Packed::Rounded(matrix) => Cow::Borrowed(matrix),
            _ => Cow::Owned(PackedMatrix::default()),
        };
        let mut packed = self.packed.borrow_mut();
        let mut halves = self.halves.borrow_mut();
        let tiles = match matrix {
            Packed::Dense(_) | Packed::Rounded(_) => None,
            Packed::LowPrecision(_) => {
                self.pack_tiles(a, stride, (x.num_rows(), stride), &mut packed);
                Some(&packed[..])
            }
            Packed::Bf16(_) => {
                bf16::round_into(a, &mut halves);
                None
            }
            Packed::Int8(matrix) => {
                let mut codes = self.codes.borrow_mut();
                isa.dispatch(Quantize { a, depth: stride, units: matrix.units(), out: &mut codes });
                return self.product_of_codes(&codes, matrix, epilogue, out);
            }
        };
        let halves = &halves[..];
        let gemm =
            |b: &PackedMatrix, panels: Range<usize>, out: &mut [&mut [f32]], scratch: &mut Vec<f32>| {
                let depth = 0..matrix.depth();
                isa.dispatch(Gemm { a, stride, b, panels, depth, epilogue, out, tiles, scratch });
            };
        let strip = |panels: Range<usize>, rows: &mut [&mut [f32]], scratch: &mut Memory| match matrix {
            Packed::Dense(_) | Packed::Rounded(_) => gemm(&dense, panels, rows, &mut scratch.tiles),
            Packed::Bf16(matrix) => {
                for first_panel in panels.clone().step_by(bf16::CHUNK) {
                    let columns = matrix.multiply(halves, first_panel / bf16::CHUNK, &mut scratch.sums);
                    let start = (first_panel - panels.start) * E::WIDTH;
                    let mut out: Vec<&mut [f32]> = rows.iter_mut().map(|row| &mut row[start..]).collect();
                    let sums = &scratch.sums[..];
                    isa.dispatch(bf16::Finish { sums, columns, first_panel, epilogue, out: &mut out });
                }
            }
            Packed::Int8(_) => unreachable!("the product of codes was returned"),
            Packed::LowPrecision(matrix) => {
                for first in panels.clone().step_by(matrix.window()) {
                    let window = first..(first + matrix.window()).min(panels.end);
                    matrix.unpack(isa, window.clone(), &mut scratch.window);
                    let unpacked = factors.matrix(&scratch.window);
                    let mut out = columns_of(rows, &panels, &window, E::WIDTH);
                    gemm(&unpacked, window, &mut out, &mut scratch.tiles);
                }
            }
        };
        let columns = 0..out.columns;
        self.for_strips(out, columns, (E::WIDTH, matrix.panels_together()), strip);
    }
    /// `out` becomes the tiles of an array (`num_rows`, `depth`) whose rows lie `stride` apart.
    pub(super) fn pack_tiles(
        &self,
        a: &[f32],
        stride: usize,
        (num_rows, depth): (usize, usize),
        out: &mut Vec<f32>,
    ) {
        // Every element is written below; old ones need not be cleared.
        out.resize(num_rows * depth, 0.0);
        let isa = self.isa;
        let pack = |(block, out): (usize, &mut [f32])| {
            isa.dispatch(PackTiles { a: &a[block * BLOCK_ROWS * stride..], stride, depth, out });
        };
        let length = (BLOCK_ROWS * depth).max(1);
        if self.parallel {
            out.par_chunks_mut(length).enumerate().for_each(pack);
        } else {
            out.chunks_mut(length).enumerate().for_each(pack);
        }
    }

    /// `out` = x M^T by the epilogue, where x and M are in 8 bits.
    pub(super) fn product_of_codes<E: Epilogue + Sync>(
        &self,
        x: &QuantizedRows,
        matrix: &Int8Panels,
        epilogue: E,
        out: &mut Activations,
    ) {
        let (isa, columns) = (self.isa, 0..out.columns);
        self.for_strips(out, columns, (E::WIDTH, WIDE), |panels, rows, _| {
            isa.dispatch(Int8Gemm { a: x, b: matrix, panels, epilogue, out: rows });
        });
    }
}
