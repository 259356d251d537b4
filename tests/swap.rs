//! `secateur swap` and `secateur rollback`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secateur::datasets::beir::BeirFolder;
use secateur::swap::SwapOptions;
use secateur::{Database, Document, Encoder, LoadOptions, SearchMode, SearchParams};
use secateur_files::faults::at_every_operation;
use serde_json::Value;

use crate::support::{Outcome, Sandbox, copy_folder, dataset, mini, model};

/// A sandbox with the bundled collection as the database `db` under the encoder in the box, and a tiny model whose
/// vectors mean nothing.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    copy_folder(&mini(), &sandbox.path("mini"));
    sandbox.run(["index", "mini", "--out", "db", "--encoder", "default"]).ok();
    sandbox
}

const SHORT: [&str; 8] = ["swap", "db", "--on", "mini", "--encoder", "default", "--max-length", "24"];

fn in_use(sandbox: &Sandbox) -> String {
    let list = sandbox.run(["generation", "list", "db", "--json"]).json();
    let used = list.as_array().unwrap().iter().find(|generation| generation["in_use"] == true).unwrap();
    used["name"].as_str().unwrap().to_owned()
}

fn hits(sandbox: &Sandbox, options: &[&str]) -> Value {
    let search = ["search", "db", "how bees dance", "--mode", "dense", "--json"];
    sandbox.run(search.iter().chain(options)).json()["hits"].clone()
}

/// A good encoder takes the place, a bad one does not, and each step can be undone.
#[test]
fn a_good_encoder_is_swapped_in_and_a_bad_one_is_not() {
    let sandbox = sandbox();
    let before = hits(&sandbox, &[]);
    let gate = ["--max-ndcg-drop", "0.05", "--mode", "dense", "--json"];
    let refused = sandbox.run(["swap", "db", "--on", "mini", "--encoder", "tiny"].iter().chain(&gate));
    let report: Value = serde_json::from_str(&refused.stdout).unwrap();
    refused.fails(5, ["\"gate\"", "nDCG@10 falls from 0.", "by more than 0.05", "generation drop db tiny"]);
    assert_eq!((&report["is_switched"], &report["was_there"]), (&Value::from(false), &Value::from(false)));
    let means = |run: usize| report["comparison"]["runs"][run]["means"][0].as_f64().unwrap();
    let breach = format!("nDCG@10 falls from {:.4} to {:.4}, by more than 0.05", means(0), means(1));
    assert_eq!(report["breaches"][0].as_str(), Some(breach.as_str()));
    let difference = &report["comparison"]["against_first"][0]["by_measure"][0];
    assert!(difference["randomization"].as_f64().unwrap() < 0.05, "{difference}");
    let moved = &report["comparison"]["against_first"][0]["moved"][0];
    assert!(moved["text"].is_string() && moved["answers"][0][0]["title"].is_string(), "{moved}");
    assert_eq!(hits(&sandbox, &[]), before, "the old generation serves");
    // Both means are those of `eval` by the same rules.
    for (run, options) in [(0, &[][..]), (1, &["--generation", "tiny"])] {
        let eval = ["eval", "db", "mini", "--mode", "dense", "--rules", "mteb", "-k", "100", "--json"];
        let measured = sandbox.run(eval.iter().chain(options)).json();
        assert!((measured["means"]["nDCG@10"].as_f64().unwrap() - means(run)).abs() < 1e-12, "{measured}");
    }

    // It is not encoded again, and a wide gate lets it through.
    let wide = ["swap", "db", "--on", "mini", "--encoder", "tiny", "--max-ndcg-drop", "1", "--json"];
    let report = sandbox.run(wide).json();
    assert_eq!((&report["is_switched"], &report["was_there"]), (&Value::from(true), &Value::from(true)));
    assert_eq!(in_use(&sandbox), "tiny");
    assert_eq!(
        sandbox.run(["rollback", "db"]).ok(),
        "db: generation original is in use again, in place of tiny\n"
    );
    assert_eq!(hits(&sandbox, &[]), before);
    sandbox.run(["rollback", "db"]).fails(4, ["\"original\" took the place of no other", "generation list"]);

    // The same encoder with fewer tokens is another encoder. Its latency is measured.
    let said = sandbox.run(SHORT.iter().chain(&["--max-ndcg-drop", "0.2", "--max-latency-ratio", "50"])).ok();
    for part in
        ["generation", "original  default", "median query, ms", "latency ratio ", "default against original"]
    {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(
        said.ends_with("generation default is in use; `secateur rollback db` goes back to original\n"),
        "{said}"
    );
    assert_eq!(hits(&sandbox, &[]), hits(&sandbox, &["--generation", "default"]));
    // What was swapped in can be replaced in turn, and all of it be undone.
    sandbox.run(wide).ok();
    for (name, place) in [("default", "tiny"), ("original", "default")] {
        let said = sandbox.run(["rollback", "db"]).ok();
        assert_eq!(said, format!("db: generation {name} is in use again, in place of {place}\n"));
    }
    sandbox.run(SHORT.iter().chain(&["--max-ndcg-drop", "1"])).ok();
    sandbox.run(["generation", "drop", "db", "original"]).ok();
    sandbox.run(["rollback", "db"]).fails(4, ["\"original\", whose place \"default\" took, was dropped"]);
    sandbox.run(["verify", "db"]).ok();
}

/// Without judgments the answers of before are what counts.
#[test]
fn without_judgments_answers_must_stay() {
    let sandbox = sandbox();
    std::fs::remove_dir_all(sandbox.path("mini/qrels")).unwrap();
    sandbox.run(SHORT).fails(2, ["--min-overlap", "no judgments"]);
    sandbox
        .run(SHORT.iter().chain(&["--max-ndcg-drop", "0.1"]))
        .fails(2, ["--max-ndcg-drop", "--min-overlap"]);
    sandbox
        .run(SHORT.iter().chain(&["--min-overlap", "0.9", "--rules", "beir"]))
        .fails(2, ["--rules", "no judgments"]);
    assert_eq!(sandbox.run(["generation", "list", "db"]).ok().lines().count(), 2, "nothing was encoded");
    let tiny = ["swap", "db", "--on", "mini", "--encoder", "tiny", "--mode", "dense"];
    let refused = sandbox.run(tiny.iter().chain(&["--min-overlap", "0.9"]));
    assert!(refused.stdout.contains("changed most, by the share"), "{refused:?}");
    refused.fails(5, ["of the first ten documents stay the same, less than 0.9"]);
    assert_eq!(in_use(&sandbox), "original");
    let report = sandbox.run(tiny.iter().chain(&["--min-overlap", "0", "--json"])).json();
    assert!(report["comparison"].is_null() && report["is_switched"] == true, "{report}");
    assert!(report["overlap_at_10"].as_f64().unwrap() < 0.9);
}

#[test]
fn wrong_questions_are_refused_before_anything_is_encoded() {
    let sandbox = sandbox();
    let swap = |rest: &[&str]| sandbox.run(["swap", "db"].iter().chain(rest));
    let drop = ["--max-ndcg-drop", "0.01"];
    swap(&["--on", "mini", "--encoder", "tiny"]).fails(2, ["--max-ndcg-drop", "say how much"]);
    swap(&["--on", "mini", drop[0], drop[1]]).fails(2, ["--encoder"]);
    swap(&["--on", "gone", "--encoder", "tiny", drop[0], drop[1]]).fails(3, ["no folder gone"]);
    swap(&["--on", "mini", "--encoder", "gone/x/y", drop[0], drop[1]]).fails(3, ["gone/x/y"]);
    swap(&["--on", "mini", "--encoder", "tiny", drop[0], "2"]).fails(2, ["from -1 to 1"]);
    swap(&["--on", "mini", "--encoder", "tiny", "--mode", "bm25", drop[0], "1"]).fails(2, ["--mode: words"]);
    swap(&["--on", "mini", "--encoder", "tiny", "--name", "a/b", drop[0], "1"])
        .fails(2, ["\"a/b\" is no name"]);
    swap(&["--on", "mini", "--encoder", "tiny", "--name", "original", drop[0], "1"]).fails(4, ["already"]);
    swap(&["--on", "mini", "--encoder", "default", drop[0], "1"])
        .fails(2, ["default made the vectors of generation original", "--name"]);
    // A data set of other documents can lose nothing.
    dataset::small(&sandbox.path("other"));
    swap(&["--on", "other", "--encoder", "tiny", drop[0], "1"])
        .fails(3, ["other: ", "judgments", "does not hold"]);
    sandbox.run(["index", "mini", "--encoder", "none", "--out", "words"]).ok();
    sandbox
        .run(["swap", "words", "--on", "mini", "--encoder", "tiny", drop[0], "1"])
        .fails(4, ["words has no vectors"]);
    sandbox.run(["rollback", "words"]).fails(4, ["no generations"]);
    sandbox.run(["rollback", "gone"]).fails(4, ["gone"]);
    assert_eq!(sandbox.run(["generation", "list", "db"]).ok().lines().count(), 2);
    assert_eq!(sandbox.names(), ["db", "mini", "other", "tiny", "words"], "no journal is left");
}

/// Killed while it encodes and while it measures, it leaves the old generation in use, and goes on.
#[test]
#[cfg(unix)]
fn a_swap_goes_on_where_it_was_killed() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    dataset::generated(&sandbox.path("data"), 3000);
    let queries: String =
        (0..400).map(|n| format!("{{\"_id\": \"q{n}\", \"text\": \"honey rose {n}\"}}\n")).collect();
    dataset::write(&sandbox.path("data"), "queries.jsonl", queries);
    sandbox.run(["index", "data", "--out", "db", "--encoder", "tiny"]).ok();
    let swap = ["swap", "db", "--on", "data", "--encoder", "tiny", "--max-length", "12", "--name", "short"];
    let swap: Vec<&str> = swap.into_iter().chain(["--min-overlap", "0", "--mode", "dense"]).collect();
    let journal = sandbox.path("db.short.journal");
    let encodes = || std::fs::metadata(&journal).is_ok_and(|file| file.len() > 40_000);
    let is_encoded = || Database::open(sandbox.path("db")).unwrap().generations().len() == 2;
    for (stage, reached) in [("encoding", &encodes as &dyn Fn() -> bool), ("measuring", &is_encoded)] {
        let mut child = sandbox.start(&swap);
        while !reached() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before {stage}");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        assert!(!Outcome::wait(child).status.success());
        let database = Database::open(sandbox.path("db")).unwrap();
        assert_eq!(database.generation_in_use(), Some("original"), "killed while {stage}");
        database.verify().unwrap();
    }
    let said = sandbox.run(swap.iter().chain(&["--json"])).json();
    assert_eq!((&said["was_there"], &said["is_switched"]), (&Value::from(true), &Value::from(true)));
    assert!(!journal.exists() && in_use(&sandbox) == "short");
    sandbox.run(["verify", "db"]).ok();
}

fn options() -> SwapOptions {
    SwapOptions {
        name: Some("new".to_owned()),
        max_ndcg_drop: Some(1.0),
        timed_queries: 1,
        repetitions: 1,
        ..SwapOptions::default()
    }
}

/// Whichever operation of the disk fails, or the power: one of both generations serves, whole, and the next attempt
/// succeeds; so with the way back.
#[test]
fn a_swap_survives_failures_of_the_disk() {
    let sandbox = Sandbox::new();
    let load = |max_length| {
        let options = LoadOptions { max_length, ..LoadOptions::default() };
        Arc::new(Encoder::load(model::tiny(&sandbox.path("tiny")), &options).unwrap())
    };
    let (old, new) = (load(None), load(Some(4)));
    dataset::small(&sandbox.path("data"));
    let data = BeirFolder::open(sandbox.path("data")).unwrap();
    let documents: Vec<Document> = data.corpus().unwrap().map(|document| document.unwrap()).collect();
    let mut database =
        Database::builder(sandbox.path("whole/db")).encoder(Arc::clone(&old)).create().unwrap();
    database.add(&documents).unwrap();
    database.commit().unwrap();
    let open = |folder: &Path| Database::open(folder.join("db")).unwrap();
    let swap = |folder: &Path| {
        let mut database = open(folder).with_encoder(Arc::clone(&old)).unwrap();
        options().swap(&mut database, &new, &data, &mut |_| {})
    };
    let serves = |folder: &Path, what: &str| -> String {
        let database = open(folder);
        database.verify().unwrap();
        let name = database.generation_in_use().unwrap().to_owned();
        let encoder = if name == "new" { &new } else { &old };
        let database = database.with_encoder(Arc::clone(encoder)).unwrap();
        let hits = database.search(&documents[0].text, &SearchParams::new(SearchMode::Dense)).unwrap();
        assert_eq!(hits.len(), documents.len(), "{what}");
        name
    };
    std::fs::create_dir_all(sandbox.path("faults-of-swap")).unwrap();
    at_every_operation(
        &sandbox.path("faults-of-swap"),
        |folder| copy_folder(&sandbox.path("whole"), folder),
        swap,
        |folder, result, case| {
            let name = serves(folder, &case.to_string());
            match &result {
                Ok(report) => assert!(report.is_switched && name == "new", "{case}"),
                Err(_) => assert!(name == "original" || name == "new", "{case}: {name}"),
            }
            if name == "original" {
                assert!(swap(folder).unwrap().is_switched, "{case}");
            }
            assert_eq!(serves(folder, &case.to_string()), "new", "{case}");
        },
    );
    // Swapped in, and back.
    assert!(swap(&sandbox.path("whole")).unwrap().is_switched);
    std::fs::create_dir_all(sandbox.path("faults-of-rollback")).unwrap();
    at_every_operation(
        &sandbox.path("faults-of-rollback"),
        |folder| copy_folder(&sandbox.path("whole"), folder),
        |folder| open(folder).restore_generation(),
        |folder, result, case| {
            let name = serves(folder, &case.to_string());
            assert!(name == "original" || result.is_err(), "{case}");
            if name == "new" {
                assert_eq!(open(folder).restore_generation().unwrap(), "original", "{case}");
            }
            assert_eq!(serves(folder, &case.to_string()), "original", "{case}");
        },
    );
}

/// Who switches while another compares is not overruled.
#[test]
fn a_generation_that_somebody_else_chose_is_not_replaced() {
    let sandbox = sandbox();
    sandbox.run(["generation", "add", "db", "other", "--encoder", "tiny"]).ok();
    let load = |max_length| {
        let options = LoadOptions { max_length, ..LoadOptions::default() };
        Arc::new(secateur::encode::default_encoder(&options).unwrap())
    };
    let mut database = Database::open(sandbox.path("db")).unwrap().with_encoder(load(None)).unwrap();
    let data = BeirFolder::open(sandbox.path("mini")).unwrap();
    let mut is_switched = false;
    let refused = options().swap(&mut database, &load(Some(24)), &data, &mut |progress| {
        if format!("{progress:?}").contains("timing") && !is_switched {
            Database::open(sandbox.path("db")).unwrap().use_generation("other").unwrap();
            is_switched = true;
        }
    });
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("\"original\" was to be replaced, and \"other\" is in use"), "{error}");
    assert_eq!(in_use(&sandbox), "other");
}
