//! The gradient of attention within one text: scores are computed again, a block of queries at a time.

use std::ops::Range;

use super::attention::seen;
use super::elementwise::{softmax_row, sum, tanh};
use super::gemm::{Accumulate, Gemm, PackTransposedTiles, Scaled};
use super::isa::{Arithmetic, Isa, Kernel, PANEL};
use super::packed_matrix::PackedMatrix;
use crate::architecture::AttentionShape;

/// Queries whose scores are held together.
const BLOCK_QUERIES: usize = 48;

/// One text. Let P = softmax(scale Q K^T) and O = P V. Then dV = P^T dO, dS = P (dO V^T - rowsum(P dO V^T))
/// elementwise, dQ = scale dS K, dK = scale dS^T Q.
pub(super) struct AttentionGradient<'a> {
    /// Queries, keys and values side by side: (L, (H + 2 G) K).
    pub(super) qkv: &'a [f32],
    pub(super) shape: &'a AttentionShape,
    pub(super) window: Option<usize>,
    /// dL/dO (L, H K).
    pub(super) gradient: &'a [f32],
    /// dL/d of `qkv`, zeros before.
    pub(super) out: &'a mut [f32],
}

impl AttentionGradient<'_> {
    pub(super) fn run(self, isa: Isa) {
        let AttentionGradient { qkv, shape, window, gradient, out } = self;
        let AttentionShape { num_heads, num_key_value_heads, head_dim, scale, softcap, .. } = *shape;
        let stride = shape.joined_columns();
        let context = num_heads * head_dim;
        let length = qkv.len() / stride;
        let group = num_heads / num_key_value_heads;
        let [mut keys, mut values, mut transposed_keys, mut turned]: [PackedMatrix; 4] = Default::default();
        let (mut scores, mut raw, mut slopes, mut tiles) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for key_value_head in 0..num_key_value_heads {
            let key = (num_heads + key_value_head) * head_dim;
            let value = key + num_key_value_heads * head_dim;
            keys.refill_strided(&qkv[key..], stride, head_dim);
            values.refill_strided(&qkv[value..], stride, head_dim);
            transposed_keys.refill_columns(&qkv[key..], stride, head_dim);
            for block in QueryBlock::all(shape, window, length) {
                let (start, end, width) = (block.queries.start, block.queries.end, block.width());
                for head in key_value_head * group..(key_value_head + 1) * group {
                    let query = head * head_dim;
                    for (rows, a, a_stride, b, factor) in [
                        (&mut scores, &qkv[start * stride + query..], stride, &keys, scale),
                        (&mut slopes, &gradient[start * context + query..], context, &values, 1.0),
                    ] {
                        rows.clear();
                        rows.resize((end - start) * width, 0.0);
                        let mut rows = block.rows(rows);
                        isa.dispatch(Gemm {
                            a,
                            stride: a_stride,
                            b,
                            panels: block.panels.clone(),
                            depth: 0..head_dim,
                            epilogue: Scaled(factor),
                            out: &mut rows,
                            tiles: None,
                            scratch: &mut tiles,
                        });
                    }
                    if softcap.is_some() {
                        raw.clone_from(&scores);
                    }
                    let mut rows = block.rows(&mut scores);
                    isa.dispatch(Softmax { rows: &mut rows, seen: &block.seen, softcap });
                    let cap = softcap.map(|cap| (cap, &raw[..]));
                    isa.dispatch(Slopes {
                        weights: &scores,
                        slopes: &mut slopes,
                        width,
                        seen: &block.seen,
                        cap,
                    });
                    // dQ: to its own columns.
                    let mut rows: Vec<&mut [f32]> = out[start * stride..end * stride]
                        .chunks_exact_mut(stride)
                        .map(|row| &mut row[query..query + head_dim])
                        .collect();
                    isa.dispatch(Gemm {
                        a: &slopes,
                        stride: width,
                        b: &transposed_keys,
                        panels: 0..transposed_keys.num_panels(),
                        depth: block.keys.clone(),
                        epilogue: Scaled(scale),
                        out: &mut rows,
                        tiles: None,
                        scratch: &mut tiles,
                    });
                    // dK and dV: to the columns that the heads of the group share.
                    let of_queries = &qkv[start * stride + query..end * stride];
                    let of_context = &gradient[start * context + query..end * context];
                    for (left, right, right_stride, column, factor) in [
                        (&slopes, of_queries, stride, key, scale),
                        (&scores, of_context, context, value, 1.0),
                    ] {
                        turned.refill_columns(right, right_stride, head_dim);
                        let columns = 0..block.keys.len();
                        isa.dispatch(PackTransposedTiles {
                            a: left,
                            stride: width,
                            columns,
                            out: &mut tiles,
                        });
                        let mut rows: Vec<&mut [f32]> = out
                            [block.keys.start * stride..block.keys.end * stride]
                            .chunks_exact_mut(stride)
                            .map(|row| &mut row[column..column + head_dim])
                            .collect();
                        isa.dispatch(Gemm {
                            a: &[],
                            stride: end - start,
                            b: &turned,
                            panels: 0..turned.num_panels(),
                            depth: 0..end - start,
                            epilogue: Accumulate(factor),
                            out: &mut rows,
                            tiles: Some(&tiles),
                            scratch: &mut Vec::new(),
                        });
                    }
                }
            }
        }
    }
}

/// Queries of a text whose scores are held together, and the keys that some of them see.
struct QueryBlock {
    /// The queries.
    queries: Range<usize>,
    /// From the first panel of keys with one that is seen to the last key that is.
    keys: Range<usize>,
    /// The panels of those keys.
    panels: Range<usize>,
    /// For each query the keys that it sees, counted from the first of `keys`.
    seen: Vec<Range<usize>>,
}

impl QueryBlock {
    /// All queries of a text of `length` tokens, block by block.
    fn all(shape: &AttentionShape, window: Option<usize>, length: usize) -> impl Iterator<Item = QueryBlock> {
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
    fn width(&self) -> usize {
        self.panels.len() * PANEL
    }

    /// The rows of scores, without what follows the last key.
    fn rows<'a>(&self, scores: &'a mut [f32]) -> Vec<&'a mut [f32]> {
        scores.chunks_exact_mut(self.width()).map(|row| &mut row[..self.keys.len()]).collect()
    }
}

/// Softmax of each query's scores over the keys it sees; the others get weight 0.
struct Softmax<'a, 'out> {
    rows: &'a mut [&'out mut [f32]],
    /// The columns of each row that are seen.
    seen: &'a [Range<usize>],
    softcap: Option<f32>,
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

/// Turns dO V^T into dS, row by row: P (x - sum(P x)), times the slope of the cap where there is one.
struct Slopes<'a> {
    weights: &'a [f32],
    slopes: &'a mut [f32],
    width: usize,
    seen: &'a [Range<usize>],
    /// The cap and the scores before it.
    cap: Option<(f32, &'a [f32])>,
}

impl Kernel for Slopes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Slopes { weights, slopes, width, seen, cap } = self;
        let rows = weights.chunks_exact(width).zip(slopes.chunks_exact_mut(width)).zip(seen);
        for (row, ((weights, slopes), seen)) in rows.enumerate() {
            slopes[..seen.start].fill(0.0);
            slopes[seen.end..].fill(0.0);
            let (weights, slopes) = (&weights[seen.clone()], &mut slopes[seen.clone()]);
            for (slope, weight) in slopes.iter_mut().zip(weights) {
                *slope *= weight;
            }
            let total = sum(slopes, |x| x);
            for (slope, weight) in slopes.iter_mut().zip(weights) {
                *slope = A::mul_add(-total, *weight, *slope);
            }
            if let Some((cap, raw)) = cap {
                let raw = &raw[row * width..(row + 1) * width][seen.clone()];
                for (slope, score) in slopes.iter_mut().zip(raw) {
                    let t = tanh::<A>(*score / cap);
                    *slope *= 1.0 - t * t;
                }
            }
        }
    }
}
