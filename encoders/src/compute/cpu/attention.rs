//! Attention within texts that lie one after the other, without padding and without a (T, T) matrix.
//!
//! For each text and key-value head the keys and values are packed once. Then come blocks of [`PANEL`] queries, each in
//! its own lane of the vectors. Scores are kept key by key. So a softmax is a few passes of whole vectors, and the
//! product with the values reads the weights as they lie.

use std::ops::Range;

use super::elementwise::{exp, tanh};
use super::gemm::{Tiles, pack_block, write_part};
use super::isa::{Arithmetic, Block, Kernel, PANEL};
use crate::architecture::AttentionShape;

/// Memory that one thread's attention reuses.
#[derive(Default)]
pub(super) struct Scratch {
    /// Tiles of keys, each k-major.
    keys: Vec<f32>,
    /// Panels of columns of the values, each by token.
    values: Vec<[f32; PANEL]>,
    /// A block of queries, transposed.
    queries: Vec<[f32; PANEL]>,
    /// By key, the scores of the block's queries.
    scores: Vec<[f32; PANEL]>,
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
    pub(super) scratch: &'a mut Scratch,
}

/// The keys that a query sees in a text of `length` tokens.
pub(super) fn seen(
    shape: &AttentionShape,
    window: Option<usize>,
    query: usize,
    length: usize,
) -> Range<usize> {
    let window = window.unwrap_or(length);
    let end = if shape.causal { query + 1 } else { (query + window + 1).min(length) };
    query.saturating_sub(window)..end
}

impl Kernel for HeadGroup<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let HeadGroup { qkv, shape, window, key_value_head, out, scratch } = self;
        let AttentionShape { num_heads, num_key_value_heads, head_dim, scale, softcap, .. } = *shape;
        let stride = shape.joined_columns();
        let length = out.len();
        let group = num_heads / num_key_value_heads;
        let key_column = (num_heads + key_value_head) * head_dim;
        let value_column = key_column + num_key_value_heads * head_dim;
        let Scratch { keys, values, queries, scores } = scratch;
        keys.resize(length * head_dim, 0.0);
        pack_block::<A>(&qkv[key_column..], stride, head_dim, 0..length, keys);
        values.resize(length * head_dim.div_ceil(PANEL), [0.0; PANEL]);
        for (panel, values) in values.chunks_exact_mut(length).enumerate() {
            let columns = panel * PANEL..((panel + 1) * PANEL).min(head_dim);
            for (slot, row) in values.iter_mut().zip(qkv.chunks_exact(stride)) {
                *slot = line(&row[value_column..][columns.clone()]);
            }
        }
        queries.resize(head_dim, [0.0; PANEL]);
        for start in (0..length).step_by(PANEL) {
            let count = (length - start).min(PANEL);
            let mut of_lanes = [(0, 0); PANEL];
            for (lane, of_lane) in of_lanes.iter_mut().enumerate() {
                let Range { start, end } = seen(shape, window, start + lane.min(count - 1), length);
                *of_lane = (start, end);
            }
            let (first, last) = (of_lanes[0], of_lanes[PANEL - 1]);
            let lanes = (first != last).then_some(&of_lanes);
            let keys_seen = first.0..last.1;
            scores.resize(keys_seen.len(), [0.0; PANEL]);
            for head in 0..group {
                let column = (key_value_head * group + head) * head_dim;
                let row = |lane: usize| &qkv[(start + lane) * stride + column..][..head_dim];
                pack_queries::<A>(count, row, scale, queries);
                multiply_keys::<A>(keys, head_dim, length, queries, &keys_seen, scores);
                let sums = softmax::<A>(scores, keys_seen.start, lanes, softcap);
                for (panel, values) in values.chunks_exact(length).enumerate() {
                    let columns = head * head_dim + panel * PANEL
                        ..(head * head_dim + (panel + 1) * PANEL).min((head + 1) * head_dim);
                    let values = &values[keys_seen.clone()];
                    let out = &mut out[start..start + count];
                    if A::TILE_ROWS >= 14 {
                        multiply_values::<A, PANEL>(scores, values, 0, &sums, out, columns);
                    } else {
                        for lane in (0..count).step_by(4) {
                            multiply_values::<A, 4>(scores, values, lane, &sums, out, columns.clone());
                        }
                    }
                }
            }
        }
    }
}

/// The queries of `count` rows times a factor, each in its lane.
#[inline(always)]
fn pack_queries<'a, A: Arithmetic>(
    count: usize,
    row: impl Fn(usize) -> &'a [f32],
    scale: f32,
    queries: &mut [[f32; PANEL]],
) {
    for (number, queries) in queries.chunks_mut(PANEL).enumerate() {
        let first = number * PANEL;
        match <&mut [[f32; PANEL]; PANEL]>::try_from(&mut *queries) {
            Ok(queries) if A::TURNS => {
                let mut block = Block([[0.0; PANEL]; PANEL]);
                for (lane, line) in block.0[..count].iter_mut().enumerate() {
                    let row: &[f32; PANEL] =
                        row(lane)[first..].first_chunk().expect("rows have whole blocks");
                    for k in 0..PANEL {
                        line[k] = row[k] * scale;
                    }
                }
                A::turn(&mut block);
                *queries = block.0;
            }
            _ => {
                for lane in 0..count {
                    for (slot, x) in queries.iter_mut().zip(&row(lane)[first..]) {
                        slot[lane] = *x * scale;
                    }
                }
            }
        }
    }
}

/// Up to [`PANEL`] numbers, then zeros.
#[inline(always)]
pub(super) fn line(values: &[f32]) -> [f32; PANEL] {
    match <&[f32; PANEL]>::try_from(values) {
        Ok(values) => *values,
        Err(_) => {
            let mut line = [0.0; PANEL];
            line[..values.len()].copy_from_slice(values);
            line
        }
    }
}

/// The scores of the keys in `seen`, from packed keys (L, K) and queries (K, lanes).
#[inline(always)]
fn multiply_keys<A: Arithmetic>(
    keys: &[f32],
    head_dim: usize,
    length: usize,
    queries: &[[f32; PANEL]],
    seen: &Range<usize>,
    scores: &mut [[f32; PANEL]],
) {
    for (first, height) in Tiles::new::<A>(0, length) {
        if first + height <= seen.start || first >= seen.end {
            continue;
        }
        let tile = &keys[first * head_dim..][..height * head_dim];
        match height {
            14 => score_tile::<A, 14>(tile, queries, first, seen, scores),
            6 => score_tile::<A, 6>(tile, queries, first, seen, scores),
            4 => score_tile::<A, 4>(tile, queries, first, seen, scores),
            2 => score_tile::<A, 2>(tile, queries, first, seen, scores),
            _ => score_tile::<A, 1>(tile, queries, first, seen, scores),
        }
    }
}

/// The scores of R keys from `first` on.
#[inline(always)]
fn score_tile<A: Arithmetic, const R: usize>(
    tile: &[f32],
    queries: &[[f32; PANEL]],
    first: usize,
    seen: &Range<usize>,
    scores: &mut [[f32; PANEL]],
) {
    let mut sums = [[0.0f32; PANEL]; R];
    for (keys, queries) in tile.as_chunks::<R>().0.iter().zip(queries) {
        for (key, sums) in keys.iter().zip(&mut sums) {
            A::add_products(*key, queries, sums);
        }
    }
    if seen.start <= first && first + R <= seen.end {
        // Line by line: all together they would be copied by a call.
        for (slot, sums) in scores[first - seen.start..][..R].iter_mut().zip(sums) {
            *slot = sums;
        }
        return;
    }
    for (key, sums) in (first..).zip(sums) {
        if seen.contains(&key) {
            scores[key - seen.start] = sums;
        }
    }
}

/// e^(score - max) in place of the scores, and one by their sum, for each lane. `lanes` are the keys that each lane
/// sees, counted from the same as `first`, where they differ; other keys get weight 0.
#[inline(always)]
fn softmax<A: Arithmetic>(
    scores: &mut [[f32; PANEL]],
    first: usize,
    lanes: Option<&[(usize, usize); PANEL]>,
    softcap: Option<f32>,
) -> [f32; PANEL] {
    if let Some(cap) = softcap {
        for score in scores.as_flattened_mut() {
            *score = cap * tanh::<A>(*score / cap);
        }
    }
    if let Some(lanes) = lanes {
        for (key, scores) in (first..).zip(scores.iter_mut()) {
            for (score, (start, end)) in scores.iter_mut().zip(lanes) {
                if key < *start || key >= *end {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }
    let mut largest = [f32::NEG_INFINITY; PANEL];
    for scores in scores.iter() {
        for lane in 0..PANEL {
            largest[lane] = if scores[lane] > largest[lane] { scores[lane] } else { largest[lane] };
        }
    }
    let mut sums = [0.0f32; PANEL];
    for scores in scores.iter_mut() {
        for lane in 0..PANEL {
            let weight = exp::<A>(scores[lane] - largest[lane]);
            scores[lane] = if scores[lane] == f32::NEG_INFINITY { 0.0 } else { weight };
            sums[lane] += scores[lane];
        }
    }
    for sum in &mut sums {
        *sum = 1.0 / *sum;
    }
    sums
}

/// The sum of the values by the weights of R queries from `lane` on, in some columns.
#[inline(always)]
fn multiply_values<A: Arithmetic, const R: usize>(
    weights: &[[f32; PANEL]],
    values: &[[f32; PANEL]],
    lane: usize,
    factors: &[f32; PANEL],
    out: &mut [&mut [f32]],
    columns: Range<usize>,
) {
    let mut sums = [[0.0f32; PANEL]; R];
    for (weights, values) in weights.iter().zip(values) {
        let weights: &[f32; R] = weights[lane..].first_chunk().expect("lanes are a multiple of R");
        for (weight, sums) in weights.iter().zip(&mut sums) {
            A::add_products(*weight, values, sums);
        }
    }
    for ((out, sums), factor) in out.iter_mut().skip(lane).zip(&sums).zip(&factors[lane..]) {
        let mut scaled = [0.0; PANEL];
        for lane in 0..PANEL {
            scaled[lane] = sums[lane] * factor;
        }
        let out = &mut out[columns.clone()];
        match <&mut [f32; PANEL]>::try_from(&mut *out) {
            Ok(out) => *out = scaled,
            Err(_) => write_part(&scaled, out),
        }
    }
}

/// What attention in other numbers is tested with.
#[cfg(all(test, target_arch = "x86_64"))]
pub(super) mod trial {
    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;

    use super::super::isa::Isa;
    use super::*;

    /// Shapes whose numbers, columns and tokens fill registers, and those that leave a part of one empty; a window; how
    /// many tokens there are.
    pub(in super::super) fn shapes() -> impl Strategy<Value = (AttentionShape, Option<usize>, usize)> {
        let heads = prop_oneof![Just((1usize, 1usize)), Just((4, 2)), Just((3, 3))];
        let head_dim = prop_oneof![Just(8usize), Just(32), Just(40), Just(64), Just(128)];
        let window = prop_oneof![Just(None), Just(Some(1usize)), Just(Some(20))];
        let length = prop_oneof![4 => 1..80usize, 1 => 250..270usize];
        (heads, head_dim, window, any::<bool>(), prop_oneof![Just(None), Just(Some(3.0f32))], length)
            .prop_map(|((num_heads, num_key_value_heads), head_dim, window, causal, softcap, length)| {
                let scale = 1.0 / (head_dim as f32).sqrt();
                (
                    AttentionShape { num_heads, num_key_value_heads, head_dim, scale, causal, softcap },
                    window,
                    length,
                )
            })
    }

    /// Runs attention of numbers of at most 1 in f32 and by `run`, and compares.
    pub(in super::super) fn trial(
        shape: &AttentionShape,
        window: Option<usize>,
        (length, seed, bound): (usize, u64, f32),
        mut run: impl FnMut(HeadGroup<'_, '_>),
    ) -> Result<(), TestCaseError> {
        let mut state = seed;
        let columns = shape.joined_columns();
        let qkv: Vec<f32> = (0..length * columns)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        let group_columns = shape.num_heads / shape.num_key_value_heads * shape.head_dim;
        for key_value_head in 0..shape.num_key_value_heads {
            let mut results = [vec![0.0; length * group_columns], vec![0.0; length * group_columns]];
            for (number, values) in results.iter_mut().enumerate() {
                let mut out: Vec<&mut [f32]> = values.chunks_exact_mut(group_columns).collect();
                let scratch = &mut Scratch::default();
                let group = HeadGroup { qkv: &qkv, shape, window, key_value_head, out: &mut out, scratch };
                if number == 0 { Isa::detect().dispatch(group) } else { run(group) }
            }
            for (want, got) in results[0].iter().zip(&results[1]) {
                prop_assert!((want - got).abs() <= bound, "{got} for {want}, bound {bound}");
            }
        }
        Ok(())
    }
}
