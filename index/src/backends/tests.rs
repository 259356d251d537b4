//! Indexes of other libraries by the rules of all indexes.

use proptest::prelude::*;

use super::{FaissIndex, FaissKind, HnswRsGraph};
use crate::bitmap::Bitmap;
use crate::candidates::Candidates;
use crate::error::Error;
use crate::metric::Metric;
use crate::search::{ApproximateIndex, SearchOptions, VectorSearch};
use crate::testing::{clustered, in_pool, random};

/// Rows in two segments. The first one has deletions and an index of a library.
pub(in crate::backends) fn in_two_parts<'a>(
    dim: usize,
    rows: (&'a [f32], &'a [f32]),
    deleted: &'a Bitmap,
    metric: Metric,
    candidates: &'a dyn Candidates,
) -> ApproximateIndex<'a> {
    let mut index = ApproximateIndex::empty(metric, dim);
    index.push(rows.0, Some(deleted), None, Some(candidates));
    index.push(rows.1, None, None, None);
    assert_eq!(index.flat().dim(), dim);
    index
}

/// Whatever rows, metric, filter and k: no fewer hits than match, ranked, with the scores of the exact index. Where ef
/// is the number of rows, the hits are those of the exact index.
pub(in crate::backends) fn rules_hold(index: &dyn VectorSearch, query: &[f32], k: usize, filter: &Bitmap) {
    let num_rows = index.flat().num_rows();
    for filter in [None, Some(filter)] {
        let exact = |k| match filter {
            Some(filter) => index.flat().search_among(query, k, filter).unwrap(),
            None => index.flat().search(query, k).unwrap(),
        };
        let search =
            |ef, k| index.search(query, k, &SearchOptions { filter, ..SearchOptions::new(ef) }).unwrap();
        let (found, all) = (search(1, k), exact(num_rows));
        assert_eq!(found.len(), k.min(all.len()));
        assert!(found.is_sorted_by(|a, b| a.rank(b).is_lt()), "{found:?}");
        assert!(found.iter().all(|hit| all.contains(hit)), "{found:?} of {all:?}");
        assert_eq!(search(num_rows, k), exact(k));
        assert_eq!(search(1, num_rows + 1), all);
        let options = SearchOptions { filter, ..SearchOptions::new(1) };
        assert_eq!(index.search_batch(query, k, &options).unwrap(), [found]);
    }
}

/// The mean recall at 10 for clustered rows.
pub(in crate::backends) fn recall(index: &dyn VectorSearch, queries: &[f32]) -> f64 {
    index.recall(queries, 10, &[100]).unwrap()[0].mean
}

pub(in crate::backends) fn bad_queries_are_refused(index: &dyn VectorSearch) {
    let dim = index.flat().dim();
    let search = |query: &[f32]| index.search(query, 3, &SearchOptions::default());
    assert!(matches!(search(&vec![0.5; dim + 1]), Err(Error::DimensionMismatch { .. })));
    assert!(matches!(search(&[]), Err(Error::DimensionMismatch { got: 0, .. })));
    assert!(matches!(search(&vec![f32::NAN; dim]), Err(Error::NotFinite { .. })));
    assert!(matches!(search(&vec![2.0f32.powi(61); dim]), Err(Error::VectorTooLong { .. })));
    let result = index.search(&vec![0.5; dim], 3, &SearchOptions::new(0));
    assert!(matches!(result, Err(Error::InvalidParameter { name: "ef_search", .. })));
    assert_eq!(index.search_batch(&[], 3, &SearchOptions::default()).unwrap(), [[]; 0]);
    assert!(index.search(&vec![0.5; dim], 0, &SearchOptions::default()).unwrap().is_empty());
    assert_eq!(search(&vec![0.0; dim]).unwrap().len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_rules_are_kept(
        num_rows in prop_oneof![1usize..40, 400usize..900],
        dim in 1usize..20,
        distinct in 1usize..900,
        exponent in -30i32..30,
        share in 1usize..100,
        k in 1usize..30,
        seed in 0u64..1000,
    ) {
        // Rows alike, and zero rows, among them.
        let mut rows: Vec<f32> = random(seed).take(num_rows * dim).map(|x| x * 2f32.powi(exponent)).collect();
        for row in distinct..num_rows {
            rows.copy_within(row % distinct * dim..(row % distinct + 1) * dim, row * dim);
        }
        rows[num_rows / 2 * dim..][..dim].fill(0.0);
        let few: Vec<f32> = random(seed + 7).take(30 * dim).collect();
        let deleted: Bitmap = (0..num_rows as u32).filter(|row| row % 3 == 1).collect();
        let filter: Bitmap = (0..num_rows + 30).filter(|row| row * 37 % 100 < share).map(|row| row as u32).collect();
        for &metric in Metric::ALL {
            let graph = HnswRsGraph::build(metric, dim, &rows, 5, 20).unwrap();
            let kinds = [FaissKind::Flat, FaissKind::Hnsw { m: 5, ef_construction: 20 }];
            let kinds = kinds.into_iter().filter(|_| cfg!(feature = "faiss"));
            let faiss: Vec<_> =
                kinds.map(|kind| FaissIndex::build(metric, dim, &rows, kind).unwrap()).collect();
            let candidates = faiss.iter().map(|index| index as &dyn Candidates).chain([&graph as &dyn Candidates]);
            for candidates in candidates {
                let index = in_two_parts(dim, (&rows, &few), &deleted, metric, candidates);
                rules_hold(&index, &few[..dim], k, &filter);
                rules_hold(&index, &rows[..dim], k, &filter);
            }
        }
    }
}

#[test]
fn hnsw_rs_finds_what_is_near() {
    let (num_rows, dim) = (6000, 24);
    // Rows of several lengths: the inner product prefers long ones.
    let mut rows = clustered(num_rows, dim, 60, 5);
    rows.chunks_exact_mut(dim).enumerate().for_each(|(number, row)| {
        row.iter_mut().for_each(|x| *x *= 1.0 + (number % 7) as f32 / 7.0);
    });
    let queries = clustered(100, dim, 60, 5);
    for &metric in Metric::ALL {
        // On one thread: on several its graphs differ, and now and then one finds less.
        let graph = in_pool(1, || HnswRsGraph::build(metric, dim, &rows, 16, 100).unwrap());
        let index = ApproximateIndex::new(&rows, &graph).unwrap();
        let found = recall(&index, &queries);
        assert!(found >= 0.95, "{metric}: {found}");
        let curve = index.tune(&queries, 10, 0.9).unwrap();
        assert!(curve.ef_search < 500 && curve.points.iter().all(|point| point.mean <= 1.0), "{curve:?}");
        bad_queries_are_refused(&index);
    }
}

/// The graph that is read finds what the one that was written finds. On one thread the same rows give the same files.
#[test]
fn hnsw_rs_files_are_read_and_repeatable() {
    let (num_rows, dim) = (3000, 12);
    let rows = clustered(num_rows, dim, 300, 1);
    let queries: Vec<f32> = random(3).take(20 * dim).collect();
    for &metric in Metric::ALL {
        let dumped = [1, 2].map(|_| {
            let folder = tempfile::tempdir().unwrap();
            let graph = in_pool(1, || HnswRsGraph::build(metric, dim, &rows, 8, 40).unwrap());
            graph.dump(folder.path()).unwrap();
            let read = HnswRsGraph::load(folder.path(), metric, dim, num_rows as u32).unwrap();
            let answers = [&graph, &read].map(|graph| {
                let index = ApproximateIndex::new(&rows, graph).unwrap();
                index.search_batch(&queries, 10, &SearchOptions::new(20)).unwrap()
            });
            assert_eq!(answers[0], answers[1]);
            HnswRsGraph::FILES.map(|name| std::fs::read(folder.path().join(name)).unwrap())
        });
        assert!(dumped[0] == dumped[1]);
    }
}

/// Parameters out of range, bad vectors, and files or rows of another graph are errors.
#[test]
fn hnsw_rs_is_given_nothing_unchecked() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<f32> = random(3).take(300).collect();
    let graph = HnswRsGraph::build(Metric::L2, 3, &rows, 5, 20).unwrap();
    graph.dump(folder.path()).unwrap();
    for (dim, num_rows) in [(3, 99), (3, 101), (2, 100), (4, 100)] {
        let result = HnswRsGraph::load(folder.path(), Metric::L2, dim, num_rows);
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{dim} {num_rows}: {result:?}");
    }
    for (m, ef_construction, named) in [(1, 9, "m"), (256, 9, "m"), (5, 0, "ef_construction")] {
        let result = HnswRsGraph::build(Metric::L2, 3, &rows, m, ef_construction);
        assert!(matches!(result, Err(Error::InvalidParameter { name, .. }) if name == named));
    }
    let build = |rows: &[f32]| HnswRsGraph::build(Metric::Cosine, 3, rows, 5, 20);
    assert!(matches!(build(&[1.0; 4]), Err(Error::RaggedVectors { .. })));
    assert!(matches!(build(&[1.0, f32::NAN, 0.0]), Err(Error::NotFinite { .. })));
    assert!(matches!(
        ApproximateIndex::new(&rows[3..], &graph),
        Err(Error::RowsMismatch { expected: 100, got: 99, .. })
    ));
    let empty = build(&[]).unwrap();
    let index = ApproximateIndex::new(&[], &empty).unwrap();
    assert!(index.search(&[1.0; 3], 2, &SearchOptions::default()).unwrap().is_empty());
}
