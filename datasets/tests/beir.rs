//! BEIR folders: what is written is read back, and what cannot be read is an error with a place.

use std::path::Path;

use proptest::prelude::*;
use secateur_datasets::beir::{self, BeirFolder};
use secateur_datasets::{Document, Error, Qrels, Query};

use crate::support;

fn any_text() -> impl Strategy<Value = String> {
    // Everything a JSON line must carry: quotes, controls, line and paragraph separators, astral characters.
    proptest::collection::vec(any::<char>(), 0..40).prop_map(|chars| chars.into_iter().collect())
}

fn metadata() -> impl Strategy<Value = Option<String>> {
    let object = (any_text(), any::<i64>()).prop_map(|(text, number)| {
        serde_json::json!({ "key": text, "number": number, "nested": [{}] }).to_string()
    });
    proptest::option::of(object)
}

fn document() -> impl Strategy<Value = Document> {
    ("[a-zA-Z0-9_.:/ -]{1,12}", any_text(), any_text(), metadata())
        .prop_map(|(id, title, text, metadata)| Document { id, title, text, metadata })
}

/// Ids that a tab-separated line can carry: no line break, and no byte order mark to be stripped or blank line to be
/// passed over.
fn field() -> impl Strategy<Value = String> {
    "[\"a-zA-Z0-9\t _'é😀-]{1,8}"
}

fn qrels() -> impl Strategy<Value = Qrels> {
    let judged = proptest::collection::btree_map(field(), any::<i32>(), 1..5);
    proptest::collection::btree_map(field(), judged, 0..5)
}

fn folder_with_corpus(path: &Path) -> BeirFolder {
    if !path.join("corpus.jsonl").exists() {
        std::fs::write(path.join("corpus.jsonl"), "{\"_id\":\"d\",\"text\":\"x\"}\n").unwrap();
    }
    std::fs::create_dir_all(path.join("qrels")).unwrap();
    BeirFolder::open(path).unwrap()
}

proptest! {
    #[test]
    fn corpora_survive_a_round_trip(documents in proptest::collection::vec(document(), 0..8), ending in 0usize..3) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(["corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"][ending]);
        beir::write_corpus(&path, &documents).unwrap();
        let read: Vec<Document> =
            BeirFolder::open(folder.path()).unwrap().corpus().unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, documents);
    }

    #[test]
    fn queries_survive_a_round_trip(texts in proptest::collection::vec(any_text(), 0..8)) {
        let folder = tempfile::tempdir().unwrap();
        let queries: Vec<Query> =
            texts.into_iter().enumerate().map(|(i, text)| Query { id: format!("q{i}"), text }).collect();
        beir::write_queries(folder.path().join("queries.jsonl"), &queries).unwrap();
        let read: Vec<Query> =
            folder_with_corpus(folder.path()).queries().unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, queries);
    }

    #[test]
    fn judgments_survive_a_round_trip(qrels in qrels()) {
        let folder = tempfile::tempdir().unwrap();
        let beir_folder = folder_with_corpus(folder.path());
        beir::write_qrels(folder.path().join("qrels/dev.tsv"), &qrels).unwrap();
        prop_assert_eq!(beir_folder.qrels("dev").unwrap(), qrels);
    }
}

#[test]
fn metadata_over_several_lines_is_written_on_one() {
    let folder = tempfile::tempdir().unwrap();
    let document = Document {
        id: "d".to_owned(),
        text: "x".to_owned(),
        metadata: Some("{\r\n  \"a\": \"b\\nc\"\n}".to_owned()),
        ..Document::default()
    };
    beir::write_corpus(folder.path().join("corpus.jsonl"), [&document]).unwrap();
    let read = BeirFolder::open(folder.path()).unwrap().corpus().unwrap().next().unwrap().unwrap();
    assert_eq!(read.metadata.as_deref(), Some("{    \"a\": \"b\\nc\" }"));
}

#[test]
fn records_that_cannot_be_written_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.jsonl");
    let good = Document { id: "d".to_owned(), ..Document::default() };
    let bad_metadata = |metadata: &str| Document { metadata: Some(metadata.to_owned()), ..good.clone() };
    for bad in [Document::default(), bad_metadata("[]"), bad_metadata("{\"a\":}")] {
        let error = beir::write_corpus(&path, [&good, &bad]).unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{error}");
    }
    let qrels = Qrels::from([("q\n1".to_owned(), [("d".to_owned(), 1)].into())]);
    assert!(matches!(beir::write_qrels(&path, &qrels), Err(Error::Unwritable { .. })));
}

#[test]
fn a_bad_line_is_named_and_the_next_one_follows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.jsonl");
    std::fs::write(&path, "{\"_id\":\"a\",\"text\":\"x\"}\n{]\n{\"_id\":\"b\",\"text\":\"y\"}\n").unwrap();
    let items: Vec<_> = BeirFolder::open(folder.path()).unwrap().corpus().unwrap().collect();
    assert_eq!(items[0].as_ref().unwrap().id, "a");
    let error = items[1].as_ref().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}:2: bad JSON at column 2: key must be a string", path.display())
    );
    assert_eq!(items[2].as_ref().unwrap().id, "b");
}

#[test]
fn a_text_of_a_megabyte_is_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let text = "pruned \"twice\" \u{1f333}\n".repeat(60_000);
    assert!(text.len() > 1 << 20);
    let document = Document { id: "long".to_owned(), text, ..Document::default() };
    beir::write_corpus(folder.path().join("corpus.jsonl.gz"), [&document]).unwrap();
    let folder = BeirFolder::open(folder.path()).unwrap();
    assert_eq!(folder.corpus().unwrap().next().unwrap().unwrap(), document);
    let info = folder.info().unwrap();
    assert_eq!((info.documents, info.queries), (1, 0), "a corpus without queries is sound");
}

#[test]
fn a_corpus_is_read_as_it_is_asked_for() {
    // A reader that collected the file would meet the damage at its end before it gave the first document.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.jsonl.zst");
    let line = |i| format!("{{\"_id\":\"d{i}\",\"text\":\"{}\"}}\n", i * 7919);
    support::write(&path, (0..200_000).map(line).collect::<String>().as_bytes());
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    let mut corpus = BeirFolder::open(folder.path()).unwrap().corpus().unwrap();
    assert_eq!(corpus.next().unwrap().unwrap().id, "d0");
    let rest: Vec<_> = corpus.collect();
    assert!(rest.iter().rev().skip(1).all(Result::is_ok));
    assert!(matches!(rest.last().unwrap(), Err(Error::Read { .. })));
}

#[test]
fn splits_and_the_default_among_them() {
    let cases: [(&str, &[&str], Option<&str>); 6] = [
        ("msmarco", &["train.tsv", "dev.tsv", "test.tsv"], Some("dev")),
        ("msmarco", &["test.tsv"], Some("test")),
        ("scifact", &["train.tsv", "test.tsv"], Some("test")),
        ("own", &["train.tsv.gz", "dev.tsv.zst", "notes.txt"], Some("dev")),
        ("own", &["train.tsv"], Some("train")),
        ("own", &["notes.txt"], None),
    ];
    for (name, files, expected) in cases {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let folder = folder_with_corpus(&path);
        for file in files {
            std::fs::write(path.join("qrels").join(file), b"").unwrap();
        }
        assert_eq!(folder.name(), name);
        assert_eq!(folder.default_split().ok().as_deref(), expected, "{name} {files:?}");
        let error = folder.qrels("validation").unwrap_err();
        assert!(error.to_string().contains("has no split validation: it has "), "{error}");
    }
}

#[test]
fn folders_that_are_no_data_set_say_what_they_lack() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path();
    let error = BeirFolder::open(path.join("absent")).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open {}", path.join("absent").display()));
    let error = BeirFolder::open(path).unwrap_err();
    let expected = "has no corpus.jsonl: expected corpus.jsonl, corpus.jsonl.gz or corpus.jsonl.zst";
    assert_eq!(error.to_string(), format!("{} {expected}", path.display()));
    for part in ["tex", "android"] {
        std::fs::create_dir(path.join(part)).unwrap();
        std::fs::write(path.join(part).join("corpus.jsonl"), b"").unwrap();
    }
    let error = BeirFolder::open(path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} holds several data sets, name one of them: android, tex", path.display())
    );
}

#[test]
fn judged_queries_follow_the_file_and_none_may_lack() {
    let folder = tempfile::tempdir().unwrap();
    let beir_folder = folder_with_corpus(folder.path());
    let queries = ["c", "a", "b"].map(|id| Query { id: id.to_owned(), text: format!("text of {id}") });
    beir::write_queries(folder.path().join("queries.jsonl"), &queries).unwrap();
    let judging = |ids: &[&str]| -> Qrels {
        ids.iter().map(|id| ((*id).to_owned(), [("d".to_owned(), 1)].into())).collect()
    };
    let judged = beir_folder.judged_queries(&judging(&["a", "c"])).unwrap();
    assert_eq!(judged, [queries[0].clone(), queries[1].clone()]);
    let error = beir_folder.judged_queries(&judging(&["a", "z"])).unwrap_err();
    assert!(matches!(error, Error::MissingQuery { ref query_id, .. } if query_id == "z"), "{error}");
}
