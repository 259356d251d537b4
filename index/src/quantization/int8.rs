//! 8-bit codes: one byte a component. Graph searches compare them, and exact searches read them first.
//!
//! Whatever the metric, rows are brought into a space where nearer means better under the Euclidean distance, so that
//! one graph does for all:
//!
//! - L2: as they are.
//! - Cosine: divided by their lengths. ‖q - v‖² = 2 - 2 cos(q, v) for vectors of length 1.
//! - Inner product: with one more component √(M² - ‖v‖²), M the greatest length of a row, and 0 for queries. Then
//!   ‖q - v‖² = ‖q‖² + M² - 2 q·v (Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean
//!   transformation for inner-product spaces", 2014).
//!
//! The mean of the rows is subtracted, which changes no distance and leaves shorter vectors. Each row is then scaled
//! so that its largest component is 127, and rounded. The extra component is kept apart in f32.
//!
//! Compared are similarities, higher is better: -‖q - v‖² / 2 = q·v - ‖q‖² / 2 - ‖v‖² / 2, all of rounded vectors. So
//! the error is the part of q - v, not of q, that lies along the rounding error.
//!
//! An upper bound of the length of each row's rounding error is kept, too. With it the exact index proves which rows
//! cannot be among the best (`flat::quantized`).

use rayon::prelude::*;

use super::kernel::int8::{BLOCK, Int8Kernel, MAX_CODE, max_component};
use crate::error::Result;
use crate::kernel::prefetch;
use crate::metric::Metric;
use crate::pages::Pages;
use crate::rows::Rows;
use crate::vectors::check_vectors;

/// What is kept of a row beside its code, in the space of the codes. It is the row's scale, half its squared length,
/// its extra component, and an upper bound of the length of its rounding error.
pub(crate) type Meta = [f32; 4];

/// 8-bit codes of rows where they lie.
#[derive(Debug, Clone, Copy)]
pub struct Int8Codes<'a> {
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    /// (D)
    pub(crate) mean: &'a [f32],
    /// (N, S) row-major, S = D rounded up to [`BLOCK`].
    pub(crate) codes: &'a [i8],
    /// (N)
    pub(crate) metas: &'a [Meta],
    /// The greatest length of a row before the mean is subtracted; `None` if it and the errors of the rows are not
    /// known.
    pub(crate) max_length: Option<f32>,
}

/// A vector to be compared with rows.
#[derive(Default)]
pub(crate) struct Int8Query {
    /// (S)
    code: Vec<i16>,
    meta: Meta,
}

/// 8-bit codes of rows with bounds on their errors, in memory: with them [`FlatIndex`](crate::flat::FlatIndex) reads a
/// quarter of the bytes for the same answers.
///
/// Memory: for each row D bytes, rounded up to 64, and 16 more.
pub struct Int8CodesBuf {
    pub(crate) metric: Metric,
    pub(crate) mean: Vec<f32>,
    pub(crate) codes: Pages<i8>,
    pub(crate) metas: Pages<Meta>,
    pub(crate) max_length: f32,
}

/// S of D.
pub(crate) fn stride(dim: usize) -> usize {
    dim.next_multiple_of(BLOCK)
}

/// How many rows are added up together. The number is fixed, so that the mean does not depend on the number of
/// threads.
const SUM_ROWS: usize = 1024;

/// What rows are encoded with.
pub(crate) struct RowEncoder {
    metric: Metric,
    mean: Vec<f32>,
    /// The greatest squared length of a row.
    longest: f64,
}

impl RowEncoder {
    /// For rows, (N, D) row-major, which are read through once.
    pub fn fit(metric: Metric, dim: usize, rows: Rows<'_>) -> RowEncoder {
        let num_rows = rows.len() / dim;
        let blocks: Vec<Rows<'_>> = rows.chunks(SUM_ROWS * dim).collect();
        let sums: Vec<(Vec<f64>, f64)> = blocks
            .into_par_iter()
            .map(|rows| {
                let mut sum = vec![0.0; dim];
                let mut longest: f64 = 0.0;
                let mut buffer = Vec::new();
                for row in rows.chunks(dim) {
                    let row = row.as_f32(&mut buffer);
                    let squared = squared_length(row);
                    longest = longest.max(squared);
                    let factor = factor(metric, squared);
                    sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) * factor);
                }
                (sum, longest)
            })
            .collect();
        let mut mean = vec![0.0; dim];
        for (sum, _) in &sums {
            mean.iter_mut().zip(sum).for_each(|(mean, sum)| *mean += sum / num_rows as f64);
        }
        let longest = sums.iter().map(|(_, longest)| *longest).fold(0.0, f64::max);
        RowEncoder { metric, mean: mean.into_iter().map(|x| x as f32).collect(), longest }
    }

    /// Encodes some of the rows, (N, D) row-major, to (N, S) and (N).
    pub fn encode(&self, rows: Rows<'_>, codes: &mut [i8], metas: &mut [Meta]) {
        let dim = self.mean.len();
        let stride = stride(dim);
        let rows_out = codes.par_chunks_exact_mut(stride).zip(metas.par_iter_mut()).enumerate();
        rows_out.for_each_init(
            || (vec![0; stride], Vec::new()),
            |(wide, buffer), (index, (code, meta))| {
                let row = rows.row(index, dim).as_f32(buffer);
                *meta = encode(self.metric, row, &self.mean, MAX_CODE as f32, wide);
                code.iter_mut().zip(wide).for_each(|(code, wide)| *code = *wide as i8);
                if self.metric == Metric::InnerProduct {
                    let extra = self.longest - squared_length(row);
                    meta[1] += (extra / 2.0) as f32;
                    meta[2] = extra.sqrt() as f32;
                }
            },
        );
    }

    /// The mean of the rows, (D).
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The greatest squared length of a row, as it was given.
    pub fn longest(&self) -> f64 {
        self.longest
    }

    /// No row is longer, as it is compared.
    pub fn max_length(&self) -> f32 {
        match self.metric {
            Metric::Cosine => 1.0,
            Metric::InnerProduct | Metric::L2 => round_up(self.longest.sqrt()),
        }
    }
}

impl Int8CodesBuf {
    /// Codes of `rows`, (N, D) row-major, for comparing them under a metric. They are computed in parallel on the
    /// current rayon pool, and are the same for any number of threads.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`](crate::Error::RaggedVectors), [`Error::NotFinite`](crate::Error::NotFinite),
    /// [`Error::VectorTooLong`](crate::Error::VectorTooLong).
    pub fn new(metric: Metric, dim: usize, rows: &[f32]) -> Result<Int8CodesBuf> {
        check_vectors(rows, dim)?;
        Ok(Int8CodesBuf::encode(metric, dim, Rows::F32(rows)))
    }

    /// [`Int8CodesBuf::new`] of rows that have been checked.
    pub(crate) fn encode(metric: Metric, dim: usize, rows: Rows<'_>) -> Int8CodesBuf {
        let encoder = RowEncoder::fit(metric, dim, rows);
        let num_rows = rows.len() / dim;
        let mut codes = Pages::<i8>::zeros(num_rows * stride(dim));
        let mut metas = Pages::<Meta>::zeros(num_rows);
        encoder.encode(rows, &mut codes, &mut metas);
        Int8CodesBuf { metric, max_length: encoder.max_length(), mean: encoder.mean, codes, metas }
    }

    pub(crate) fn borrow(&self) -> Int8Codes<'_> {
        Int8Codes {
            metric: self.metric,
            dim: self.mean.len(),
            mean: &self.mean,
            codes: &self.codes,
            metas: &self.metas,
            max_length: Some(self.max_length),
        }
    }
}

impl std::fmt::Debug for Int8CodesBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Int8CodesBuf")
            .field("metric", &self.metric)
            .field("dim", &self.mean.len())
            .field("rows", &self.metas.len())
            .finish_non_exhaustive()
    }
}

impl Int8Codes<'_> {
    /// Checks the bounds that exact search relies on against the rows themselves, (N, D) row-major; or tells what is
    /// wrong.
    pub(crate) fn verify(&self, rows: Rows<'_>) -> Result<(), &'static str> {
        let Some(max_length) = self.max_length else { return Ok(()) };
        let stride = stride(self.dim);
        let is_sound = |buffer: &mut Vec<f32>, (index, (code, meta)): (usize, (&[i8], &Meta))| {
            let row = rows.row(index, self.dim).as_f32(buffer);
            let [scale, _, _, bound] = *meta;
            let squared = squared_length(row);
            let length = squared.sqrt() * factor(self.metric, squared);
            let code = code.iter().map(|code| f64::from(*code));
            bound == f32::MAX
                || error(self.metric, row, self.mean, code, scale) <= f64::from(bound)
                    && length <= f64::from(max_length) * (1.0 + 1e-9)
        };
        let codes = self.codes.par_chunks_exact(stride).zip(self.metas).enumerate();
        let are_sound = codes.map_init(Vec::new, is_sound).all(|is_sound| is_sound);
        if are_sound { Ok(()) } else { Err("the bound of a row's error") }
    }

    /// A vector of D components as a query.
    pub(crate) fn query(&self, vector: &[f32], query: &mut Int8Query) {
        query.code.resize(stride(self.dim), 0);
        query.meta = encode(self.metric, vector, self.mean, max_component(self.dim), &mut query.code);
    }

    /// The components of a row, (S).
    pub(crate) fn code(&self, row: u32) -> &[i8] {
        let stride = stride(self.dim);
        &self.codes[row as usize * stride..][..stride]
    }

    /// A row as a query.
    pub(crate) fn row_as_query(&self, row: u32, query: &mut Int8Query) {
        query.code.clear();
        query.code.extend(self.code(row).iter().map(|x| i16::from(*x)));
        query.meta = self.metas[row as usize];
    }

    /// Asks for a row that will be compared soon.
    #[inline]
    pub(crate) fn prefetch(&self, row: u32) {
        prefetch(self.codes, row, stride(self.dim));
    }

    /// Similarities of a query and rows, none of which may be beyond the last. `sums` is scratch.
    #[inline]
    pub(crate) fn compare(
        &self,
        kernel: Int8Kernel,
        query: &Int8Query,
        rows: &[u32],
        sums: &mut Vec<i32>,
        mut visit: impl FnMut(u32, f32),
    ) {
        sums.resize(rows.len(), 0);
        kernel.dots(&query.code, self.codes, rows, sums);
        let [q_scale, q_half, q_extra, _] = query.meta;
        for (&row, &sum) in rows.iter().zip(sums.iter()) {
            let [scale, half, extra, _] = self.metas[row as usize];
            visit(row, sum as f32 * (q_scale * scale) + q_extra * extra - q_half - half);
        }
    }
}

/// Under cosine a vector shorter than this has no bound on its error, because its square may underflow in f32.
pub(crate) const SHORT: f64 = 1.0 / (1u64 << 60) as f64;

/// Subtracts the mean and rounds a vector to integers up to `max`, with zeros beyond D. Returns its scale, half its
/// squared length and its error.
pub(crate) fn encode(metric: Metric, vector: &[f32], mean: &[f32], max: f32, code: &mut [i16]) -> Meta {
    let squared = squared_length(vector);
    let factor = factor(metric, squared) as f32;
    let moved = vector.iter().zip(mean).map(|(x, mean)| x * factor - mean);
    let largest = moved.clone().fold(0.0f32, |largest, x| largest.max(x.abs()));
    // Below the smallest normal number the inverse would overflow, so such a vector counts as zero.
    let inverse = if largest >= f32::MIN_POSITIVE * 65_536.0 { max / largest } else { 0.0 };
    let scale = largest / max;
    let mut sum = 0i64;
    for (code, x) in code.iter_mut().zip(moved) {
        // The last bits of a number beside 3 * 2²² are the nearest integer.
        *code = (x * inverse + 12_582_912.0).to_bits() as i16;
        sum += i64::from(*code) * i64::from(*code);
    }
    // A zero vector has a cosine of 0 with everything, like a vector at a right angle.
    let penalty = if metric == Metric::Cosine && squared == 0.0 { 0.5 } else { 0.0 };
    let half = sum as f64 * f64::from(scale) * f64::from(scale) / 2.0 + penalty;
    let error = match metric {
        Metric::Cosine if squared < SHORT * SHORT => f32::MAX,
        _ => round_up(error(metric, vector, mean, code.iter().map(|code| f64::from(*code)), scale)),
    };
    [scale, half as f32, 0.0, error]
}

/// The length of the difference between a vector, moved, and its code.
fn error(metric: Metric, vector: &[f32], mean: &[f32], code: impl Iterator<Item = f64>, scale: f32) -> f64 {
    let factor = factor(metric, squared_length(vector));
    let differences = vector
        .iter()
        .zip(mean)
        .zip(code)
        .map(|((x, mean), code)| f64::from(*x) * factor - f64::from(*mean) - code * f64::from(scale));
    differences.map(|x| x * x).sum::<f64>().sqrt()
}

/// An f32 that is larger, by more than the roundings of a sum in f64.
fn round_up(x: f64) -> f32 {
    ((x * (1.0 + 1e-9)) as f32).next_up()
}

/// What a vector of this squared length is multiplied by before it is compared.
pub(crate) fn factor(metric: Metric, squared: f64) -> f64 {
    match metric {
        Metric::Cosine if squared > 0.0 => 1.0 / squared.sqrt(),
        _ => 1.0,
    }
}

/// The squared length, summed in one order on every machine.
pub(crate) fn squared_length(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a similarity should be, from the definition of the space.
    fn exact(metric: Metric, q: &[f32], v: &[f32], longest: f64) -> f64 {
        let unit = |x: &[f32]| {
            let factor = factor(metric, squared_length(x));
            x.iter().map(|x| f64::from(*x) * factor).collect::<Vec<_>>()
        };
        let distance: f64 = unit(q).iter().zip(unit(v)).map(|(q, v)| (q - v) * (q - v)).sum();
        let extra = if metric == Metric::InnerProduct { longest - squared_length(v) } else { 0.0 };
        -(distance + extra) / 2.0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Similarities are those of the space up to the rounding of components.
        #[test]
        fn similarities_are_those_of_the_space(
            (dim, numbers) in (1usize..150).prop_flat_map(|dim| {
                (Just(dim), prop::collection::vec(-1.0f32..1.0, dim * 6..=dim * 6))
            }),
            exponent in -20i32..20,
        ) {
            let numbers: Vec<f32> = numbers.iter().map(|x| x * 2f32.powi(exponent)).collect();
            let (query, rows) = numbers.split_at(dim);
            let longest = rows.chunks_exact(dim).map(squared_length).fold(0.0, f64::max);
            for &metric in Metric::ALL {
                let buffer = Int8CodesBuf::encode(metric, dim, Rows::F32(rows));
                let codes = buffer.borrow();
                let mut encoded = Int8Query::default();
                codes.query(query, &mut encoded);
                let numbers: Vec<u32> = (0..codes.metas.len() as u32).collect();
                let mut found = Vec::new();
                codes.compare(Int8Kernel::detect(), &encoded, &numbers, &mut Vec::new(), |_, value| found.push(value));
                for (row, value) in rows.chunks_exact(dim).zip(found) {
                    // Rounding changes a component by at most half a step, and a step is at most the largest
                    // component / 127. Without the mean a vector is at most as long as the longest vector plus the
                    // mean.
                    let length = if metric == Metric::Cosine { 2.0 } else {
                        2.0 * longest.max(squared_length(query)).sqrt()
                    };
                    let step = length / 127.0;
                    let moved = step / 2.0 * (dim as f64).sqrt();
                    let distance = 2.0 * length;
                    let tolerance = distance * moved + moved * moved + 1e-5 * length * length;
                    let error = (f64::from(value) - exact(metric, query, row, longest)).abs();
                    prop_assert!(error <= tolerance, "{}: off by {}, allowed {}", metric, error, tolerance);
                }
            }
        }
    }

    /// A zero row has the similarity of a row at a right angle. Rows that are all equal are zero after the mean is
    /// subtracted.
    #[test]
    fn zero_and_equal_rows() {
        let buffer =
            Int8CodesBuf::new(Metric::Cosine, 2, &[1.0, 0.0, 0.0, 2.0, 0.0, 0.0, -1.0, 0.0]).unwrap();
        let codes = buffer.borrow();
        let mut query = Int8Query::default();
        codes.query(&[3.0, 0.0], &mut query);
        let mut values = Vec::new();
        codes.compare(Int8Kernel::detect(), &query, &[0, 1, 2, 3], &mut Vec::new(), |_, value| {
            values.push(value)
        });
        let expected = [0.0, -1.0, -1.0, -2.0];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 0.02, "{values:?}");
        }
        let buffer = Int8CodesBuf::new(Metric::L2, 3, &[1e-44, 1.0, 2.0, 1e-44, 1.0, 2.0]).unwrap();
        assert!(
            buffer.metas.iter().all(|meta| meta.iter().all(|x| x.is_finite())),
            "{:?}",
            &buffer.metas[..]
        );
    }
}
