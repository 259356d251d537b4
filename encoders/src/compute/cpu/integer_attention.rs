//! Attention with products of integers of 16 bits. `vpdpwssd` of AVX-512 VNNI multiplies 16 pairs of them with a pair,
//! twice as many numbers as an instruction in f32.
//!
//! Each query and each key has a scale, and so has each column of the values. Codes are as large as sums of 32 bits
//! allow. So those of queries and keys have 11 to 13 bits, by the width of a head. The softmax between the products is
//! in f32 and in powers of two. Its weights have 15 bits and values 10: beside the weight of one token those of all
//! others may be small.
//!
//! Queries and keys are taken 16 by 16. Each is in its own lane of the vectors, and so are the columns of the values.
//! Both products are those of [`multiply`].

#![allow(unsafe_code, reason = "vector instructions of the processor at hand")]

use std::arch::x86_64::*;
use std::mem::transmute;
use std::ops::Range;

use super::attention::{HeadGroup, seen};
use super::elementwise::tanh;
use super::half_tiles::load;
use super::int8::SMALLEST;
use super::isa::{Fused512, PANEL};
use super::turn::turn;
use crate::architecture::AttentionShape;

/// For each lane two neighbouring codes, the first in the lower half.
type Pairs = [u32; PANEL];

/// Tokens of the longest text. Those whose weight is less than half a code are lost: of this many, together at most
/// 0.03 of the largest weight.
pub(super) const MOST_TOKENS: usize = 2048;

/// Pairs of tokens whose weighted values are added in integers.
const TOKEN_PAIRS: usize = 32;

/// The largest code of a weight, which is that of 1.
const WEIGHT: f32 = 32767.0;

/// The largest code of a value: the products of [`TOKEN_PAIRS`] are at most 2^31 - 1.
const VALUE: f32 = 1023.0;

/// Memory that one thread's attention reuses.
#[derive(Default)]
pub(super) struct Scratch {
    /// Blocks of keys, each by pair of their numbers.
    keys: Vec<Pairs>,
    /// By block.
    key_scales: Vec<[f32; PANEL]>,
    /// Panels of columns of the values, each by pair of tokens.
    values: Vec<Pairs>,
    /// By panel.
    value_scales: Vec<[f32; PANEL]>,
    /// A block of queries, by pair of their numbers.
    queries: Vec<Pairs>,
    /// By key, the scores of the block's queries as powers of two.
    scores: Vec<[f32; PANEL]>,
    /// By pair of tokens, their weights for the block's queries.
    weights: Vec<Pairs>,
    /// The numbers of a block of rows, each row in its lane.
    turned: Vec<[u32; PANEL]>,
}

/// Whether the processor has the instructions that this file uses.
pub(super) fn are_there() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("fma")
}

/// The largest code of a query or a key. The sum of `head_dim` products of two is at most 2^31 - 1.
fn largest_code(head_dim: usize) -> f32 {
    ((i32::MAX as usize / head_dim).isqrt() as f32).min(i16::MAX.into())
}

/// [`HeadGroup`] in integers. The processor has what [`are_there`] asks for.
pub(super) fn attend(group: HeadGroup<'_, '_>, scratch: &mut Scratch) {
    // SAFETY: whoever calls this knows that the instructions are there.
    unsafe { run(group, scratch) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,fma")]
fn run(group: HeadGroup<'_, '_>, scratch: &mut Scratch) {
    let HeadGroup { qkv, shape, window, key_value_head, out, .. } = group;
    let AttentionShape { num_heads, num_key_value_heads, head_dim, scale, softcap, .. } = *shape;
    let stride = shape.joined_columns();
    let (length, group) = (out.len(), num_heads / num_key_value_heads);
    let key_column = (num_heads + key_value_head) * head_dim;
    let value_column = key_column + num_key_value_heads * head_dim;
    let most = largest_code(head_dim);
    let (pairs, blocks) = (head_dim.div_ceil(2), length.div_ceil(PANEL));
    let token_pairs = blocks * PANEL / 2;
    let Scratch { keys, key_scales, values, value_scales, queries, scores, weights, turned } = scratch;
    keys.resize(blocks * pairs, [0; PANEL]);
    key_scales.resize(blocks, [0.0; PANEL]);
    // Codes have no NaN. So what is NaN or infinite in a key or a query is added to the shares.
    let mut unsound = 0.0;
    for (block, (keys, scales)) in keys.chunks_exact_mut(pairs).zip(key_scales.iter_mut()).enumerate() {
        let first = block * PANEL;
        let rows =
            Rows { values: &qkv[first * stride + key_column..], stride, count: length - first, head_dim };
        *scales = pack_rows(rows, most, keys, turned);
        unsound += 0.0 * scales.iter().sum::<f32>();
    }
    values.resize(head_dim.div_ceil(PANEL) * token_pairs, [0; PANEL]);
    value_scales.resize(head_dim.div_ceil(PANEL), [0.0; PANEL]);
    let panels = values.chunks_exact_mut(token_pairs).zip(value_scales.iter_mut());
    for (panel, (values, scales)) in panels.enumerate() {
        let columns = panel * PANEL..((panel + 1) * PANEL).min(head_dim);
        *scales = pack_values(&qkv[value_column..], (stride, length), columns, values);
    }
    queries.resize(pairs, [0; PANEL]);
    // What is capped becomes a power of two afterwards.
    let scale = if softcap.is_some() { scale } else { scale * std::f32::consts::LOG2_E };
    for start in (0..length).step_by(PANEL) {
        let count = (length - start).min(PANEL);
        let seen = Seen::new(shape, window, start..start + count, length);
        let blocks = seen.blocks();
        scores.resize(blocks.len() * PANEL, [0.0; PANEL]);
        weights.resize(blocks.len() * PANEL / 2, [0; PANEL]);
        for head in 0..group {
            let column = (key_value_head * group + head) * head_dim;
            let rows = Rows { values: &qkv[start * stride + column..], stride, count, head_dim };
            let query_scales = pack_rows(rows, most, queries, turned).map(|of_query| of_query * scale);
            for (block, scores) in blocks.clone().zip(scores.as_chunks_mut::<PANEL>().0) {
                let sums = multiply(&keys[block * pairs..][..pairs], queries);
                for ((scores, sums), of_key) in scores.iter_mut().zip(&sums).zip(&key_scales[block]) {
                    let scales = _mm512_mul_ps(load(&query_scales), _mm512_set1_ps(*of_key));
                    store(scores, _mm512_mul_ps(_mm512_cvtepi32_ps(*sums), scales));
                }
                if let Some(cap) = softcap {
                    for score in scores.as_flattened_mut() {
                        *score = cap * std::f32::consts::LOG2_E * tanh::<Fused512>(*score / cap);
                    }
                }
                seen.mask(scores, block * PANEL);
            }
            let mut shares = softmax(scores, weights);
            for (share, scale) in shares.iter_mut().zip(query_scales) {
                *share += 0.0 * scale + unsound;
            }
            let panels = values.chunks_exact(token_pairs).zip(value_scales.iter());
            for (panel, (values, scales)) in panels.enumerate() {
                let totals = weigh(weights, &values[blocks.start * PANEL / 2..][..weights.len()]);
                let columns = head * head_dim + panel * PANEL
                    ..(head * head_dim + (panel + 1) * PANEL).min((head + 1) * head_dim);
                for ((out, totals), share) in out[start..][..count].iter_mut().zip(&totals).zip(&shares) {
                    let scales = _mm512_mul_ps(load(scales), _mm512_set1_ps(*share));
                    store(&mut out[columns.clone()], _mm512_mul_ps(*totals, scales));
                }
            }
        }
    }
}

/// Writes as many numbers as there is room for.
#[target_feature(enable = "avx512f")]
#[inline]
fn store(out: &mut [f32], numbers: __m512) {
    let there = (1u32 << out.len().min(PANEL)) - 1;
    // SAFETY: it writes the numbers that `there` has a bit for.
    unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), there as __mmask16, numbers) }
}

/// Numbers of 32 bits as a vector.
#[target_feature(enable = "avx512f")]
#[inline]
fn vector(numbers: &[u32; PANEL]) -> __m512i {
    // SAFETY: there are 64 bytes.
    unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) }
}

/// The absolute values' bits, which are in the order of the values. NaN is above all.
#[target_feature(enable = "avx512f")]
#[inline]
fn magnitudes(numbers: __m512) -> __m512i {
    _mm512_and_si512(_mm512_castps_si512(numbers), _mm512_set1_epi32(i32::MAX))
}

/// Lane by lane, what numbers are multiplied by for codes of at most `most`, and what codes are multiplied by: of the
/// numbers' largest magnitude. If that is NaN or infinite, so is the latter.
#[target_feature(enable = "avx512f")]
#[inline]
fn factors(largest: __m512i, most: f32) -> (__m512, __m512) {
    let (largest, most) = (_mm512_castsi512_ps(largest), _mm512_set1_ps(most));
    let there = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(largest, _mm512_set1_ps(SMALLEST));
    (_mm512_maskz_div_ps(there, most, largest), _mm512_maskz_div_ps(there, largest, most))
}

/// Numbers times a factor, rounded.
#[target_feature(enable = "avx512f")]
#[inline]
fn codes_of(numbers: __m512, inverse: __m512) -> __m512i {
    _mm512_cvtps_epi32(_mm512_mul_ps(numbers, inverse))
}

/// Two codes of each lane as a pair.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn paired([first, second]: [__m512i; 2]) -> Pairs {
    const UPPER_HALVES: __mmask32 = 0xaaaa_aaaa;
    let pairs = _mm512_mask_blend_epi16(UPPER_HALVES, first, _mm512_slli_epi32::<16>(second));
    // SAFETY: both are 64 bytes.
    unsafe { transmute::<__m512i, Pairs>(pairs) }
}

/// Queries or keys of a head.
struct Rows<'a> {
    values: &'a [f32],
    /// Distance between the rows.
    stride: usize,
    /// How many there are; of more than [`PANEL`] the first ones are meant.
    count: usize,
    head_dim: usize,
}

/// Makes `codes` those of a block of rows, each in its lane, and returns their scales. Rows that are not there are
/// zeros.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pack_rows(rows: Rows<'_>, most: f32, codes: &mut [Pairs], turned: &mut Vec<[u32; PANEL]>) -> [f32; PANEL] {
    let Rows { values, stride, count, head_dim } = rows;
    turned.resize(head_dim.next_multiple_of(PANEL), [0; PANEL]);
    let mut largest = _mm512_setzero_si512();
    for (number, block) in turned.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
        let columns = number * PANEL..((number + 1) * PANEL).min(head_dim);
        for (row, slot) in block.iter_mut().enumerate() {
            let row = if row < count { &values[row * stride..][columns.clone()] } else { &[] };
            // SAFETY: both are 64 bytes.
            *slot = unsafe { transmute::<__m512, [u32; PANEL]>(load(row)) };
        }
        turn(block);
        for line in block.iter() {
            largest = _mm512_max_epu32(largest, magnitudes(_mm512_castsi512_ps(vector(line))));
        }
    }
    let (inverse, scale) = factors(largest, most);
    for (slot, [first, second]) in codes.iter_mut().zip(turned.as_chunks::<2>().0) {
        let (first, second) = (_mm512_castsi512_ps(vector(first)), _mm512_castsi512_ps(vector(second)));
        *slot = paired([codes_of(first, inverse), codes_of(second, inverse)]);
    }
    // SAFETY: both are 64 bytes.
    unsafe { transmute::<__m512, [f32; PANEL]>(scale) }
}

/// Makes `codes` those of some columns of a text's tokens, pair by pair, and returns the columns' scales. Tokens that
/// are not there are zeros.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pack_values(
    rows: &[f32],
    (stride, length): (usize, usize),
    columns: Range<usize>,
    codes: &mut [Pairs],
) -> [f32; PANEL] {
    let row = |token: usize| {
        if token < length { load(&rows[token * stride..][columns.clone()]) } else { _mm512_setzero_ps() }
    };
    let mut largest = _mm512_setzero_si512();
    for token in 0..length {
        largest = _mm512_max_epu32(largest, magnitudes(row(token)));
    }
    let (inverse, scale) = factors(largest, VALUE);
    for (pair, slot) in codes.iter_mut().enumerate() {
        *slot = paired([codes_of(row(2 * pair), inverse), codes_of(row(2 * pair + 1), inverse)]);
    }
    // SAFETY: both are 64 bytes.
    unsafe { transmute::<__m512, [f32; PANEL]>(scale) }
}

/// For each lane of `left` a vector: the sums over all pairs of its codes times those of the lanes of `right`.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn multiply(left: &[Pairs], right: &[Pairs]) -> [__m512i; PANEL] {
    let mut sums = [_mm512_setzero_si512(); PANEL];
    for (left, right) in left.iter().zip(right) {
        let right = vector(right);
        for (sums, left) in sums.iter_mut().zip(left) {
            *sums = _mm512_dpwssd_epi32(*sums, right, _mm512_set1_epi32(left.cast_signed()));
        }
    }
    sums
}

/// The sums of a panel of values by the weights of each lane, in codes.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn weigh(weights: &[Pairs], values: &[Pairs]) -> [__m512; PANEL] {
    let mut totals = [_mm512_setzero_ps(); PANEL];
    for (weights, values) in weights.chunks(TOKEN_PAIRS).zip(values.chunks(TOKEN_PAIRS)) {
        for (totals, sums) in totals.iter_mut().zip(multiply(weights, values)) {
            *totals = _mm512_add_ps(*totals, _mm512_cvtepi32_ps(sums));
        }
    }
    totals
}

/// The keys that each lane sees: from, and up to but without.
struct Seen([[u32; PANEL]; 2]);

impl Seen {
    fn new(shape: &AttentionShape, window: Option<usize>, queries: Range<usize>, length: usize) -> Seen {
        let [mut starts, mut ends] = [[0; PANEL]; 2];
        for (query, (start, end)) in (queries.start..).zip(starts.iter_mut().zip(&mut ends)) {
            // Lanes without a query see what the last one sees.
            let seen = seen(shape, window, query.min(queries.end - 1), length);
            (*start, *end) = (seen.start as u32, seen.end as u32);
        }
        Seen([starts, ends])
    }

    /// The blocks of keys that any lane sees.
    fn blocks(&self) -> Range<usize> {
        let Seen([starts, ends]) = self;
        starts[0] as usize / PANEL..(ends[PANEL - 1] as usize).div_ceil(PANEL)
    }

    /// Makes the scores of keys that a lane does not see too low to have a weight. They are those of a block of keys
    /// from `first` on.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn mask(&self, scores: &mut [[f32; PANEL]; PANEL], first: usize) {
        let Seen([starts, ends]) = self;
        if starts[PANEL - 1] as usize <= first && first + PANEL <= ends[0] as usize {
            return;
        }
        for (key, scores) in (first as i32..).zip(scores) {
            let key = _mm512_set1_epi32(key);
            let seen =
                _mm512_cmple_epu32_mask(vector(starts), key) & _mm512_cmplt_epu32_mask(key, vector(ends));
            let masked = _mm512_mask_blend_ps(seen, _mm512_set1_ps(f32::NEG_INFINITY), load(scores));
            store(scores, masked);
        }
    }
}

/// Makes `weights` the codes of 2^(score - max), pair by pair, and returns one by their sum, for each lane.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn softmax(scores: &[[f32; PANEL]], weights: &mut [Pairs]) -> [f32; PANEL] {
    let mut largest = _mm512_set1_ps(f32::NEG_INFINITY);
    for scores in scores {
        largest = _mm512_max_ps(largest, load(scores));
    }
    let mut sums = _mm512_setzero_si512();
    for (slot, [first, second]) in weights.iter_mut().zip(scores.as_chunks::<2>().0) {
        let (first, second) = (_mm512_sub_ps(load(first), largest), _mm512_sub_ps(load(second), largest));
        let pair = [weight(first), weight(second)];
        *slot = paired(pair);
        sums = _mm512_add_epi32(sums, _mm512_add_epi32(pair[0], pair[1]));
    }
    let shares = _mm512_div_ps(_mm512_set1_ps(1.0), _mm512_cvtepi32_ps(sums));
    // SAFETY: both are 64 bytes.
    unsafe { transmute::<__m512, [f32; PANEL]>(shares) }
}

/// The code of 2^x for x up to 0. Here x = n + r with |r| <= 1/2. 2^r is its Taylor polynomial of degree 5, whose
/// remainder is under 3e-6.
#[target_feature(enable = "avx512f")]
#[inline]
fn weight(x: __m512) -> __m512i {
    // (ln 2)^k / k! times the weight of 1.
    const COEFFICIENTS: [f32; 6] = {
        let mut coefficients = [WEIGHT; 6];
        let mut k = 1;
        while k < 6 {
            coefficients[k] = coefficients[k - 1] * std::f32::consts::LN_2 / k as f32;
            k += 1;
        }
        coefficients
    };
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    // Below this a weight is 0. So it is for minus infinity, of which 2^r would be NaN.
    let x = _mm512_max_ps(x, _mm512_set1_ps(-30.0));
    let n = _mm512_roundscale_ps::<NEAREST>(x);
    let r = _mm512_sub_ps(x, n);
    let [rest @ .., highest] = COEFFICIENTS;
    let mut p = _mm512_set1_ps(highest);
    for coefficient in rest.iter().rev() {
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(*coefficient));
    }
    _mm512_cvtps_epi32(_mm512_scalef_ps(p, n))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::attention::trial::{shapes, trial};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// Beside the twin in f32, with numbers of at most 1. Let m be the largest code of K numbers: each is rounded
        /// by at most 1 / 2m. So after the scale 1 / sqrt(K) a score is wrong by at most e. Here
        /// e = sqrt(K) (1/m + 1/4m^2). A weight is wrong by a factor of at most e^(2 e). Weights, of which one is 1,
        /// and values are rounded, too.
        #[test]
        fn attention_is_that_of_the_twin((shape, window, length) in shapes(), seed in any::<u64>()) {
            if !are_there() {
                return Ok(());
            }
            let mut scratch = Scratch::default();
            let m = largest_code(shape.head_dim);
            let of_score = (shape.head_dim as f32).sqrt() * (1.0 / m + 0.25 / (m * m));
            let of_weights = (2.0 * of_score).exp() - 1.0 + length as f32 / WEIGHT;
            let bound = of_weights + 0.5 / VALUE + 1e-5;
            trial(&shape, window, (length, seed, bound), |group| attend(group, &mut scratch))?;
        }
    }

    /// Queries of zeros see all tokens alike, so the result is the mean of the values. They are added up in three
    /// parts.
    #[test]
    fn many_tokens_are_added_in_parts() {
        if !are_there() {
            return;
        }
        let (num_heads, head_dim, length) = (1, 16, 5 * TOKEN_PAIRS + 3);
        let shape = AttentionShape {
            num_heads,
            num_key_value_heads: 1,
            head_dim,
            scale: 1.0,
            causal: false,
            softcap: None,
        };
        let mut qkv = vec![0.0; length * shape.joined_columns()];
        for (token, row) in qkv.chunks_exact_mut(shape.joined_columns()).enumerate() {
            row[2 * head_dim..].fill((token / 100) as f32);
        }
        let mut values = vec![0.0; length * head_dim];
        let mut out: Vec<&mut [f32]> = values.chunks_exact_mut(head_dim).collect();
        let scratch = &mut super::super::attention::Scratch::default();
        let group =
            HeadGroup { qkv: &qkv, shape: &shape, window: None, key_value_head: 0, out: &mut out, scratch };
        attend(group, &mut Scratch::default());
        let want = (0..length).map(|token| (token / 100) as f32).sum::<f32>() / length as f32;
        let bound = 3.0 * 0.5 / VALUE;
        assert!(values.iter().all(|x| (x - want).abs() < bound), "{:?} in place of {want}", &values[..4]);
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        if !are_there() {
            return;
        }
        let shape = AttentionShape {
            num_heads: 1,
            num_key_value_heads: 1,
            head_dim: 8,
            scale: 1.0,
            causal: false,
            softcap: None,
        };
        for column in [1, 9, 17] {
            for wrong in [f32::NAN, f32::INFINITY] {
                let mut qkv = vec![0.5; 3 * shape.joined_columns()];
                qkv[shape.joined_columns() + column] = wrong;
                let mut values = [0.0; 3 * 8];
                let mut out: Vec<&mut [f32]> = values.chunks_exact_mut(8).collect();
                let scratch = &mut super::super::attention::Scratch::default();
                let group = HeadGroup {
                    qkv: &qkv,
                    shape: &shape,
                    window: None,
                    key_value_head: 0,
                    out: &mut out,
                    scratch,
                };
                attend(group, &mut Scratch::default());
                assert!(values[8..16].iter().any(|x| x.is_nan()), "{wrong} in column {column}");
            }
        }
    }
}
