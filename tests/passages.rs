//! Documents that are split into passages: found by their best one, through every change.

use std::sync::Arc;

use proptest::prelude::*;
use secateur::database::{EncoderRecord, VectorOptions};
use secateur::encode::{Passages, TextKind};
use secateur::index::hnsw::HnswParams;
use secateur::{Database, Document, Encoder, LoadOptions, SearchMode, SearchParams, VectorIndex};
use serde_json::json;

use crate::support::{Sandbox, model};

const PASSAGES: Passages = Passages { length: 12, overlap: 3 };

#[derive(Debug, Clone)]
enum Step {
    Add(u8, String, String),
    Upsert(u8, String, String),
    Delete(u8),
    DeleteMatching(u8),
    Commit,
    Compact,
    Reopen,
    Generation,
}

fn step() -> impl Strategy<Value = Step> {
    let words = |most| prop::collection::vec("[a-d]{1,5}", 0..most).prop_map(|words| words.join(" "));
    let document = || (0u8..6, words(4), words(30));
    prop_oneof![
        3 => document().prop_map(|(id, title, text)| Step::Add(id, title, text)),
        3 => document().prop_map(|(id, title, text)| Step::Upsert(id, title, text)),
        1 => (0u8..6).prop_map(Step::Delete),
        1 => (0u8..6).prop_map(Step::DeleteMatching),
        3 => Just(Step::Commit),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
        1 => Just(Step::Generation),
    ]
}

fn document(id: u8, title: &str, text: &str) -> Document {
    Document::new(id.to_string(), text).title(title).metadata(format!("{{\"n\": {id}}}"))
}

/// The score of each document: the greatest product of the query with one of its passages, which are encoded here.
fn naive(
    encoder: &Encoder,
    documents: &[Document],
    passages: Option<Passages>,
    query: &[f32],
) -> Vec<(String, f64)> {
    let product = |vector: &[f32]| -> f64 {
        vector.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let score = |document: &Document| {
        let texts = match passages {
            Some(passages) => passages.of(document, " ", encoder).unwrap(),
            None => vec![document.passage(" ")],
        };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = encoder.encode(&texts, TextKind::Passage).unwrap();
        vectors.chunks(encoder.dim()).map(product).fold(f64::NEG_INFINITY, f64::max)
    };
    documents.iter().map(|document| (document.id.clone(), score(document))).collect()
}

/// Every document is found once, with the score that the twin gives it, in the twin's order.
fn compare(database: &Database, encoder: &Encoder, model: &[Document]) -> Result<(), TestCaseError> {
    let query = "abc dab c";
    let vector = encoder.encode(&[query], TextKind::Query).unwrap();
    for generation in database.generation_infos() {
        let name = &generation.generation.name;
        let opened = database.generation(name).unwrap().with_encoder(Arc::new(load(encoder))).unwrap();
        let mut scores = naive(encoder, model, generation.passages, &vector);
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        for k in [1, 3, 100] {
            let hits =
                opened.search(query, &SearchParams { k, ..SearchParams::new(SearchMode::Dense) }).unwrap();
            prop_assert_eq!(hits.len(), k.min(model.len()));
            for (hit, (_, expected)) in hits.iter().zip(&scores) {
                prop_assert!((hit.score - expected).abs() < 1e-5, "{} {} {}", name, hit.score, expected);
                let own = scores.iter().find(|(id, _)| *id == hit.doc_id).unwrap().1;
                prop_assert!((hit.score - own).abs() < 1e-5);
            }
        }
        let filter = "n in [1, 2, 5]".parse().unwrap();
        let params = SearchParams { k: 100, filter: Some(filter), ..SearchParams::new(SearchMode::Dense) };
        let mut found: Vec<String> =
            opened.search(query, &params).unwrap().into_iter().map(|hit| hit.doc_id).collect();
        found.sort();
        let expected =
            ["1", "2", "5"].into_iter().filter(|id| model.iter().any(|document| document.id == *id));
        prop_assert_eq!(found, expected.collect::<Vec<_>>());
    }
    let documents: Vec<Document> = database.documents().collect::<Result<_, _>>().unwrap();
    prop_assert_eq!(&documents, model);
    database.verify().unwrap();
    Ok(())
}

fn load(encoder: &Encoder) -> Encoder {
    Encoder::load(encoder.directory(), &LoadOptions::default()).unwrap()
}

fn open(sandbox: &Sandbox) -> Database {
    let database = Database::open_with(sandbox.path("db"), EncoderRecord::load).unwrap();
    database.with_all_encoders(|_, record| record.load()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// A database with passages against documents that are split, encoded and compared one by one.
    #[test]
    fn a_document_is_its_best_passage(steps in prop::collection::vec(step(), 1..24), has_graph: bool) {
        let sandbox = Sandbox::new();
        let encoder = Encoder::load(model::tiny(&sandbox.path("tiny")), &LoadOptions::default()).unwrap();
        let index = match has_graph {
            true => VectorIndex::hnsw(HnswParams::default()).with_min_rows(1),
            false => VectorIndex::Flat,
        };
        let options = VectorOptions { passages: Some(PASSAGES), index, ..VectorOptions::default() };
        let builder = Database::builder(sandbox.path("db")).encoder(load(&encoder)).vector_options(options);
        let mut database = builder.create().unwrap();
        let (mut committed, mut model): (Vec<Document>, Vec<Document>) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Add(id, title, text) | Step::Upsert(id, title, text) if title.is_empty() && text.is_empty() => {
                    prop_assert!(database.upsert(&[document(id, &title, &text)]).is_err());
                }
                Step::Add(id, title, text) => {
                    let new = document(id, &title, &text);
                    let is_new = !model.iter().any(|known| known.id == new.id);
                    prop_assert_eq!(database.add(std::slice::from_ref(&new)).is_ok(), is_new);
                    model.extend(is_new.then_some(new));
                }
                Step::Upsert(id, title, text) => {
                    let new = document(id, &title, &text);
                    let replaced = database.upsert(std::slice::from_ref(&new)).unwrap();
                    prop_assert_eq!(replaced, usize::from(model.iter().any(|known| known.id == new.id)));
                    model.retain(|known| known.id != new.id);
                    model.push(new);
                }
                Step::Delete(id) => {
                    let id = id.to_string();
                    prop_assert_eq!(database.delete(&id).is_ok(), model.iter().any(|known| known.id == id));
                    model.retain(|known| known.id != id);
                }
                Step::DeleteMatching(id) => {
                    database.commit().unwrap();
                    let filter = format!("n == {id}").parse().unwrap();
                    let count = database.delete_matching(&filter).unwrap();
                    let id = id.to_string();
                    prop_assert_eq!(count, model.iter().filter(|known| known.id == id).count());
                    model.retain(|known| known.id != id);
                    database.commit().unwrap();
                    committed = model.clone();
                }
                Step::Commit => {
                    database.commit().unwrap();
                    committed = model.clone();
                    compare(&database, &encoder, &model)?;
                }
                Step::Compact => {
                    database.commit().unwrap();
                    committed = model.clone();
                    database.compact(&Default::default(), |_, _| {}).unwrap();
                    compare(&database, &encoder, &model)?;
                }
                Step::Reopen => {
                    drop(database);
                    model = committed.clone();
                    database = open(&sandbox);
                    compare(&database, &encoder, &model)?;
                }
                // One that reads the beginnings of documents, or it goes again.
                Step::Generation => {
                    database.commit().unwrap();
                    committed = model.clone();
                    if database.generations().len() > 1 {
                        database.drop_generation("whole").unwrap();
                    } else {
                        database.add_generation("whole", &encoder, &VectorOptions::default(), |_| {}).unwrap();
                        drop(database);
                        database = open(&sandbox);
                    }
                    compare(&database, &encoder, &model)?;
                }
            }
        }
    }
}

/// What the last words of a long document say is found, by `search` and by `eval`; `info` says how it is split.
#[test]
fn the_end_of_a_long_document_is_found() {
    let sandbox = Sandbox::new();
    let filler = "the weather was as it had been the day before and nobody spoke of it ".repeat(120);
    let long = json!({"_id": "long", "title": "A diary", "text": format!("{filler} Bees dance to tell where food is.")});
    let lines = [long, json!({"_id": "short", "text": "Bread rises overnight in a warm kitchen."})];
    let write = |name: &str, text: String| {
        std::fs::create_dir_all(sandbox.path(name).parent().unwrap()).unwrap();
        std::fs::write(sandbox.path(name), text).unwrap();
    };
    write("data/corpus.jsonl", lines.map(|line| line.to_string()).join("\n"));
    write(
        "data/queries.jsonl",
        "{\"_id\": \"q\", \"text\": \"how do bees tell where food is\"}\n".to_owned(),
    );
    write("data/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\tlong\t1\n".to_owned());
    let index = ["index", "data", "--encoder", "default", "--out"];
    let said = sandbox.run(index.iter().chain(&["whole"])).ok();
    assert!(said.contains("1 text is longer than") && said.contains("--passages splits documents"), "{said}");
    let said = sandbox.run(index.iter().chain(&["split", "--passages", "30,5"])).ok();
    assert!(said.starts_with("split: 2 documents in ") && !said.contains("longer"), "{said}");

    let first = |database: &str| {
        let search = ["search", database, "how do bees tell where food is", "--mode", "dense", "--json"];
        let found = sandbox.run(search).json();
        let hits = found["hits"].as_array().unwrap().clone();
        assert_eq!(hits.len(), 2, "each document once");
        hits[0].clone()
    };
    let (whole, split) = (first("whole"), first("split"));
    assert_eq!(split["doc_id"], "long");
    assert!(split["score"].as_f64() > whole["score"].as_f64(), "{split} {whole}");
    let passage = split["passage"].as_str().unwrap();
    assert!(passage.contains("Bees dance") && passage.len() < 300, "{passage}");
    assert_eq!(whole["passage"], json!(null));
    let eval = ["eval", "split", "data", "--mode", "dense", "--measures", "MRR@10", "--json"];
    assert_eq!(sandbox.run(eval).json()["means"]["MRR@10"], 1.0);

    let info = sandbox.run(["info", "split", "--json"]).json();
    let passages = &info["generations"][0]["passages"];
    assert_eq!((&passages["length"], &passages["overlap"]), (&json!(30), &json!(5)));
    assert!(passages["count"].as_u64().unwrap() > 10);
    // The text comes back whole.
    let got = sandbox.run(["get", "split", "long"]).ok();
    assert!(got.contains("the day before") && got.trim_end().ends_with("food is.\"}"), "{got}");

    // What is added is split, too, and another generation splits in its own way.
    write("more.jsonl", json!({"_id": "more", "text": filler}).to_string());
    sandbox.run(["add", "split", "more.jsonl"]).ok();
    sandbox.run(["generation", "add", "split", "other", "--encoder", "default", "--passages", "15,0"]).ok();
    let info = sandbox.run(["info", "split", "--json"]).json();
    let count = |number: usize| info["generations"][number]["passages"]["count"].as_u64().unwrap();
    assert!(count(1) > count(0) && count(0) > 20, "{info:#}");
    sandbox.run(["delete", "split", "long"]).ok();
    sandbox.run(["compact", "split"]).ok();
    sandbox.run(["verify", "split"]).ok();

    for (passages, expected) in
        [("100", "LENGTH,OVERLAP"), ("20,20", "OVERLAP below LENGTH"), ("x,1", "two numbers")]
    {
        sandbox.run(index.iter().chain(&["bad", "--passages", passages])).fails(2, [expected]);
    }
    sandbox.run(index.iter().chain(&["bad", "--passages", "9999,0"])).fails(2, ["9999", "at most"]);
    let without = ["index", "data", "--encoder", "none", "--out", "bad", "--passages", "100,20"];
    sandbox.run(without).fails(2, ["--passages needs an encoder"]);
    assert!(!sandbox.path("bad").exists());
}

/// Texts that are longer than the encoder reads are counted.
#[test]
fn texts_that_are_cut_are_counted() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let write = |name: &str, text: &str| std::fs::write(sandbox.path(name), text).unwrap();
    let long = ["rose"; 10].join(" ");
    write("a.jsonl", &format!("{{\"id\": 1, \"text\": \"{long}\"}}\n{{\"id\": 2, \"text\": \"bee\"}}\n"));
    let said =
        sandbox.run(["index", "a.jsonl", "--encoder", "tiny", "--max-length", "5", "--out", "db"]).ok();
    assert!(
        said.contains("(1 text is longer than the 5 tokens that the encoder reads; --passages"),
        "{said}"
    );
    write("b.jsonl", "{\"id\": 3, \"text\": \"tea tea tea\"}\n");
    let said = sandbox.run(["add", "db", "b.jsonl"]).ok();
    assert!(said.contains("(1 text is longer than the encoder reads)"), "{said}");
}
