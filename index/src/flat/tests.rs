//! The flat index against a loop over pairs and a full sort.

use proptest::prelude::*;

use secateur_gpu::Gpu;

use super::on_device::Sizes;
use super::*;
use crate::topk::full_sort;

/// The twin: one pair at a time, everything sorted.
fn naive(metric: Metric, dim: usize, parts: &[(Vec<f32>, Bitmap)], query: &[f32], k: usize) -> Vec<Hit> {
    let scorer = Scorer::new(metric, query, dim);
    let mut hits = Vec::new();
    let mut base = 0;
    for (rows, deleted) in parts {
        for (number, row) in rows.chunks_exact(dim).enumerate() {
            let score = match metric {
                Metric::InnerProduct => scorer.kernels.pair(query, row),
                Metric::L2 => -scorer.kernels.pair(query, row),
                Metric::Cosine => cosine(
                    scorer.kernels.pair(query, row),
                    scorer.lengths(Rows::F32(query))[0],
                    scorer.lengths(Rows::F32(row))[0],
                ),
            };
            if !deleted.contains(number as u32) {
                hits.push(Hit { row: RowId(base + number as u32), score });
            }
        }
        base += (rows.len() / dim) as u32;
    }
    full_sort(hits, k)
}

fn index_of(metric: Metric, dim: usize, parts: &[(Vec<f32>, Bitmap)]) -> FlatIndex<'_> {
    let mut index = FlatIndex::empty(metric, dim);
    for (rows, deleted) in parts {
        index.push(&rows[..], Some(deleted), None);
    }
    index
}

fn codes_of(metric: Metric, dim: usize, parts: &[(Vec<f32>, Bitmap)]) -> Vec<Int8CodesBuf> {
    parts.iter().map(|(rows, _)| Int8CodesBuf::new(metric, dim, rows).unwrap()).collect()
}

/// [`index_of`] with 8-bit codes of every part but the second.
fn index_with<'a>(dim: usize, parts: &'a [(Vec<f32>, Bitmap)], codes: &'a [Int8CodesBuf]) -> FlatIndex<'a> {
    let mut index = FlatIndex::empty(codes[0].metric, dim);
    for (number, ((rows, deleted), codes)) in parts.iter().zip(codes).enumerate() {
        index.push(&rows[..], Some(deleted), (number != 1).then(|| codes.borrow()));
    }
    index
}

/// Rows of few distinct values, so that there are many ties, some of them zero vectors; in several parts, some empty.
fn parts(dim: usize) -> impl Strategy<Value = Vec<(Vec<f32>, Bitmap)>> {
    let row = prop::collection::vec((-1i8..=1).prop_map(f32::from), dim);
    let part = prop::collection::vec((row, prop::bool::weighted(0.2)), 0..120).prop_map(|rows| {
        let mut deleted = Bitmap::default();
        for (number, (_, is_deleted)) in rows.iter().enumerate() {
            if *is_deleted {
                deleted.insert(number as u32);
            }
        }
        (rows.into_iter().flat_map(|(row, _)| row).collect(), deleted)
    });
    prop::collection::vec(part, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Single and batch, on 1 and 3 threads, with deleted rows, ties, zero vectors and any k, give the twin's hits.
    #[test]
    fn equals_the_twin(
        (dim, parts, queries) in (1usize..20).prop_flat_map(|dim| {
            (Just(dim), parts(dim), prop::collection::vec((-1i8..=1).prop_map(f32::from), dim * 7))
        }),
        k in prop_oneof![0usize..12, Just(1000)],
    ) {
        for &metric in Metric::ALL {
            let index = index_of(metric, dim, &parts);
            let expected: Vec<Vec<Hit>> =
                queries.chunks_exact(dim).map(|query| naive(metric, dim, &parts, query, k)).collect();
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    prop_assert_eq!(&index.search_batch(&queries, k).unwrap(), &expected);
                    let all = naive(metric, dim, &parts, &queries[..dim], usize::MAX);
                    let odd: Bitmap = (1..500).step_by(2).collect();
                    let odd_hits: Vec<Hit> = all.into_iter().filter(|hit| hit.row.0 % 2 == 1).collect();
                    let rows: Vec<RowId> = odd_hits.iter().rev().map(|hit| hit.row).collect();
                    prop_assert_eq!(&index.score(&queries[..dim], &rows).unwrap(), &odd_hits);
                    let best = &odd_hits[..k.min(odd_hits.len())];
                    prop_assert_eq!(index.search_among(&queries[..dim], k, &odd).unwrap(), best);
                    for (query, expected) in queries.chunks_exact(dim).zip(&expected) {
                        prop_assert_eq!(&index.search(query, k).unwrap(), expected);
                        if !parts.is_empty() {
                            let codes = codes_of(metric, dim, &parts);
                            prop_assert_eq!(&index_with(dim, &parts, &codes).search(query, k).unwrap(), expected);
                        }
                    }
                    Ok(())
                })?;
            }
        }
    }
}

/// More rows than a task, a panel and a block of streams, more queries than a batch.
#[test]
fn large_search_equals_the_twin() {
    let dim = 33;
    let value = |number: usize| ((number * 2_654_435_761) % 1009) as f32 / 504.0 - 1.0;
    let rows: Vec<f32> = (0..dim * 3000).map(value).collect();
    let queries: Vec<f32> = (0..dim * 301).map(|number| value(number + 7)).collect();
    let parts =
        [(rows[..dim * 1701].to_vec(), Bitmap::default()), (rows[dim * 1701..].to_vec(), Bitmap::default())];
    for &metric in Metric::ALL {
        let expected: Vec<Vec<Hit>> =
            queries.chunks_exact(dim).map(|query| naive(metric, dim, &parts, query, 10)).collect();
        assert_eq!(index_of(metric, dim, &parts).search_batch(&queries, 10).unwrap(), expected);
        let codes = codes_of(metric, dim, &parts);
        let index = index_with(dim, &parts, &codes);
        let singles = queries.chunks_exact(dim).map(|query| index.search(query, 10).unwrap());
        assert_eq!(singles.collect::<Vec<_>>(), expected);
        let index = FlatIndex::new(metric, dim, &rows).unwrap();
        assert_eq!(index.search_batch(&queries, 10).unwrap(), expected);
        let some: Bitmap = (0..3000).filter(|row| row % 7 < 3).collect();
        let among: Vec<Vec<Hit>> = queries
            .chunks_exact(dim)
            .map(|query| {
                let mut all = naive(metric, dim, &parts, query, usize::MAX);
                all.retain(|hit| some.contains(hit.row.0));
                full_sort(all, 10)
            })
            .collect();
        assert_eq!(index.search_batch_among(&queries, 10, &some).unwrap(), among);
    }
}

/// More rows that no approximate score can tell apart than candidates are kept, at magnitudes where products underflow.
#[test]
fn rows_alike_and_tiny_equal_the_twin() {
    let dim = 3;
    let value = |number: usize| ((number * 2_654_435_761) % 1009) as f32 / 504.0 - 1.0;
    for scale in [1.0, 1e-20, 1e-38, 1e17] {
        let rows: Vec<f32> = (0..dim * 6000)
            .map(|at| scale * (1.0 + 1e-6 * value(at)) * [1.0, -0.5, 0.25][at % dim])
            .collect();
        let queries: Vec<f32> = (0..dim * 9).map(|number| scale * value(number)).collect();
        let parts = [(rows, Bitmap::default())];
        for &metric in Metric::ALL {
            let expected: Vec<Vec<Hit>> =
                queries.chunks_exact(dim).map(|query| naive(metric, dim, &parts, query, 7)).collect();
            let found = index_of(metric, dim, &parts).search_batch(&queries, 7).unwrap();
            assert_eq!(found, expected, "{metric}, {scale}");
            let codes = codes_of(metric, dim, &parts);
            let index = index_with(dim, &parts, &codes);
            let singles = queries.chunks_exact(dim).map(|query| index.search(query, 7).unwrap());
            assert_eq!(singles.collect::<Vec<_>>(), expected, "{metric}, {scale}, with codes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Rows that 8-bit codes cannot tell apart: lengths from 2⁻⁷⁰ to 2⁴⁰ side by side, a large common part, near
    /// duplicates.
    #[test]
    fn codes_prove_what_they_rule_out(
        (dim, numbers) in (1usize..140).prop_flat_map(|dim| {
            (Just(dim), prop::collection::vec(-1.0f32..1.0, dim * 62))
        }),
        exponents in prop::collection::vec(-70i32..40, 60),
        is_scaled: bool,
        common in prop_oneof![Just(0.0f32), Just(1.0), Just(1e4)],
        k in 1usize..15,
    ) {
        let (query, rows) = numbers.split_at(dim);
        let (shared, rows) = rows.split_at(dim);
        let place = |(at, x): (usize, &f32)| {
            let exponent = if is_scaled { exponents[at / dim] } else { 0 };
            // Rows come in pairs that differ little.
            let near = if at / dim % 2 == 1 { rows[at - dim] + x * 1e-5 } else { *x };
            (near + common * shared[at % dim]) * 2f32.powi(exponent)
        };
        let rows: Vec<f32> = rows.iter().enumerate().map(place).collect();
        let parts = [(rows, Bitmap::default())];
        for &metric in Metric::ALL {
            let codes = codes_of(metric, dim, &parts);
            let index = index_with(dim, &parts, &codes);
            let found = index.search(query, k).unwrap();
            prop_assert_eq!(found, naive(metric, dim, &parts, query, k), "{}", metric);
            prop_assert_eq!(codes[0].borrow().verify(Rows::F32(&parts[0].0)), Ok(()));
        }
    }
}

/// Codes of other rows are refused, by their number or by their bounds.
#[test]
fn codes_of_other_rows_are_refused() {
    let rows: Vec<f32> = (0..60).map(|at| (at as f32).sin()).collect();
    let codes = Int8CodesBuf::new(Metric::InnerProduct, 6, &rows).unwrap();
    let result = FlatIndex::with_codes(&rows[..54], &codes);
    assert!(matches!(result, Err(Error::RowsMismatch { expected: 10, got: 9, .. })), "{result:?}");
    let mut others = rows.clone();
    others[7] += 0.1;
    assert!(
        codes.borrow().verify(Rows::F32(&rows)).is_ok() && codes.borrow().verify(Rows::F32(&others)).is_err()
    );
}

#[test]
fn bad_queries_are_errors() {
    let index = FlatIndex::new(Metric::L2, 2, &[0.0, 1.0]).unwrap();
    assert!(matches!(index.search(&[1.0], 1), Err(Error::DimensionMismatch { expected: 2, got: 1 })));
    assert!(matches!(index.search(&[1.0, f32::NAN], 1), Err(Error::NotFinite { component: 1, .. })));
    assert!(matches!(index.search_batch(&[1.0; 3], 1), Err(Error::RaggedVectors { dim: 2, got: 3 })));
    assert!(matches!(
        index.search_batch(&[1.0, 2.0, f32::INFINITY, 0.0], 1),
        Err(Error::NotFinite { vector: 1, .. })
    ));
    assert!(index.search_batch(&[], 5).unwrap().is_empty());
    assert!(matches!(FlatIndex::new(Metric::L2, 0, &[]), Err(Error::RaggedVectors { .. })));
}

/// Scores of the largest vectors accepted are finite under every metric.
#[test]
fn longest_vectors_do_not_overflow() {
    let x = crate::vectors::MAX_SQUARED_LENGTH.sqrt();
    let rows = [x, 0.0, -x, 0.0, 0.0, 0.0];
    for &metric in Metric::ALL {
        let hits = FlatIndex::new(metric, 2, &rows).unwrap().search(&[x, 0.0], 3).unwrap();
        assert!(hits.len() == 3 && hits.iter().all(|hit| hit.score.is_finite()), "{metric}: {hits:?}");
        assert_eq!(hits[0].row, RowId(0));
    }
}

/// Chunks and lists so short that a few rows fill them.
const SHORT: Sizes = Sizes { first: 16, most: 20, product_bytes: 64 << 10 };

fn on_device(
    index: &FlatIndex<'_>,
    queries: &[f32],
    k: usize,
    among: Option<&Bitmap>,
    sizes: Sizes,
) -> Result<Vec<Vec<Hit>>> {
    let codes = DeviceCodes::upload(index, &Gpu::emulated())?;
    DeviceIndex::new(index.clone(), &codes)?.search_in(queries, k, among, sizes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Deleted rows, duplicates, ties, zero vectors, empty parts, parts without codes, filters and any k.
    #[test]
    fn gpu_search_equals_the_twin(
        (dim, parts, queries) in (1usize..20).prop_flat_map(|dim| {
            (Just(dim), parts(dim), prop::collection::vec((-1i8..=1).prop_map(f32::from), dim * 7))
        }),
        k in prop_oneof![0usize..12, Just(1000)],
        step in 1usize..5,
    ) {
        for metric in [Metric::InnerProduct, Metric::Cosine] {
            let some: Bitmap = (1..500).step_by(step).collect();
            let (mut all_hits, mut some_hits) = (Vec::new(), Vec::new());
            for query in queries.chunks_exact(dim) {
                let mut all = naive(metric, dim, &parts, query, usize::MAX);
                some_hits.push(all.iter().copied().filter(|hit| some.contains(hit.row.0)).take(k).collect::<Vec<_>>());
                all.truncate(k);
                all_hits.push(all);
            }
            let codes = codes_of(metric, dim, &parts);
            let index = if parts.is_empty() { FlatIndex::empty(metric, dim) } else { index_with(dim, &parts, &codes) };
            prop_assert_eq!(&on_device(&index, &queries, k, None, SHORT).unwrap(), &all_hits);
            prop_assert_eq!(&on_device(&index, &queries, k, Some(&some), SHORT).unwrap(), &some_hits);
            let codes = DeviceCodes::upload(&index, &Gpu::emulated()).unwrap();
            let index = DeviceIndex::new(index, &codes).unwrap();
            prop_assert_eq!(index.search_batch(&queries, k, None).unwrap(), all_hits);
        }
    }

    /// Lengths from 2⁻⁷⁰ to 2⁴⁰ side by side and near duplicates, as in `codes_prove_what_they_rule_out`.
    #[test]
    fn gpu_search_proves_what_it_rules_out(
        (dim, numbers) in (1usize..140).prop_flat_map(|dim| (Just(dim), prop::collection::vec(-1.0f32..1.0, dim * 90))),
        exponents in prop::collection::vec(-70i32..40, 90),
        is_scaled: bool,
        common in prop_oneof![Just(0.0f32), Just(1.0), Just(1e4)],
        k in 1usize..15,
    ) {
        let place = |(at, x): (usize, &f32)| {
            let near = if at / dim % 2 == 1 { numbers[at - dim] + x * 1e-5 } else { *x };
            let exponent = if is_scaled { exponents[at / dim] } else { 0 };
            (near + common * numbers[at % dim]) * 2f32.powi(exponent)
        };
        let rows: Vec<f32> = numbers.iter().enumerate().map(place).collect();
        let (queries, parts) = (&rows[dim * 3..dim * 6], [(rows.clone(), Bitmap::default())]);
        for metric in [Metric::InnerProduct, Metric::Cosine] {
            let want: Vec<Vec<Hit>> =
                queries.chunks_exact(dim).map(|query| naive(metric, dim, &parts, query, k)).collect();
            let got = on_device(&index_of(metric, dim, &parts), queries, k, None, SHORT).unwrap();
            prop_assert_eq!(got, want, "{}", metric);
        }
    }
}

/// More queries than a batch, a chunk for which there is no memory, and rows enough for a few chunks.
#[test]
fn gpu_search_of_many_equals_the_twin() {
    let (dim, num_rows) = (33, 3000);
    let value = |number: usize| ((number * 2_654_435_761) % 1009) as f32 / 504.0 - 1.0;
    let rows: Vec<f32> = (0..dim * num_rows).map(value).collect();
    let queries: Vec<f32> = (0..dim * 260).map(|number| value(number + 7)).collect();
    let index = FlatIndex::new(Metric::Cosine, dim, &rows).unwrap();
    let want = index.search_batch(&queries, 10).unwrap();
    assert_eq!(
        on_device(&index, &queries, 10, None, Sizes { first: 256, most: 256, product_bytes: 1 << 20 })
            .unwrap(),
        want
    );
    // The codes take 221,696 bytes as the pool rounds them. Beside products of 1,024 rows there is no room for hits.
    let gpu = Gpu::emulated_with(300_000);
    let codes = DeviceCodes::upload(&index, &gpu).unwrap();
    let index = DeviceIndex::new(index, &codes).unwrap();
    let sizes = Sizes { first: 1024, most: 1024, product_bytes: 1 << 30 };
    assert_eq!(index.search_in(&queries[..dim], 10, None, sizes).unwrap(), want[..1]);
}

#[test]
fn what_a_gpu_does_not_search_is_refused() {
    let rows: Vec<f32> = (0..600).map(|at| (at as f32).sin()).collect();
    let index = |metric, rows| FlatIndex::new(metric, 6, rows).unwrap();
    let error = DeviceCodes::upload(&index(Metric::L2, &rows), &Gpu::emulated()).unwrap_err();
    assert!(error.to_string().contains("compares by l2; search on the CPU"), "{error}");
    let cosine = index(Metric::Cosine, &rows[..]);
    let error = DeviceCodes::upload(&cosine, &Gpu::emulated_with(5000)).unwrap_err();
    assert!(matches!(error, Error::DeviceMemory { needed: 7200, free: 5000 }), "{error}");
    let codes = DeviceCodes::upload(&cosine, &Gpu::emulated()).unwrap();
    for other in [index(Metric::InnerProduct, &rows), index(Metric::Cosine, &rows[..594])] {
        let result = DeviceIndex::new(other, &codes);
        assert!(matches!(result, Err(Error::RowsMismatch { expected: 100, .. })), "{result:?}");
    }
    let index = DeviceIndex::new(cosine, &codes).unwrap();
    assert!(matches!(index.search_batch(&[1.0; 7], 1, None), Err(Error::RaggedVectors { dim: 6, got: 7 })));
    assert!(matches!(index.search_batch(&[f32::NAN; 6], 1, None), Err(Error::NotFinite { .. })));
    assert!(index.search_batch(&[], 5, None).unwrap().is_empty());
}
