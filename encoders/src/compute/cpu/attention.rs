//! Attention within texts that lie one after the other, without padding and without a (T, T) matrix.
//!
//! For each text and key-value head the keys and values are packed once. Blocks of queries then multiply, normalize and
//! multiply again while their scores are in the cache.

use std::ops::Range;

use super::elementwise::{softmax_row, tanh};
use super::gemm::{Gemm, Scaled};
use super::isa::{Arithmetic, Isa, Kernel, PANEL};
use super::packed_matrix::PackedMatrix;
use crate::architecture::AttentionShape;

/// Queries whose scores are held together.
const BLOCK_QUERIES: usize = 48;

/// Memory that one thread's attention reuses.
#[derive(Default)]
pub(super) struct Scratch {
    keys: PackedMatrix,
    values: PackedMatrix,
    scores: Vec<f32>,
    tiles: Vec<f32>,
}

/// Attention of the query heads of one key-value head, in one text.
pub(super) struct HeadGroup<'a, 'out> {
    /// The text's rows of queries, keys and values side by side: (L, (H + 2 G) K).
    pub(super) qkv: &'a [f32],
    /// What attention this is.
    pub(super) shape: &'a AttentionShape,
    /// How far a token sees.
    pub(super) window: Option<usize>,
    /// g, the key-value head.
    pub(super) key_value_head: usize,
    /// For each row of the text, the output columns of the group's query heads: L slices of H / G * K.
    pub(super) out: &'a mut [&'out mut [f32]],
}

/// Queries of a text whose scores are held together, and the keys that some of them see.
pub(super) struct QueryBlock {
    /// The queries.
    pub(super) queries: Range<usize>,
    /// From the first panel of keys with one that is seen to the last key that is.
    pub(super) keys: Range<usize>,
    /// The panels of those keys.
    pub(super) panels: Range<usize>,
    /// For each query the keys that it sees, counted from the first of `keys`.
    pub(super) seen: Vec<Range<usize>>,
}

impl QueryBlock {
    /// All queries of a text of `length` tokens, block by block.
    pub(super) fn all(
        shape: &AttentionShape,
        window: Option<usize>,
        length: usize,
    ) -> impl Iterator<Item = QueryBlock> {
        (0..length).step_by(BLOCK_QUERIES).map(move |start| {
            let end = (start + BLOCK_QUERIES).min(length);
            let seen = |query| seen(shape, window, query, length);
            let keys = seen(start).start / PANEL * PANEL..seen(end - 1).end;
            let panels = keys.start / PANEL..keys.end.div_ceil(PANEL);
            let seen = (start..end).map(seen).map(|seen| seen.start - keys.start..seen.end - keys.start);
            QueryBlock { queries: start..end, seen: seen.collect(), panels, keys }
        })
    }

    /// The distance between two rows of scores.
    pub(super) fn width(&self) -> usize {
        self.panels.len() * PANEL
    }

    /// The rows of scores, without what follows the last key.
    pub(super) fn rows<'a>(&self, scores: &'a mut [f32]) -> Vec<&'a mut [f32]> {
        scores.chunks_exact_mut(self.width()).map(|row| &mut row[..self.keys.len()]).collect()
    }
}

/// The keys that a query sees in a text of `length` tokens.
fn seen(shape: &AttentionShape, window: Option<usize>, query: usize, length: usize) -> Range<usize> {
    let window = window.unwrap_or(length);
    let end = if shape.causal { query + 1 } else { (query + window + 1).min(length) };
    query.saturating_sub(window)..end
}

impl HeadGroup<'_, '_> {
    /// Computes `out`.
    pub(super) fn run(self, isa: Isa, scratch: &mut Scratch) {
        let AttentionShape { num_heads, num_key_value_heads, head_dim, scale, .. } = *self.shape;
        let stride = self.shape.joined_columns();
        let length = self.out.len();
        let group = num_heads / num_key_value_heads;
        let key_column = (num_heads + self.key_value_head) * head_dim;
        let value_column = key_column + num_key_value_heads * head_dim;
        scratch.keys.refill(length, head_dim, |token, k| self.qkv[token * stride + key_column + k]);
        // Transposed: the second product sums over tokens.
        scratch.values.refill(head_dim, length, |k, token| self.qkv[token * stride + value_column + k]);

        // Only the panels with keys that some query of a block sees are touched.
        for block in QueryBlock::all(self.shape, self.window, length) {
            let (queries, width) = (block.queries.clone(), block.width());
            for head in 0..group {
                let query_column = (self.key_value_head * group + head) * head_dim;
                scratch.scores.resize(queries.len() * width, 0.0);
                let mut rows = block.rows(&mut scratch.scores);
                isa.dispatch(Gemm {
                    a: &self.qkv[queries.start * stride + query_column..],
                    stride,
                    b: &scratch.keys,
                    panels: block.panels.clone(),
                    depth: 0..head_dim,
                    epilogue: Scaled(scale),
                    out: &mut rows,
                    tiles: None,
                    scratch: &mut scratch.tiles,
                });
                isa.dispatch(Softmax { rows: &mut rows, seen: &block.seen, softcap: self.shape.softcap });
                let mut out: Vec<&mut [f32]> = self.out[queries.clone()]
                    .iter_mut()
                    .map(|row| &mut row[head * head_dim..(head + 1) * head_dim])
                    .collect();
                isa.dispatch(Gemm {
                    a: &scratch.scores,
                    stride: width,
                    b: &scratch.values,
                    panels: 0..scratch.values.num_panels(),
                    depth: block.keys.clone(),
                    epilogue: Scaled(1.0),
                    out: &mut out,
                    tiles: None,
                    scratch: &mut scratch.tiles,
                });
            }
        }
    }
}

/// Softmax of each query's scores over the keys it sees; the others get weight 0.
pub(super) struct Softmax<'a, 'out> {
    pub(super) rows: &'a mut [&'out mut [f32]],
    /// The columns of each row that are seen.
    pub(super) seen: &'a [Range<usize>],
    pub(super) softcap: Option<f32>,
}

impl Kernel for Softmax<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (row, seen) in self.rows.iter_mut().zip(self.seen) {
            row[..seen.start].fill(0.0);
            row[seen.end..].fill(0.0);
            let scores = &mut row[seen.clone()];
            if let Some(cap) = self.softcap {
                for score in scores.iter_mut() {
                    *score = cap * tanh::<A>(*score / cap);
                }
            }
            softmax_row::<A>(scores);
        }
    }
}
