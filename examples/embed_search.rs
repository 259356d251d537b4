//! Documents go in, answers come out: `cargo run --example embed_search`.
//!
//! The encoder in the box makes the vectors. For a better one give a model directory to `Encoder::load`.
#![allow(clippy::print_stdout, reason = "a program prints its answer")]

use secateur::database::EncoderRecord;
use secateur::encode::default_encoder;
use secateur::{Database, Document, LoadOptions, SearchMode, SearchParams};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("garden.db");

    let encoder = default_encoder(&LoadOptions::default())?;
    let mut database = Database::builder(&path).encoder(encoder).create()?;
    database.add(&[
        Document::new("roses", "Roses are pruned in late winter."),
        Document::new("bread", "Bread rises overnight.").title("Baking"),
        Document::new("bees", "Bees dance to tell where food is."),
    ])?;
    database.commit()?;
    drop(database);

    // Another program, or the same one tomorrow. The database remembers its encoder.
    let mut database = Database::open_with(&path, EncoderRecord::load)?;
    let params = SearchParams { k: 2, ..SearchParams::new(SearchMode::Dense) };
    let found = database.search_documents("when to cut rose bushes", &params)?;
    for (hit, document) in &found {
        println!("{:.4}  {}  {}", hit.score, hit.doc_id, document.text);
    }
    assert_eq!(found[0].0.doc_id, "roses");

    // A document is replaced by deleting and adding it in one commit.
    database.delete("bread")?;
    database.add(&[Document::new("bread", "Bread is baked in a hot oven.").title("Baking")])?;
    database.commit()?;
    assert_eq!(database.len(), 3);
    Ok(())
}
