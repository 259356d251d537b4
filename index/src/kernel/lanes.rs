//! The arithmetic, written once: fixed arrays of L lanes. The compiler turns them into vector registers when these
//! functions are inlined into ones that enable an instruction set (see `arch`).

use super::{PAIRS, Pair, Panel, ROWS, STREAMS, Sums};
use crate::rows::{Bf16, Component, F16, Rows, with_components};

/// How a product is added to a sum, and binary16 converted.
pub(super) trait Arithmetic<const L: usize> {
    fn mul_add(a: f32, b: f32, sum: f32) -> f32;

    /// L components as f32.
    #[inline(always)]
    fn widen(stored: &[F16; L]) -> [f32; L] {
        convert(stored)
    }
}

/// With one rounding. Slow where the processor has no such instruction.
pub(super) struct Fused;

impl<const L: usize> Arithmetic<L> for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, sum: f32) -> f32 {
        a.mul_add(b, sum)
    }
}

/// With two roundings.
pub(super) struct Separate;

impl<const L: usize> Arithmetic<L> for Separate {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, sum: f32) -> f32 {
        a * b + sum
    }
}

/// What is summed over the components.
pub(super) trait Term {
    fn add<A: Arithmetic<L>, const L: usize>(q: f32, v: f32, sum: f32) -> f32;
}

/// qᵢvᵢ
pub(super) struct Product;

impl Term for Product {
    #[inline(always)]
    fn add<A: Arithmetic<L>, const L: usize>(q: f32, v: f32, sum: f32) -> f32 {
        A::mul_add(q, v, sum)
    }
}

/// (qᵢ - vᵢ)²
pub(super) struct Square;

impl Term for Square {
    #[inline(always)]
    fn add<A: Arithmetic<L>, const L: usize>(q: f32, v: f32, sum: f32) -> f32 {
        let difference = q - v;
        A::mul_add(difference, difference, sum)
    }
}

#[inline(always)]
fn add<T: Term, A: Arithmetic<L>, const L: usize>(q: &[f32; L], v: &[f32; L], sums: &mut [f32; L]) {
    for lane in 0..L {
        sums[lane] = T::add::<A, L>(q[lane], v[lane], sums[lane]);
    }
}

/// Adds the lanes pairwise: l with l + L/2, then with l + L/4, and so on.
#[inline(always)]
fn sum_lanes<const L: usize>(mut lanes: [f32; L]) -> f32 {
    let mut half = L / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn convert<C: Component, const L: usize>(stored: &[C; L]) -> [f32; L] {
    let mut lanes = [0.0; L];
    for lane in 0..L {
        lanes[lane] = stored[lane].to_f32();
    }
    lanes
}

/// Components that are converted as they are loaded.
trait Load: Component {
    fn load<A: Arithmetic<L>, const L: usize>(stored: &[Self; L]) -> [f32; L];
}

impl Load for f32 {
    #[inline(always)]
    fn load<A: Arithmetic<L>, const L: usize>(stored: &[f32; L]) -> [f32; L] {
        *stored
    }
}

impl Load for Bf16 {
    #[inline(always)]
    fn load<A: Arithmetic<L>, const L: usize>(stored: &[Bf16; L]) -> [f32; L] {
        convert(stored)
    }
}

impl Load for F16 {
    #[inline(always)]
    fn load<A: Arithmetic<L>, const L: usize>(stored: &[F16; L]) -> [f32; L] {
        A::widen(stored)
    }
}

/// The first L components from `at` on, 0 beyond the end.
#[inline(always)]
fn padded<A: Arithmetic<L>, C: Load, const L: usize>(vector: &[C], at: usize) -> [f32; L] {
    let mut stored = [C::zeroed(); L];
    let rest = &vector[at..];
    let len = rest.len().min(L);
    stored[..len].copy_from_slice(&rest[..len]);
    C::load::<A, L>(&stored)
}

/// Rows of one stream before the streams move on, all within a few pages of each other for the page-table cache.
const STREAM_ROWS: usize = 32;

/// Compares one query with rows: (D) and (N, D) to (N).
///
/// The streams lie [`STREAM_ROWS`] apart instead of next to each other, so that each is long enough for the hardware
/// to prefetch. At D = 384 a scan of 100,000 rows took 5.8 ms; with 8 adjacent rows it took 12.2 ms (Zen 3, 27 and 13
/// GB/s).
#[inline(always)]
pub(super) fn scan<T: Term, A: Arithmetic<L>, const L: usize>(
    query: &[f32],
    rows: Rows<'_>,
    values: &mut [f32],
) {
    with_components!(rows, |rows| scan_components::<T, A, _, L>(query, rows, values));
}

#[inline(always)]
fn scan_components<T: Term, A: Arithmetic<L>, C: Load, const L: usize>(
    query: &[f32],
    rows: &[C],
    values: &mut [f32],
) {
    let dim = query.len();
    let block = STREAMS * STREAM_ROWS;
    for (rows, values) in rows.chunks(dim * block).zip(values.chunks_mut(block)) {
        let per_stream = values.len() / STREAMS;
        let row = |number: usize| &rows[number * dim..][..dim];
        for place in 0..per_stream {
            let number = |stream: usize| stream * per_stream + place;
            let scores = compare_streams::<T, A, C, STREAMS, L>(
                query,
                std::array::from_fn(|stream| row(number(stream))),
            );
            for (stream, score) in scores.into_iter().enumerate() {
                values[number(stream)] = score;
            }
        }
        for (number, value) in values.iter_mut().enumerate().skip(STREAMS * per_stream) {
            [*value] = compare_streams::<T, A, C, 1, L>(query, [row(number)]);
        }
    }
}

/// Compares one query with rows that lie anywhere, all with components of one type: the sums of [`scan`].
#[inline(always)]
pub(super) fn compare<T: Term, A: Arithmetic<L>, const L: usize>(
    query: &[f32],
    rows: &[Rows<'_>],
    values: &mut [f32],
) {
    match rows.first() {
        None => {}
        Some(Rows::F32(_)) => compare_components::<T, A, f32, L>(query, rows, values),
        Some(Rows::F16(_)) => compare_components::<T, A, F16, L>(query, rows, values),
        Some(Rows::Bf16(_)) => compare_components::<T, A, Bf16, L>(query, rows, values),
    }
}

#[inline(always)]
fn compare_components<T: Term, A: Arithmetic<L>, C: Load, const L: usize>(
    query: &[f32],
    rows: &[Rows<'_>],
    values: &mut [f32],
) {
    for (rows, values) in rows.chunks(STREAMS).zip(values.chunks_mut(STREAMS)) {
        // If there are fewer rows, the last one is computed again: with so few rows the latency counts, not the work.
        let last = rows.len() - 1;
        let scores = compare_streams::<T, A, C, STREAMS, L>(
            query,
            std::array::from_fn(|stream| C::of(rows[stream.min(last)])),
        );
        values.copy_from_slice(&scores[..rows.len()]);
    }
}

/// Compares one query with R rows at the same time.
#[inline(always)]
fn compare_streams<T: Term, A: Arithmetic<L>, C: Load, const R: usize, const L: usize>(
    query: &[f32],
    rows: [&[C]; R],
) -> [f32; R] {
    let dim = query.len();
    // Told to the compiler once, so that it need not check every access.
    let rows = rows.map(|row| &row[..dim]);
    let mut sums = [[0.0; L]; R];
    let mut at = 0;
    while at + L <= dim {
        let q = padded::<A, _, L>(&query[..at + L], at);
        for (row, sums) in rows.iter().zip(&mut sums) {
            add::<T, A, L>(&q, &padded::<A, _, L>(&row[..at + L], at), sums);
        }
        at += L;
    }
    if at < dim {
        let q = padded::<A, _, L>(query, at);
        for (row, sums) in rows.iter().zip(&mut sums) {
            add::<T, A, L>(&q, &padded::<A, _, L>(row, at), sums);
        }
    }
    let mut values = [0.0; R];
    for (value, lanes) in values.iter_mut().zip(sums) {
        *value = sum_lanes(lanes);
    }
    values
}

/// The squared lengths of rows, (N, D) to (N): the sums of [`scan`] of each row with itself.
#[inline(always)]
pub(super) fn squared_lengths<A: Arithmetic<L>, const L: usize>(
    rows: Rows<'_>,
    dim: usize,
    values: &mut [f32],
) {
    with_components!(rows, |rows| squares_of_components::<A, _, L>(rows, dim, values));
}

#[inline(always)]
fn squares_of_components<A: Arithmetic<L>, C: Load, const L: usize>(
    rows: &[C],
    dim: usize,
    values: &mut [f32],
) {
    for (rows, values) in rows.chunks(dim * STREAMS).zip(values.chunks_mut(STREAMS)) {
        let last = values.len() - 1;
        let squares = squares_of_streams::<A, C, STREAMS, L>(std::array::from_fn(|stream| {
            &rows[stream.min(last) * dim..][..dim]
        }));
        values.copy_from_slice(&squares[..values.len()]);
    }
}

/// The squared lengths of R rows at the same time.
#[inline(always)]
fn squares_of_streams<A: Arithmetic<L>, C: Load, const R: usize, const L: usize>(
    rows: [&[C]; R],
) -> [f32; R] {
    let dim = rows[0].len();
    let rows = rows.map(|row| &row[..dim]);
    let mut sums = [[0.0; L]; R];
    let mut at = 0;
    while at + L <= dim {
        for (row, sums) in rows.iter().zip(&mut sums) {
            let v = padded::<A, _, L>(&row[..at + L], at);
            add::<Product, A, L>(&v, &v, sums);
        }
        at += L;
    }
    if at < dim {
        for (row, sums) in rows.iter().zip(&mut sums) {
            let v = padded::<A, _, L>(row, at);
            add::<Product, A, L>(&v, &v, sums);
        }
    }
    let mut values = [0.0; R];
    for (value, lanes) in values.iter_mut().zip(sums) {
        *value = sum_lanes(lanes);
    }
    values
}

/// Multiplies a vector by a factor and rounds to the nearest integer, ties to even; 0 beyond an odd end.
#[inline(always)]
pub(super) fn scale(vector: &[f32], factor: f32, scaled: &mut [Pair]) {
    // After adding 3 * 2²² the last bits of the sum are the nearest integer. This is faster than a conversion, which
    // checks for numbers beyond the integers.
    const SHIFT: f32 = 12_582_912.0;
    let (pairs, rest) = vector.as_chunks::<2>();
    for (pair, scaled) in pairs.iter().zip(scaled.iter_mut()) {
        *scaled = [(pair[0] * factor + SHIFT).to_bits() as i16, (pair[1] * factor + SHIFT).to_bits() as i16];
    }
    if let [last] = rest {
        scaled[pairs.len()] = [(last * factor + SHIFT).to_bits() as i16, 0];
    }
}

/// How products of integers are added up by pairs.
pub(super) trait Pairs<const L: usize> {
    /// Adds q₀v₀ + q₁v₁ of a pair of L queries.
    fn add(q: &[Pair; L], v: Pair, sums: &mut [i32; L]);
}

/// On any machine.
pub(super) struct Portable;

impl<const L: usize> Pairs<L> for Portable {
    #[inline(always)]
    fn add(q: &[Pair; L], v: Pair, sums: &mut [i32; L]) {
        for lane in 0..L {
            sums[lane] += i32::from(q[lane][0]) * i32::from(v[0]) + i32::from(q[lane][1]) * i32::from(v[1]);
        }
    }
}

/// Adds the products of a block of components to the sums of a tile, or to zeros if it is the `first` block.
///
/// `rows` are [`ROWS`] pieces, of which the pairs beyond those of the queries are not used.
#[inline(always)]
pub(super) fn tile<P: Pairs<L>, const L: usize>(
    queries: &[Panel<L>],
    rows: &[[Pair; PAIRS]],
    sums: &mut Sums<L>,
    first: bool,
) {
    let rows: &[[Pair; PAIRS]; ROWS] = &rows.as_chunks().0[0];
    let mut local = if first { [[[0; L]; 2]; ROWS] } else { *sums };
    for (number, q) in queries[..queries.len().min(PAIRS)].iter().enumerate() {
        for (row, sums) in rows.iter().zip(&mut local) {
            P::add(&q[0], row[number], &mut sums[0]);
            P::add(&q[1], row[number], &mut sums[1]);
        }
    }
    *sums = local;
}
