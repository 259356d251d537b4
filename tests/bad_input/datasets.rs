//! Faulty data sets, judgments and runs.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::support::dataset::{line, small, write};
use crate::support::{Sandbox, model};

/// Compresses a file into NAME.gz and removes it; only `part` of the bytes are written.
fn compress(folder: &Path, name: &str, part: f64) {
    let plain = fs::read(folder.join(name)).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let bytes = gzip.finish().unwrap();
    write(folder, &format!("{name}.gz"), &bytes[..(bytes.len() as f64 * part) as usize]);
    fs::remove_file(folder.join(name)).unwrap();
}

/// Replaces line `number` (from 1) of a file.
fn replace_line(folder: &Path, name: &str, number: usize, line: impl AsRef<[u8]>) {
    let bytes = fs::read(folder.join(name)).unwrap();
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let line = [line.as_ref(), b"\n"].concat();
    lines[number - 1] = &line;
    let bytes = lines.concat();
    write(folder, name, bytes);
}

type Spoil = fn(&Path);

#[test]
fn a_faulty_corpus_is_not_indexed() {
    let cases: [(&str, Spoil, &[&str]); 13] = [
        ("no folder", |f| fs::remove_dir_all(f).unwrap(), &["there is no folder set"]),
        ("no corpus", |f| fs::remove_file(f.join("corpus.jsonl")).unwrap(), &["set has no corpus.jsonl"]),
        (
            "truncated",
            |f| compress(f, "corpus.jsonl", 0.5),
            &["set/corpus.jsonl.gz: cannot read beyond line", "truncated"],
        ),
        ("not gzip", |f| write(f, "corpus.jsonl.gz", "plain"), &[]),
        (
            "bad JSON",
            |f| replace_line(f, "corpus.jsonl", 2, "{\"_id\": \"d2\", "),
            &["set/corpus.jsonl:2: bad JSON at column"],
        ),
        ("no object", |f| replace_line(f, "corpus.jsonl", 3, "[1, 2]"), &["set/corpus.jsonl:3: bad JSON"]),
        (
            "no id",
            |f| replace_line(f, "corpus.jsonl", 1, r#"{"text": "x"}"#),
            &["set/corpus.jsonl:1: ", "_id"],
        ),
        (
            "empty id",
            |f| replace_line(f, "corpus.jsonl", 1, r#"{"_id": "", "text": "x"}"#),
            &["set/corpus.jsonl:1: the id is empty"],
        ),
        (
            "text is a number",
            |f| replace_line(f, "corpus.jsonl", 2, r#"{"_id": "d2", "text": 7}"#),
            &["set/corpus.jsonl:2: ", "text"],
        ),
        (
            "duplicate id",
            |f| replace_line(f, "corpus.jsonl", 3, line("d1", "", "again").trim_end()),
            &["set/corpus.jsonl:3: ", "duplicate id \"d1\", first used on line 1", "remove one of the two"],
        ),
        (
            "not UTF-8",
            |f| replace_line(f, "corpus.jsonl", 2, b"{\"_id\": \"caf\xe9\"}"),
            &["set/corpus.jsonl:2: byte 13 is not valid UTF-8"],
        ),
        (
            "UTF-16",
            |f| write(f, "corpus.jsonl", b"\xff\xfe{\0\"\0_\0"),
            &["set/corpus.jsonl:1: the file is in UTF-16", "convert it to UTF-8"],
        ),
        (
            "an id too long",
            |f| replace_line(f, "corpus.jsonl", 1, line(&"x".repeat(70_000), "", "x").trim_end()),
            &["the id is 70000 bytes long"],
        ),
    ];
    for (what, spoil, parts) in cases {
        let sandbox = Sandbox::new();
        spoil(&small(&sandbox.path("set")));
        model::tiny(&sandbox.path("model"));
        let outcome = sandbox.run(["index", "set", "--encoder", "none", "--out", "db"]);
        if what == "not gzip" {
            // The plain file is read; the one beside it is ignored, which `dataset verify` says.
            outcome.ok();
            let verified = sandbox.run(["dataset", "verify", "set"]).ok();
            assert!(verified.contains("set/corpus.jsonl.gz: warning: ignored"), "{verified}");
            continue;
        }
        outcome.fails(3, parts);
        assert!(!sandbox.path("db").exists() && !sandbox.path("db.partial").exists(), "{what}");
        // With an encoder too; what was encoded by then is kept in the journal.
        sandbox.run(["index", "set", "--out", "db", "--encoder", "model"]).fails(3, parts);
        assert!(!sandbox.path("db").exists() && !sandbox.path("db.partial").exists(), "{what}");
        let healed = small(&sandbox.path("set"));
        let _ = fs::remove_file(healed.join("corpus.jsonl.gz"));
        // Vectors of other texts are not thrown away unasked.
        let _ = fs::remove_file(sandbox.path("db.journal"));
        sandbox.run(["index", "set", "--out", "db", "--encoder", "model"]).ok();
        sandbox.run(["verify", "db"]).ok();
        let mut names = sandbox.names();
        names.retain(|name| name != "set");
        assert_eq!(names, ["db", "model"], "{what}");
    }
}

#[test]
fn compressed_corpora_are_read() {
    let sandbox = Sandbox::new();
    compress(&small(&sandbox.path("set")), "corpus.jsonl", 1.0);
    sandbox.run(["index", "set", "--out", "db"]).ok();
    assert!(sandbox.run(["search", "db", "roses"]).ok().contains("d1  Roses\n"));
}

#[test]
fn empty_documents_are_taken_on_request() {
    let sandbox = Sandbox::new();
    replace_line(&small(&sandbox.path("set")), "corpus.jsonl", 2, line("d2", "", "").trim_end());
    model::tiny(&sandbox.path("model"));
    sandbox.run(["index", "set", "--encoder", "none", "--out", "words", "--allow-empty"]).ok();
    sandbox.run(["index", "set", "--out", "both", "--allow-empty", "--encoder", "model"]).ok();
    for database in ["words", "both"] {
        let sound = sandbox.run(["verify", database]).ok();
        assert!(sound.contains("3 documents"), "{sound}");
        assert!(sandbox.run(["search", database, "roses", "--mode", "bm25"]).ok().contains("d1  Roses"));
    }
}

#[test]
fn an_empty_corpus_makes_an_empty_database() {
    let sandbox = Sandbox::new();
    write(&small(&sandbox.path("set")), "corpus.jsonl", "\n");
    let outcome = sandbox.run(["index", "set", "--out", "db"]);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    assert!(outcome.stderr.starts_with("warning: there was no document to read"), "{outcome:?}");
    assert_eq!(sandbox.run(["search", "db", "roses"]).ok(), "no document matches\n");
    sandbox.run(["dataset", "verify", "set"]).fails(3, ["is not sound"]);
}

#[test]
fn a_text_of_a_megabyte_is_indexed_found_and_given_back() {
    let sandbox = Sandbox::new();
    let folder = small(&sandbox.path("set"));
    let text = "needle ".to_owned() + &"haystack straw hay ".repeat(60_000);
    assert!(text.len() > 1 << 20);
    replace_line(&folder, "corpus.jsonl", 2, line("d2", "", &text).trim_end());
    model::tiny(&sandbox.path("model"));
    sandbox.run(["index", "set", "--out", "db", "--encoder", "model"]).ok();
    for mode in ["bm25", "dense", "hybrid"] {
        let answer = sandbox.run(["search", "db", "needle haystack", "--mode", mode, "--json"]).json();
        let hits = answer["hits"].as_array().unwrap();
        let hit = hits.iter().find(|hit| hit["doc_id"] == "d2").unwrap_or_else(|| panic!("{mode}: {answer}"));
        assert!(hit["text"] == text.as_str(), "{mode}: the text has changed");
    }
    // A long query, too.
    sandbox.run(["search", "db", &text[..100_000]]).ok();
}

#[test]
fn faulty_judgments_are_named_and_not_measured() {
    struct Case {
        what: &'static str,
        spoil: Spoil,
        /// What `dataset verify` prints.
        finding: &'static str,
        /// What `eval` says.
        refusal: &'static [&'static str],
    }
    let cases = [
        Case {
            what: "unknown query",
            spoil: |f| replace_line(f, "qrels/test.tsv", 2, "q9\td1\t1"),
            finding: "set/qrels/test.tsv:2: error: judges query \"q9\", which the queries file does not hold\n",
            refusal: &["set/queries.jsonl", "no query \"q9\""],
        },
        Case {
            what: "relevance is no number",
            spoil: |f| replace_line(f, "qrels/test.tsv", 3, "q2\td3\tvery"),
            finding: "set/qrels/test.tsv:3: error: relevance \"very\" is not an integer\n",
            refusal: &["set/qrels/test.tsv:3: relevance \"very\" is not an integer"],
        },
        Case {
            what: "a field is missing",
            spoil: |f| replace_line(f, "qrels/test.tsv", 2, "q1 d1"),
            finding: "set/qrels/test.tsv:2: error: expected ",
            refusal: &["set/qrels/test.tsv:2: expected ", "found"],
        },
        Case {
            what: "contradiction",
            spoil: |f| replace_line(f, "qrels/test.tsv", 3, "q1\td1\t2"),
            finding: "set/qrels/test.tsv:3: error: query \"q1\" and document \"d1\" are judged twice: 1, then 2",
            refusal: &["set/qrels/test.tsv:3: ", "judged twice: 1, then 2"],
        },
        Case {
            what: "a query without text",
            spoil: |f| replace_line(f, "queries.jsonl", 2, r#"{"_id": "q2", "text": ""}"#),
            finding: "set/queries.jsonl:2: error: \"q2\" has no text\n",
            refusal: &[],
        },
        Case {
            what: "no queries",
            spoil: |f| fs::remove_file(f.join("queries.jsonl")).unwrap(),
            finding: "queries.jsonl: error: the file is missing\n",
            refusal: &["set has no queries.jsonl"],
        },
    ];
    for Case { what, spoil, finding, refusal } in cases {
        let sandbox = Sandbox::new();
        let folder = small(&sandbox.path("set"));
        sandbox.run(["index", "set", "--out", "db"]).ok();
        spoil(&folder);
        let verified = sandbox.run(["dataset", "verify", "set"]);
        assert!(verified.stdout.contains(finding), "{what}: {verified:?}");
        verified.fails(3, ["set is not sound"]);
        let evaluated = sandbox.run(["eval", "db", "set", "--run", "out.run"]);
        if refusal.is_empty() {
            evaluated.ok();
        } else {
            evaluated.fails(3, refusal);
            assert!(!sandbox.path("out.run").exists(), "{what}: a run of a refused evaluation");
        }
    }
}

/// Judgments without a header line: the first one counts.
#[test]
fn judgments_may_lack_a_header() {
    let sandbox = Sandbox::new();
    let folder = small(&sandbox.path("set"));
    sandbox.run(["index", "set", "--out", "db"]).ok();
    let arguments = ["eval", "db", "set", "--json", "--per-query"];
    let with_header = sandbox.run(arguments).json();
    let judgments = fs::read_to_string(folder.join("qrels/test.tsv")).unwrap();
    write(&folder, "qrels/test.tsv", judgments.split_once('\n').unwrap().1);
    assert_eq!(sandbox.run(arguments).json(), with_header);
    let verified = sandbox.run(["dataset", "verify", "set"]);
    assert!(verified.stdout.contains("test.tsv:1: warning: there is no header line"), "{verified:?}");
}

/// `encode` writes the ids one a line.
#[test]
fn ids_of_several_lines_are_not_written_as_one() {
    let sandbox = Sandbox::new();
    let folder = small(&sandbox.path("set"));
    let ids = ["a\nb", "a\rb", "\"a\"", "a\"b", "a\\nb", "a b"];
    write(&folder, "corpus.jsonl", ids.map(|id| line(id, "", "bees")).concat());
    sandbox.run(["encode", "set", "--encoder", "default", "--out", "m.npy"]).ok();
    let written = fs::read_to_string(sandbox.path("m.npy.ids")).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines, [r#""a\nb""#, r#""a\rb""#, r#""\"a\"""#, "a\"b", r"a\nb", "a b"]);
    // A database holds such ids. Each hit is one line all the same.
    sandbox.run(["index", "set", "--out", "db"]).ok();
    assert_eq!(sandbox.run(["search", "db", "bees"]).ok().lines().count(), ids.len());
    let answer = sandbox.run(["search", "db", "bees", "--json"]).json();
    let hits = answer["hits"].as_array().unwrap();
    assert!(ids.iter().all(|id| hits.iter().any(|hit| hit["doc_id"] == *id)), "{answer}");
}

#[test]
fn judgments_of_unknown_documents_count_on_request() {
    let sandbox = Sandbox::new();
    let folder = small(&sandbox.path("set"));
    sandbox.run(["index", "set", "--out", "db"]).ok();
    let arguments = ["eval", "db", "set", "--json", "--measures", "Recall@10", "--allow-unknown"];
    let recall = |json: serde_json::Value| json["means"]["Recall@10"].as_f64().unwrap();
    assert_eq!(recall(sandbox.run(arguments).json()), 1.0);
    // One of the two relevant documents of q1 is not there: recall 1/2 and 1.
    let mut file = fs::OpenOptions::new().append(true).open(folder.join("qrels/test.tsv")).unwrap();
    writeln!(file, "q1\tghost\t1").unwrap();
    assert_eq!(recall(sandbox.run(arguments).json()), 0.75);
}

#[test]
fn faulty_runs_are_named_and_not_measured() {
    let cases = [
        ("q1 Q0 d1 1 NaN x\n", &["runs.txt:1: ", "NaN", "d1", "not finite"][..]),
        ("q1 Q0 d1 1 2.0 x\nq1 Q0 d3 2 inf x\n", &["runs.txt:2: ", "inf", "not finite"]),
        ("q1 Q0 d1 1 2.0 x\nq1 Q0 d3 2 high x\n", &["runs.txt:2: score \"high\" is not a number"]),
        ("q1 Q0 d1 1\n", &["runs.txt:1: expected ", "found 4"]),
        (
            "q1 Q0 d1 1 2.0 x\nq1 Q0 d1 2 1.0 x\n",
            &["runs.txt:2: query \"q1\" retrieves document \"d1\" twice"],
        ),
        ("q1 Q0 ghost 1 2.0 x\n", &["q1", "ghost"]),
        ("q9 Q0 d1 1 2.0 x\n", &["q9"]),
        ("q1 Q0 caf\u{e9} 1 2.0 x\n", &["caf\u{e9}"]),
    ];
    let sandbox = Sandbox::new();
    small(&sandbox.path("set"));
    for (text, parts) in cases {
        write(&sandbox.path("."), "runs.txt", text);
        sandbox.run(["eval-run", "runs.txt", "set"]).fails(3, parts);
    }
    sandbox.run(["eval-run", "nowhere.txt", "set"]).fails(3, ["nowhere.txt"]);
}
