//! `secateur shards`, as users run it.

use crate::support::{Sandbox, dataset, ids, model, tree};

const HELP: [&str; 8] = ["plan", "build", "status", "finish", "verify", "search", "eval", "tune"];

/// Planned, built in parts, finished, verified, searched and evaluated: with the answers of one database.
#[test]
fn a_set_from_plan_to_evaluation() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    dataset::generated(&sandbox.path("data"), 300);
    dataset::write(&sandbox.path("data"), "queries.jsonl", "{\"_id\": \"q\", \"text\": \"honey bread\"}\n");
    dataset::write(&sandbox.path("data"), "qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\tdoc-7\t1\n");
    sandbox.run(["index", "data", "--encoder", "tiny", "--out", "db"]).ok();

    let said =
        sandbox.run(["shards", "plan", "data", "--encoder", "tiny", "--shards", "7", "--out", "set"]).ok();
    assert!(said.starts_with("set: 300 documents in 7 shards of 42 or 43, planned in "), "{said}");
    sandbox
        .run(["shards", "search", "set", "honey"])
        .fails(4, ["not finished", "secateur shards finish set"]);
    let said = sandbox.run(["shards", "build", "set", "3", "0"]).ok();
    assert_eq!(said.lines().count(), 2, "{said}");
    sandbox
        .run(["shards", "finish", "set"])
        .fails(4, ["shard 1 is not built", "secateur shards build set 1"]);
    let status = sandbox.run(["shards", "status", "set", "--json"]).json();
    let states = status["shards"].as_array().unwrap().iter().map(|shard| shard["state"].as_str().unwrap());
    assert_eq!(
        states.collect::<Vec<_>>(),
        ["built", "missing", "missing", "built", "missing", "missing", "missing"]
    );
    assert_eq!(status["finished"], false);
    // The corpus has moved; what is there is left alone.
    std::fs::rename(sandbox.path("data"), sandbox.path("moved")).unwrap();
    sandbox.run(["shards", "build", "set", "1"]).fails(3, ["data"]);
    let said =
        sandbox.run(["shards", "build", "set", "0", "1", "2", "3", "4", "5", "6", "--corpus", "moved"]).ok();
    assert!(said.contains("shard-00000: there already, with 42 documents"), "{said}");
    // An encoder that is given is compared, though nothing is left to encode.
    sandbox
        .run(["shards", "build", "set", "0", "--encoder", "default"])
        .fails(4, ["set", "vectors of tiny", "the encoder given is default"]);
    let said = sandbox.run(["shards", "build", "set", "0", "--encoder", "tiny"]).ok();
    assert!(said.contains("there already"), "{said}");
    let status = sandbox.run(["shards", "status", "set"]).ok();
    assert!(
        status.contains("7 of 7 shards built, not finished: run `secateur shards finish set`"),
        "{status}"
    );
    let said = sandbox.run(["shards", "finish", "set"]).ok();
    assert!(said.starts_with("set: finished; 300 documents in 7 shards, "), "{said}");
    let said = sandbox.run(["shards", "verify", "set"]).ok();
    assert!(said.starts_with("set: sound; 300 documents in 7 shards, "), "{said}");
    assert!(sandbox.run(["shards", "status", "set"]).ok().contains("7 of 7 shards built, finished"));
    let before = tree(&sandbox.path("set"));

    for options in
        [&["--mode", "bm25"][..], &["--mode", "dense"], &[], &["--candidates", "7", "--fusion", "sum"]]
    {
        let answer = |command: &[&str], what: &str| {
            let search = [what, "honey bread", "--json", "-k", "20"];
            sandbox.run(command.iter().chain(&search).chain(options)).json()
        };
        let expected = answer(&["search"], "db");
        assert_eq!(answer(&["shards", "search"], "set"), expected);
        assert_eq!(answer(&["search"], "set"), expected);
        assert!(ids(&expected).len() >= 14, "{expected}");
        let eval = |command: &[&str], what: &str| {
            sandbox.run(command.iter().chain(&[what, "moved", "--json"]).chain(options)).json()
        };
        assert_eq!(eval(&["shards", "eval"], "set"), eval(&["eval"], "db"));
    }
    let explained = sandbox.run(["shards", "search", "set", "honey", "--explain"]).ok();
    assert!(explained.contains("milliseconds"), "{explained}");
    let queries = ["--queries", "moved/queries.jsonl"];
    let lines =
        |command: &[&str], what: &str| sandbox.run(command.iter().chain(&[what]).chain(&queries)).ok();
    assert_eq!(lines(&["shards", "search"], "set"), lines(&["search"], "db"));
    assert_eq!(tree(&sandbox.path("set")), before, "searches write nothing");

    for command in ["info", "export", "verify", "compact", "generation list"] {
        let words = command.split(' ').chain(["set"]);
        sandbox.run(words).fails(4, ["set is a set of shards", "set/shard-00000", "secateur shards"]);
    }
    sandbox.run(["get", "set", "doc-7"]).fails(4, ["set is a set of shards"]);
    sandbox.run(["delete", "set", "doc-7"]).fails(4, ["set is a set of shards"]);
    std::fs::write(sandbox.path("servers.json"), r#"{"shards": [{"replicas": ["http://127.0.0.1:1"]}]}"#)
        .unwrap();
    for command in ["info", "shards status", "shards verify"] {
        let words = command.split(' ').chain(["servers.json"]);
        sandbox.run(words).fails(4, ["servers.json is a list of the servers", "secateur search"]);
    }
    sandbox.run(["shards", "build", "set", "7"]).fails(2, ["no shard 7", "has 7"]);
    sandbox.run(["shards", "search", "db", "honey"]).fails(4, ["db is no set of shards", "shards plan"]);
    sandbox.run(["shards", "plan", "moved", "--shards", "2", "--out", "set"]).fails(2, ["set exists"]);
    sandbox.run(["shards", "plan", "moved", "--shards", "0", "--out", "x"]).fails(2, ["0"]);
    sandbox
        .run(["shards", "search", "set", "honey", "--mode", "bm25", "--encoder", "tiny"])
        .fails(2, ["--encoder does nothing"]);
    for command in HELP {
        let help = sandbox.run(["shards", command, "--help"]).ok();
        assert!(help.contains("Example"), "{help}");
    }
}

/// Vectors of the caller's and the options of files are remembered.
#[test]
fn given_vectors_and_options_of_files() {
    let sandbox = Sandbox::new();
    let line =
        |n: usize| format!("{{\"key\": \"k{n}\", \"body\": \"word w{n}\", \"v\": [{n}, 1], \"n\": {n}}}\n");
    std::fs::write(sandbox.path("corpus.jsonl"), (0..9).map(line).collect::<String>()).unwrap();
    let fields = ["--id-field", "key", "--text-field", "body", "--vector-field", "v", "--metric", "l2"];
    let run = |arguments: &[&str]| sandbox.run(arguments.iter().chain(&fields)).ok();
    run(&["index", "corpus.jsonl", "--out", "db"]);
    run(&["shards", "plan", "corpus.jsonl", "--shards", "3", "--out", "set"]);
    sandbox.run(["shards", "build", "set", "2", "1", "0"]).ok();
    sandbox.run(["shards", "finish", "set"]).ok();
    for arguments in [&["--vector", "[4.4, 1]"][..], &["word", "--filter", "n >= 3"]] {
        let answer = |what: &str| sandbox.run(["search", what, "--json"].iter().chain(arguments)).json();
        assert_eq!(answer("set"), answer("db"));
    }
    sandbox.run(["search", "set", "word", "--filter", "m >= 3"]).fails(2, ["m", "n"]);
    sandbox.run(["search", "set", "--vector", "[1]"]).fails(2, ["2"]);
    // An id that is there twice is found when the set is planned.
    std::fs::write(sandbox.path("twice.jsonl"), line(1) + &line(2) + &line(1)).unwrap();
    let plan = ["shards", "plan", "twice.jsonl", "--shards", "3", "--out", "other"];
    sandbox.run(plan.iter().chain(&fields)).fails(3, ["twice.jsonl:3", "k1"]);
    assert!(!sandbox.path("other").exists());
}
