//! Every kernel of this machine against an f64 loop, and the product against the scan under its bound.

use proptest::prelude::*;

use super::*;
use crate::rows::{ComponentType, round};
use crate::testing::random;

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

fn lanes(kernels: &Kernels) -> usize {
    with_kernel!(kernels, |kernel| kernel.lanes())
}

/// All values of the product, (Q, N), scaled.
fn all_products(kernels: &Kernels, queries: &[f32], rows: &[f32], dim: usize) -> Vec<f64> {
    let num_rows = rows.len() / dim;
    let mut values = vec![f64::NAN; queries.len() / dim * num_rows];
    with_kernel!(kernels, |kernel| {
        let mut lengths = vec![0.0; queries.len() / dim];
        kernel.lengths(Rows::F32(queries), dim, &mut lengths);
        let packed = PackedQueries::new(kernel, queries, dim, &lengths);
        let mut product = Product::new(&packed);
        for (panel, rows) in rows.chunks(dim * ROW_PANEL).enumerate() {
            product.compute(kernel, &packed, Rows::F32(rows));
            product.for_each(&packed, |row, first_query, panel_values| {
                let row_scale = f64::from(scale(product.lengths()[row]));
                for (query, value) in (first_query..lengths.len()).zip(panel_values.as_flattened()) {
                    let query_scale = f64::from(scale(lengths[query]));
                    values[query * num_rows + panel * ROW_PANEL + row] =
                        f64::from(*value) * query_scale * row_scale;
                }
            });
        }
    });
    values
}

fn check(queries: &[f32], rows: &[f32], dim: usize) {
    let num_rows = rows.len() / dim;
    let length = |v: &[f32]| exact(Operation::Dot, v, v).0.sqrt();
    let apart: Vec<Rows<'_>> = rows.chunks_exact(dim).rev().map(Rows::F32).collect();
    for operation in OPERATIONS {
        for kernels in arch::available(operation) {
            let lanes = lanes(&kernels);
            let products = all_products(&kernels, queries, rows, dim);
            for (query, products) in queries.chunks_exact(dim).zip(products.chunks_exact(num_rows.max(1))) {
                let mut values = vec![f32::NAN; num_rows];
                kernels.scan(query, Rows::F32(rows), &mut values);
                let mut values_apart = vec![f32::NAN; num_rows];
                kernels.compare(query, &apart, &mut values_apart);
                values_apart.reverse();
                assert_eq!(
                    values, values_apart,
                    "{operation:?}, {lanes} lanes: the place of the row matters"
                );
                for ((row, &value), &rough) in rows.chunks_exact(dim).zip(&values).zip(products) {
                    let (expected, absolute) = exact(operation, query, row);
                    let error = (f64::from(value) - expected).abs();
                    assert!(
                        error <= rounding_error(dim, lanes) * absolute + underflow(dim),
                        "{operation:?}, {lanes} lanes: {value}, not {expected}"
                    );
                    if operation == Operation::Dot {
                        let bound = max_error(dim, lanes) * length(query) * length(row) + underflow(dim);
                        let difference = (rough - f64::from(value)).abs();
                        assert!(difference <= bound, "{lanes} lanes: {rough} in a batch, {value}");
                    }
                    assert_eq!(value.to_bits(), kernels.pair(query, row).to_bits(), "the other rows matter");
                }
            }
            let mut lengths = vec![f32::NAN; num_rows];
            kernels.lengths(Rows::F32(rows), dim, &mut lengths);
            let expected = |row| {
                arch::available(Operation::Dot)
                    .iter()
                    .find(|kernels| self::lanes(kernels) == lanes)
                    .map(|kernels| kernels.pair(row, row).sqrt())
            };
            for (row, length) in rows.chunks_exact(dim).zip(&lengths) {
                assert_eq!(Some(*length), expected(row), "{lanes} lanes");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Rows of 16 bits give what the same rows of f32 give, bit for bit.
    #[test]
    fn sixteen_bits_equal_the_same_numbers(dim in 1usize..70, num_rows in 0usize..40, scale in -30i32..10, seed in any::<u64>()) {
        let mut numbers = random(seed).map(|x| x * 2f32.powi(scale));
        let query: Vec<f32> = numbers.by_ref().take(dim).collect();
        let rows: Vec<f32> = numbers.take(num_rows * dim).collect();
        for component in [ComponentType::F16, ComponentType::Bf16] {
            let (mut rounded, mut bytes) = (rows.clone(), Vec::new());
            round(component, &mut rounded, &mut bytes);
            let aligned: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
            let stored = Rows::from_bytes(component, bytemuck::cast_slice(&aligned));
            for kernels in OPERATIONS.into_iter().flat_map(arch::available) {
                let values = |rows: Rows<'_>| {
                    let mut values = vec![[f32::NAN; 3]; num_rows];
                    let mut one_way = vec![f32::NAN; num_rows];
                    kernels.scan(&query, rows, &mut one_way);
                    values.iter_mut().zip(&one_way).for_each(|(to, from)| to[0] = *from);
                    kernels.compare(&query, &rows.chunks(dim).collect::<Vec<_>>(), &mut one_way);
                    values.iter_mut().zip(&one_way).for_each(|(to, from)| to[1] = *from);
                    kernels.lengths(rows, dim, &mut one_way);
                    values.iter_mut().zip(&one_way).for_each(|(to, from)| to[2] = *from);
                    values.into_flattened().into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                prop_assert_eq!(values(stored), values(Rows::F32(&rounded)));
            }
        }
    }

    /// Any shape around the sizes of lanes, tiles and streams, any magnitude.
    #[test]
    fn kernels_equal_the_oracle(
        dim in 1usize..70,
        num_queries in 0usize..8,
        num_rows in 0usize..40,
        scale in -30i32..30,
        seed in any::<u64>(),
    ) {
        let mut numbers = random(seed).map(|x| x * 2f32.powi(scale));
        let queries: Vec<f32> = numbers.by_ref().take(num_queries * dim).collect();
        let rows: Vec<f32> = numbers.take(num_rows * dim).collect();
        check(&queries, &rows, dim);
    }
}

/// Shapes beyond one block of components, queries, rows and streams.
#[test]
fn large_shapes_equal_the_oracle() {
    for (dim, num_queries, num_rows) in [(513, 50, 99), (1030, 7, 300), (384, 97, 97), (2048, 4, 9)] {
        let mut numbers = random(dim as u64);
        let queries: Vec<f32> = numbers.by_ref().take(num_queries * dim).collect();
        let rows: Vec<f32> = numbers.take(num_rows * dim).collect();
        check(&queries, &rows, dim);
    }
}
