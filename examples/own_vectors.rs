//! Bring your own vectors: `cargo run --example own_vectors`.
//!
//! The vectors may come from any model: here they are counts of letters. The database stores them with the documents,
//! searches them exactly or with a graph, and has a BM25 index of the texts all the same.
#![allow(clippy::print_stdout, reason = "a program prints its answer")]

use secateur::datasets::beir::BeirFolder;
use secateur::{Database, Document, Metric, SearchMode, SearchParams};

const DIM: usize = 26;

fn letters(text: &str) -> Vec<f32> {
    let mut counts = vec![0.0; DIM];
    for letter in text.bytes().map(|byte| byte.to_ascii_lowercase()).filter(u8::is_ascii_lowercase) {
        counts[usize::from(letter - b'a')] += 1.0;
    }
    counts
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("letters.db");
    let mini = BeirFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/mini"))?;
    let documents = mini.corpus()?.collect::<Result<Vec<Document>, _>>()?;

    let mut database = Database::builder(&path).vectors(DIM).metric(Metric::Cosine).create()?;
    let vectors: Vec<f32> = documents.iter().flat_map(|document| letters(&document.text)).collect();
    database.add_with_vectors(&documents, &vectors)?;
    database.commit()?;
    drop(database);

    let database = Database::open(&path)?;
    let wanted = &documents[7];
    let hits = database.search_vector(&letters(&wanted.text), &SearchParams::default())?;
    println!("nearest to {}: {} ({:.4})", wanted.id, hits[0].doc_id, hits[0].score);
    assert_eq!(hits[0].doc_id, wanted.id);

    // Words are searched as in every database. Meaning is not: no encoder could make the query's vector.
    assert!(!database.search("bees", &SearchParams::default())?.is_empty());
    let error = database.search("bees", &SearchParams::new(SearchMode::Dense)).unwrap_err();
    println!("{error}");
    Ok(())
}
