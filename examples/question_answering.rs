//! The search behind a question-answering program: `cargo run --example question_answering`.
//!
//! Both indexes look for passages, filters keep to what the asker may see, and the texts found are put into a prompt.
#![allow(clippy::print_stdout, reason = "a program prints its answer")]

use secateur::datasets::beir::BeirFolder;
use secateur::encode::default_encoder;
use secateur::index::hnsw::HnswParams;
use secateur::{Database, LoadOptions, SearchParams, VectorIndex};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mini = BeirFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/mini"))?;

    // Killed at any moment, the same call goes on where it stopped; the database appears when it is whole.
    let encoder = default_encoder(&LoadOptions::default())?;
    let database = Database::builder(folder.path().join("mini.db"))
        .encoder(encoder)
        .index(VectorIndex::hnsw(HnswParams::default()))
        .build_from(mini.corpus()?, |done| println!("{done} documents"))?;

    // Without a mode, a database with an encoder is searched by meaning and by words, and both rankings are fused.
    let question = "what does a bee's dance on the comb tell the hive";
    let params = SearchParams { k: 3, ..SearchParams::default() };
    let found = database.search_documents(question, &params)?;
    let passages: Vec<String> =
        found.iter().map(|(hit, document)| format!("[{}] {}", hit.doc_id, document.passage(": "))).collect();
    println!("Answer by these passages only.\n\n{}\n\nQuestion: {question}", passages.join("\n"));
    assert!(found.iter().any(|(_, document)| document.text.contains("dance")));

    // Metadata are JSON objects; conditions on their fields hold in every mode.
    let filter = "topic == 'gardening' and year >= 2019".replace('\'', "\"").parse()?;
    let gardening = SearchParams { filter: Some(filter), ..params };
    let found = database.search_documents("what is cut in winter", &gardening)?;
    assert!(found.iter().all(|(_, document)| document.metadata.as_deref().unwrap().contains("gardening")));
    println!("\n{}: {}", found[0].0.doc_id, found[0].1.title);
    Ok(())
}
