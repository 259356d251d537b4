//! Two stages: BM25 finds candidates, a model reads them again: `cargo run --example rerank [CROSS_ENCODER_DIRECTORY]`.
//!
//! Without a cross-encoder the encoder in the box is the second stage.
#![allow(clippy::print_stdout, reason = "a program prints its answer")]

use std::collections::HashMap;

use secateur::datasets::beir::BeirFolder;
use secateur::encode::{CrossEncoder, Reranker, ScorePairs, default_encoder};
use secateur::eval::{Measure, RuleSet, evaluate};
use secateur::train::Teacher;
use secateur::{Database, LoadOptions, SearchMode, SearchParams};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mini = BeirFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/mini"))?;
    let qrels = mini.qrels("test")?;
    let queries = mini.judged_queries(&qrels)?;

    let database = Database::builder(folder.path().join("mini.db")).build_from(mini.corpus()?, |_| {})?;
    let candidates =
        database.run(&queries, &SearchParams { k: 20, ..SearchParams::new(SearchMode::Bm25) })?;

    let options = LoadOptions::default();
    let model: Box<dyn ScorePairs> = match std::env::args().nth(1) {
        Some(directory) => Box::new(CrossEncoder::load(directory, &options)?),
        None => Box::new(Teacher::from(default_encoder(&options)?)),
    };
    let mut passages = HashMap::new();
    for hit in candidates.values().flatten() {
        let document = database.document(&hit.doc_id)?.ok_or("a hit has a document")?;
        passages.insert(document.id.clone(), document.passage(" "));
    }
    let reranked = Reranker { model: &*model, k: 20 }.rerank(&candidates, &queries, &passages, |_| {})?;

    let ndcg = |run| evaluate(&qrels, run, &Measure::DEFAULT, &RuleSet::TrecEval.rules(false));
    let [before, after] = [ndcg(&candidates)?.means[0], ndcg(&reranked)?.means[0]];
    println!("nDCG@10 of the candidates {before:.4}, read again {after:.4}");
    assert!(after > 0.5, "the second stage is no worse than a guess");
    assert!(reranked.iter().all(|(query_id, hits)| hits.len() == candidates[query_id].len()));
    Ok(())
}
