//! `secateur generation`: the same documents under several encoders.

use std::sync::Arc;
use std::time::Duration;

use secateur::database::VectorOptions;
use secateur::{Database, Document, Encoder, LoadOptions, SearchMode, SearchParams};
use serde_json::Value;

use crate::support::{Outcome, Sandbox, dataset, model, tree};

/// Two models: `tiny`, and `nested`, whose vectors may be cut to 16 numbers.
fn models() -> Sandbox {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let config = model::tiny(&sandbox.path("nested")).join("config.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    json["matryoshka_dimensions"] = serde_json::json!([16]);
    std::fs::write(config, json.to_string()).unwrap();
    sandbox
}

/// A sandbox with those, a data set, and its database `db` under the first.
fn databases(count: usize) -> Sandbox {
    let sandbox = models();
    dataset::generated(&sandbox.path("data"), count);
    let queries = ["honey bread", "rose winter saw", "lava"];
    let queries =
        queries.iter().enumerate().map(|(n, text)| format!("{{\"_id\": \"q{n}\", \"text\": \"{text}\"}}\n"));
    dataset::write(&sandbox.path("data"), "queries.jsonl", queries.collect::<String>());
    let qrels = (0..3).map(|n| format!("q{n}\tdoc-{}\t1\n", 7 * n + 1)).collect::<String>();
    dataset::write(&sandbox.path("data"), "qrels/test.tsv", format!("query-id\tcorpus-id\tscore\n{qrels}"));
    sandbox.run(["index", "data", "--out", "db", "--encoder", "tiny"]).ok();
    sandbox
}

const SMALL: [&str; 4] = ["--encoder", "nested", "--truncate-dim", "16"];

fn hits(sandbox: &Sandbox, database: &str, options: &[&str]) -> Value {
    let search = ["search", database, "honey bread", "--mode", "dense", "--json"];
    sandbox.run(search.iter().chain(options)).json()["hits"].clone()
}

/// Added, measured, used and dropped, a generation answers as a database of its own does.
#[test]
fn a_generation_is_added_measured_and_used() {
    let sandbox = databases(300);
    let full = hits(&sandbox, "db", &[]);
    sandbox.run(["index", "data", "--out", "fresh"].iter().chain(&SMALL)).ok();
    let small = hits(&sandbox, "fresh", &[]);
    assert_ne!(full, small);

    let said = sandbox.run(["generation", "add", "db", "small"].iter().chain(&SMALL)).ok();
    assert!(said.starts_with("db: generation small of 300 documents, in "), "{said}");
    assert_eq!(sandbox.names(), ["data", "db", "fresh", "nested", "tiny"], "the journal is gone");
    sandbox.run(["verify", "db"]).ok();
    assert_eq!(hits(&sandbox, "db", &[]), full, "it is not used yet");
    assert_eq!(hits(&sandbox, "db", &["--generation", "small"]), small);
    let eval = |database: &str, options: &[&str]| {
        sandbox.run(["eval", database, "data", "--mode", "dense", "--json"].iter().chain(options)).json()
    };
    assert_eq!(eval("db", &["--generation", "small"]), eval("fresh", &[]));
    let list = sandbox.run(["generation", "list", "db"]).ok();
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..4], ["*", "original", "48", "cosine"], "{list}");
    assert_eq!(lines[2][..3], ["small", "16", "cosine"], "{list}");

    sandbox.run(["generation", "use", "db", "small"]).ok();
    assert_eq!(hits(&sandbox, "db", &[]), small, "with its encoder");
    assert_eq!(hits(&sandbox, "db", &["--generation", "original"]), full);
    let list = sandbox.run(["generation", "list", "db", "--json"]).json();
    assert_eq!((&list[0]["in_use"], &list[1]["in_use"]), (&Value::from(false), &Value::from(true)));
    sandbox.run(["compact", "db"]).ok();
    assert_eq!(hits(&sandbox, "db", &["--generation", "original"]), full);
    sandbox.run(["generation", "use", "db", "original"]).ok();
    assert_eq!(hits(&sandbox, "db", &[]), full, "and back");

    sandbox.run(["generation", "drop", "db", "original"]).fails(4, ["\"original\" is in use"]);
    sandbox.run(["generation", "drop", "db", "small"]).ok();
    sandbox
        .run(["search", "db", "x", "--generation", "small"])
        .fails(4, ["no generation \"small\"; it has original"]);
    sandbox.run(["generation", "add", "db", "original"].iter().chain(&SMALL)).fails(4, ["already"]);
    sandbox.run(["generation", "add", "db", "a/b"].iter().chain(&SMALL)).fails(2, ["\"a/b\" is no name"]);
    sandbox.run(["generation", "add", "db", "more"]).fails(2, ["--encoder"]);
    sandbox.run(["verify", "db"]).ok();
    assert_eq!(hits(&sandbox, "db", &[]), full);
}

/// Stopped by a signal or killed, it leaves the database as it was, and goes on to the same bytes.
#[test]
#[cfg(unix)]
fn adding_goes_on_where_it_stopped() {
    let sandbox = databases(4000);
    let vectors = |sandbox: &Sandbox| -> Vec<Vec<u8>> {
        let files = tree(&sandbox.path("db")).into_iter();
        files.filter(|(path, _)| path.ends_with("g2/vectors")).map(|(_, bytes)| bytes).collect()
    };
    let arguments: Vec<&str> = ["generation", "add", "db", "small"].into_iter().chain(SMALL).collect();
    let before = tree(&sandbox.path("db").join("segments"));
    let journal = sandbox.path("db.small.journal");
    let mut kept = 0;
    for signal in ["-INT", "-KILL"] {
        let mut child = sandbox.start(&arguments);
        let len = || std::fs::metadata(&journal).map_or(0, |metadata| metadata.len());
        // A chunk more than there was: a header, and 128 rows of 16 numbers.
        while len() < kept.max(64) + 48 + 128 * 16 * 4 {
            assert!(child.try_wait().unwrap().is_none(), "it ended before a chunk was seen");
            std::thread::sleep(Duration::from_millis(1));
        }
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        let outcome = Outcome::wait(child);
        if signal == "-INT" {
            assert_eq!(outcome.status.code(), Some(130), "{outcome:?}");
            assert!(outcome.stderr.contains("run the same command again to go on"), "{outcome:?}");
        }
        assert!(!outcome.status.success());
        assert!(len() > kept, "the journal is kept");
        kept = len();
        assert_eq!(
            sandbox.run(["generation", "list", "db"]).ok().lines().count(),
            2,
            "a head and a generation"
        );
        sandbox.run(["verify", "db"]).ok();
    }
    sandbox.run(&arguments).ok();
    assert!(!journal.exists());
    let undisturbed = databases(4000);
    undisturbed.run(&arguments).ok();
    assert!(vectors(&sandbox) == vectors(&undisturbed) && vectors(&sandbox).len() == 1);
    let after = tree(&sandbox.path("db").join("segments"));
    assert!(before.iter().all(|(path, bytes)| after[path] == *bytes), "what was there is unchanged");
}

/// The library: an encoder answers for its own generation only, and documents need the encoders of
/// all.
#[test]
fn encoders_belong_to_generations() {
    let sandbox = models();
    let load = |name: &str, truncate_dim| {
        let options = LoadOptions { truncate_dim, ..LoadOptions::default() };
        Arc::new(Encoder::load(sandbox.path(name), &options).unwrap())
    };
    let (full, small) = (load("tiny", None), load("nested", Some(16)));
    let path = sandbox.path("db");
    let mut database = Database::builder(&path).encoder(full.clone()).create().unwrap();
    let document = |id: &str| Document {
        id: id.to_owned(),
        title: "bees".to_owned(),
        text: format!("honey {id}"),
        metadata: None,
    };
    database.add(&["a", "b", "c"].map(document)).unwrap();
    database.commit().unwrap();
    let options = VectorOptions::default();
    let journal = sandbox.path("db.small.journal");
    let mut done = Vec::new();
    database.add_generation("small", &small, &options, |count| done.push(count)).unwrap();
    assert_eq!((done, journal.exists()), (vec![3], false));
    assert_eq!(
        (database.generation_name(), database.dim(), database.generations().len()),
        (Some("original"), Some(48), 2)
    );
    for (name, right, wrong) in [("original", &full, &small), ("small", &small, &full)] {
        let opened = database.generation(name).unwrap().with_encoder(Arc::clone(right)).unwrap();
        assert_eq!((opened.generation_name(), opened.dim()), (Some(name), Some(right.dim())));
        let hits = opened.search("bees honey b", &SearchParams::new(SearchMode::Dense)).unwrap();
        assert_eq!((hits[0].doc_id.as_str(), hits.len()), ("b", 3));
        assert!(database.generation(name).unwrap().with_encoder(Arc::clone(wrong)).is_err());
    }
    let refused = database.add(&[document("d")]).unwrap_err().to_string();
    assert!(refused.contains("the encoder nested of generation \"small\" is not loaded"), "{refused}");
    database.delete("a").unwrap();
    assert!(database.add_generation("x", &small, &options, |_| {}).is_err(), "uncommitted");
    database.commit().unwrap();
    // Who has it open stays with the generation that was in use.
    database.use_generation("small").unwrap();
    assert_eq!((database.generation_name(), database.generation_in_use()), (Some("original"), Some("small")));
    assert_eq!(database.search("bees", &SearchParams::new(SearchMode::Dense)).unwrap().len(), 2);
    assert!(database.drop_generation("original").is_err(), "read by this value");
    let mut next = Database::open(&path).unwrap().with_encoder(small).unwrap();
    next.drop_generation("original").unwrap();
    assert_eq!(database.search("bees", &SearchParams::new(SearchMode::Dense)).unwrap().len(), 2, "read on");
    next.add(&[document("d")]).unwrap();
    next.commit().unwrap();
    assert_eq!(next.search("bees honey d", &SearchParams::new(SearchMode::Dense)).unwrap()[0].doc_id, "d");
    next.verify().unwrap();
}
