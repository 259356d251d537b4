//! Every fault is found once, at its line.

use std::path::Path;

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Severity, Verdict};

const CORPUS: &str = "{\"_id\":\"d1\",\"title\":\"T\",\"text\":\"one\"}\n{\"_id\":\"d2\",\"text\":\"two\"}\n";
const QUERIES: &str = "{\"_id\":\"q1\",\"text\":\"first\"}\n{\"_id\":\"q2\",\"text\":\"second\"}\n";
const QRELS: &str = "query-id\tcorpus-id\tscore\nq1\td1\t1\n";

fn write(folder: &Path, corpus: &[u8], queries: &[u8], qrels: &[u8]) {
    std::fs::create_dir_all(folder.join("qrels")).unwrap();
    std::fs::write(folder.join("corpus.jsonl"), corpus).unwrap();
    std::fs::write(folder.join("queries.jsonl"), queries).unwrap();
    std::fs::write(folder.join("qrels/test.tsv"), qrels).unwrap();
}

/// The findings, with the folder's path cut off.
fn findings(folder: &Path) -> (Vec<String>, Verdict) {
    let prefix = format!("{}/", folder.display());
    let mut findings = Vec::new();
    let verdict = BeirFolder::open(folder)
        .unwrap()
        .verify(|finding| findings.push(finding.to_string().replace(&prefix, "")))
        .unwrap();
    (findings, verdict)
}

#[test]
fn each_fault_is_named_with_file_and_line() {
    let cases: [(&str, &str, &str, &[&str]); 24] = [
        (CORPUS, QUERIES, QRELS, &[]),
        (
            "{\"_id\":\"d1\",\"text\":\"x\"}\n\n{\"_id\":\"d1\",\"text\":\"y\"}\n",
            QUERIES,
            QRELS,
            &["corpus.jsonl:3: error: duplicate id \"d1\", first used on line 1"],
        ),
        (
            "{\"_id\":\"d1\",\"text\":\"x\"}\n{\"_id\":\"\",\"text\":\"y\"}\n",
            QUERIES,
            QRELS,
            &["corpus.jsonl:2: error: the id is empty: give each record an id of its own"],
        ),
        (
            "{\"_id\":\"d1\",\"title\":\" \",\"text\":\"\\n\"}\n",
            QUERIES,
            QRELS,
            &["corpus.jsonl:1: warning: \"d1\" has no text"],
        ),
        (
            "{\"_id\":\"d1\",\"title\":\"T\",\"text\":\"\"}\n",
            QUERIES,
            QRELS,
            &["corpus.jsonl:1: warning: \"d1\" has a title but no text"],
        ),
        (
            "{\"_id\":\"d1\",\"text\":\"x\"}\n{\"_id\":\"d2\",\"text\":\n",
            QUERIES,
            QRELS,
            &["corpus.jsonl:2: error: bad JSON at column 19: EOF while parsing a value"],
        ),
        (
            "{\"_id\":\"d1\",\"text\":\"x\"}\n{\"_id\":7,\"text\":\"y\"}\n",
            QUERIES,
            QRELS,
            &["corpus.jsonl:2: warning: the id is the number 7, read as the string \"7\": \
               other tools may not match it with the judgments"],
        ),
        (
            "",
            QUERIES,
            QRELS,
            &[
                "corpus.jsonl: error: the file holds no record",
                "qrels/test.tsv:2: warning: judges document \"d1\", which the corpus does not hold",
            ],
        ),
        (CORPUS, "{\"_id\":\"q1\",\"text\":\"\"}\n", QRELS, &["queries.jsonl:1: error: \"q1\" has no text"]),
        (
            CORPUS,
            "{\"_id\":\"q1\",\"text\":\"a\"}\n{\"_id\":\"q1\",\"text\":\"b\"}\n",
            QRELS,
            &["queries.jsonl:2: error: duplicate id \"q1\", first used on line 1"],
        ),
        (
            CORPUS,
            "{\"_id\":\"q1\"}\n{\"_id\":\"q1\",\"text\":\"b\"}\n",
            QRELS,
            &["queries.jsonl:1: error: bad JSON at column 12: missing field `text`"],
        ),
        (
            CORPUS,
            QUERIES,
            "h\nq1\td9\t1\n",
            &["qrels/test.tsv:2: warning: judges document \"d9\", which the corpus does not hold"],
        ),
        (
            CORPUS,
            QUERIES,
            "h\nq9\td1\t0\n",
            &["qrels/test.tsv:2: error: judges query \"q9\", which the queries file does not hold"],
        ),
        (
            CORPUS,
            QUERIES,
            "h\nq1\td1\t1\nq1\td2\t0\nq1\td1\t2\n",
            &["qrels/test.tsv:4: error: query \"q1\" and document \"d1\" are judged twice: 1, then 2; \
               keep one of the lines"],
        ),
        (
            CORPUS,
            QUERIES,
            "h\nq1\td1\t1\nq1\td1\t1\n",
            &["qrels/test.tsv:3: warning: query \"q1\" and document \"d1\" are judged again, \
               with the same relevance"],
        ),
        (
            CORPUS,
            QUERIES,
            "h\nq1\td1\t0.5\nq1\td1\t1\n",
            &["qrels/test.tsv:2: error: relevance \"0.5\" is not an integer"],
        ),
        (
            CORPUS,
            QUERIES,
            "h\nq1 0 d1 1\nq1\td1\t1\n",
            &["qrels/test.tsv:2: error: expected 3 tab-separated fields (query-id, corpus-id, score), \
               found 1"],
        ),
        (
            CORPUS,
            QUERIES,
            "q1\td1\t1\nq2\td1\t1\n",
            &[
                "qrels/test.tsv:1: warning: there is no header line: the first line is read as a judgment here, and \
                 skipped by BEIR's loader; put a header line above it",
            ],
        ),
        (
            CORPUS,
            QUERIES,
            "q1\td1\t1\n",
            &[
                "qrels/test.tsv:1: warning: there is no header line: the first line is read as a judgment here, and \
                 skipped by BEIR's loader; put a header line above it",
            ],
        ),
        (
            CORPUS,
            QUERIES,
            "q1 0 d1 1\nq1\td1\t1\n",
            &["qrels/test.tsv:1: error: expected 3 tab-separated fields (query-id, corpus-id, score), \
               found 1"],
        ),
        (
            CORPUS,
            "{\"_id\":\"q1\",\"text\":\"cut \\ud83d\"}\n{\"_id\":\"q1\",\"text\":\"a\"}\n",
            QRELS,
            &[
                "queries.jsonl:1: error: \\ud83d at column 25 is half of a surrogate pair, a character that was cut \
               in two: write the other half beside it, or \\ufffd in its place",
            ],
        ),
        (
            CORPUS,
            QUERIES,
            "query-id\tcorpus-id\tscore\n",
            &["qrels/test.tsv: error: the file holds no record"],
        ),
        (
            "[1]\n\"x\"\n{\"_id\":\"d1\",\"text\":\"x\"}\n",
            QUERIES,
            QRELS,
            &[
                "corpus.jsonl:1: error: bad JSON at column 1: expected an object, \
                 as in {\"_id\": \"...\", \"text\": \"...\"}",
                "corpus.jsonl:2: error: bad JSON at column 1: expected an object, \
                 as in {\"_id\": \"...\", \"text\": \"...\"}",
            ],
        ),
        (
            "\u{feff}{\"_id\":\"d1\",\"text\":\"x\"}\r\n",
            "{\"_id\":\"q1\",\"text\":\"a\"}",
            "query-id\tcorpus-id\tscore\r\nq1\td1\t1\r\n",
            &[],
        ),
    ];
    for (corpus, queries, qrels, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), corpus.as_bytes(), queries.as_bytes(), qrels.as_bytes());
        let (found, verdict) = findings(folder.path());
        assert_eq!(found, expected, "{corpus:?} {queries:?} {qrels:?}");
        let warnings = found.iter().filter(|finding| finding.contains(" warning: ")).count() as u64;
        assert_eq!(verdict.warnings, warnings);
        assert_eq!(verdict.errors, found.len() as u64 - warnings);
    }
}

#[test]
fn missing_doubled_and_damaged_files_are_findings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, CORPUS.as_bytes(), b"caf\xe9\n", QRELS.as_bytes());
    std::fs::write(path.join("corpus.jsonl.gz"), b"never opened").unwrap();
    let (found, _) = findings(path);
    assert_eq!(
        found,
        [
            "corpus.jsonl.gz: warning: ignored: corpus.jsonl beside it is read instead; remove one of them",
            "queries.jsonl:1: error: byte 4 is not valid UTF-8: convert the file to UTF-8",
            "qrels/test.tsv:2: error: judges query \"q1\", which the queries file does not hold",
        ]
    );

    // With the plain file gone the damaged one is read; nothing is said of documents behind the damage.
    std::fs::remove_file(path.join("corpus.jsonl")).unwrap();
    std::fs::remove_file(path.join("queries.jsonl")).unwrap();
    std::fs::remove_dir_all(path.join("qrels")).unwrap();
    let (found, verdict) = findings(path);
    assert_eq!(found.len(), 1, "without judgments no queries are expected: {found:?}");
    assert!(
        found[0].starts_with("corpus.jsonl.gz: error: ") && found[0].ends_with(": it is not gzip"),
        "{}",
        found[0]
    );
    assert_eq!((verdict.errors, verdict.warnings), (1, 0));
    std::fs::write(path.join("queries.jsonl"), QUERIES).unwrap();
    let (found, _) = findings(path);
    assert!(found[1].ends_with("warning: no judgments: expected qrels/SPLIT.tsv"), "{}", found[1]);
    std::fs::remove_file(path.join("queries.jsonl")).unwrap();
    std::fs::create_dir(path.join("qrels")).unwrap();
    std::fs::write(path.join("qrels/test.tsv"), QRELS).unwrap();
    assert_eq!(findings(path).0[1], "queries.jsonl: error: the file is missing");
    assert!(Severity::Warning < Severity::Error);
}
