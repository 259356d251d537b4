//! Attention with products of tiles of bf16. The softmax between them is that of [`attention`](super::attention).
//!
//! A tile is 16 rows of 16 pairs. On the left of a product a row has 32 numbers, and on the right two numbers
//! of each of 16 columns. So queries and weights are multiplied as they lie. Keys are transposed, once for each text
//! and head. Rows of values are joined two by two.

#![allow(unsafe_code, reason = "instructions of the processor at hand")]

use std::ops::Range;

use super::amx::TILE_ROWS;
use super::attention::{HeadGroup, seen};
use super::elementwise::{exp, tanh};
use super::gemm::write;
use super::half_tiles::{STEP, Tile, ZEROS, turn, write_pairs, write_rows};
use super::isa::{Arithmetic, Kernel, PANEL};
use super::tile_units::{NO_SUMS, Sums, TileUnits};
use crate::architecture::AttentionShape;

/// Memory that one thread's attention reuses.
#[derive(Default)]
pub(super) struct Scratch {
    /// Of each 16 keys, the steps of their numbers.
    keys: Vec<Tile>,
    /// Of each panel of columns, the steps of the tokens.
    values: Vec<Tile>,
    /// The steps of the numbers of 16 queries.
    queries: Vec<Tile>,
    /// The scores of 16 queries, by each 16 keys. Weights replace them.
    scores: Vec<Sums>,
    /// The weights, by the steps of the tokens.
    weights: Vec<Tile>,
}

/// [`HeadGroup`] in bf16. The processor has what [`half_tiles`](super::half_tiles) asks for.
pub(super) struct HalfHeadGroup<'a, 'out> {
    pub(super) group: HeadGroup<'a, 'out>,
    pub(super) half: &'a mut Scratch,
}

/// Makes `tiles` the steps of the numbers of 16 rows from `first` on. `row` gives the numbers of one, none where there
/// is no such row.
#[inline(always)]
fn write_steps<'a>(tiles: &mut [Tile], first: usize, row: impl Fn(usize) -> &'a [f32]) {
    for (step, tile) in tiles.iter_mut().enumerate() {
        let half = |line: usize, number: usize| row(first + line).get(number * PANEL..).unwrap_or_default();
        // SAFETY: whoever makes a `HalfHeadGroup` knows that the instructions are there.
        unsafe { write_rows(tile, |line| [half(line, 2 * step), half(line, 2 * step + 1)]) }
    }
}

impl Kernel for HalfHeadGroup<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        // SAFETY: whoever makes a `HalfHeadGroup` knows that the instructions are there.
        let units = unsafe { TileUnits::ready() };
        let HeadGroup { qkv, shape, window, key_value_head, out, .. } = self.group;
        let AttentionShape { num_heads, num_key_value_heads, head_dim, scale, softcap, .. } = *shape;
        let stride = shape.joined_columns();
        let (length, group) = (out.len(), num_heads / num_key_value_heads);
        let key_column = (num_heads + key_value_head) * head_dim;
        let value_column = key_column + num_key_value_heads * head_dim;
        let (steps, token_steps) = (head_dim.div_ceil(STEP), length.div_ceil(STEP));
        let Scratch { keys, values, queries, scores, weights } = self.half;
        pack_keys(&qkv[key_column..], (stride, head_dim, length), keys);
        pack_values(&qkv[value_column..], (stride, head_dim, length), values);
        queries.resize(steps, ZEROS);
        scores.resize(2 * token_steps, NO_SUMS);
        weights.resize(token_steps, ZEROS);
        for start in (0..length).step_by(TILE_ROWS) {
            let count = (length - start).min(TILE_ROWS);
            let of_row = |row: usize| seen(shape, window, start + row, length);
            // Both ends grow with the query. Tiles of keys are taken two by two, as many as a step of tokens has.
            let tokens = of_row(0).start / STEP..of_row(count - 1).end.div_ceil(STEP);
            let tiles = 2 * tokens.start..2 * tokens.end;
            for head in 0..group {
                let column = (key_value_head * group + head) * head_dim;
                let query = |row: usize| {
                    if row < start + count { &qkv[row * stride + column..][..head_dim] } else { &[] }
                };
                write_steps(queries, start, query);
                for tile in tiles.clone() {
                    units.multiply(queries, &keys[tile * steps..][..steps], &mut scores[tile]);
                }
                let mut factors = [0.0; TILE_ROWS];
                for (row, factor) in factors.iter_mut().enumerate().take(count) {
                    let seen = (of_row(row), tiles.start * PANEL);
                    *factor = softmax::<A>(&mut scores[tiles.clone()], row, seen, (scale, softcap));
                }
                let pairs = scores[tiles.clone()].as_chunks::<2>().0;
                for (tile, scores) in weights[tokens.clone()].iter_mut().zip(pairs) {
                    // SAFETY: whoever makes a `HalfHeadGroup` knows that the instructions are there.
                    unsafe { write_rows(tile, |row| scores.each_ref().map(|scores| &scores.0[row][..])) }
                }
                for (panel, values) in values.chunks_exact(token_steps).enumerate() {
                    let columns = head * head_dim + panel * PANEL
                        ..(head * head_dim + (panel + 1) * PANEL).min((head + 1) * head_dim);
                    let mut sums = NO_SUMS;
                    units.multiply(&weights[tokens.clone()], &values[tokens.clone()], &mut sums);
                    for ((out, sums), factor) in out[start..].iter_mut().zip(&sums.0).zip(&factors[..count]) {
                        let mut scaled = [0.0; PANEL];
                        for lane in 0..PANEL {
                            scaled[lane] = sums[lane] * factor;
                        }
                        write(&scaled, &mut out[columns.clone()]);
                    }
                }
            }
        }
    }
}

/// Of each 16 of `length` rows the steps of their numbers, as right operands; rows that are not there are zeros. The
/// tiles of the keys are as many as two for each step of tokens.
#[inline(always)]
fn pack_keys(rows: &[f32], (stride, head_dim, length): (usize, usize, usize), keys: &mut Vec<Tile>) {
    let steps = head_dim.div_ceil(STEP);
    keys.resize(2 * length.div_ceil(STEP) * steps, ZEROS);
    let row = |token: usize| if token < length { &rows[token * stride..][..head_dim] } else { &[] };
    for (number, keys) in keys.chunks_exact_mut(steps).enumerate() {
        write_steps(keys, number * TILE_ROWS, row);
        // SAFETY: whoever makes a `HalfHeadGroup` knows that the instructions are there.
        keys.iter_mut().for_each(|tile| unsafe { turn(tile) });
    }
}

/// Of each panel of columns, the steps of the tokens, as right operands; tokens that are not there are zeros.
#[inline(always)]
fn pack_values(rows: &[f32], (stride, head_dim, length): (usize, usize, usize), values: &mut Vec<Tile>) {
    let steps = length.div_ceil(STEP);
    values.resize(head_dim.div_ceil(PANEL) * steps, ZEROS);
    for (number, tile) in values.iter_mut().enumerate() {
        let (panel, step) = (number / steps, number % steps);
        let columns = panel * PANEL..((panel + 1) * PANEL).min(head_dim);
        let row = |token: usize| {
            if token < length { &rows[token * stride..][columns.clone()] } else { &[] }
        };
        // SAFETY: whoever makes a `HalfHeadGroup` knows that the instructions are there.
        unsafe { write_pairs(tile, |line| row(step * STEP + line)) }
    }
}

/// Replaces a query's row of `scores` by e^(score - max), and returns one by their sum. Scores are products of queries
/// and keys times `scale`. The query sees the keys in `seen`, where the scores begin with key `first`. Others get 0.
#[inline(always)]
fn softmax<A: Arithmetic>(
    scores: &mut [Sums],
    row: usize,
    (seen, first): (Range<usize>, usize),
    (scale, softcap): (f32, Option<f32>),
) -> f32 {
    let mut largest = [f32::NEG_INFINITY; PANEL];
    for (tile, scores) in scores.iter_mut().enumerate() {
        let (scores, key) = (&mut scores.0[row], first + tile * PANEL);
        for score in scores.iter_mut() {
            *score *= scale;
        }
        if let Some(cap) = softcap {
            for score in scores.iter_mut() {
                *score = cap * tanh::<A>(*score / cap);
            }
        }
        if key < seen.start || key + PANEL > seen.end {
            for (score, key) in scores.iter_mut().zip(key..) {
                *score = if seen.contains(&key) { *score } else { f32::NEG_INFINITY };
            }
        }
        for lane in 0..PANEL {
            largest[lane] = if scores[lane] > largest[lane] { scores[lane] } else { largest[lane] };
        }
    }
    let largest = across(largest, |a, b| if a > b { a } else { b });
    let mut sums = [0.0f32; PANEL];
    for scores in scores {
        let scores = &mut scores.0[row];
        for lane in 0..PANEL {
            let weight = exp::<A>(scores[lane] - largest);
            scores[lane] = if scores[lane] == f32::NEG_INFINITY { 0.0 } else { weight };
            sums[lane] += scores[lane];
        }
    }
    1.0 / across(sums, |a, b| a + b)
}

/// All lanes joined, half by half.
#[inline(always)]
fn across(mut lanes: [f32; PANEL], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = PANEL / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::attention::trial::{shapes, trial};
    use super::super::half_tiles;
    use super::super::isa::Isa;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Beside the twin in f32. Let u = 2^-9, the rounding of bf16, and all numbers be at most 1. After the scale
        /// 1 / sqrt(K) a score of K numbers is wrong by at most e = (2 u + u^2) sqrt(K). So a weight is wrong by a
        /// factor of at most e^(2 e). Weights and values are rounded, too.
        #[test]
        fn attention_is_that_of_the_twin((shape, window, length) in shapes(), seed in any::<u64>()) {
            if !half_tiles::are_there() {
                return Ok(());
            }
            let isa = Isa::detect();
            let u = 2f32.powi(-9);
            let of_score = (2.0 * u + u * u) * (shape.head_dim as f32).sqrt();
            let bound = (2.0 * of_score).exp() * (1.0 + u) * (1.0 + u) - 1.0 + 1e-5;
            let mut half = Scratch::default();
            let run = |group: HeadGroup<'_, '_>| isa.dispatch(HalfHeadGroup { group, half: &mut half });
            trial(&shape, window, (length, seed, bound), run)?;
        }
    }
}
