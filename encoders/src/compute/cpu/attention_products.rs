//! The products that the gradient of attention is made of: their factors are parts of arrays.

use std::ops::Range;

use super::gemm::{Epilogue, Gemm, PackTransposedTiles};
use super::half_products::Factors;
#[cfg(target_arch = "x86_64")]
use super::half_products::{HalfGemm, Panels, RoundedRows};
#[cfg(target_arch = "x86_64")]
use super::half_tiles::Tile;
use super::isa::Isa;
use super::packed_matrix::PackedMatrix;

/// The first `width` numbers of rows that lie `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    pub(super) width: usize,
    /// Whether the factor's rows are its columns.
    pub(super) transposed: bool,
}

/// The right factor of a product, B (N, K).
pub(super) struct Right<'a> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "there are no tiles"))]
    part: Part<'a>,
    /// What f32 multiplies. Tiles are made of the part itself.
    packed: PackedMatrix,
}

/// How products are computed, and the memory that they reuse.
pub(super) struct Products {
    isa: Isa,
    factors: Factors,
    tiles: Vec<f32>,
    free: Vec<PackedMatrix>,
    #[cfg(target_arch = "x86_64")]
    rounded: RoundedRows,
    #[cfg(target_arch = "x86_64")]
    panels: [Vec<Tile>; 2],
}

impl Products {
    pub(super) fn new(isa: Isa, factors: Factors) -> Products {
        Products {
            isa,
            factors,
            tiles: Vec::new(),
            free: Vec::new(),
            #[cfg(target_arch = "x86_64")]
            rounded: RoundedRows::default(),
            #[cfg(target_arch = "x86_64")]
            panels: Default::default(),
        }
    }

    /// Whether products are those of tiles of bf16.
    fn in_tiles(&self) -> bool {
        self.factors.are_tiles()
    }

    /// A right factor.
    pub(super) fn right<'a>(&mut self, part: Part<'a>) -> Right<'a> {
        let mut packed = self.free.pop().unwrap_or_default();
        let Part { values, stride, width, transposed } = part;
        match (self.in_tiles(), transposed) {
            (true, _) => {}
            (false, false) => packed.refill_strided(values, stride, width),
            (false, true) => packed.refill_columns(values, stride, width),
        }
        Right { part, packed }
    }

    /// A right factor that is not needed any more, for its memory.
    pub(super) fn give_back(&mut self, right: Right<'_>) {
        self.free.push(right.packed);
    }

    /// `out` = A B^T by the epilogue, for some panels of B. Of the K of B some are taken, as many as A has.
    pub(super) fn multiply<E: Epilogue>(
        &mut self,
        a: Part<'_>,
        b: &Right<'_>,
        (panels, depth): (Range<usize>, Range<usize>),
        epilogue: E,
        out: &mut [&mut [f32]],
    ) {
        #[cfg(target_arch = "x86_64")]
        if self.in_tiles() {
            if a.transposed {
                self.rounded.refill_columns(a.values, a.stride, 0..a.width);
            } else {
                self.rounded.refill(a.values, a.stride, depth.len(), out.len());
            }
            let Part { values, stride, width, transposed } = b.part;
            let some = || &values[depth.start * stride..(depth.end * stride).min(values.len())];
            let b = match transposed {
                true => Panels::Columns { values: some(), stride, columns: width },
                false => Panels::Rows { values, stride, depth: width },
            };
            let (a, scratch) = (&self.rounded, &mut self.panels);
            return self.isa.dispatch(HalfGemm { a, b, kept: &[], panels, epilogue, out, scratch });
        }
        let (values, stride, tiles) = match a.transposed {
            true => {
                let Part { values: a, stride, width, .. } = a;
                self.isa.dispatch(PackTransposedTiles { a, stride, columns: 0..width, out: &mut self.tiles });
                (&[][..], depth.len(), Some(&self.tiles[..]))
            }
            false => (a.values, a.stride, None),
        };
        let (a, b, scratch) = (values, &b.packed, &mut Vec::new());
        self.isa.dispatch(Gemm { a, stride, b, panels, depth, epilogue, out, tiles, scratch });
    }
}
