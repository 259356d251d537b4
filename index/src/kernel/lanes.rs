//! The arithmetic, written once: fixed arrays of L lanes that the compiler turns into vector registers when these
//! functions are inlined into ones that enable an instruction set (see `arch`).

use super::{QUERIES, ROWS, Step, Sums};

/// How a product is added to a sum.
pub(super) trait Arithmetic {
    fn mul_add(a: f32, b: f32, sum: f32) -> f32;
}

/// With one rounding. Slow where the processor has no such instruction.
pub(super) struct Fused;

impl Arithmetic for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, sum: f32) -> f32 {
        a.mul_add(b, sum)
    }
}

/// With two roundings.
pub(super) struct Separate;

impl Arithmetic for Separate {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, sum: f32) -> f32 {
        a * b + sum
    }
}

/// What is summed over the components.
pub(super) trait Term {
    fn add<A: Arithmetic>(q: f32, v: f32, sum: f32) -> f32;
}

/// qᵢvᵢ
pub(super) struct Product;

impl Term for Product {
    #[inline(always)]
    fn add<A: Arithmetic>(q: f32, v: f32, sum: f32) -> f32 {
        A::mul_add(q, v, sum)
    }
}

/// (qᵢ - vᵢ)²
pub(super) struct Square;

impl Term for Square {
    #[inline(always)]
    fn add<A: Arithmetic>(q: f32, v: f32, sum: f32) -> f32 {
        let difference = q - v;
        A::mul_add(difference, difference, sum)
    }
}

#[inline(always)]
fn add<T: Term, A: Arithmetic, const L: usize>(q: &[f32; L], v: &[f32; L], sums: &mut [f32; L]) {
    for lane in 0..L {
        sums[lane] = T::add::<A>(q[lane], v[lane], sums[lane]);
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

/// The first L components from `at` on, 0 beyond the end.
#[inline(always)]
fn padded<const L: usize>(vector: &[f32], at: usize) -> [f32; L] {
    let mut lanes = [0.0; L];
    let rest = &vector[at..];
    let len = rest.len().min(L);
    lanes[..len].copy_from_slice(&rest[..len]);
    lanes
}

/// Rows compared at the same time with one query. 8 independent sums hide the latency of FMA, and 8 streams of
/// sequential reads together reach the bandwidth of the memory that one alone does not.
const STREAMS: usize = 8;

/// Rows of one stream before the streams move on, all within a few pages of each other for the page-table cache.
const STREAM_ROWS: usize = 32;

/// Compares one query with rows: (D) and (N, D) to (N).
///
/// The streams lie [`STREAM_ROWS`] apart instead of next to each other, so that each is long enough for the hardware
/// to prefetch: at D = 384 that took 5.8 ms for 100,000 rows against 12.2 ms for 8 adjacent rows (Zen 3, 27 and 13 GB/s).
#[inline(always)]
pub(super) fn scan<T: Term, A: Arithmetic, const L: usize>(query: &[f32], rows: &[f32], values: &mut [f32]) {
    let dim = query.len();
    let block = STREAMS * STREAM_ROWS;
    for (rows, values) in rows.chunks(dim * block).zip(values.chunks_mut(block)) {
        let per_stream = values.len() / STREAMS;
        let row = |number: usize| &rows[number * dim..][..dim];
        for place in 0..per_stream {
            let number = |stream: usize| stream * per_stream + place;
            let scores =
                compare::<T, A, STREAMS, L>(query, std::array::from_fn(|stream| row(number(stream))));
            for (stream, score) in scores.into_iter().enumerate() {
                values[number(stream)] = score;
            }
        }
        for (number, value) in values.iter_mut().enumerate().skip(STREAMS * per_stream) {
            [*value] = compare::<T, A, 1, L>(query, [row(number)]);
        }
    }
}

/// Compares one query with R rows at the same time.
#[inline(always)]
fn compare<T: Term, A: Arithmetic, const R: usize, const L: usize>(
    query: &[f32],
    rows: [&[f32]; R],
) -> [f32; R] {
    let dim = query.len();
    // Told to the compiler once, so that it need not check every access.
    let rows = rows.map(|row| &row[..dim]);
    let mut sums = [[0.0; L]; R];
    let mut at = 0;
    while at + L <= dim {
        let q = padded(&query[..at + L], at);
        for (row, sums) in rows.iter().zip(&mut sums) {
            add::<T, A, L>(&q, &padded(&row[..at + L], at), sums);
        }
        at += L;
    }
    if at < dim {
        let q = padded(query, at);
        for (row, sums) in rows.iter().zip(&mut sums) {
            add::<T, A, L>(&q, &padded(row, at), sums);
        }
    }
    let mut values = [0.0; R];
    for (value, lanes) in values.iter_mut().zip(sums) {
        *value = sum_lanes(lanes);
    }
    values
}

/// Adds the terms of packed steps to the sums of a tile, or to zeros if it is the `first` time.
#[inline(always)]
pub(super) fn tile<T: Term, A: Arithmetic, const L: usize>(
    queries: &[Step<QUERIES, L>],
    rows: &[Step<ROWS, L>],
    sums: &mut Sums<L>,
    first: bool,
) {
    let mut local = if first { [[[0.0; L]; ROWS]; QUERIES] } else { *sums };
    // One step a turn: with two the compiler runs out of registers and spills a sum.
    for (q, v) in queries.iter().zip(rows) {
        add_step::<T, A, L>(q, v, &mut local);
    }
    *sums = local;
}

// Not a closure: closures do not inherit the instruction set of the function that they are inlined into, and without
// it a fused product is a call into the mathematical library, a hundred times slower.
#[inline(always)]
fn add_step<T: Term, A: Arithmetic, const L: usize>(
    q: &Step<QUERIES, L>,
    v: &Step<ROWS, L>,
    sums: &mut Sums<L>,
) {
    for row in 0..ROWS {
        for query in 0..QUERIES {
            add::<T, A, L>(&q[query], &v[row], &mut sums[query][row]);
        }
    }
}

/// The sums over the lanes of a tile.
#[inline(always)]
pub(super) fn reduce<const L: usize>(sums: &Sums<L>) -> [[f32; ROWS]; QUERIES] {
    let mut values = [[0.0; ROWS]; QUERIES];
    for (values, sums) in values.iter_mut().zip(sums) {
        for (value, lanes) in values.iter_mut().zip(sums) {
            *value = sum_lanes(*lanes);
        }
    }
    values
}

/// Interleaves T pieces of vectors, L components of each at a time, with zeros beyond the end of each.
#[inline(always)]
pub(super) fn pack<const T: usize, const L: usize>(vectors: [&[f32]; T], steps: &mut [Step<T, L>]) {
    for (number, step) in steps.iter_mut().enumerate() {
        let at = number * L;
        for (vector, lanes) in vectors.iter().zip(step) {
            *lanes = match vector.get(at..at + L) {
                Some(whole) => padded(whole, 0),
                None => padded(vector, at.min(vector.len())),
            };
        }
    }
}
