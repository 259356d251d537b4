//! The blocked product of many queries and many rows.
//!
//! Both operands are packed: three queries (four rows) interleaved, L components of each in turn, so that a tile reads
//! two sequential streams. Rows are packed once for all queries, a panel of [`ROW_PANEL`] at a time; queries once for
//! the whole search. A block of components is short enough that one query tile and [`GROUP`] row tiles of it stay in the
//! L1 cache (22 of 32 KiB); a panel and a block of queries stay in the L2 cache.
//!
//! Measured on Zen 3, one thread, 256 queries: 82 GFLOP/s at D = 4,096 and 78 at D = 384, where adding up the lanes weighs
//! more, of a peak of 102. At D = 4,096 80% of the time is the loop of the tile at its peak, 6% its sums going from and to
//! the L2 cache, 5% packing rows, which is the reading of memory.

use super::{Kernel, QUERIES, ROWS, Step, Sums};

/// Rows packed at a time.
pub(crate) const ROW_PANEL: usize = 96;
/// Queries whose sums are under way at a time.
const QUERY_BLOCK: usize = 48;
/// The number of queries that fill a tile; fewer are better compared one by one.
pub(crate) const QUERY_TILE: usize = QUERIES;
/// Components of a block. A multiple of every L.
const COMPONENTS: usize = 512;
/// Row tiles that stay in the L1 cache while the query tiles go by.
const GROUP: usize = 2;

/// Numbers that begin at a cache line: vectors packed across two lines cost 5% of the speed.
struct Aligned {
    buffer: Vec<f32>,
    start: usize,
}

impl Aligned {
    fn zeros(len: usize) -> Aligned {
        const LINE: usize = 64;
        let buffer = vec![0.0f32; len + LINE / size_of::<f32>()];
        // Where the platform cannot tell, the numbers are merely not aligned.
        let start = buffer.as_ptr().align_offset(LINE).min(LINE / size_of::<f32>());
        Aligned { buffer, start }
    }

    fn slice(&self, at: usize, len: usize) -> &[f32] {
        &self.buffer[self.start + at..][..len]
    }

    fn slice_mut(&mut self, at: usize, len: usize) -> &mut [f32] {
        &mut self.buffer[self.start + at..][..len]
    }
}

/// The blocks of components of a vector: where each begins, its length, its number of steps of L.
fn blocks<const L: usize>(dim: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..dim).step_by(COMPONENTS).map(move |start| {
        let len = COMPONENTS.min(dim - start);
        (start, len, len.div_ceil(L))
    })
}

fn num_steps<const L: usize>(dim: usize) -> usize {
    blocks::<L>(dim).map(|(_, _, steps)| steps).sum()
}

/// Packed numbers as the steps of T vectors.
fn as_steps<const T: usize, const L: usize>(packed: &[f32]) -> &[Step<T, L>] {
    packed.as_chunks::<L>().0.as_chunks::<T>().0
}

fn as_steps_mut<const T: usize, const L: usize>(packed: &mut [f32]) -> &mut [Step<T, L>] {
    packed.as_chunks_mut::<L>().0.as_chunks_mut::<T>().0
}

/// T vectors from `first` on, of which those beyond the last are empty; a piece of each.
fn pieces<const T: usize>(
    vectors: &[f32],
    dim: usize,
    first: usize,
    start: usize,
    len: usize,
) -> [&[f32]; T] {
    std::array::from_fn(|offset| match vectors.get((first + offset) * dim..) {
        Some(rest) if !rest.is_empty() => &rest[start..start + len],
        _ => &[],
    })
}

/// The queries of a batch, packed.
///
/// Order: blocks of [`QUERY_BLOCK`] queries, in them blocks of components, in them tiles of three queries.
pub(crate) struct PackedQueries<const L: usize> {
    packed: Aligned,
    num_queries: usize,
    dim: usize,
}

impl<const L: usize> PackedQueries<L> {
    /// Packs queries, (Q, D) row-major.
    pub fn new(queries: &[f32], dim: usize) -> PackedQueries<L> {
        let num_queries = queries.len() / dim;
        let num_tiles = num_queries.div_ceil(QUERIES);
        let mut packed = Aligned::zeros(num_tiles * num_steps::<L>(dim) * QUERIES * L);
        let mut at = 0;
        for block in (0..num_queries).step_by(QUERY_BLOCK) {
            for (start, len, steps) in blocks::<L>(dim) {
                for first in (block..num_queries.min(block + QUERY_BLOCK)).step_by(QUERIES) {
                    let size = steps * QUERIES * L;
                    let vectors = pieces(queries, dim, first, start, len);
                    super::lanes::pack::<QUERIES, L>(vectors, as_steps_mut(packed.slice_mut(at, size)));
                    at += size;
                }
            }
        }
        PackedQueries { packed, num_queries, dim }
    }
}

/// Room for packed rows, sums and scores, used again for each panel.
pub(crate) struct ProductScratch<const L: usize> {
    rows: Aligned,
    sums: Aligned,
    values: Vec<f32>,
}

impl<const L: usize> ProductScratch<L> {
    pub fn new(dim: usize) -> ProductScratch<L> {
        ProductScratch {
            rows: Aligned::zeros(ROW_PANEL * num_steps::<L>(dim) * L),
            sums: Aligned::zeros(ROW_PANEL * QUERY_BLOCK * L),
            values: vec![0.0; ROW_PANEL * QUERY_BLOCK],
        }
    }
}

/// Compares every query with every row of a panel, (N, D) row-major with N at most [`ROW_PANEL`], and calls `visit`
/// with the number of each query and its N values.
pub(crate) fn product<const L: usize>(
    kernel: &Kernel<L>,
    queries: &PackedQueries<L>,
    rows: &[f32],
    scratch: &mut ProductScratch<L>,
    mut visit: impl FnMut(usize, &[f32]),
) {
    let dim = queries.dim;
    let num_rows = rows.len() / dim;
    let row_tiles = num_rows.div_ceil(ROWS);
    pack_panel(kernel, rows, dim, &mut scratch.rows);

    let mut queries_at = 0;
    for block in (0..queries.num_queries).step_by(QUERY_BLOCK) {
        let block_len = QUERY_BLOCK.min(queries.num_queries - block);
        let query_tiles = block_len.div_ceil(QUERIES);
        let sums =
            scratch.sums.slice_mut(0, query_tiles * row_tiles.next_multiple_of(GROUP) * QUERIES * ROWS * L);
        let sums: &mut [Sums<L>] = as_steps_mut::<ROWS, L>(sums).as_chunks_mut::<QUERIES>().0;
        let mut rows_at = 0;
        for (start, len, steps) in blocks::<L>(dim) {
            let query_steps: &[Step<QUERIES, L>] =
                as_steps(queries.packed.slice(queries_at, query_tiles * steps * QUERIES * L));
            let row_steps: &[Step<ROWS, L>] =
                as_steps(scratch.rows.slice(rows_at, row_tiles * steps * ROWS * L));
            for (group, row_steps) in row_steps.chunks(GROUP * steps).enumerate() {
                for (query_tile, query_steps) in query_steps.chunks_exact(steps).enumerate() {
                    for (offset, row_steps) in row_steps.chunks_exact(steps).enumerate() {
                        let row_tile = group * GROUP + offset;
                        // In the order of the loops, for the hardware to prefetch.
                        let sums = &mut sums[(group * query_tiles + query_tile) * GROUP + offset];
                        (kernel.tile)(query_steps, row_steps, sums, start == 0);
                        if start + len == dim {
                            // Now, while the sums are in the L1 cache.
                            let at = query_tile * QUERIES * ROW_PANEL + row_tile * ROWS;
                            for (query, values) in (kernel.reduce)(sums).iter().enumerate() {
                                scratch.values[at + query * ROW_PANEL..][..ROWS].copy_from_slice(values);
                            }
                        }
                    }
                }
            }
            queries_at += query_tiles * steps * QUERIES * L;
            rows_at += row_tiles * steps * ROWS * L;
        }
        for (query, values) in scratch.values.chunks_exact(ROW_PANEL).take(block_len).enumerate() {
            visit(block + query, &values[..num_rows]);
        }
    }
}

/// Packs the rows of a panel: blocks of components, in them tiles of four rows.
fn pack_panel<const L: usize>(kernel: &Kernel<L>, rows: &[f32], dim: usize, packed: &mut Aligned) {
    let mut at = 0;
    for (start, len, steps) in blocks::<L>(dim) {
        for first in (0..rows.len() / dim).step_by(ROWS) {
            let size = steps * ROWS * L;
            let vectors = pieces(rows, dim, first, start, len);
            (kernel.pack_rows)(vectors, as_steps_mut(packed.slice_mut(at, size)));
            at += size;
        }
    }
}
