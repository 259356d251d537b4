//! How fast a GPU searches exactly, beside the processor: random vectors, whose bounds are the widest there are.

use std::time::{Duration, Instant};

use rayon::prelude::*;
use secateur_gpu::Gpu;
use secateur_index::Metric;
use secateur_index::flat::{DeviceCodes, DeviceIndex, FlatIndex};
use secateur_index::quantization::Int8CodesBuf;
use secateur_random::SplitMix64;
use serde::Serialize;

use crate::error::Result;

/// Queries that are answered at once.
const BATCHES: [usize; 3] = [1, 32, 256];

/// What a search for some queries at once took.
#[derive(Clone, Debug, Serialize)]
pub struct SearchSpeed {
    /// N
    pub rows: usize,
    /// D
    pub dim: usize,
    /// Q
    pub queries: usize,
    /// Hits of each query.
    pub k: usize,
    /// With the GPU, from queries to hits in the program's memory: the median.
    pub gpu_ms: f64,
    /// Rows, the first ones, on which the processor searched as well.
    pub compared_rows: usize,
    /// With the processor alone on these, taken once.
    pub cpu_ms: f64,
    /// Whether both found the same of these, with the same scores.
    pub identical: bool,
    /// Searches with the GPU that were timed.
    pub runs: usize,
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct SearchSize {
    /// N
    pub rows: usize,
    /// D
    pub dim: usize,
    /// Hits of each query.
    pub k: usize,
    /// Rows, the first ones, on which the GPU is compared with the processor: at most N.
    pub compared_rows: usize,
}

/// Searches random vectors for the best of each query by cosine, for about `each` a number of queries. `report` is told
/// of each as soon as it is known.
///
/// # Errors
///
/// The GPU fails, or has too little memory.
pub fn gpu_search(
    gpu: &Gpu,
    SearchSize { rows, dim, k, compared_rows }: SearchSize,
    each: Duration,
    report: &mut dyn FnMut(SearchSpeed),
) -> Result<()> {
    let vectors = random(rows, dim, 0);
    let compared_rows = compared_rows.clamp(1, rows);
    let compared = &vectors[..compared_rows * dim];
    let encode = |vectors: &[f32]| Int8CodesBuf::new(Metric::Cosine, dim, vectors);
    let (codes, codes_compared) = (encode(&vectors)?, encode(compared)?);
    let flat = FlatIndex::with_codes(&vectors, &codes)?;
    let flat_compared = FlatIndex::with_codes(compared, &codes_compared)?;
    let (codes, codes_compared) =
        (DeviceCodes::upload(&flat, gpu)?, DeviceCodes::upload(&flat_compared, gpu)?);
    let index = DeviceIndex::new(flat, &codes)?;
    let index_compared = DeviceIndex::new(flat_compared.clone(), &codes_compared)?;
    for queries in BATCHES {
        let asked = random(queries, dim, 1);
        let start = Instant::now();
        let want = flat_compared.search_batch(&asked, k)?;
        let cpu_ms = start.elapsed().as_secs_f64() * 1e3;
        let mut identical = index_compared.search_batch(&asked, k, None)? == want;
        // The first search also takes memory.
        let first = index.search_batch(&asked, k, None)?;
        let (begin, mut times) = (Instant::now(), Vec::new());
        while times.len() < 3 || begin.elapsed() < each {
            let start = Instant::now();
            let found = index.search_batch(&asked, k, None)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            identical &= found == first;
        }
        identical &= compared_rows < rows || first == want;
        times.sort_by(f64::total_cmp);
        let (gpu_ms, runs) = (times[times.len() / 2], times.len());
        report(SearchSpeed { rows, dim, queries, k, gpu_ms, compared_rows, cpu_ms, identical, runs });
    }
    Ok(())
}

/// Components from -1 to below 1, (N, D).
fn random(rows: usize, dim: usize, kind: u64) -> Vec<f32> {
    let mut vectors = vec![0.0; rows * dim];
    vectors.par_chunks_mut(dim).enumerate().for_each(|(row, vector)| {
        let mut numbers = SplitMix64::keyed(&[kind, row as u64]);
        vector.iter_mut().for_each(|x| *x = 2.0 * numbers.unit() as f32 - 1.0);
    });
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpu_search_is_timed_and_compared() {
        for compared_rows in [600, 200, 1000] {
            let mut lines = Vec::new();
            let size = SearchSize { rows: 600, dim: 24, k: 5, compared_rows };
            gpu_search(&Gpu::emulated(), size, Duration::ZERO, &mut |line| lines.push(line)).unwrap();
            assert_eq!(lines.iter().map(|line| line.queries).collect::<Vec<_>>(), BATCHES);
            assert!(lines.iter().all(|line| line.compared_rows == compared_rows.min(600)), "{lines:?}");
            let timed = |line: &SearchSpeed| line.runs == 3 && line.gpu_ms > 0.0;
            assert!(lines.iter().all(|line| line.identical && timed(line)), "{lines:?}");
        }
    }
}
