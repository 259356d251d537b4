//! Products of activations with packed matrices, in f32. A is (M, K) row-major, B is (N, K), C is (M, N). The plain
//! algorithm:
//!
//! ```text
//! for i in 0..M
//!     for j in 0..N
//!         C[i, j] = 0
//!         for k in 0..K
//!             C[i, j] = fma(A[i, k], B[j, k], C[i, j])
//! ```
//!
//! Every element of C is that one sum over k in ascending order, whatever computes it. So a row of C depends on its row
//! of A alone, bit for bit. That is what makes a text's vector independent of its batch mates. What differs is the
//! order of the loops (Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication"):
//!
//! - B is packed once into panels of [`PANEL`] of its rows, each k-major, so that the inner loop reads it front to
//!   back.
//! - A is taken [`BLOCK_ROWS`] rows at a time, which stay in the second-level cache while all panels of B pass by.
//! - Within a block, tiles of a few rows are packed k-major. A tile of C, as many rows by a panel, stays in registers
//!   while k runs.
//! - The first block of rows fetches the next panel while it computes with this one: few rows would else wait for
//!   memory.
//! - An [`Epilogue`] takes the sums from the registers: bias, activation, residual and scale cost no pass over C.
//! - `depth` and `panels` restrict the sum and the columns, for attention sees some keys only.

use std::ops::Range;

use super::isa::{Arithmetic, Kernel, PANEL, prefetch};
use super::packed_matrix::PackedMatrix;

/// Rows of A that are multiplied with all panels before the next rows are touched. 96 rows of 1,536 f32 are 576 KiB,
/// about a second-level cache.
pub(crate) const BLOCK_ROWS: usize = 96;

/// What becomes of the sums of one row of C over one panel of B.
pub(crate) trait Epilogue: Copy {
    /// Output columns a panel yields: fewer than [`PANEL`] where columns of C are combined.
    const WIDTH: usize;
    /// Takes the sums `values` of panel `panel` and writes `out`, which has at most `WIDTH` elements (fewer at the end
    /// of the row).
    fn store<A: Arithmetic>(&self, panel: usize, values: &[f32; PANEL], out: &mut [f32]);
}

/// C = A B^T, or a part of it.
pub(crate) struct Gemm<'a, 'out, E> {
    /// (M, K), row i at `i * stride`; its columns are those in `depth`.
    pub(crate) a: &'a [f32],
    /// Distance between the rows of A.
    pub(crate) stride: usize,
    /// B.
    pub(crate) b: &'a PackedMatrix,
    /// The panels of B to use.
    pub(crate) panels: Range<usize>,
    /// The k to sum over.
    pub(crate) depth: Range<usize>,
    /// What becomes of the sums.
    pub(crate) epilogue: E,
    /// M rows, each from the output column of the first panel to that of the last.
    pub(crate) out: &'a mut [&'out mut [f32]],
    /// All of A from [`PackTiles`], if the same A is multiplied many times. Otherwise each block is packed when it is
    /// multiplied.
    pub(crate) tiles: Option<&'a [f32]>,
    /// Memory for a block of A, tile by tile, k-major.
    pub(crate) scratch: &'a mut Vec<f32>,
}

/// Writes the rows of A tile by tile, each k-major.
pub(crate) struct PackTiles<'a> {
    /// (M, K), row i at `i * K`.
    pub(crate) a: &'a [f32],
    /// K.
    pub(crate) depth: usize,
    /// M K numbers.
    pub(crate) out: &'a mut Vec<f32>,
}

impl Kernel for PackTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { a, depth, out } = self;
        out.resize(a.len(), 0.0);
        let num_rows = a.len() / depth.max(1);
        for start in (0..num_rows).step_by(BLOCK_ROWS) {
            let end = (start + BLOCK_ROWS).min(num_rows);
            pack_block::<A>(a, depth, depth, start..end, &mut out[start * depth..end * depth]);
        }
    }
}

/// Writes the rows of A as [`PackTiles`] does, where it is A's transpose that is at hand.
pub(crate) struct PackTransposedTiles<'a> {
    /// A^T (K, ..), row k at `k * stride`.
    pub(crate) a: &'a [f32],
    /// Distance between its rows.
    pub(crate) stride: usize,
    /// The columns that are the rows of A.
    pub(crate) columns: Range<usize>,
    /// M K numbers.
    pub(crate) out: &'a mut Vec<f32>,
}

impl Kernel for PackTransposedTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { a, stride, columns, out } = self;
        let depth = a.len() / stride;
        // Every element is written below; old ones need not be cleared.
        out.resize(columns.len() * depth, 0.0);
        for start in (0..columns.len()).step_by(BLOCK_ROWS) {
            let end = (start + BLOCK_ROWS).min(columns.len());
            for (k, line) in a.chunks_exact(stride).enumerate() {
                let line = &line[columns.start..columns.end];
                for (row, height) in Tiles::new::<A>(start, end) {
                    let slots = &mut out[row * depth + k * height..][..height];
                    slots.copy_from_slice(&line[row..row + height]);
                }
            }
        }
    }
}

/// The `rows` of A, tile by tile, k-major.
#[inline(always)]
pub(super) fn pack_block<A: Arithmetic>(
    a: &[f32],
    stride: usize,
    depth: usize,
    rows: Range<usize>,
    out: &mut [f32],
) {
    for (row, height) in Tiles::new::<A>(rows.start, rows.end) {
        let tile = &mut out[(row - rows.start) * depth..][..height * depth];
        for r in 0..height {
            let line = &a[(row + r) * stride..][..depth];
            for (slot, value) in tile[r..].iter_mut().step_by(height).zip(line) {
                *slot = *value;
            }
        }
    }
}

impl<E: Epilogue> Kernel for Gemm<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(mut self) {
        let depth = self.depth.len();
        let num_rows = self.out.len();
        let mut scratch = std::mem::take(self.scratch);
        for start in (0..num_rows).step_by(BLOCK_ROWS) {
            let end = (start + BLOCK_ROWS).min(num_rows);
            let packed = match self.tiles {
                Some(tiles) => &tiles[start * depth..end * depth],
                None => {
                    // Every element is written below; old ones need not be cleared.
                    scratch.resize((end - start) * depth, 0.0);
                    pack_block::<A>(self.a, self.stride, depth, start..end, &mut scratch);
                    &scratch
                }
            };
            for p in self.panels.clone() {
                for (row, height) in Tiles::new::<A>(start, end) {
                    let tile = &packed[(row - start) * depth..][..height * depth];
                    match height {
                        14 => self.tile::<A, 14>(row, p, tile),
                        6 => self.tile::<A, 6>(row, p, tile),
                        4 => self.tile::<A, 4>(row, p, tile),
                        2 => self.tile::<A, 2>(row, p, tile),
                        _ => self.tile::<A, 1>(row, p, tile),
                    }
                }
            }
        }
        *self.scratch = scratch;
    }
}

/// The tiles of a block of rows, as (first row, rows): the tallest that fit, then shorter ones.
///
/// An iterator, where a callback would do: a closure is compiled without the vector instructions unless it happens to
/// be inlined.
pub(super) struct Tiles {
    row: usize,
    end: usize,
    tallest: usize,
}

impl Tiles {
    #[inline(always)]
    pub(super) fn new<A: Arithmetic>(start: usize, end: usize) -> Tiles {
        Tiles { row: start, end, tallest: A::TILE_ROWS }
    }
}

impl Iterator for Tiles {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        let row = self.row;
        let height = match self.tallest.min(self.end - row) {
            0 => return None,
            14.. => 14,
            6.. => 6,
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        self.row += height;
        Some((row, height))
    }
}

impl<E: Epilogue> Gemm<'_, '_, E> {
    /// Where a tile of `height` rows at `row` begins to prefetch its share of the next panel, and the bytes between
    /// two prefetches. The tiles of the first block together fetch the next panel while they compute with the present
    /// one. So a product of few rows does not wait for memory. Later blocks find the panel in the cache.
    #[inline(always)]
    fn next_panel_share(&self, row: usize, p: usize, height: usize) -> (*const u8, usize) {
        if row >= BLOCK_ROWS || p + 1 >= self.panels.end {
            // An address at hand: a prefetch from where nothing is mapped walks the page tables.
            return (self.a.as_ptr().cast(), 0);
        }
        let block = self.out.len().min(BLOCK_ROWS);
        let next = &self.b.panel(p + 1)[self.depth.start * PANEL..self.depth.end * PANEL];
        let bytes = size_of_val(next);
        (
            next.as_ptr().cast::<u8>().wrapping_add(bytes * row / block),
            PANEL * size_of::<f32>() * height / block,
        )
    }

    /// R rows of A, k-major in `tile`, times one panel of B.
    #[inline(always)]
    fn tile<A: Arithmetic, const R: usize>(&mut self, row: usize, p: usize, tile: &[f32]) {
        let panel = &self.b.panel(p)[self.depth.start * PANEL..self.depth.end * PANEL];
        let mut sums = [[0.0f32; PANEL]; R];
        // Both operands in fixed-size chunks: no bounds checks, and the sums stay in registers.
        let (mut ahead, step) = self.next_panel_share(row, p, R);
        for (a, b) in tile.chunks_exact(R).zip(panel.chunks_exact(PANEL)) {
            prefetch(ahead);
            ahead = ahead.wrapping_add(step);
            let a: &[f32; R] = a.try_into().expect("chunks have R elements");
            let b: &[f32; PANEL] = b.try_into().expect("chunks have PANEL elements");
            for (a, sums) in a.iter().zip(&mut sums) {
                A::add_products(*a, b, sums);
            }
        }
        // A local copy, so that the compiler can keep the sums in registers. Otherwise it stores each sum after every
        // addition.
        let sums = std::hint::black_box(sums);
        let column = (p - self.panels.start) * E::WIDTH;
        for (out, values) in self.out[row..row + R].iter_mut().zip(&sums) {
            let end = (column + E::WIDTH).min(out.len());
            self.epilogue.store::<A>(p, values, &mut out[column..end]);
        }
    }
}

/// Writes the sums times a factor.
#[derive(Clone, Copy)]
pub(crate) struct Scaled(pub(crate) f32);

impl Epilogue for Scaled {
    const WIDTH: usize = PANEL;
    #[inline(always)]
    fn store<A: Arithmetic>(&self, _: usize, values: &[f32; PANEL], out: &mut [f32]) {
        let mut scaled = [0.0; PANEL];
        for lane in 0..PANEL {
            scaled[lane] = values[lane] * self.0;
        }
        write(&scaled, out);
    }
}

/// Adds the sums times a factor.
#[derive(Clone, Copy)]
pub(crate) struct Accumulate(pub(crate) f32);

impl Epilogue for Accumulate {
    const WIDTH: usize = PANEL;
    #[inline(always)]
    fn store<A: Arithmetic>(&self, _: usize, values: &[f32; PANEL], out: &mut [f32]) {
        match <&mut [f32; PANEL]>::try_from(&mut *out) {
            // The length is known here, so that the sum is one vector instruction.
            Ok(out) => {
                for lane in 0..PANEL {
                    out[lane] = A::mul_add(values[lane], self.0, out[lane]);
                }
            }
            Err(_) => {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = A::mul_add(*value, self.0, *out);
                }
            }
        }
    }
}

/// Copies the beginning of `values` that fits: one vector store where all of it does.
#[inline(always)]
pub(crate) fn write<const N: usize>(values: &[f32; N], out: &mut [f32]) {
    match <&mut [f32; N]>::try_from(&mut *out) {
        Ok(out) => *out = *values,
        Err(_) => out.copy_from_slice(&values[..out.len()]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::Isa;
    use super::*;
    use proptest::prelude::*;

    /// The product by its definition, in f64.
    fn naive(a: &[f32], b: &[f32], m: usize, n: usize, depth: usize) -> Vec<f64> {
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] =
                    (0..depth).map(|k| f64::from(a[i * depth + k]) * f64::from(b[j * depth + k])).sum();
            }
        }
        c
    }

    fn packed(b: &[f32], rows: usize, depth: usize) -> PackedMatrix {
        let mut packed = PackedMatrix::default();
        packed.refill(rows, depth, |row, k| b[row * depth + k]);
        packed
    }

    fn product(isa: Isa, a: &[f32], b: &[f32], m: usize, n: usize, depth: usize) -> Vec<f32> {
        let packed = packed(b, n, depth);
        let mut c = vec![f32::NAN; m * n];
        let mut rows: Vec<&mut [f32]> = c.chunks_exact_mut(n).collect();
        isa.dispatch(Gemm {
            a,
            stride: depth,
            b: &packed,
            panels: 0..packed.num_panels(),
            depth: 0..depth,
            epilogue: Scaled(1.0),
            out: &mut rows,
            tiles: None,
            scratch: &mut Vec::new(),
        });
        c
    }

    fn shape() -> impl Strategy<Value = (usize, usize, usize, Vec<f32>, Vec<f32>)> {
        (1..40usize, 1..70usize, 1..50usize).prop_flat_map(|(m, n, k)| {
            let values = |len| prop::collection::vec(-1.0f32..1.0, len);
            (Just(m), Just(n), Just(k), values(m * k), values(n * k))
        })
    }

    proptest! {
        /// |error| <= K u / (1 - K u) * sum |a||b| with u = 2^-24 (Higham 2002, eq. 3.5), and |a||b| <= 1 here.
        #[test]
        fn product_is_the_definition((m, n, depth, a, b) in shape()) {
            let bound = depth as f64 * depth as f64 * f64::from(f32::EPSILON);
            for isa in Isa::available() {
                for (got, want) in product(isa, &a, &b, m, n, depth).iter().zip(naive(&a, &b, m, n, depth)) {
                    prop_assert!((f64::from(*got) - want).abs() <= bound, "{isa:?}: {got} against {want}");
                }
            }
        }

        /// Any window of a transpose is that window of the transposed matrix, packed.
        #[test]
        fn transposes_are_packed_alike((_, n, depth, _, b) in shape(), from in 0..4usize, num in 1..4usize) {
            let matrix = packed(&b, n, depth);
            let mut whole = PackedMatrix::default();
            whole.refill(depth, n, |row, k| b[k * depth + row]);
            let end = whole.num_panels();
            let window = from.min(end - 1)..(from + num).min(end).max(from.min(end - 1) + 1);
            let mut got = packed(&[7.0; 12], 4, 3);
            got.refill_transposed(&matrix, window.clone());
            for p in window {
                prop_assert_eq!(got.panel(p), whole.panel(p));
            }
        }

        /// So are the columns of a matrix, and the tiles of a transpose.
        #[test]
        fn columns_are_packed_alike((m, n, depth, a, b) in shape()) {
            let turned = |values: &[f32], rows: usize| -> Vec<f32> {
                (0..rows * depth).map(|i| values[i % rows * depth + i / rows]).collect()
            };
            let want = packed(&b, n, depth);
            let mut got = packed(&[7.0; 12], 4, 3);
            got.refill_columns(&turned(&b, n), n, n);
            prop_assert_eq!(got.all_panels(), want.all_panels());
            // Of an array with more columns; and rows as they are.
            let wider: Vec<f32> = turned(&b, n).chunks(n).flat_map(|row| row.iter().copied().chain([7.0; 2])).collect();
            got.refill_columns(&wider, n + 2, n);
            prop_assert_eq!(got.all_panels(), want.all_panels());
            let longer: Vec<f32> = b.chunks(depth).flat_map(|row| row.iter().copied().chain([7.0; 3])).collect();
            got.refill_strided(&longer, depth + 3, depth);
            prop_assert_eq!(got.all_panels(), want.all_panels());
            let rows: Vec<&[f32]> = b.chunks(depth).collect();
            got.refill(1, 1, |_, _| 7.0);
            got.refill_rows(&rows, depth);
            prop_assert_eq!(got.all_panels(), want.all_panels());
            for isa in Isa::available() {
                let (mut want, mut got) = (Vec::new(), vec![7.0; 3]);
                isa.dispatch(PackTiles { a: &a, depth, out: &mut want });
                isa.dispatch(PackTransposedTiles { a: &turned(&a, m), stride: m, columns: 0..m, out: &mut got });
                prop_assert_eq!(&got, &want);
                let part = m / 3..m;
                isa.dispatch(PackTiles { a: &a[part.start * depth..], depth, out: &mut want });
                isa.dispatch(PackTransposedTiles { a: &turned(&a, m), stride: m, columns: part, out: &mut got });
                prop_assert_eq!(&got, &want);
            }
        }

        /// A row of the product depends on its row of A alone, bit for bit.
        #[test]
        fn rows_do_not_see_each_other((m, n, depth, a, b) in shape()) {
            for isa in Isa::available() {
                let together = product(isa, &a, &b, m, n, depth);
                for i in 0..m {
                    let alone = product(isa, &a[i * depth..(i + 1) * depth], &b, 1, n, depth);
                    prop_assert_eq!(&together[i * n..(i + 1) * n], &alone[..]);
                }
            }
        }
    }
}
