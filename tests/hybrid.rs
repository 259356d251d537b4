//! Hybrid searches against their definition.

use std::collections::{BTreeMap, BTreeSet};

use secateur::fusion::Fusion;
use secateur::index::hnsw::HnswParams;
use secateur::search::{Place, Sides};
use secateur::{Database, Document, Encoder, Hit, LoadOptions, SearchMode, SearchParams, VectorIndex};

use crate::support::{Random, Sandbox, model};

fn documents(count: usize) -> Vec<Document> {
    let words = ["rose", "pear", "saw", "winter", "bee", "honey", "bread", "oven"];
    let mut random = Random(5);
    let document = |number: usize| {
        let text: Vec<&str> = (0..7).map(|_| words[random.below(8) as usize]).collect();
        let metadata = format!("{{\"n\": {}}}", number % 5);
        Document::new(format!("d{number}"), text.join(" ")).metadata(metadata)
    };
    (0..count).map(document).collect()
}

/// In two segments, of which the first is large enough for a graph, with deletions in both.
fn database(sandbox: &Sandbox, name: &str, index: VectorIndex) -> Database {
    let encoder = Encoder::load(sandbox.path("tiny"), &LoadOptions::default()).unwrap();
    let mut database = Database::builder(sandbox.path(name)).encoder(encoder).index(index).create().unwrap();
    let documents = documents(1500);
    for part in [&documents[..1200], &documents[1200..]] {
        database.add(part).unwrap();
        database.commit().unwrap();
    }
    documents.iter().skip(3).step_by(7).for_each(|document| database.delete(&document.id).unwrap());
    database.commit().unwrap();
    database
}

/// Every document's score by one index; so many candidates that a graph misses none.
fn scores(database: &Database, query: &str, mode: SearchMode, params: &SearchParams) -> Vec<Hit> {
    let params = SearchParams { mode: Some(mode), k: 2000, ef_search: Some(2000), ..params.clone() };
    database.search(query, &params).unwrap()
}

/// A weighted sum is of both scores of whatever either index has among its first. The other index may have it far
/// behind, or its graph may miss it.
#[test]
fn a_sum_has_both_scores() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let query = "rose bread winter";
    for (name, index) in [("flat", VectorIndex::Flat), ("hnsw", VectorIndex::hnsw(HnswParams::default()))] {
        let database = database(&sandbox, name, index);
        for (filter, depth) in [(None, 1), (None, 30), (Some("n >= 3"), 30), (None, 5000)] {
            let params = SearchParams {
                k: 100,
                filter: filter.map(|filter| filter.parse().unwrap()),
                num_candidates: Some(depth),
                fusion: Some(Fusion::WeightedSum),
                dense_weight: Some(0.7),
                ..SearchParams::new(SearchMode::Hybrid)
            };
            let [dense, words] =
                [SearchMode::Dense, SearchMode::Bm25].map(|mode| scores(&database, query, mode, &params));
            let by_id = |hits: &[Hit]| -> BTreeMap<String, f64> {
                hits.iter().map(|hit| (hit.doc_id.clone(), hit.score)).collect()
            };
            let (of_dense, of_words) = (by_id(&dense), by_id(&words));
            let found = database.search_sides(&[query], &params).unwrap().remove(0);
            let batch = database.search_sides(&["oven", query], &params).unwrap().remove(1);
            assert_eq!(found, batch, "{name} {depth}");
            for (hit, sides) in &found {
                assert_eq!(sides.dense.map(|place| place.score), of_dense.get(&hit.doc_id).copied());
                assert_eq!(sides.bm25.map(|place| place.score), of_words.get(&hit.doc_id).copied());
            }
            for side in [|sides: &Sides| sides.dense, |sides: &Sides| sides.bm25] {
                let places: Vec<Place> = found.iter().filter_map(|(_, sides)| side(sides)).collect();
                let least = places.iter().filter(|place| place.rank.is_some()).map(|place| place.score);
                let least = least.fold(f64::INFINITY, f64::min);
                let mut ranks: Vec<usize> = places.iter().filter_map(|place| place.rank).collect();
                ranks.sort_unstable();
                assert!(ranks.is_sorted_by(|a, b| a < b) && ranks.last() <= Some(&depth), "{ranks:?}");
                // What the index did not find itself is no better.
                let others = places.iter().filter(|place| place.rank.is_none());
                assert!(name == "hnsw" || others.into_iter().all(|place| place.score <= least), "{depth}");
            }
            if name == "hnsw" && depth < 1500 {
                // Which documents the graph finds is its own matter.
                continue;
            }
            let first = |hits: &[Hit]| -> BTreeSet<String> {
                // Of equal scores the documents that were added first are found.
                let mut hits = hits.to_vec();
                let number = |hit: &Hit| hit.doc_id[1..].parse::<u32>().unwrap();
                hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(number(a).cmp(&number(b))));
                hits.into_iter().take(depth).map(|hit| hit.doc_id).collect()
            };
            let union: BTreeSet<String> = first(&dense).union(&first(&words)).cloned().collect();
            let least = union.iter().map(|id| of_dense[id]).fold(0.0, f64::min);
            let (best_dense, best_words) = (dense[0].score, words[0].score);
            let sum = |id: &String| {
                let by_words = of_words.get(id).copied().unwrap_or_default() / best_words;
                0.7 * (of_dense[id] - least) / (best_dense - least) + by_words
            };
            assert_eq!(found.len(), union.len().min(100), "{name} {depth}");
            let mut expected: Vec<f64> = union.iter().map(sum).collect();
            expected.sort_by(|a, b| b.total_cmp(a));
            for ((hit, _), expected) in found.iter().zip(expected) {
                // Sums of two terms of a few roundings each.
                assert!((hit.score - expected).abs() < 1e-12, "{name} {depth} {hit:?}: {expected}");
                assert!((hit.score - sum(&hit.doc_id)).abs() < 1e-12);
            }
        }
    }
}
