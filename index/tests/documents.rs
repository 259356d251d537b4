//! Documents that are stored, and those that are refused.

use secateur_index::bm25::Bm25Params;
use secateur_index::metadata::MetadataFault;
use secateur_index::storage::{NewDocument, Settings, Store};
use secateur_index::{Error, Metric};

/// A document that cannot be stored is refused and named, and the transaction goes on without it.
#[test]
fn bad_documents_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store =
        Store::create(folder.path().join("v"), &Settings::with_vectors(Metric::Cosine, 2)).unwrap();
    let mut transaction = store.begin().unwrap();
    let document = |id| NewDocument { id, title: "", text: "text", metadata: None };
    let long_id = "x".repeat(65_536);
    for id in ["", &long_id] {
        let result = transaction.add(&document(id), Some(&[0.0, 1.0]));
        assert!(matches!(result, Err(Error::DocumentSize { field: "the id", .. })), "{result:?}");
    }
    assert!(matches!(
        transaction.add(&document("a"), None),
        Err(Error::VectorPresence { expected: true, .. })
    ));
    let result = transaction.add(&document("a"), Some(&[1.0]));
    assert!(matches!(result, Err(Error::DimensionMismatch { expected: 2, got: 1 })));
    let result = transaction.add(&document("a"), Some(&[1.0, f32::NAN]));
    assert!(matches!(result, Err(Error::NotFinite { component: 1, .. })));
    let result = transaction.add(&document("a"), Some(&[1.0, 0.0, 0.0, 1.0]));
    assert!(matches!(result, Err(Error::DimensionMismatch { expected: 2, got: 4 })), "there are no passages");
    let result = transaction.add(&document("a"), Some(&[1e30, 0.0]));
    assert!(matches!(result, Err(Error::VectorTooLong { .. })));
    for (metadata, named) in [
        ("", "no JSON"),
        ("{\"a\":}", "no JSON"),
        ("[1]", "a list"),
        (" \"a\"", "a string"),
        ("null", "null, a boolean or a number"),
    ] {
        let bad = NewDocument { metadata: Some(metadata), ..document("a") };
        let result = transaction.add(&bad, Some(&[1.0, 0.0]));
        assert!(
            matches!(&result, Err(Error::InvalidMetadata { id, fault: MetadataFault::NoObject { got } }) if id == "a" && *got == named),
            "{result:?}"
        );
    }
    // JSON that nobody could read back: it would be as no metadata to filters.
    let deep = format!("{{\"f\":{}{}}}", "[".repeat(127), "]".repeat(127));
    for metadata in [r#"{"year":2020,"f":1e400}"#, &deep, r#"{"f":"\ud800"}"#] {
        let bad = NewDocument { metadata: Some(metadata), ..document("a") };
        let result = transaction.add(&bad, Some(&[1.0, 0.0]));
        assert!(
            matches!(
                &result,
                Err(Error::InvalidMetadata { id, fault: MetadataFault::Unreadable { field: Some(field), .. } })
                    if id == "a" && field == "f"
            ),
            "{result:?}"
        );
    }
    transaction.add(&document("a"), Some(&[1.0, 0.0])).unwrap();
    transaction.add(&document(&long_id[1..]), Some(&[0.0, 0.0])).unwrap();
    let snapshot = transaction.commit().unwrap();
    assert_eq!(snapshot.len(), 2);
    assert!(snapshot.contains(&long_id[1..]).unwrap());

    let mut store = Store::create(folder.path().join("t"), &Settings::bm25_only()).unwrap();
    assert!(matches!(store.snapshot().flat(), Err(Error::NoVectors)));
    let result = store.begin().unwrap().add(&document("a"), Some(&[1.0, 0.0]));
    assert!(matches!(result, Err(Error::VectorPresence { expected: false, .. })));
    let result = Store::create(folder.path().join("z"), &Settings::with_vectors(Metric::L2, 0));
    assert!(matches!(result, Err(Error::InvalidParameter { name: "dim", .. })));
}

/// A megabyte of text in one document, and none in another.
#[test]
fn long_and_empty_texts() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("db"), &Settings::bm25_only()).unwrap();
    let text = "needle ".to_owned() + &"hay ".repeat(300_000);
    let mut transaction = store.begin().unwrap();
    transaction.add(&crate::document("long", &text), None).unwrap();
    transaction.add(&crate::document("empty", ""), None).unwrap();
    let snapshot = transaction.commit().unwrap();
    assert_eq!(snapshot.document("long").unwrap().unwrap().text, text);
    assert_eq!(snapshot.document("empty").unwrap().unwrap().text, "");
    let hits = snapshot.bm25().unwrap().search("needle", 5, Bm25Params::default()).unwrap();
    assert_eq!(hits.len(), 1);
    snapshot.verify().unwrap();
}
