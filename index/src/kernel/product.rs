//! The rough product of many queries and many rows, in integers.
//!
//! Vectors are scaled to length T and rounded to 16-bit integers. One instruction multiplies them and adds the
//! products by pairs in 32 bits: twice as many products as with f32 in the same time. No sum overflows, because |Σ
//! qᵢvᵢ| <= ‖q‖ ‖v‖ (Cauchy & Schwarz) for any part of the components. The error has a bound ([`max_error`]), so the
//! result tells which rows can be among the best; those rows are compared again.
//!
//! The loops are those of Goto & van de Geijn ("Anatomy of high-performance matrix multiplication", 2008). A panel of
//! 2L queries, packed pair by pair of components, stays in the L1 cache for a block of components. Meanwhile tiles of
//! [`ROWS`] rows go by. A panel of [`ROW_PANEL`] rows stays in the L2 cache.

use super::{Kernel, PAIRS, Pair, Panel, ROWS, STREAMS, Sums};
use crate::rows::Rows;

/// Rows compared at a time, a multiple of [`ROWS`] and of [`STREAMS`].
pub(crate) const ROW_PANEL: usize = 48;
/// The most queries of a batch: a block of components of all of them is 256 KiB.
pub(crate) const MAX_QUERIES: usize = 256;
/// The most components. Up to here scaled components stay below 2¹⁵ whatever the rounding of the length.
pub(crate) const MAX_DIM: usize = 1 << 20;

/// T, the length to which vectors are scaled. (T + √D / 2)² stays below 2³¹.
const LENGTH: f32 = 32_000.0;

/// A vector no longer than this is not scaled: its square and products of it may underflow.
const SHORT: f32 = 1.0 / (1u64 << 60) as f32;

/// u, the unit roundoff of f32.
pub(crate) const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// γₙ Σ|termᵢ| with γₙ = nu / (1 - nu) bounds the error of a sum whose terms go through n roundings each. The bound is
/// that of Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1. Here n is that of
/// [`super::Kernels::scan`] with L lanes. A term takes at most 3 roundings when formed, one for each addition in its
/// lane, one for each halving of the lanes.
pub(crate) fn rounding_error(dim: usize, lanes: usize) -> f64 {
    let nu = (3 + dim.div_ceil(lanes) + lanes.ilog2() as usize) as f64 * UNIT;
    nu / (1.0 - nu)
}

/// G of the bound G ‖q‖ ‖v‖ on the difference of two values, to which underflow adds [`underflow`]. One is the product
/// that [`super::Kernels::scan`] computes with L lanes. The other is the value of [`Product`] times the [`scale`]s of q
/// and v.
///
/// Rounding changes a scaled component by at most 1/2, and the scaling itself by T u < 0.002. So a scaled vector
/// changes by at most d = 0.502 √D, and the product of two by d T + T d + d². Divided by the scales this is 2 d / T +
/// (d / T)² of ‖q‖ ‖v‖. The scales, the conversion of the sum and its scaling are rounded less than 16 times.
pub(crate) fn max_error(dim: usize, lanes: usize) -> f64 {
    let moved = 0.502 * (dim as f64).sqrt() / f64::from(LENGTH);
    moved * (2.0 + moved) + rounding_error(dim, lanes) + 16.0 * UNIT
}

/// What underflow adds to the error of a sum: at most 2⁻¹⁴⁹ for each term, when it is formed or scaled.
pub(crate) fn underflow(dim: usize) -> f64 {
    dim as f64 * 2f64.powi(-148)
}

/// What one unit of a scaled vector stands for, given its length; not a number if the vector is too short to be scaled.
pub(crate) fn scale(length: f32) -> f32 {
    if length > SHORT { length / LENGTH } else { f32::NAN }
}

/// The factor that scales a vector of this length; 0 if it is too short.
fn factor(length: f32) -> f32 {
    if length > SHORT { LENGTH / length } else { 0.0 }
}

/// Pairs that begin at a cache line: vectors that lie across two lines cost 5% of the speed.
struct Aligned {
    buffer: Vec<Pair>,
    start: usize,
}

impl Aligned {
    fn zeros(len: usize) -> Aligned {
        const LINE: usize = 64;
        let buffer = vec![[0; 2]; len + LINE / size_of::<Pair>()];
        // Where the platform cannot tell, they are merely not aligned.
        let start = buffer.as_ptr().align_offset(LINE).min(LINE / size_of::<Pair>());
        Aligned { buffer, start }
    }

    fn slice(&self, at: usize, len: usize) -> &[Pair] {
        &self.buffer[self.start + at..][..len]
    }

    fn slice_mut(&mut self, at: usize, len: usize) -> &mut [Pair] {
        &mut self.buffer[self.start + at..][..len]
    }
}

/// The blocks of a vector, in pairs of components: where each begins and its length.
fn blocks(dim: usize) -> impl Iterator<Item = (usize, usize)> {
    let pairs = dim.div_ceil(2);
    (0..pairs).step_by(PAIRS).map(move |start| (start, PAIRS.min(pairs - start)))
}

/// The queries of a batch, scaled and packed: blocks of pairs of components, in them panels of 2L queries, in them pair
/// by pair. The last panel is filled up with zeros.
pub(crate) struct PackedQueries<const L: usize> {
    packed: Aligned,
    num_panels: usize,
    dim: usize,
}

impl<const L: usize> PackedQueries<L> {
    /// Packs queries, (Q, D) row-major, of these lengths.
    pub fn new(kernel: &Kernel<L>, queries: &[f32], dim: usize, lengths: &[f32]) -> PackedQueries<L> {
        let pairs = dim.div_ceil(2);
        let num_panels = lengths.len().div_ceil(2 * L);
        let mut packed = Aligned::zeros(num_panels * 2 * L * pairs);
        let mut scaled = vec![[0; 2]; pairs];
        for (number, (query, length)) in queries.chunks_exact(dim).zip(lengths).enumerate() {
            (kernel.scale)(query, factor(*length), &mut scaled);
            let (panel, lane) = (number / (2 * L), number % (2 * L));
            for (start, len) in blocks(dim) {
                let panel = packed.slice_mut((num_panels * start + panel * len) * 2 * L, 2 * L * len);
                let lanes = panel[lane..].iter_mut().step_by(2 * L);
                lanes.zip(&scaled[start..]).for_each(|(to, from)| *to = *from);
            }
        }
        PackedQueries { packed, num_panels, dim }
    }
}

/// A panel of rows compared with all queries; its buffer is reused for each panel.
pub(crate) struct Product<const L: usize> {
    /// Scaled: blocks of [`PAIRS`] pairs of components, in them row by row.
    rows: Aligned,
    lengths: [f32; ROW_PANEL],
    num_rows: usize,
    sums: Vec<Sums<L>>,
    /// A few rows as f32, where they are not.
    buffer: Vec<f32>,
}

impl<const L: usize> Product<L> {
    pub fn new(queries: &PackedQueries<L>) -> Product<L> {
        Product {
            rows: Aligned::zeros(ROW_PANEL * queries.dim.div_ceil(2).next_multiple_of(PAIRS)),
            lengths: [0.0; ROW_PANEL],
            num_rows: 0,
            sums: vec![[[[0; L]; 2]; ROWS]; queries.num_panels * (ROW_PANEL / ROWS)],
            buffer: Vec::new(),
        }
    }

    /// Compares every query with every row of a panel, (N, D) row-major with N at most [`ROW_PANEL`].
    pub fn compute(&mut self, kernel: &Kernel<L>, queries: &PackedQueries<L>, rows: Rows<'_>) {
        let dim = queries.dim;
        self.load(kernel, rows, dim);
        let num_tiles = self.num_rows.div_ceil(ROWS);
        for (start, len) in blocks(dim) {
            let size = queries.num_panels * 2 * L;
            let panels: &[Panel<L>] =
                queries.packed.slice(size * start, size * len).as_chunks::<L>().0.as_chunks::<2>().0;
            for (panel, sums) in panels.chunks_exact(len).zip(self.sums.chunks_exact_mut(num_tiles)) {
                for (tile, sums) in sums.iter_mut().enumerate() {
                    let rows = self.rows.slice(ROW_PANEL * start + tile * ROWS * PAIRS, ROWS * PAIRS);
                    (kernel.tile)(panel, rows.as_chunks().0, sums, start == 0);
                }
            }
        }
    }

    /// Scales rows. Rows of an earlier panel beyond the last one stay, because nothing reads their sums.
    fn load(&mut self, kernel: &Kernel<L>, rows: Rows<'_>, dim: usize) {
        self.num_rows = rows.len() / dim;
        // A few rows at a time, so that they are in the cache when they are scaled.
        for (number, rows) in rows.chunks(dim * STREAMS).enumerate() {
            let rows = rows.as_f32(&mut self.buffer);
            let first = number * STREAMS;
            let lengths = &mut self.lengths[first..first + rows.len() / dim];
            kernel.lengths(Rows::F32(rows), dim, lengths);
            for (row, (components, length)) in rows.chunks_exact(dim).zip(lengths).enumerate() {
                for (start, len) in blocks(dim) {
                    let to = self.rows.slice_mut(ROW_PANEL * start + (first + row) * PAIRS, len);
                    (kernel.scale)(&components[2 * start..dim.min(2 * (start + len))], factor(*length), to);
                }
            }
        }
    }

    /// The lengths of the rows.
    pub fn lengths(&self) -> &[f32] {
        &self.lengths[..self.num_rows]
    }

    /// Calls `visit` with the number of a row, the number of the first query of a panel of 2L, and values. These are
    /// the products of the row with the queries of the panel, those beyond the last query included.
    pub fn for_each(&self, queries: &PackedQueries<L>, mut visit: impl FnMut(usize, usize, &[[i32; L]; 2])) {
        let num_tiles = self.num_rows.div_ceil(ROWS);
        for (panel, sums) in self.sums.chunks_exact(num_tiles).take(queries.num_panels).enumerate() {
            for (row, values) in sums.as_flattened().iter().take(self.num_rows).enumerate() {
                visit(row, panel * 2 * L, values);
            }
        }
    }
}
