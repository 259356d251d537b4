//! BM25 against a twin made of hash maps.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use tantivy::fieldnorm::FieldNormReader;

use super::*;
use crate::storage::{NewDocument, Settings, Snapshot, Store};
use crate::topk::{Hit, RowId, full_sort};
use crate::{Bitmap, Error};

/// The formula in the module's doc, in f64, over the documents that are not deleted.
fn naive(documents: &[(String, String, bool)], query: &str, k: usize, params: Bm25Params) -> Vec<(u32, f64)> {
    let alive: HashMap<usize, HashMap<String, f64>> = documents
        .iter()
        .enumerate()
        .filter(|(_, (_, _, is_deleted))| !is_deleted)
        .map(|(row, (title, text, _))| {
            let mut tf = HashMap::new();
            for term in Analyzer::English.analyze(title).into_iter().chain(Analyzer::English.analyze(text)) {
                *tf.entry(term).or_insert(0.0) += 1.0;
            }
            (row, tf)
        })
        .collect();
    let length = |tf: &HashMap<String, f64>| tf.values().sum::<f64>();
    let num_docs = alive.values().filter(|tf| !tf.is_empty()).count() as f64;
    let avgdl = alive.values().map(length).sum::<f64>() / num_docs;
    let (k1, b) = (f64::from(params.k1), f64::from(params.b));
    let mut hits = Vec::new();
    for (row, tf) in &alive {
        let dl =
            f64::from(FieldNormReader::id_to_fieldnorm(FieldNormReader::fieldnorm_to_id(length(tf) as u32)));
        let mut score = 0.0;
        let mut matches = false;
        // A term that the query has twice counts twice.
        for term in Analyzer::English.analyze(query) {
            let n = alive.values().filter(|tf| tf.contains_key(&term)).count() as f64;
            if let Some(tf) = tf.get(&term) {
                matches = true;
                let idf = (1.0 + (num_docs - n + 0.5) / (n + 0.5)).ln();
                score += idf * tf / (tf + k1 * (1.0 - b + b * dl / avgdl));
            }
        }
        if matches {
            hits.push((*row as u32, score));
        }
    }
    hits.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    hits.truncate(k);
    hits
}

/// A database of these documents in segments of `per_segment`, the marked ones deleted.
fn database(documents: &[(String, String, bool)], per_segment: usize) -> (tempfile::TempDir, Snapshot) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("db"), &Settings::bm25_only()).unwrap();
    for (segment, documents) in documents.chunks(per_segment).enumerate() {
        let mut transaction = store.begin().unwrap();
        for (number, (title, text, _)) in documents.iter().enumerate() {
            let id = (segment * per_segment + number).to_string();
            transaction.add(&NewDocument { id: &id, title, text, metadata: None }, None).unwrap();
        }
        transaction.commit().unwrap();
    }
    let mut transaction = store.begin().unwrap();
    for (row, _) in documents.iter().enumerate().filter(|(_, (_, _, is_deleted))| *is_deleted) {
        transaction.delete(&row.to_string()).unwrap();
    }
    let snapshot = transaction.commit().unwrap();
    (folder, snapshot)
}

/// Texts over a small vocabulary, so that terms repeat, with words that stem and stop words.
fn text(max_words: usize) -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "cell", "cells", "protein", "the", "of", "binding", "bind", "x", "zebra", "blood", "bloods", "7",
        "it's", "!",
    ]);
    prop::collection::vec(words, 0..max_words).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any number of segments, deletions, repeated query terms, k1 and b give the twin's documents and scores. The
    /// bound of 1e-6 is relative. A score is a sum of positive f32 terms of about 5 roundings each, 5 · 2⁻²⁴ = 3e-7,
    /// and avgdl is rounded to f32. Documents may change places only if their scores are within the bound.
    #[test]
    fn equals_the_twin(
        documents in prop::collection::vec((text(4), text(60), prop::bool::weighted(0.2)), 1..32),
        per_segment in 6usize..40,
        query in text(6),
        k in 0usize..50,
        k1 in prop_oneof![Just(0.9f32), 0.0f32..3.0],
        b in prop_oneof![Just(0.4f32), 0.0f32..=1.0],
    ) {
        let params = Bm25Params { k1, b };
        let (_folder, snapshot) = database(&documents, per_segment);
        let hits = snapshot.bm25().unwrap().search(&query, k, params).unwrap();
        let all = naive(&documents, &query, usize::MAX, params);
        prop_assert_eq!(hits.len(), all.len().min(k));
        let scores: HashMap<u32, f64> = all.iter().copied().collect();
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
        for (hit, (_, expected)) in hits.iter().zip(&all) {
            prop_assert!(close(f64::from(hit.score), *expected), "{hit:?}, the twin has {expected}");
            prop_assert!(close(f64::from(hit.score), scores[&hit.row.0]));
        }
        let distinct: HashSet<u32> = hits.iter().map(|hit| hit.row.0).collect();
        prop_assert_eq!(distinct.len(), hits.len());
        prop_assert_eq!(full_sort(hits.clone(), k), hits.clone(), "the order of hits");

        // The same documents in one segment that never held the deleted ones: the same scores bit for bit.
        let alive: Vec<_> = documents.iter().filter(|(_, _, is_deleted)| !is_deleted).cloned().collect();
        let (_folder, fresh) = database(&alive, alive.len().max(1));
        let fresh_hits = fresh.bm25().unwrap().search(&query, k, params).unwrap();
        let bits = |hits: &[Hit]| hits.iter().map(|hit| hit.score.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&fresh_hits), bits(&hits));

        let options = Bm25Options::default();
        let batch = snapshot.bm25().unwrap().search_batch(&[&query, "", &query], k, params, &options).unwrap();
        prop_assert_eq!(batch, vec![hits.clone(), Vec::new(), hits]);

        // Among some rows: what is left of all hits.
        let among: Bitmap = all.iter().map(|(row, _)| *row).filter(|row| row % 3 != 1).collect();
        let index = snapshot.bm25().unwrap();
        let mut expected = index.search(&query, documents.len(), params).unwrap();
        expected.retain(|hit| among.contains(hit.row.0));
        let best = expected[..k.min(expected.len())].to_vec();
        prop_assert_eq!(index.search_among(&query, k, params, &among).unwrap(), best.clone());
        let options = Bm25Options { among: Some(&among), ..Bm25Options::default() };
        prop_assert_eq!(index.search_batch(&[&query], k, params, &options).unwrap(), vec![best.clone()]);

        // And others: in any order, some twice, some deleted, not among them, or without a term.
        let also: Vec<RowId> = (0..documents.len() as u32).rev().filter(|row| row % 2 == 0).map(RowId).collect();
        expected.retain(|hit| best.contains(hit) || also.contains(&hit.row));
        let options = Bm25Options { also: &[Vec::new(), [&also[..], &also].concat()], ..options };
        let found = index.search_batch(&[&query, &query], k, params, &options).unwrap();
        prop_assert_eq!(found, vec![best, expected]);
    }
}

/// More documents than a window and a block of postings; the scores follow from the formula.
#[test]
fn many_documents() {
    let documents: Vec<_> = (0..10_000)
        .map(|row| {
            let word = if row % 3 == 0 { "common" } else { "other" };
            let rare = if row % 4_999 == 7 { " rare" } else { "" };
            (String::new(), format!("{word}{rare}"), row % 10 == 6)
        })
        .collect();
    let (_folder, snapshot) = database(&documents, 6_000);
    let index = snapshot.bm25().unwrap();
    for query in ["rare", "common rare", "other"] {
        let hits = index.search(query, 20, Bm25Params::default()).unwrap();
        let expected = naive(&documents, query, 20, Bm25Params::default());
        let rows = |hit: &Hit| (hit.row.0, (f64::from(hit.score) * 1e5).round());
        let expected: Vec<_> =
            expected.into_iter().map(|(row, score)| (row, (score * 1e5).round())).collect();
        assert_eq!(hits.iter().map(rows).collect::<Vec<_>>(), expected, "{query}");
    }
    // Of several windows and segments, the last of each too.
    let also = [3, 4_092, 4_095, 5_997, 6_000, 9_999].map(RowId).to_vec();
    let options = Bm25Options { also: std::slice::from_ref(&also), ..Bm25Options::default() };
    let found = index.search_batch(&["common"], 1, Bm25Params::default(), &options).unwrap();
    let rows: Vec<RowId> = found[0].iter().map(|hit| hit.row).collect();
    assert_eq!(rows, [&[RowId(0)], &also[..]].concat());
    assert_eq!(
        index.search("common", 3, Bm25Params::default()).unwrap()[0].row,
        RowId(0),
        "ties go to the first row"
    );
}

#[test]
fn bad_parameters_are_errors() {
    let (_folder, snapshot) = database(&[(String::new(), "a b".into(), false)], 1);
    for (k1, b) in
        [(-0.1, 0.4), (f32::NAN, 0.4), (f32::INFINITY, 0.4), (0.9, 1.1), (0.9, -0.1), (0.9, f32::NAN)]
    {
        let result = snapshot.bm25().unwrap().search("b", 1, Bm25Params { k1, b });
        assert!(matches!(result, Err(Error::InvalidParameter { .. })), "k1 {k1}, b {b}");
    }
}

/// A query of a megabyte is answered, and not in quadratic time.
#[test]
fn long_query() {
    let (_folder, snapshot) = database(&[(String::new(), "w7 w8".into(), false)], 1);
    let query: String = (0..150_000).map(|word| format!("w{word} ")).collect();
    assert_eq!(snapshot.bm25().unwrap().search(&query, 1, Bm25Params::default()).unwrap().len(), 1);
}
