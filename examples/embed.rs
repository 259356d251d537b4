//! A program with a database in it: `cargo run --example embed [MODEL_DIRECTORY]`. Without a model it searches by words.
#![allow(clippy::print_stdout, reason = "a program prints its answer")]

use std::sync::Arc;

use secateur::{CreateOptions, Database, Document, Encoder, LoadOptions, SearchMode, SearchParams};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let encoder = match std::env::args().nth(1) {
        Some(model) => Some(Arc::new(Encoder::load(model.as_ref(), &LoadOptions::default())?)),
        None => None,
    };
    let mode = if encoder.is_some() { SearchMode::Dense } else { SearchMode::Sparse };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("garden");

    let mut database = Database::create(&path, encoder.clone(), &CreateOptions::default())?;
    let texts =
        ["Roses are pruned in late winter.", "Bread rises overnight.", "Bees dance to tell where food is."];
    for (number, text) in texts.into_iter().enumerate() {
        let (id, title) = (number.to_string(), String::new());
        database.add(&[Document { id, title, text: text.to_owned(), metadata: None }])?;
    }
    database.commit()?;
    drop(database);

    let database = Database::open(&path, encoder)?;
    for hit in database.search("when are roses pruned?", &SearchParams::new(mode))? {
        let text = database.document(&hit.doc_id)?.unwrap_or_default().text;
        println!("{:.4}  {}  {text}", hit.score, hit.doc_id);
    }
    Ok(())
}
