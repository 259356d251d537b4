//! [`FaissIndex`] beside the exact index.

use super::{FaissIndex, FaissKind};
use crate::backends::tests::{bad_queries_are_refused, in_two_parts, recall, rules_hold};
use crate::bitmap::Bitmap;
use crate::error::Error;
use crate::metric::Metric;
use crate::search::{ApproximateIndex, SearchOptions, VectorSearch};
use crate::testing::{clustered, random};

/// Ten thousand rows, enough for product quantization, and queries.
fn vectors(dim: usize) -> (Vec<f32>, Vec<f32>) {
    (clustered(10_000, dim, 100, 5), clustered(100, dim, 100, 5))
}

const KINDS: [FaissKind; 3] =
    [FaissKind::Flat, FaissKind::Hnsw { m: 16, ef_construction: 100 }, FaissKind::IvfPq];

/// faiss's flat index finds what the exact index finds. HNSW and IVF-PQ find nearly all of it, and more with a larger
/// ef.
#[test]
fn what_is_near_is_found() {
    let dim = 15;
    let (rows, queries) = vectors(dim);
    for &metric in Metric::ALL {
        for kind in KINDS {
            let faiss = FaissIndex::build(metric, dim, &rows, kind).unwrap();
            let index = ApproximateIndex::new(&rows, &faiss).unwrap();
            let options = SearchOptions::new(50);
            if kind == FaissKind::Flat {
                let exact = index.flat().search_batch(&queries, 10).unwrap();
                assert_eq!(index.search_batch(&queries, 10, &options).unwrap(), exact);
            } else {
                let found = recall(&index, &queries);
                assert!(found >= 0.9, "{metric} {kind:?}: {found}");
                let few = index.recall(&queries, 10, &[10]).unwrap()[0].mean;
                assert!(few < found, "{metric} {kind:?}: ef 10 finds {few}, ef 100 {found}");
            }
            bad_queries_are_refused(&index);
        }
    }
}

/// The rules hold where product quantization, which needs many rows, finds the candidates.
#[test]
fn the_rules_are_kept_with_ivf_pq() {
    let dim = 15;
    let (mut rows, queries) = vectors(dim);
    rows[..dim].fill(0.0);
    let deleted: Bitmap = (0..10_000).step_by(7).collect();
    for (metric, share) in Metric::ALL.iter().copied().zip([2, 30, 80]) {
        let faiss = FaissIndex::build(metric, dim, &rows, FaissKind::IvfPq).unwrap();
        let index = in_two_parts(dim, (&rows, &queries), &deleted, metric, &faiss);
        let filter: Bitmap = (0..10_100).filter(|row| row * 37 % 100 < share).collect();
        rules_hold(&index, &queries[..dim], 10, &filter);
        rules_hold(&index, &queries[dim..2 * dim], 70, &filter);
    }
}

/// An index that is read finds what the one that was written finds.
#[test]
fn files_are_read() {
    let dim = 7;
    let (rows, queries) = vectors(dim);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FaissIndex::FILE);
    for kind in KINDS {
        let faiss = FaissIndex::build(Metric::InnerProduct, dim, &rows, kind).unwrap();
        faiss.write(&path).unwrap();
        let read = FaissIndex::read(&path, Metric::InnerProduct, dim, &rows, kind).unwrap();
        let answers = [&faiss, &read].map(|faiss| {
            let index = ApproximateIndex::new(&rows, faiss).unwrap();
            index.search_batch(&queries, 10, &SearchOptions::new(30)).unwrap()
        });
        assert_eq!(answers[0], answers[1]);
        // Fewer rows, and rows of more components.
        for (dim, rows) in [(dim, &rows[dim..]), (8, &[0.5; 80_000])] {
            let result = FaissIndex::read(&path, Metric::InnerProduct, dim, rows, kind);
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{dim}: {result:?}");
        }
        let whole = std::fs::read(&path).unwrap();
        for len in [0, 3, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..len]).unwrap();
            let result = FaissIndex::read(&path, Metric::InnerProduct, dim, &rows, kind);
            assert!(matches!(result, Err(Error::Backend { .. })), "{len}: {result:?}");
        }
    }
    let missing = folder.path().join("none").join("faiss");
    let faiss = FaissIndex::build(Metric::L2, dim, &rows, FaissKind::Flat).unwrap();
    let results = [
        FaissIndex::read(&missing, Metric::L2, dim, &rows, FaissKind::Flat).map(drop),
        faiss.write(&missing),
    ];
    for result in results {
        let Err(Error::Backend { library: "faiss", path: Some(path), .. }) = &result else {
            panic!("{result:?}");
        };
        assert_eq!(*path, missing);
    }
}

/// Parameters out of range, too few rows and bad vectors are errors before faiss sees them.
#[test]
fn nothing_is_handed_over_unchecked() {
    let dim = 3;
    let rows: Vec<f32> = random(3).take(300).collect();
    let build = |rows: &[f32], kind| FaissIndex::build(Metric::Cosine, dim, rows, kind);
    let hnsw = |m, ef_construction| FaissKind::Hnsw { m, ef_construction };
    for (kind, named) in [
        (FaissKind::IvfPq, "the number of rows"),
        (hnsw(1, 9), "m"),
        (hnsw(257, 9), "m"),
        (hnsw(9, 0), "ef_construction"),
    ] {
        let result = build(&rows, kind);
        assert!(matches!(result, Err(Error::InvalidParameter { name, .. }) if name == named), "{result:?}");
    }
    for kind in [FaissKind::Flat, hnsw(5, 20)] {
        assert!(matches!(build(&[], kind), Err(Error::InvalidParameter { .. })));
        assert!(matches!(build(&rows[1..], kind), Err(Error::RaggedVectors { .. })));
        assert!(matches!(build(&[f32::NAN; 3], kind), Err(Error::NotFinite { .. })));
        let faiss = build(&rows, kind).unwrap();
        assert!(matches!(
            ApproximateIndex::new(&rows[dim..], &faiss),
            Err(Error::RowsMismatch { expected: 100, got: 99, .. })
        ));
    }
}
