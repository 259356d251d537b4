//! Sets of shards: they answer as one database of the same documents does, and what is wrong with one is told.

mod building;
mod errors;
mod executable;
#[cfg(all(unix, feature = "serve"))]
mod remote;
mod same_answers;
mod tuning;

use std::path::Path;
use std::sync::Arc;

use secateur::shards::{CorpusSource, ShardPlan};
use secateur::{Database, DatabaseBuilder, Document, Encoder, Error, LoadOptions};

use crate::support::model;

/// A document on its way into a database.
type Item = Result<(Document, Option<Vec<f32>>), Error>;

fn items(documents: &[Document]) -> impl Iterator<Item = Item> {
    documents.iter().cloned().map(|document| Ok((document, None)))
}

/// A tiny model, loaded.
fn encoder(folder: &Path) -> Arc<Encoder> {
    Arc::new(Encoder::load(model::tiny(folder), &LoadOptions::default()).unwrap())
}

/// A planned set of these documents, with the settings of a builder.
fn planned(builder: DatabaseBuilder, num_shards: usize, documents: &[Document]) -> ShardPlan {
    let count = documents.len() as u64;
    builder.plan_shards(num_shards, count, items(documents), CorpusSource::default()).unwrap()
}

/// A finished set of these documents, by words only.
fn finished(path: &Path, num_shards: usize, documents: &[Document]) -> ShardPlan {
    let plan = planned(Database::builder(path), num_shards, documents);
    for number in 0..num_shards {
        plan.build(number, None, items(documents), |_| {}).unwrap();
    }
    plan.finish().unwrap();
    plan
}

fn some_documents(count: usize) -> Vec<Document> {
    let document = |number: usize| {
        Document::new(format!("d{number}"), format!("text number {number} of {}", number % 3))
            .metadata(format!("{{\"n\": {}}}", number % 4))
    };
    (0..count).map(document).collect()
}
