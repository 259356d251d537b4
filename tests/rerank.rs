//! `secateur rerank`: a run is ranked anew.

use secateur::LoadOptions;
use secateur::datasets::trec;
use secateur::encode::CrossEncoder;

use crate::support::dataset::{small, write};
use crate::support::{Sandbox, model};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    small(&sandbox.path("data"));
    model::tiny_cross_encoder(&sandbox.path("model"));
    let run = "q1 Q0 d1 1 3 x\nq1 Q0 d2 2 2 x\nq1 Q0 d3 3 1 x\nq2 Q0 d3 1 9 x\nq2 Q0 d1 2 8 x\n";
    write(&sandbox.path("."), "first.run", run);
    sandbox
}

fn rerank(rest: &[&str]) -> Vec<String> {
    let start = ["rerank", "model", "--run", "first.run", "--dataset", "data", "--out", "second.run"];
    start.iter().chain(rest).map(|argument| (*argument).to_owned()).collect()
}

#[test]
fn documents_are_ranked_by_the_models_logits() {
    let sandbox = sandbox();
    let said = sandbox.run(rerank(&[])).ok();
    assert!(said.starts_with("second.run: 2 queries, 5 pairs scored by model in "), "{said}");
    let run = trec::read_run(sandbox.path("second.run")).unwrap();

    let cross_encoder = CrossEncoder::load(sandbox.path("model"), &LoadOptions::default()).unwrap();
    let passages = [
        ("d1", "Roses Prune roses in late winter."),
        ("d2", "Bread rises overnight."),
        ("d3", "Bees Bees dance to tell where food is."),
    ];
    for (query_id, query, num_hits) in [("q1", "pruning roses", 3), ("q2", "dance of bees", 2)] {
        let hits = &run[query_id];
        assert_eq!(hits.len(), num_hits);
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        for hit in hits {
            let (_, passage) = passages.iter().find(|(id, _)| *id == hit.doc_id).unwrap();
            let score = cross_encoder.score(&[(query, *passage)]).unwrap()[0];
            assert_eq!(hit.score, f64::from(score), "{query_id} {}", hit.doc_id);
        }
    }
    // The scores tell the documents apart, so the order is the model's.
    assert!(run["q1"].windows(2).all(|pair| pair[0].score > pair[1].score));
    sandbox.run(["eval-run", "second.run", "data"]).ok();
}

#[test]
fn only_the_top_is_read_and_kept() {
    let sandbox = sandbox();
    sandbox.run(rerank(&["--top", "2"])).ok();
    let run = trec::read_run(sandbox.path("second.run")).unwrap();
    let mut ids: Vec<&str> = run["q1"].iter().map(|hit| hit.doc_id.as_str()).collect();
    ids.sort();
    assert_eq!(ids, ["d1", "d2"]);
}

#[test]
fn a_run_of_another_data_set_and_a_model_of_another_kind_are_refused() {
    let sandbox = sandbox();
    write(&sandbox.path("."), "first.run", "q1 Q0 gone 1 3 x\n");
    sandbox
        .run(rerank(&[]))
        .fails(3, ["query \"q1\"", "document \"gone\"", "which the corpus does not hold"]);
    write(&sandbox.path("."), "first.run", "q9 Q0 d1 1 3 x\n");
    sandbox.run(rerank(&[])).fails(3, ["the run names query \"q9\""]);
    write(&sandbox.path("."), "first.run", "q1 Q0 d1 1 3 x\n");
    std::fs::remove_dir_all(sandbox.path("model")).unwrap();
    sandbox.run(rerank(&[])).fails(3, ["there is no model directory model"]);
    model::tiny(&sandbox.path("model"));
    sandbox.run(rerank(&[])).fails(3, ["model is no cross-encoder", "ForSequenceClassification"]);
    assert!(!sandbox.path("second.run").exists());
}
