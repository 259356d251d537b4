//! Parquet files as the hub keeps data sets. `fixtures/generate.py` has written them with pyarrow.

use std::path::PathBuf;

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::layout::{Collection, Layout};
use secateur_datasets::source::{EmptyDocuments, FieldNames, Source};
use serde_json::{Value, json};

fn hub(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hub").join(name)
}

/// Every value of every row group comes, whatever the compression; columns that are not id, title or text are metadata.
#[test]
fn rows_become_documents() {
    let files = [0, 1].map(|part| hub(&format!("corpus/corpus-0000{part}-of-00002.parquet")));
    let source = Source::open(&files, FieldNames::default()).unwrap();
    let documents: Vec<_> = source.documents(EmptyDocuments::Refused).map(|item| item.unwrap().0).collect();
    assert_eq!(documents.len(), 10);
    for (number, document) in documents.iter().enumerate() {
        assert_eq!(document.id, format!("d{number}"));
        let title = if number % 3 == 0 { String::new() } else { format!("Title {number}") };
        assert_eq!(
            (&document.title, &document.text),
            (&title, &format!("The text of document {number}: ü."))
        );
        let metadata: Value = serde_json::from_str(document.metadata.as_deref().unwrap()).unwrap();
        let year = if number % 4 == 0 { Value::Null } else { json!(2000 + number) };
        assert_eq!(metadata["year"], year, "{metadata}");
        assert_eq!(metadata["tags"], json!([format!("t{}", number % 2), "all"]));
        assert_eq!(metadata["source"], json!({"name": "hub", "rank": number as f64 / 2.0}));
    }
}

/// A null is no title, no text or no metadata, as a field that is not there. Documents without either are counted.
#[test]
fn nulls_are_nothing() {
    let source = Source::open(&[hub("../nulls.parquet")], FieldNames::default()).unwrap();
    let mut documents = source.documents(EmptyDocuments::Few);
    let read: Vec<_> = documents.by_ref().map(|item| item.unwrap().0).collect();
    let parts: Vec<_> = read
        .iter()
        .map(|document| (&*document.id, &*document.title, &*document.text, document.metadata.as_deref()))
        .collect();
    let expected = [
        ("a", "T", "x", Some("{\"year\":2020}")),
        ("b", "", "y", None),
        ("c", "T", "", Some("{\"year\":2021}")),
        ("d", "", "", None),
    ];
    assert_eq!(parts, expected);
    assert_eq!((documents.num_documents(), documents.num_empty()), (4, 1));
    let refused = source.documents(EmptyDocuments::Refused).find_map(Result::err).unwrap().to_string();
    assert!(refused.contains("nulls.parquet") && refused.contains("\"d\" has no text"), "{refused}");
}

/// The hub's layout becomes BEIR's: numbers as ids, scores as integers or not, a file for each split.
#[test]
fn the_hubs_layout_is_converted() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("beir");
    let report = Collection::find(&hub("")).unwrap().convert(&out, Layout::Beir).unwrap();
    assert_eq!((report.documents, report.queries, report.judgments), (10, 2, 4));
    let beir = BeirFolder::open(&out).unwrap();
    let test = beir.qrels("test").unwrap();
    assert_eq!((test["1"]["d2"], test["2"]["d9"], test["2"]["d3"]), (1, 2, 0));
    assert_eq!(beir.qrels("train").unwrap()["1"]["d4"], 1);
    let queries: Vec<_> = beir.queries().unwrap().map(|query| query.unwrap().text).collect();
    assert_eq!(queries, ["what is two", "what is nine"]);
}

/// A file that is cut short is an error that names it, wherever it is cut.
#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(hub("corpus/corpus-00001-of-00002.parquet")).unwrap();
    for len in (0..whole.len()).step_by(97) {
        let path = folder.path().join(format!("{len}.parquet"));
        std::fs::write(&path, &whole[..len]).unwrap();
        let opened = Source::open(std::slice::from_ref(&path), FieldNames::default());
        let read =
            opened.and_then(|source| source.documents(EmptyDocuments::Any).collect::<Result<Vec<_>, _>>());
        let said = read.unwrap_err().to_string();
        assert!(said.contains(&format!("{len}.parquet")) && said.contains("Parquet"), "{said}");
    }
}
