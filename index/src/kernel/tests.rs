//! Every kernel of this machine against an f64 loop, and the product against the scan.

use proptest::prelude::*;

use super::*;

const OPERATIONS: [Operation; 2] = [Operation::Dot, Operation::SquaredDistance];

/// The oracle, and the sum of the absolute values of the terms.
fn exact(operation: Operation, q: &[f32], v: &[f32]) -> (f64, f64) {
    let terms = q.iter().zip(v).map(|(&q, &v)| {
        let (q, v) = (f64::from(q), f64::from(v));
        match operation {
            Operation::Dot => q * v,
            Operation::SquaredDistance => (q - v) * (q - v),
        }
    });
    terms.fold((0.0, 0.0), |(sum, absolute), term| (sum + term, absolute + term.abs()))
}

/// The bound on |computed - exact|: Σ|termᵢ| · γₙ with γₙ = nu / (1 - nu), where u = 2⁻²⁴ is the unit roundoff of f32
/// and n the number of roundings that any one term goes through (Higham, "Accuracy and Stability of Numerical
/// Algorithms", 2nd ed., section 3.1 with eq. 3.5 for any order of summation). A term is rounded when it is formed (at
/// most 3 roundings: the difference counts twice in its square, the product once), once for each of the ⌈D / L⌉ later
/// additions in its lane and for each of the log₂ L additions of lanes. Underflow adds at most 2⁻¹⁴⁹ a term.
fn max_error(dim: usize, lanes: usize, absolute: f64) -> f64 {
    let roundings = 3 + dim.div_ceil(lanes) + lanes.ilog2() as usize;
    let nu = roundings as f64 * 2f64.powi(-24);
    absolute * nu / (1.0 - nu) + dim as f64 * 2f64.powi(-149)
}

fn lanes(kernels: &Kernels) -> usize {
    fn count<const L: usize>(_: &Kernel<L>) -> usize {
        L
    }
    with_kernel!(kernels, |kernel| count(kernel))
}

/// All values of the product, (Q, N).
fn all_products(kernels: &Kernels, queries: &[f32], rows: &[f32], dim: usize) -> Vec<f32> {
    let num_rows = rows.len() / dim;
    let mut values = vec![f32::NAN; queries.len() / dim * num_rows];
    with_kernel!(kernels, |kernel| {
        let packed = PackedQueries::new(queries, dim);
        let mut scratch = ProductScratch::new(dim);
        for (panel, rows) in rows.chunks(dim * ROW_PANEL).enumerate() {
            product(kernel, &packed, rows, &mut scratch, |query, panel_values| {
                let at = query * num_rows + panel * ROW_PANEL;
                values[at..at + panel_values.len()].copy_from_slice(panel_values);
            });
        }
    });
    values
}

fn check(queries: &[f32], rows: &[f32], dim: usize) {
    let num_rows = rows.len() / dim;
    for operation in OPERATIONS {
        for kernels in arch::available(operation) {
            let products = all_products(&kernels, queries, rows, dim);
            for (query, products) in queries.chunks_exact(dim).zip(products.chunks_exact(num_rows.max(1))) {
                let mut values = vec![f32::NAN; num_rows];
                kernels.scan(query, rows, &mut values);
                for ((row, &value), &in_batch) in rows.chunks_exact(dim).zip(&values).zip(products) {
                    let (expected, absolute) = exact(operation, query, row);
                    let error = (f64::from(value) - expected).abs();
                    let bound = max_error(dim, lanes(&kernels), absolute);
                    assert!(
                        error <= bound,
                        "{operation:?}, {} lanes: {value}, not {expected}",
                        lanes(&kernels)
                    );
                    assert_eq!(value.to_bits(), in_batch.to_bits(), "the batch differs");
                    assert_eq!(
                        value.to_bits(),
                        kernels.pair(query, row).to_bits(),
                        "the place of the row matters"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any shape around the sizes of lanes, tiles and streams, any magnitude.
    #[test]
    fn kernels_equal_the_oracle(
        dim in 1usize..70,
        num_queries in 0usize..8,
        num_rows in 0usize..40,
        scale in -30i32..30,
        seed in any::<u64>(),
    ) {
        let mut numbers = random(seed, 2f32.powi(scale));
        let queries: Vec<f32> = numbers.by_ref().take(num_queries * dim).collect();
        let rows: Vec<f32> = numbers.take(num_rows * dim).collect();
        check(&queries, &rows, dim);
    }
}

/// Shapes beyond one block of components, queries, rows and streams.
#[test]
fn large_shapes_equal_the_oracle() {
    for (dim, num_queries, num_rows) in [(513, 50, 99), (1030, 7, 300), (384, 97, 97), (2048, 4, 9)] {
        let mut numbers = random(dim as u64, 1.0);
        let queries: Vec<f32> = numbers.by_ref().take(num_queries * dim).collect();
        let rows: Vec<f32> = numbers.take(num_rows * dim).collect();
        check(&queries, &rows, dim);
    }
}

/// Numbers of both signs up to `scale`, from a linear congruential generator (Knuth's MMIX constants).
fn random(seed: u64, scale: f32) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
    })
}
