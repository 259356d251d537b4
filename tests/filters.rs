//! Filters on metadata, through the library and on the command line.

use std::collections::BTreeMap;

use proptest::prelude::*;
use secateur::Filter;
use secateur::index::hnsw::HnswParams;
use secateur::{Database, Document, Encoder, LoadOptions, SearchMode, SearchParams, VectorIndex};
use serde_json::json;

use crate::support::{Random, Sandbox, dataset, model};

/// Documents of a few words with metadata of every shape, or none.
fn documents(count: usize) -> Vec<Document> {
    let words = ["rose", "pear", "saw", "winter", "bee", "honey", "bread", "oven"];
    let mut random = Random(11);
    (0..count)
        .map(|number| {
            let text: Vec<&str> = (0..6).map(|_| words[random.below(8) as usize]).collect();
            let year = 2000 + random.below(25);
            let source = ["web", "pubmed", "mail"][random.below(3) as usize];
            let metadata = match number % 10 {
                0 => None,
                1 => Some(json!({"year": year.to_string(), "retracted": null})),
                2 => Some(json!({"year": year, "journal": {"name": source}})),
                _ => Some(json!({"year": year, "source": source, "retracted": year.is_multiple_of(4), "tags": [source, number % 5]})),
            };
            Document {
                id: format!("d{number}"),
                title: String::new(),
                text: text.join(" "),
                metadata: metadata.map(|metadata| metadata.to_string()),
            }
        })
        .collect()
}

fn database(sandbox: &Sandbox, name: &str, index: VectorIndex, documents: &[Document]) -> Database {
    let encoder = Encoder::load(sandbox.path("tiny"), &LoadOptions::default()).unwrap();
    let mut database = Database::builder(sandbox.path(name)).encoder(encoder).index(index).create().unwrap();
    // Two commits, of which the first is large enough for a graph, and deletions in both.
    for part in [&documents[..documents.len() * 3 / 4], &documents[documents.len() * 3 / 4..]] {
        database.add(part).unwrap();
        database.commit().unwrap();
    }
    documents.iter().skip(3).step_by(7).for_each(|document| database.delete(&document.id).unwrap());
    database.commit().unwrap();
    database
}

const FILTERS: [&str; 14] = [
    "year >= 2015",
    "year >= 2015 and (source == \"pubmed\" or tags in [\"web\", 3]) and not retracted",
    "year == \"2007\"",
    "year < 2004 or year > 2022",
    "source != \"web\"",
    "source in [\"mail\"] and tags == 4",
    "retracted",
    "not retracted",
    "journal.name == \"web\"",
    "tags not in [\"web\", \"mail\", \"pubmed\"]",
    "year == 1999",
    "not year == 1999",
    "year == 2013 and source == \"web\" and tags == 1",
    "nothing or year <= 2024.5",
];

/// In every mode and in both kinds of database, the hits with a filter are the matching hits without it. They have the
/// same order and the same scores.
#[test]
fn filtered_hits_are_the_hits_that_match() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let documents = documents(1600);
    let by_id: BTreeMap<&str, &Document> = documents.iter().map(|d| (d.id.as_str(), d)).collect();
    for (name, index) in [("flat", VectorIndex::Flat), ("hnsw", VectorIndex::hnsw(HnswParams::default()))] {
        let database = database(&sandbox, name, index, &documents);
        for mode in SearchMode::ALL {
            // So many that the graph's answer is exact, so that all answers are known.
            let all = SearchParams { k: 2000, num_candidates: Some(2000), ..SearchParams::new(mode) };
            let unfiltered = database.search("rose bread winter", &all).unwrap();
            for text in FILTERS {
                let filter: Filter = text.parse().unwrap();
                let matches = |id: &str| filter.matches(by_id[id].metadata.as_deref().unwrap_or("{}"));
                let expected: Vec<_> = unfiltered.iter().filter(|hit| matches(&hit.doc_id)).collect();
                let params = SearchParams { filter: Some(filter.clone()), ..all.clone() };
                let found = database.search("rose bread winter", &params).unwrap();
                assert_eq!(found.len(), expected.len(), "{name} {mode} {text}");
                assert!(found.iter().all(|hit| matches(&hit.doc_id)), "{name} {mode} {text}");
                // Ranks among those that match are other ranks, so fused scores differ.
                if mode != SearchMode::Hybrid {
                    assert!(found.iter().zip(&expected).all(|(a, b)| a == *b), "{name} {mode} {text}");
                }
                let few = database.search("rose bread winter", &SearchParams { k: 10, ..params }).unwrap();
                assert_eq!(few.len(), expected.len().min(10), "{name} {mode} {text}: min(k, matches)");
                assert!(few.iter().all(|hit| matches(&hit.doc_id)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Two conditions joined at random, on a database without vectors.
    #[test]
    fn any_filter_equals_a_loop_over_documents(a in 0..FILTERS.len(), b in 0..FILTERS.len(), is_or: bool, is_not: bool) {
        let sandbox = Sandbox::new();
        let documents = documents(120);
        let mut database = Database::builder(sandbox.path("db")).create().unwrap();
        for part in documents.chunks(50) {
            database.add(part).unwrap();
            database.commit().unwrap();
        }
        let (word, not) = (if is_or { "or" } else { "and" }, if is_not { "not " } else { "" });
        let filter: Filter = format!("({}) {word} {not}({})", FILTERS[a], FILTERS[b]).parse().unwrap();
        let mut expected: Vec<&str> = documents
            .iter()
            .filter(|d| d.text.contains("rose") && filter.matches(d.metadata.as_deref().unwrap_or("{}")))
            .map(|d| d.id.as_str())
            .collect();
        expected.sort();
        let params = SearchParams { k: 1000, filter: Some(filter), ..SearchParams::new(SearchMode::Bm25) };
        let hits = database.search("rose", &params).unwrap();
        let mut found: Vec<&str> = hits.iter().map(|hit| hit.doc_id.as_str()).collect();
        found.sort();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn the_command_line_filters() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let line = |id: &str, metadata: serde_json::Value| {
        format!("{}\n", json!({"_id": id, "title": "", "text": format!("roses {id}"), "metadata": metadata}))
    };
    let corpus = [
        line("old", json!({"year": 1999, "tags": ["a"]})),
        line("new", json!({"year": 2020, "tags": ["b", "c"], "retracted": false})),
        line("gone", json!({"year": 2021, "retracted": true})),
    ];
    dataset::write(&sandbox.path("set"), "corpus.jsonl", corpus.concat());
    dataset::write(&sandbox.path("set"), "queries.jsonl", "{\"_id\": \"q\", \"text\": \"roses\"}\n");
    dataset::write(&sandbox.path("set"), "qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\tgone\t1\n");
    sandbox.run(["index", "set", "--out", "db", "--encoder", "tiny"]).ok();
    for mode in ["dense", "bm25", "hybrid"] {
        for (filter, expected) in [
            ("year >= 2015", vec!["gone", "new"]),
            ("year >= 2015 and not retracted", vec!["new"]),
            ("tags in [\"a\", \"z\"]", vec!["old"]),
            ("tags == \"z\"", vec![]),
        ] {
            let answer =
                sandbox.run(["search", "db", "roses", "--mode", mode, "--filter", filter, "--json"]).json();
            let hits = answer["hits"].as_array().unwrap();
            let mut found: Vec<&str> = hits.iter().map(|hit| hit["doc_id"].as_str().unwrap()).collect();
            found.sort();
            assert_eq!(found, expected, "{mode} {filter}");
        }
    }
    let recall = |filter: &str| {
        let eval =
            ["eval", "db", "set", "--mode", "bm25", "--measures", "Recall@10", "--json", "--filter", filter];
        sandbox.run(eval).json()["means"]["Recall@10"].as_f64().unwrap()
    };
    assert_eq!((recall("year > 0"), recall("not retracted")), (1.0, 0.0));
    // What was measured is told.
    let eval = ["eval", "db", "set", "--mode", "dense", "--filter", "year > 0", "--generation", "original"];
    let said = sandbox.run(eval).ok();
    assert!(said.starts_with("set test, dense, generation original, only where year > 0: 1 query"), "{said}");
    let none = sandbox.run(["search", "db", "roses", "--mode", "bm25", "--filter", "year > 2030"]).ok();
    assert_eq!(none, "no document matches\n");
    sandbox
        .run(["search", "db", "roses", "--filter", "year >= 2015 and source == pubmed"])
        .fails(2, ["column 28 of the filter", "expected a string in double quotes", "found `pubmed`"]);
}

/// What JSON can write and nobody can read back is refused where it comes in, by its place, document and field. It
/// would be as no metadata, and a filter would delete the document for it.
#[test]
fn metadata_that_cannot_be_read_is_refused() {
    let sandbox = Sandbox::new();
    let good = "{\"id\":\"g\",\"text\":\"rose\",\"year\":2020}\n";
    let values = ["1e400".to_owned(), format!("1{}", "0".repeat(400)), "[".repeat(127) + &"]".repeat(127)];
    for value in values {
        let bad = format!("{{\"id\":\"h\",\"text\":\"rose\",\"year\":2020,\"f\":{value}}}\n");
        std::fs::write(sandbox.path("bad.jsonl"), format!("{good}{bad}")).unwrap();
        sandbox
            .run(["index", "bad.jsonl", "--encoder", "none", "--out", "bad"])
            .fails(3, ["bad.jsonl", "document \"h\"", "the field \"f\"", "write the value as a string"]);
    }
    std::fs::write(sandbox.path("good.jsonl"), good).unwrap();
    sandbox.run(["index", "good.jsonl", "--encoder", "none", "--out", "db"]).ok();
    sandbox.run(["upsert", "db", "bad.jsonl"]).fails(3, ["bad.jsonl", "document \"h\"", "the field \"f\""]);

    let mut database = Database::open(sandbox.path("db")).unwrap();
    let error =
        database.add(&[Document::new("h", "rose").metadata(r#"{"year": 2020, "f": 1e400}"#)]).unwrap_err();
    assert_eq!(error.kind(), secateur::ErrorKind::Input);
    assert!(
        error.to_string().contains("document \"h\": the field \"f\" of the metadata cannot be read back"),
        "{error}"
    );
}
