//! What the tests of several modules need.

/// The states of a linear congruential generator (Knuth's MMIX constants), of which the upper bits are random.
pub(crate) fn states(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state
    })
}

/// Numbers of both signs up to 1.
pub(crate) fn random(seed: u64) -> impl Iterator<Item = f32> {
    states(seed).map(|state| (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
}

/// Rows around centers, cluster by cluster: sorted input is the hard one for a graph that is built row by row.
pub(crate) fn clustered(num_rows: usize, dim: usize, num_clusters: usize, seed: u64) -> Vec<f32> {
    let centers: Vec<f32> = random(seed).take(num_clusters * dim).collect();
    let mut noise = random(seed + 1);
    (0..num_rows)
        .flat_map(|row| centers[row * num_clusters / num_rows * dim..][..dim].to_vec())
        .map(|x| 3.0 * x + noise.next().unwrap_or_default())
        .collect()
}

pub(crate) fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}
