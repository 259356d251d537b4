//! The least ef of a whole set for a recall.

use std::sync::Arc;

use secateur::database::VectorOptions;
use secateur::index::Error as IndexError;
use secateur::index::hnsw::HnswParams;
use secateur::shards::ShardError;
use secateur::{Database, Document, Error, SearchMode, SearchParams, VectorIndex};

use super::encoder;
use crate::support::Random;
use crate::support::shards::{finished, items, opened, planned};

const TARGET: f64 = 0.9;
const K: usize = 5;

fn texts(count: usize, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let mut word = || -> String { (0..3).map(|_| (b'a' + random.below(8) as u8) as char).collect() };
    (0..count).map(|_| [word(), word(), word()].join(" ")).collect()
}

/// The recall of a set is measured against exact search of all shards, and the ef that is found is kept in each.
#[test]
fn a_set_is_tuned_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = encoder(&folder.path().join("tiny"));
    let documents: Vec<Document> = (0..)
        .zip(texts(900, 7))
        .map(|(number, text): (usize, _)| Document::new(number.to_string(), text))
        .collect();
    let params = HnswParams { m: 2, ef_construction: 4, ..HnswParams::default() };
    let builder = |name: &str, index: VectorIndex| {
        let options = VectorOptions { index: index.with_min_rows(50), ..VectorOptions::default() };
        Database::builder(folder.path().join(name)).encoder(Arc::clone(&encoder)).vector_options(options)
    };
    let plan = planned(builder("set", VectorIndex::hnsw(params)), 3, &documents);
    for number in 0..3 {
        plan.build(number, Some(Arc::clone(&encoder)), items(&documents), |_| {}).unwrap();
    }
    plan.finish().unwrap();
    let corpus = items(&documents).map(|item| item.map(|(document, _)| document));
    let exact = builder("exact", VectorIndex::Flat).build_from(corpus, |_| {}).unwrap();
    let queries = texts(60, 8);
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();

    let set = opened(plan.path(), None, &encoder);
    let curve = set.tune(&queries, K, TARGET).unwrap();
    assert_eq!((curve.k, curve.num_queries), (K, 60));
    let truth =
        exact.search_batch(&queries, &SearchParams { k: K, ..SearchParams::new(SearchMode::Dense) }).unwrap();
    for point in &curve.points {
        let params =
            SearchParams { k: K, ef_search: Some(point.ef_search), ..SearchParams::new(SearchMode::Dense) };
        let found = set.search_batch(&queries, &params).unwrap();
        let shares = found.iter().zip(&truth).map(|(found, truth)| {
            let last = truth.last().unwrap().score;
            found.iter().filter(|hit| hit.score >= last).count() as f64 / truth.len() as f64
        });
        let mean = shares.sum::<f64>() / 60.0;
        assert!((mean - point.mean).abs() < 1e-12, "ef {}: {mean}, {}", point.ef_search, point.mean);
    }
    let enough = curve.points.iter().find(|point| point.ef_search == curve.ef_search).unwrap();
    assert!(enough.mean >= TARGET);
    assert!(curve.points[0].mean < TARGET, "the least ef is enough: nothing was looked for");

    // Kept in all shards, and the set is finished again.
    plan.set_recall_curve(None, &curve).unwrap();
    assert!(plan.is_finished().unwrap());
    for number in 0..3 {
        let shard = Database::open(plan.shard_path(number)).unwrap();
        assert_eq!(shard.vector_index().unwrap().ef_search(), Some(curve.ef_search));
    }
    let given =
        SearchParams { k: K, ef_search: Some(curve.ef_search), ..SearchParams::new(SearchMode::Dense) };
    let default = SearchParams { ef_search: None, ..given.clone() };
    let set = opened(plan.path(), None, &encoder);
    assert_eq!(set.search_batch(&queries, &default).unwrap(), set.search_batch(&queries, &given).unwrap());

    for (queries, k, target) in
        [(&queries[..0], K, TARGET), (&queries[..], 0, TARGET), (&queries[..], K, 1.5)]
    {
        assert!(matches!(
            set.tune(queries, k, target),
            Err(Error::Index(IndexError::InvalidParameter { .. }))
        ));
    }
}

#[test]
fn exact_sets_have_no_ef() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = encoder(&folder.path().join("tiny"));
    let documents = [Document::new("1", "a")];
    let builder = Database::builder(folder.path().join("set")).encoder(Arc::clone(&encoder));
    let plan = planned(builder, 1, &documents);
    plan.build(0, Some(Arc::clone(&encoder)), items(&documents), |_| {}).unwrap();
    plan.finish().unwrap();
    let error = opened(plan.path(), None, &encoder).tune(&["a"], 1, 0.9).unwrap_err();
    assert!(matches!(error, Error::Shards(ShardError::NotHnsw { index: "flat", .. })), "{error}");

    // Nor have those that are too small for a graph.
    let options =
        VectorOptions { index: VectorIndex::hnsw(HnswParams::default()), ..VectorOptions::default() };
    let builder =
        Database::builder(folder.path().join("small")).encoder(Arc::clone(&encoder)).vector_options(options);
    let plan = finished(builder, 2, &[Document::new("1", "a"), Document::new("2", "b")], Some(&encoder));
    let error = opened(plan.path(), None, &encoder).tune(&["a"], 1, 0.9).unwrap_err();
    let message = error.to_string();
    for part in [plan.path().to_str().unwrap(), "2 vectors in 2 shards", "fewer than 1024", "shards finish"] {
        assert!(message.contains(part), "no {part} in {message}");
    }
}
