//! What is done with the documents of a database from the command line: add, upsert, delete, get, export, info.

use serde_json::{Value, json};

use crate::support::{Sandbox, mini, model};

fn write(sandbox: &Sandbox, name: &str, content: &str) {
    let path = sandbox.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// The ids and texts of all documents.
fn exported(sandbox: &Sandbox, db: &str) -> Vec<(String, String)> {
    let lines = sandbox.run(["export", db]).ok();
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let pair = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (text(&line, "_id"), text(&line, "text"))
    };
    lines.lines().map(pair).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect()
}

/// Of an id that comes several times `add` refuses the second, and `upsert` keeps the last, as the guide says.
#[test]
fn an_id_that_comes_twice_in_a_file() {
    let sandbox = Sandbox::new();
    write(&sandbox, "a.jsonl", "{\"id\": 1, \"text\": \"red roses\"}\n");
    write(&sandbox, "b.jsonl", "{\"id\": 2, \"text\": \"first\"}\n{\"id\": 2, \"text\": \"last\"}\n");
    sandbox.run(["index", "a.jsonl", "--encoder", "none", "--out", "db"]).ok();
    sandbox.run(["add", "db", "b.jsonl"]).fails(3, ["b.jsonl:2", "\"2\""]);
    assert_eq!(exported(&sandbox, "db"), pairs(&[("1", "red roses")]));
    sandbox.run(["upsert", "db", "b.jsonl"]).ok();
    assert_eq!(exported(&sandbox, "db"), pairs(&[("1", "red roses"), ("2", "last")]));
}

#[test]
fn documents_are_added_replaced_deleted_and_read() {
    for encoder in [None, Some("tiny")] {
        let sandbox = Sandbox::new();
        model::tiny(&sandbox.path("tiny"));
        write(&sandbox, "a.jsonl", "{\"id\": 1, \"text\": \"red roses\", \"year\": 2020}\n");
        write(&sandbox, "b.csv", "id,text,year\n2,white bread,1999\n3,honey bees,2021\n");
        let mut index = vec!["index", "a.jsonl", "--out", "db"];
        index.extend(["--encoder", encoder.unwrap_or("none")]);
        sandbox.run(index).ok();
        let said = sandbox.run(["add", "db", "b.csv"]).ok();
        assert!(said.starts_with("db: 2 documents added, 3 in all"), "{said}");
        let all = [("1", "red roses"), ("2", "white bread"), ("3", "honey bees")];
        assert_eq!(exported(&sandbox, "db"), pairs(&all));

        // An id that is taken is refused, and nothing of the file is added.
        write(
            &sandbox,
            "c.jsonl",
            "{\"id\": 4, \"text\": \"new\"}\n{\"id\": 2, \"text\": \"brown bread\"}\n",
        );
        sandbox
            .run(["add", "db", "c.jsonl"])
            .fails(3, ["c.jsonl:2: document \"2\" is stored already", "upsert"]);
        assert_eq!(exported(&sandbox, "db"), pairs(&all));
        let report = sandbox.run(["upsert", "db", "c.jsonl", "--json"]).json();
        assert_eq!(
            (&report["added"], &report["replaced"], &report["documents"]),
            (&json!(1), &json!(1), &json!(4))
        );
        let changed = [("1", "red roses"), ("3", "honey bees"), ("4", "new"), ("2", "brown bread")];
        assert_eq!(exported(&sandbox, "db"), pairs(&changed));
        let found = sandbox.run(["search", "db", "brown", "--mode", "bm25", "--json"]).json();
        assert_eq!(found["hits"][0]["doc_id"], "2");

        let got = sandbox.run(["get", "db", "3", "1"]).ok();
        assert_eq!(got.lines().count(), 2);
        assert!(got.contains("\"metadata\":{\"year\":2021}"), "{got}");
        let missing = sandbox.run(["get", "db", "1", "nothing"]);
        assert!(missing.stdout.contains("red roses"), "{missing:?}");
        missing.fails(4, ["no document has the id \"nothing\""]);

        // Nothing is deleted if one of the ids is not there.
        sandbox
            .run(["delete", "db", "1", "9"])
            .fails(4, ["\"9\"", "nothing was deleted", "--ignore-missing"]);
        assert_eq!(exported(&sandbox, "db").len(), 4);
        // An id that is named twice is one document.
        let said = sandbox.run(["delete", "db", "1", "9", "1", "--ignore-missing"]).ok();
        assert_eq!(said, "db: 1 document deleted, 1 id not found, 3 left\n");
        let count = sandbox.run(["delete", "db", "--filter", "year >= 2000", "--dry-run", "--json"]).json();
        assert_eq!((&count["deleted"], &count["documents"]), (&json!(1), &json!(2)));
        assert_eq!(exported(&sandbox, "db").len(), 3);
        sandbox.run(["delete", "db", "--filter", "year >= 2000"]).ok();
        write(&sandbox, "ids", "4\n");
        sandbox.run(["delete", "db", "--ids", "ids"]).ok();
        assert_eq!(exported(&sandbox, "db"), pairs(&[("2", "brown bread")]));
        sandbox.run(["delete", "db"]).fails(2, ["say what to delete"]);
        sandbox.run(["verify", "db"]).ok();
    }
}

/// What is exported and indexed again is the same.
#[test]
fn an_export_is_an_input() {
    let sandbox = Sandbox::new();
    sandbox.run(["index", mini().to_str().unwrap(), "--out", "db"]).ok();
    sandbox.run(["export", "db", "--out", "all.jsonl.gz"]).ok();
    sandbox.run(["index", "all.jsonl.gz", "--out", "again"]).ok();
    assert_eq!(sandbox.run(["export", "db"]).ok(), sandbox.run(["export", "again"]).ok());
    let few = sandbox.run(["export", "db", "--filter", "year >= 2018"]).ok();
    assert!((1..63).contains(&few.lines().count()));
}

/// Each encoder makes the vectors of what is new: every generation finds what was added while there were two.
#[test]
fn documents_are_added_to_every_generation() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    write(&sandbox, "a.jsonl", "{\"id\": \"a\", \"text\": \"red roses\"}\n");
    write(&sandbox, "b.jsonl", "{\"id\": \"b\", \"text\": \"white bread\"}\n");
    sandbox.run(["index", "a.jsonl", "--encoder", "tiny", "--out", "db"]).ok();
    sandbox.run(["generation", "add", "db", "box", "--encoder", "default"]).ok();
    sandbox.run(["add", "db", "b.jsonl"]).ok();
    sandbox.run(["upsert", "db", "a.jsonl"]).ok();
    for generation in ["original", "box"] {
        for (query, id) in [("white bread", "b"), ("red roses", "a")] {
            let search = ["search", "db", query, "--mode", "dense", "--generation", generation, "--json"];
            assert_eq!(sandbox.run(search).json()["hits"][0]["doc_id"], id, "{generation}");
        }
    }
    // Without one of the encoders nothing is added, and it is named.
    std::fs::rename(sandbox.path("tiny"), sandbox.path("moved")).unwrap();
    sandbox.run(["generation", "use", "db", "box"]).ok();
    write(&sandbox, "c.jsonl", "{\"id\": \"c\", \"text\": \"x\"}\n");
    sandbox.run(["add", "db", "c.jsonl"]).fails(3, ["generation original", "drop the generation"]);
    sandbox.run(["generation", "drop", "db", "original"]).ok();
    sandbox.run(["add", "db", "c.jsonl"]).ok();
    sandbox.run(["verify", "db"]).ok();
}

/// An encoder that has moved is written down once, if it is the one that made the vectors.
#[test]
fn a_moved_encoder_is_written_down() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    write(&sandbox, "a.jsonl", "{\"id\": \"a\", \"text\": \"red roses\"}\n");
    let passages = ["--passages", "4,1", "--max-length", "9"];
    sandbox.run(["index", "a.jsonl", "--encoder", "tiny", "--out", "db"].iter().chain(&passages)).ok();
    std::fs::rename(sandbox.path("tiny"), sandbox.path("moved")).unwrap();
    sandbox.run(["search", "db", "roses"]).fails(3, ["tiny", "generation relocate db --encoder MODEL"]);
    sandbox
        .run(["generation", "relocate", "db", "--encoder", "default"])
        .fails(4, ["vectors of tiny", "the encoder given is default"]);
    sandbox.run(["generation", "relocate", "db", "nothing", "--encoder", "moved"]).fails(4, ["nothing"]);
    let said = sandbox.run(["generation", "relocate", "db", "--encoder", "moved"]).ok();
    assert!(
        said.starts_with("db: the encoder of generation original is ") && said.ends_with("moved\n"),
        "{said}"
    );
    let found = sandbox.run(["search", "db", "roses", "--mode", "dense", "--json"]).json();
    assert_eq!(found["hits"][0]["doc_id"], "a");
    // What is added is cut and split as before.
    write(&sandbox, "b.jsonl", "{\"id\": \"b\", \"text\": \"white bread with honey\"}\n");
    sandbox.run(["add", "db", "b.jsonl"]).ok();
    let info = sandbox.run(["info", "db", "--json"]).json();
    assert!(info["generations"][0]["passages"]["count"].as_u64().unwrap() > 5, "{info}");
    sandbox.run(["verify", "db"]).ok();
}

#[test]
fn info_says_what_is_there() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    write(
        &sandbox,
        "a.jsonl",
        "{\"id\": 1, \"text\": \"x\", \"year\": 2020, \"tags\": [\"a\", 3]}\n\
         {\"id\": 2, \"text\": \"y\", \"year\": \"new\", \"in\": {\"a b\": true}}\n",
    );
    sandbox.run(["index", "a.jsonl", "--encoder", "tiny", "--index", "hnsw", "--out", "db"]).ok();
    let info = sandbox.run(["info", "db", "--json"]).json();
    assert_eq!((&info["documents"], &info["deleted"], &info["segments"]), (&json!(2), &json!(0), &json!(1)));
    let generation = &info["generations"][0];
    assert_eq!(
        (&generation["name"], &generation["index"], &generation["ef"]),
        (&json!("original"), &json!("hnsw"), &json!(100))
    );
    assert!(generation["path"].as_str().unwrap().ends_with("tiny"));
    assert_eq!(generation["fingerprint"].as_str().unwrap().len(), 64);
    let fields = &info["fields"];
    assert_eq!(
        fields[0],
        json!({"field": "`in`.`a b`", "documents": 1, "booleans": 1, "numbers": 0, "strings": 0})
    );
    assert_eq!(
        fields[1],
        json!({"field": "tags", "documents": 1, "booleans": 0, "numbers": 1, "strings": 1})
    );
    assert_eq!(
        fields[2],
        json!({"field": "year", "documents": 2, "booleans": 0, "numbers": 1, "strings": 1})
    );
    let text = sandbox.run(["info", "db"]).ok();
    for part in
        ["db: 2 documents; 1 segment", "generation original, in use", "hnsw, ef 100", "year", "numbers (1)"]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// Vectors of the caller's, from a file with ids or from a field, and searches by a vector.
#[test]
fn vectors_may_come_from_elsewhere() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    write(
        &sandbox,
        "a.jsonl",
        "{\"id\": \"n\", \"text\": \"up\", \"v\": [0, 1]}\n{\"id\": \"e\", \"text\": \"right\", \"v\": [1, 0]}\n",
    );
    sandbox.run(["index", "a.jsonl", "--vector-field", "v", "--metric", "inner-product", "--out", "db"]).ok();
    let found = sandbox.run(["search", "db", "--vector", "[0.9, 0.1]", "--json"]).json();
    assert_eq!((&found["hits"][0]["doc_id"], &found["hits"][0]["metadata"]), (&json!("e"), &Value::Null));
    sandbox.run(["search", "db", "--vector", "[0.9]"]).fails(2, ["1 dimensions", "2"]);
    write(&sandbox, "b.jsonl", "{\"id\": \"w\", \"text\": \"left\", \"v\": [-1, 0]}\n");
    sandbox.run(["add", "db", "b.jsonl"]).fails(2, ["--vector-field"]);
    sandbox.run(["upsert", "db", "b.jsonl", "--vector-field", "v"]).ok();
    let lines = sandbox.run(["search", "db", "--vector", "[-1, 0]", "-k", "1", "--json"]).json();
    assert_eq!(lines["hits"][0]["doc_id"], "w");

    // What `encode` writes, `index` reads: the answers are those of a database with that encoder.
    let mini = mini();
    let mini = mini.to_str().unwrap();
    sandbox.run(["encode", mini, "--encoder", "tiny", "--out", "m.npy"]).ok();
    sandbox.run(["index", mini, "--npy", "m.npy", "--encoder", "none", "--out", "none"]).ok();
    sandbox.run(["index", mini, "--npy", "m.npy", "--out", "given"]).ok();
    sandbox.run(["index", mini, "--encoder", "tiny", "--out", "made"]).ok();
    let vectors =
        |db: &str| crate::support::segment::read(&sandbox.path(db), "0000000001", "vectors").unwrap();
    assert_eq!(vectors("given"), vectors("made"));
    // Without ids rows go by their place, so a matrix of other documents must not pass.
    std::fs::rename(sandbox.path("m.npy"), sandbox.path("n.npy")).unwrap();
    for verb in ["index", "add"] {
        let arguments = match verb {
            "index" => vec!["index", "a.jsonl", "--npy", "n.npy", "--out", "few"],
            _ => vec!["add", "given", "a.jsonl", "--npy", "n.npy"],
        };
        sandbox
            .run(arguments)
            .fails(3, ["n.npy: the matrix has 63 rows", "there are 2 documents", ".npy.ids"]);
    }
    assert!(!sandbox.path("few").exists());
    assert_eq!(exported(&sandbox, "given").len(), 63);
}

#[test]
fn explanations_say_where_scores_come_from() {
    let sandbox = Sandbox::new();
    sandbox.run(["index", mini().to_str().unwrap(), "--encoder", "default", "--out", "db"]).ok();
    let search =
        |mode: &str| sandbox.run(["search", "db", "honey bees", "--mode", mode, "-k", "5", "--json"]).json();
    let by_ranks =
        ["search", "db", "honey bees", "--fusion", "rrf", "--dense-weight", "1", "-k", "5", "--json"];
    let hybrid = sandbox.run(by_ranks).json();
    for hit in hybrid["hits"].as_array().unwrap() {
        // Reciprocal rank fusion with k = 60.
        let share = |side: &str| hit[side]["rank"].as_f64().map_or(0.0, |rank| 1.0 / (60.0 + rank));
        let sum = share("dense") + share("bm25");
        assert!((hit["score"].as_f64().unwrap() - sum).abs() < 1e-12, "{hit}");
    }
    let best = &search("bm25")["hits"][0];
    assert_eq!((&hybrid["fusion"], &hybrid["dense_weight"]), (&json!("rrf"), &json!(1.0)));
    assert_eq!(search("dense").get("fusion"), None);
    let same = hybrid["hits"].as_array().unwrap().iter().find(|hit| hit["bm25"]["rank"] == 1).unwrap();
    assert_eq!((&same["doc_id"], &same["bm25"]["score"]), (&best["doc_id"], &best["score"]));
    let text = sandbox.run(["search", "db", "honey bees", "--mode", "hybrid", "--explain"]).ok();
    for part in [
        "vectors: rank 1, score",
        "words: rank 1, score",
        "fused by sum; vectors count 1, words 1",
        "milliseconds, taken once",
        "encode",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// What would do nothing, or measure something else than it seems, is refused.
#[test]
fn nothing_is_passed_over_in_silence() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let mini = mini();
    let mini = mini.to_str().unwrap();
    sandbox.run(["index", mini, "--encoder", "tiny", "--out", "db"]).ok();
    for (arguments, parts) in [
        (vec!["--ef", "50"], ["--ef does nothing", "flat"]),
        (vec!["--fusion", "sum", "--mode", "dense"], ["--fusion does nothing", "--mode hybrid"]),
        (vec!["--candidates", "5", "--mode", "bm25"], ["--candidates does nothing", "--mode hybrid"]),
        (vec!["--k1", "1", "--mode", "dense"], ["--k1 does nothing", "dense"]),
        (vec!["--k1", "-1", "--mode", "bm25"], ["k1", "-1"]),
        (vec!["--filter", "yaer >= 2020"], ["no document has a field yaer", "the fields are"]),
        (vec!["--filter", "year >= \"2020\""], ["year has numbers only", "without quotes"]),
        (
            vec!["--filter", "title == \"x\""],
            ["no document has a field title", "id, title and text are none"],
        ),
        (vec!["-k", "0"], ["at least 1", "-k"]),
        (vec!["--generation", "original", "--mode", "bm25"], ["--generation does nothing", "bm25"]),
        (vec!["--encoder", "tiny", "--mode", "bm25"], ["--encoder does nothing", "no text is encoded"]),
        (vec!["--dense-weight", "-1"], ["--dense-weight", "0 or more"]),
        (vec!["--run", "a.run"], ["--run needs --queries", "a file of queries"]),
    ] {
        let search = ["search", "db", "honey"].into_iter().chain(arguments.iter().copied());
        sandbox.run(search).fails(2, parts);
    }
    sandbox.run(["search", "db", " "]).fails(2, ["the query is empty"]);
    sandbox
        .run(["search", "honey", "db"])
        .fails(4, ["there is no database honey", "db is one", "comes first"]);
    write(&sandbox, "twice.tsv", "a\thoney\nb\tbees\na\troses\n");
    sandbox
        .run(["search", "db", "--queries", "twice.tsv", "--run", "a.run"])
        .fails(3, ["twice.tsv:3: the query id \"a\" comes twice, first on line 1"]);
    assert!(!sandbox.path("a.run").exists());
    assert_eq!(sandbox.run(["export", "db", "--out", "-"]).ok(), sandbox.run(["export", "db"]).ok());
    assert!(!sandbox.path("-").exists());
    sandbox.run(["export", "db", "--out", "all.csv"]).fails(2, ["all.csv", "lines of JSON", ".jsonl"]);
    assert!(!sandbox.path("all.csv").exists());
    write(&sandbox, "empty.jsonl", "");
    let outcome = sandbox.run(["index", "empty.jsonl", "--out", "nothing"]);
    assert_eq!(
        outcome.stderr,
        "warning: there was no document to read; `secateur add` puts some into the database\n"
    );
    sandbox.run(["eval", "db", mini, "-k", "5"]).fails(2, ["-k 5 is less than the 100 hits that Recall@100"]);
    sandbox.run(["eval", "db", mini, "-k", "5", "--measures", "P@5"]).ok();
    // `eval` fuses what it is told to, as `search` does.
    let eval = |candidates: &str| {
        let eval = ["eval", "db", mini, "--mode", "hybrid", "--candidates", candidates, "--run", "a.run"];
        sandbox.run(eval).ok();
        std::fs::read_to_string(sandbox.path("a.run")).unwrap().lines().count()
    };
    assert!(eval("3") <= 12 * 6 && eval("63") > 12 * 30);
    let failure = sandbox.run(["search", "db", "honey", "--filter", "yaer == 1", "--json"]);
    assert_eq!((failure.status.code(), failure.stdout.as_str()), (Some(2), ""));
    let error: Value = serde_json::from_str(&failure.stderr).unwrap();
    assert_eq!((&error["error"]["kind"], &error["error"]["code"]), (&json!("usage"), &json!(2)));
    // What a command cannot do without is in its usage.
    for command in [&["encode", mini, "--out", "v.npy"][..], &["generation", "add", "db", "other"]] {
        let usage = sandbox.run(command).fails(2, ["--encoder <MODEL>", "Usage: "]);
        assert!(usage.split("Usage: ").nth(1).unwrap().contains("--encoder"), "{usage}");
    }
    let failure = sandbox.run(["search", "--json", "--nonsense"]);
    assert!(serde_json::from_str::<Value>(&failure.stderr).unwrap()["error"]["message"].is_string());
}

/// The data of the field: some documents have no text, some judgments name documents that are not there.
#[test]
fn what_data_sets_have_is_no_error() {
    let sandbox = Sandbox::new();
    let line = |id: usize, text: &str| format!("{{\"_id\": \"{id}\", \"text\": \"{text}\"}}\n");
    write(&sandbox, "set/corpus.jsonl", &[line(1, "roses"), line(2, ""), line(3, "bees")].concat());
    write(&sandbox, "set/queries.jsonl", "{\"_id\": \"q\", \"text\": \"roses\"}\n");
    write(&sandbox, "set/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\t1\t1\nq\t3\t0\nq\tgone\t1\n");
    let outcome = sandbox.run(["index", "set", "--out", "db"]);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    assert!(outcome.stderr.starts_with("warning: 1 document has neither title nor text"), "{outcome:?}");
    sandbox.run(["index", "set", "--out", "db2", "--strict"]).fails(3, ["corpus.jsonl:2: \"2\" has no text"]);
    let outcome = sandbox.run(["eval", "db", "set", "--measures", "Recall@10"]);
    assert!(outcome.stderr.starts_with("warning: 1 of 3 judgments is of documents"), "{outcome:?}");
    assert!(outcome.stdout.contains("0.5000"), "{outcome:?}");
    sandbox
        .run(["eval", "db", "set", "--strict"])
        .fails(3, ["\"gone\" of query \"q\"", "leave --strict out"]);
    // A run is measured by the judgments' file too, in BEIR's form and in TREC's.
    sandbox.run(["search", "db", "--queries", "set/queries.jsonl", "--run", "a.run"]).ok();
    write(&sandbox, "qrels.trec", "q 0 1 1\nq 0 3 0\nq 0 gone 1\n");
    for qrels in ["set/qrels/test.tsv", "qrels.trec"] {
        let said = sandbox.run(["eval-run", "a.run", qrels, "--measures", "Recall@10"]).ok();
        assert!(said.contains("0.5000"), "{said}");
        sandbox.run(["compare", "a.run", "a.run", "--qrels", qrels]).ok();
    }
    sandbox.run(["delete", "db", "1"]).ok();
    sandbox.run(["eval", "db", "set"]).fails(3, ["2 of 3 judgments", "--allow-unknown"]);
    write(&sandbox, "empty.jsonl", &[line(1, "roses"), line(2, ""), line(3, "")].concat());
    sandbox.run(["index", "empty.jsonl", "--out", "db3"]).fails(3, ["2 of the first 3 documents"]);
    assert!(!sandbox.path("db3").exists());
    // A null is as empty as an empty text, in a file and in a data set.
    let null = "{\"_id\": \"n\", \"title\": null, \"text\": null}\n";
    for (number, name) in ["null.jsonl", "nulls/corpus.jsonl"].into_iter().enumerate() {
        write(&sandbox, name, &[line(1, "roses"), null.to_owned()].concat());
        let input = name.strip_suffix("/corpus.jsonl").unwrap_or(name);
        let db = format!("null{number}");
        let outcome = sandbox.run(["index", input, "--out", &db]);
        assert!(outcome.stderr.starts_with("warning: 1 document has neither title nor text"), "{outcome:?}");
        assert_eq!(exported(&sandbox, &db).len(), 2);
        sandbox.run(["index", input, "--out", "db4", "--strict"]).fails(3, [":2: \"n\" has no text"]);
    }
    let outcome = sandbox.run(["dataset", "verify", "nulls"]);
    assert!(outcome.stdout.contains("corpus.jsonl:2:") && outcome.stdout.contains("\"n\""), "{outcome:?}");
    // Without judgments there is nothing to measure, and another command answers the queries.
    write(&sandbox, "nulls/queries.jsonl", "{\"_id\": \"q\", \"text\": \"roses\"}\n");
    sandbox
        .run(["eval", "null1", "nulls", "--run", "b.run"])
        .fails(3, ["no judgments", "`secateur search null1 --queries FILE --run RUN`"]);
}

/// Hours of encoding are not thrown away because an option was forgotten.
#[test]
fn unfinished_work_of_another_encoder_is_kept() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let documents: String =
        (0..300).map(|id| format!("{{\"id\": {id}, \"text\": \"text {id}\"}}\n")).collect();
    // The last line is bad, so that vectors are in the journal when the work ends.
    write(&sandbox, "a.jsonl", &format!("{documents}bad\n"));
    sandbox.run(["index", "a.jsonl", "--encoder", "tiny", "--out", "db"]).fails(3, ["a.jsonl:301"]);
    let journal = std::fs::read(sandbox.path("db.journal")).unwrap();
    write(&sandbox, "a.jsonl", &documents);
    for other in [vec!["--encoder", "default"], vec!["--encoder", "tiny", "--max-length", "9"]] {
        let index = ["index", "a.jsonl", "--out", "db"].into_iter().chain(other);
        sandbox
            .run(index)
            .fails(4, ["db.journal keeps ", " vectors of unfinished work", "finish that work with its own"]);
        assert_eq!(std::fs::read(sandbox.path("db.journal")).unwrap(), journal);
    }
    let outcome = sandbox.run(["index", "a.jsonl", "--encoder", "tiny", "--out", "db"]);
    assert!(outcome.stderr.starts_with("going on from "), "{outcome:?}");
    assert!(
        outcome.stderr.ends_with(" that an interrupted run left in db.journal, where texts are the same\n"),
        "{outcome:?}"
    );
    outcome.ok();
    assert!(!sandbox.path("db.journal").exists());

    // So it is when documents are added.
    let more: String = (300..600).map(|id| format!("{{\"id\": {id}, \"text\": \"text {id}\"}}\n")).collect();
    write(&sandbox, "b.jsonl", &more);
    write(&sandbox, "locked", "");
    sandbox.run(["add", "db", "b.jsonl"]).ok();
    assert_eq!(exported(&sandbox, "db").len(), 600);
    assert_eq!(sandbox.names().iter().filter(|name| name.contains("journal")).count(), 0);
}

/// A changed vector gives no wrong answer in silence.
#[test]
fn damaged_vectors_are_found_by_a_search() {
    let sandbox = Sandbox::new();
    for index in ["flat", "hnsw"] {
        let mini = mini();
        sandbox
            .run(["index", mini.to_str().unwrap(), "--encoder", "default", "--index", index, "--out", index])
            .ok();
        let change = |bytes: &mut [u8]| bytes[bytes.len() / 2] ^= 1;
        crate::support::segment::change(&sandbox.path(index), "0000000001", "vectors", change);
        sandbox.run(["search", index, "honey"]).fails(4, ["0000000001.pack is damaged", "checksum"]);
        sandbox.run(["search", index, "honey", "--mode", "bm25"]).ok();
    }
}
