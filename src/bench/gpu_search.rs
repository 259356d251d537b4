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
    /// With the processor alone, taken once.
    pub cpu_ms: f64,
    /// Whether both found the same rows with the same scores.
    pub identical: bool,
    /// Searches with the GPU that were timed.
    pub runs: usize,
}

/// Searches `rows` random vectors of `dim` components for the `k` best of each query by cosine, for about `each` a
/// number of queries. `report` is told of each as soon as it is known.
///
/// # Errors
///
/// The GPU fails, or has too little memory.
pub fn gpu_search(
    gpu: &Gpu,
    [rows, dim, k]: [usize; 3],
    each: Duration,
    report: &mut dyn FnMut(SearchSpeed),
) -> Result<()> {
    let vectors = random(rows, dim, 0);
    let codes = Int8CodesBuf::new(Metric::Cosine, dim, &vectors)?;
    let flat = FlatIndex::with_codes(&vectors, &codes)?;
    let codes = DeviceCodes::upload(&flat, gpu)?;
    let index = DeviceIndex::new(flat.clone(), &codes)?;
    for queries in BATCHES {
        let asked = random(queries, dim, 1);
        let start = Instant::now();
        let want = flat.search_batch(&asked, k)?;
        let cpu_ms = start.elapsed().as_secs_f64() * 1e3;
        let mut identical = index.search_batch(&asked, k, None)? == want;
        let (begin, mut times) = (Instant::now(), Vec::new());
        while times.len() < 3 || begin.elapsed() < each {
            let start = Instant::now();
            let found = index.search_batch(&asked, k, None)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            identical &= found == want;
        }
        times.sort_by(f64::total_cmp);
        let (gpu_ms, runs) = (times[times.len() / 2], times.len());
        report(SearchSpeed { rows, dim, queries, k, gpu_ms, cpu_ms, identical, runs });
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
        let mut lines = Vec::new();
        gpu_search(&Gpu::emulated(), [600, 24, 5], Duration::ZERO, &mut |line| lines.push(line)).unwrap();
        assert_eq!(lines.iter().map(|line| line.queries).collect::<Vec<_>>(), BATCHES);
        assert!(lines.iter().all(|line| line.identical && line.runs == 3 && line.gpu_ms > 0.0), "{lines:?}");
    }
}
