//! 1-bit codes: one bit a component, an eighth of the 8-bit codes, for graphs of rows with very many dimensions or
//! where memory is short.
//!
//! Rows are brought into the space of 8-bit codes, less their mean, and rotated (`rotation`), so that no component
//! stands out. Of a row v the signs b are kept, and q·v is estimated as (q·b) ‖v‖² / (b·v), where b·v is ‖v‖₁. The mean
//! of the estimate over all rotations is right. Gao & Long show it ("RaBitQ: Quantizing High-Dimensional Vectors with a
//! Theoretical Error Bound for Approximate Nearest Neighbor Search", 2024). The error is some ‖q‖ ‖v‖ √(0.57 / D), with
//! D = 384 a 25th of the lengths. That is enough to search a graph, but not to rank what is near. So the vectors of
//! many more rows than are wanted are compared. The error has no bound that could rule out rows, so exact searches do
//! not use these codes.
//!
//! Queries keep 4 bits a component. More would not help beside rows of one bit, and with one bit the true neighbors
//! are twice as far back in the ranking. The levels are odd, -15, -13, .. 15, so that each is a sum of ±1, ±2, ±4 and
//! ±8. Then a product with signs is four exclusive ors whose bits are counted.

use rayon::prelude::*;

use super::int8::{RowEncoder, factor, squared_length};
use super::kernel::one_bit::{OneBitKernel, PLANES};
use super::rotation::{BLOCK, rotate};
use crate::kernel::prefetch;
use crate::metric::Metric;
use crate::pages::Pages;
use crate::rows::Rows;

/// The highest level of a query's components.
const MAX_LEVEL: f32 = ((1 << PLANES) - 1) as f32;

/// 1-bit codes of rows where they lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OneBitCodes<'a> {
    pub metric: Metric,
    pub dim: usize,
    /// (D)
    pub mean: &'a [f32],
    /// (N, W) row-major: of each row the words of its signs; a word with its scale and half its squared length, both
    /// f32; zeros.
    pub records: &'a [u64],
}

/// A vector to be compared with rows.
#[derive(Default)]
pub(crate) struct OneBitQuery {
    /// (S)
    rotated: Vec<f32>,
    /// (S / 64)
    planes: Vec<[u64; PLANES]>,
    scale: f32,
}

/// 1-bit codes of rows, in memory.
pub(crate) struct OneBitCodesBuf {
    pub metric: Metric,
    pub mean: Vec<f32>,
    pub records: Pages<u64>,
}

/// The words of a row's signs, of D: S / 64 with S = D rounded up to a multiple of 64.
fn num_words(dim: usize) -> usize {
    dim.div_ceil(BLOCK)
}

/// W of D: even, so that the code of a row of 384 dimensions fills a cache line.
pub(crate) fn stride(dim: usize) -> usize {
    (num_words(dim) + 1).next_multiple_of(2)
}

/// What rows are encoded with.
struct BitEncoder<'e> {
    metric: Metric,
    mean: &'e [f32],
    /// The greatest squared length of a row.
    longest: f64,
}

impl BitEncoder<'_> {
    /// Encodes a row of D components to W words; `rotated` has room for S.
    fn encode(&self, row: &[f32], rotated: &mut Vec<f32>, record: &mut [u64]) {
        let original = move_and_rotate(self.metric, row, self.mean, rotated);
        record.fill(0);
        for (word, components) in record.iter_mut().zip(rotated.as_chunks::<BLOCK>().0) {
            let signs = components.iter().enumerate();
            *word = signs.fold(0, |word, (at, x)| word | u64::from(*x >= 0.0) << at);
        }
        let squared = squared_length(rotated);
        let sum: f64 = rotated.iter().map(|x| f64::from(x.abs())).sum();
        let scale = if sum > 0.0 { squared / sum } else { 0.0 };
        let outside = match self.metric {
            Metric::InnerProduct => self.longest - original,
            // A zero vector has a cosine of 0 with everything, like a vector at a right angle.
            Metric::Cosine if original == 0.0 => 1.0,
            Metric::Cosine | Metric::L2 => 0.0,
        };
        let half = (squared + outside) / 2.0;
        record[num_words(row.len())] = bytemuck::cast([scale as f32, half as f32]);
    }
}

/// Writes a vector of D components in the form that is compared: without the mean, filled up with zeros to S, and
/// rotated. Returns the squared length before.
fn move_and_rotate(metric: Metric, vector: &[f32], mean: &[f32], rotated: &mut Vec<f32>) -> f64 {
    let squared = squared_length(vector);
    let factor = factor(metric, squared);
    rotated.clear();
    rotated
        .extend(vector.iter().zip(mean).map(|(x, mean)| (f64::from(*x) * factor - f64::from(*mean)) as f32));
    rotated.resize(num_words(vector.len()) * BLOCK, 0.0);
    rotate(rotated);
    squared
}

impl OneBitCodesBuf {
    /// Codes of rows that have been checked, (N, D) row-major; in parallel on the current rayon pool, the same for
    /// any number of threads.
    pub fn encode(metric: Metric, dim: usize, rows: Rows<'_>) -> OneBitCodesBuf {
        let fitted = RowEncoder::fit(metric, dim, rows);
        let mut records = Pages::<u64>::zeros(rows.len() / dim * stride(dim));
        let encoder = BitEncoder { metric, mean: fitted.mean(), longest: fitted.longest() };
        let records_out = records.par_chunks_exact_mut(stride(dim)).enumerate();
        records_out.for_each_init(
            || (Vec::new(), Vec::new()),
            |(buffer, rotated), (index, record)| {
                encoder.encode(rows.row(index, dim).as_f32(buffer), rotated, record);
            },
        );
        OneBitCodesBuf { metric, mean: fitted.mean().to_vec(), records }
    }

    pub fn borrow(&self) -> OneBitCodes<'_> {
        OneBitCodes { metric: self.metric, dim: self.mean.len(), mean: &self.mean, records: &self.records }
    }
}

impl OneBitCodes<'_> {
    /// Checks that the codes are those of the rows, (N, D) row-major; or tells what is wrong.
    pub fn verify(&self, rows: Rows<'_>) -> Result<(), &'static str> {
        let fitted = RowEncoder::fit(self.metric, self.dim, rows);
        let bits_of = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        if bits_of(fitted.mean()) != bits_of(self.mean) {
            return Err("the mean of the rows");
        }
        let encoder = BitEncoder { metric: self.metric, mean: self.mean, longest: fitted.longest() };
        let stride = stride(self.dim);
        let scratch = || (Vec::new(), Vec::new(), vec![0; stride]);
        let is_same = |(buffer, rotated, expected): &mut (Vec<f32>, Vec<f32>, Vec<u64>),
                       (index, record): (usize, &[u64])| {
            encoder.encode(rows.row(index, self.dim).as_f32(buffer), rotated, expected);
            expected == record
        };
        let records = self.records.par_chunks_exact(stride).enumerate();
        let are_same = records.map_init(scratch, is_same).all(|is_same| is_same);
        if are_same { Ok(()) } else { Err("the 1-bit code of a row") }
    }

    /// A vector of D components as a query.
    pub fn query(&self, vector: &[f32], query: &mut OneBitQuery) {
        move_and_rotate(self.metric, vector, self.mean, &mut query.rotated);
        let largest = query.rotated.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        // Below the smallest normal number the inverse would overflow, so such a vector counts as zero.
        let inverse = if largest >= f32::MIN_POSITIVE * 65_536.0 { MAX_LEVEL / largest } else { 0.0 };
        query.scale = largest / MAX_LEVEL;
        query.planes.clear();
        query.planes.extend(query.rotated.as_chunks::<BLOCK>().0.iter().map(|components| {
            let mut planes = [0; PLANES];
            for (at, x) in components.iter().enumerate() {
                // Level 2n - 15 is nearest, n from 0 to 15.
                let number = ((x * inverse + MAX_LEVEL) / 2.0 + 0.5).min(MAX_LEVEL) as u64;
                for (bit, plane) in planes.iter_mut().enumerate() {
                    *plane |= (number >> bit & 1) << at;
                }
            }
            planes
        }));
    }

    /// Asks for a row that will be compared soon.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        prefetch(self.records, row, stride(self.dim));
    }

    /// Similarities of a query and rows, of which none is beyond the last. They are those of 8-bit codes, but for half
    /// the squared length of the query, which is the same for all rows. `sums` is scratch.
    #[inline]
    pub fn compare(
        &self,
        kernel: OneBitKernel,
        query: &OneBitQuery,
        rows: &[u32],
        sums: &mut Vec<i32>,
        mut visit: impl FnMut(u32, f32),
    ) {
        sums.resize(rows.len(), 0);
        let stride = stride(self.dim);
        kernel.dots(&query.planes, self.records, stride, rows, sums);
        for (&row, &sum) in rows.iter().zip(sums.iter()) {
            let meta = self.records[row as usize * stride + query.planes.len()];
            let [scale, half]: [f32; 2] = bytemuck::cast(meta);
            visit(row, sum as f32 * (query.scale * scale) - half);
        }
    }
}

#[cfg(test)]
mod tests;
