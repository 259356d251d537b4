//! The gradient of attention within one text: scores are computed again, a block of queries at a time.

use std::ops::Range;

use super::attention::seen;
use super::attention_products::{Part, Products};
use super::elementwise::{softmax_row, sum, tanh};
use super::gemm::{Accumulate, Scaled};
use super::half_products::Factors;
use super::isa::{Arithmetic, Isa, Kernel, PANEL};
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
    pub(super) fn run(self, (isa, factors): (Isa, Factors)) {
        let AttentionGradient { qkv, shape, window, gradient, out } = self;
        let AttentionShape { num_heads, num_key_value_heads, head_dim, scale, softcap, .. } = *shape;
        let stride = shape.joined_columns();
        let context = num_heads * head_dim;
        let length = qkv.len() / stride;
        let group = num_heads / num_key_value_heads;
        let mut products = Products::new(isa, factors);
        let (mut scores, mut raw, mut slopes) = (Vec::new(), Vec::new(), Vec::new());
        for key_value_head in 0..num_key_value_heads {
            let key = (num_heads + key_value_head) * head_dim;
            let value = key + num_key_value_heads * head_dim;
            let part = |first: usize, transposed| Part {
                values: &qkv[first..],
                stride,
                width: head_dim,
                transposed,
            };
            let keys = products.right(part(key, false));
            let values = products.right(part(value, false));
            let transposed_keys = products.right(part(key, true));
            for block in QueryBlock::all(shape, window, length) {
                let (start, end, width) = (block.queries.start, block.queries.end, block.width());
                for head in key_value_head * group..(key_value_head + 1) * group {
                    let query = head * head_dim;
                    for (rows, a, a_stride, b, factor) in [
                        (&mut scores, &qkv[start * stride + query..], stride, &keys, scale),
                        (&mut slopes, &gradient[start * context + query..], context, &values, 1.0),
                    ] {
                        // What an earlier block left is written over, up to the last key.
                        rows.resize((end - start) * width, 0.0);
                        let a = Part { values: a, stride: a_stride, width: head_dim, transposed: false };
                        let (some, mut rows) = ((block.panels.clone(), 0..head_dim), block.rows(rows));
                        products.multiply(a, b, some, Scaled(factor), &mut rows);
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
                    let head_panels = 0..head_dim.div_ceil(PANEL);
                    // dQ: to its own columns.
                    let mut rows = columns_of(out, stride, start..end, query..query + head_dim);
                    let seen = block.keys.clone();
                    let a = Part { values: &slopes, stride: width, width: seen.len(), transposed: false };
                    let some = (head_panels.clone(), seen.clone());
                    products.multiply(a, &transposed_keys, some, Scaled(scale), &mut rows);
                    // dK and dV: to the columns that the heads of the group share.
                    let of_queries = &qkv[start * stride + query..end * stride];
                    let of_context = &gradient[start * context + query..end * context];
                    for (left, right, right_stride, column, factor) in [
                        (&slopes, of_queries, stride, key, scale),
                        (&scores, of_context, context, value, 1.0),
                    ] {
                        let b =
                            Part { values: right, stride: right_stride, width: head_dim, transposed: true };
                        let b = products.right(b);
                        let a = Part { values: left, stride: width, width: seen.len(), transposed: true };
                        let some = (head_panels.clone(), 0..end - start);
                        let mut rows = columns_of(out, stride, seen.clone(), column..column + head_dim);
                        products.multiply(a, &b, some, Accumulate(factor), &mut rows);
                        products.give_back(b);
                    }
                }
            }
            [keys, values, transposed_keys].into_iter().for_each(|b| products.give_back(b));
        }
    }
}

/// Some columns of some rows of an array.
fn columns_of(
    values: &mut [f32],
    stride: usize,
    rows: Range<usize>,
    columns: Range<usize>,
) -> Vec<&mut [f32]> {
    let rows = values[rows.start * stride..rows.end * stride].chunks_exact_mut(stride);
    rows.map(|row| &mut row[columns.clone()]).collect()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compute::precision::Precision;

    /// One group of two heads: less than a panel, and more than a block of queries.
    fn shape() -> impl Strategy<Value = (AttentionShape, Option<usize>, usize)> {
        let head_dim = prop_oneof![Just(8usize), Just(32), Just(40)];
        let window = prop_oneof![Just(None), Just(Some(1usize)), Just(Some(20))];
        let softcap = prop_oneof![Just(None), Just(Some(3.0f32))];
        (head_dim, window, any::<bool>(), softcap, 1..120usize).prop_map(
            |(head_dim, window, causal, softcap, length)| {
                let (num_heads, num_key_value_heads) = (2, 1);
                let scale = 1.0 / (head_dim as f32).sqrt();
                let shape =
                    AttentionShape { num_heads, num_key_value_heads, head_dim, scale, causal, softcap };
                (shape, window, length)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Beside the twin in f32, whose inputs are rounded before. Let u = 2^-9, the rounding of bf16. P and dS are
        /// rounded as well, each number by u at most. So dQ, dK and dV are off by u times the sum of the sizes of what
        /// is added up. It is computed with sizes in place of numbers, and doubled for the rounding of f32.
        #[test]
        fn gradients_in_bf16_are_those_of_the_twin((shape, window, length) in shape(), seed in any::<u64>()) {
            let tiles = Factors::of(Precision::Bf16);
            if !tiles.are_tiles() {
                return Ok(());
            }
            let mut state = seed;
            let mut random = |len: usize| -> Vec<f32> {
                (0..len).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    half::bf16::from_f32((state >> 40) as f32 / (1 << 23) as f32 - 1.0).to_f32()
                }).collect()
            };
            let qkv = random(length * shape.joined_columns());
            let gradient = random(length * shape.num_heads * shape.head_dim);
            let run = |factors| {
                let mut out = vec![0.0; qkv.len()];
                AttentionGradient { qkv: &qkv, shape: &shape, window, gradient: &gradient, out: &mut out }
                    .run((Isa::detect(), factors));
                out
            };
            let (want, got) = (run(Factors::F32), run(tiles));
            let bound = bound(&qkv, &gradient, &shape, window);
            for (place, ((want, got), bound)) in want.iter().zip(&got).zip(&bound).enumerate() {
                prop_assert!((want - got).abs() <= *bound, "{place}: {got} for {want}, bound {bound}");
            }
        }
    }

    /// How far each number of the gradient may be off, from the definition.
    fn bound(qkv: &[f32], gradient: &[f32], shape: &AttentionShape, window: Option<usize>) -> Vec<f32> {
        let (dim, heads, stride) = (shape.head_dim, shape.num_heads, shape.joined_columns());
        let length = qkv.len() / stride;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let key = |token: usize| &qkv[token * stride + heads * dim..][..dim];
        let value = |token: usize| &qkv[token * stride + (heads + 1) * dim..][..dim];
        let mut sizes = vec![0.0f32; qkv.len()];
        for head in 0..heads {
            for query in 0..length {
                let q = &qkv[query * stride + head * dim..][..dim];
                let of_context = &gradient[(query * heads + head) * dim..][..dim];
                let seen = seen(shape, window, query, length);
                let capped = |x: f32| shape.softcap.map_or(x, |cap| cap * (x / cap).tanh());
                let scores: Vec<f32> =
                    seen.clone().map(|token| capped(shape.scale * dot(q, key(token))).exp()).collect();
                let total: f32 = scores.iter().sum();
                let weights: Vec<f32> = scores.iter().map(|score| score / total).collect();
                let x: Vec<f32> = seen.clone().map(|token| dot(of_context, value(token))).collect();
                let mean = dot(&weights, &x);
                for ((token, p), x) in seen.zip(&weights).zip(&x) {
                    let slope = shape.scale * (p * (x - mean)).abs();
                    for column in 0..dim {
                        sizes[query * stride + head * dim + column] += slope * key(token)[column].abs();
                        sizes[token * stride + heads * dim + column] += slope * q[column].abs();
                        sizes[token * stride + (heads + 1) * dim + column] += p * of_context[column].abs();
                    }
                }
            }
        }
        sizes.into_iter().map(|size| 2.0 * size / 512.0 + 1e-5).collect()
    }
}
