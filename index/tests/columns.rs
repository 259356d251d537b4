//! Columns on disk: which segments have them, and that filters find by them what the documents say.

use std::path::Path;

use secateur_index::filter::Filter;
use secateur_index::storage::{CompactOptions, NewDocument, Settings, Snapshot, Store};
use secateur_index::{Metric, RowId};

/// The version in the manifest of a database.
fn version(path: &Path) -> u8 {
    std::fs::read(path.join("MANIFEST")).unwrap()[8]
}

fn metadata(number: usize) -> String {
    let source = ["web", "mail", "news"][number % 3];
    let year = if number.is_multiple_of(10) { "null".to_owned() } else { (1950 + number % 70).to_string() };
    format!(
        r#"{{"year": {year}, "about": {{"source": "{source}"}}, "tags": ["t{}", {}], "n{}": true}}"#,
        number % 5,
        number % 4,
        number % 2
    )
}

fn add(store: &mut Store, numbers: std::ops::Range<usize>, has_metadata: bool) {
    let mut transaction = store.begin().unwrap();
    for number in numbers {
        let (id, metadata) = (number.to_string(), metadata(number));
        let metadata = has_metadata.then_some(metadata.as_str());
        transaction.add(&NewDocument { id: &id, title: "", text: "a word", metadata }, None).unwrap();
    }
    transaction.commit().unwrap();
}

const FILTERS: [&str; 8] = [
    "year >= 2000 and about.source == \"web\"",
    "year is missing or n1",
    "not (tags all [\"t1\", 2])",
    "about.source starts with \"n\" and year != 1999",
    "about.source contains \"e\"",
    "tags in [3, \"t0\"]",
    "tags == \"3\" or year < 1951.5",
    "nothing == 1 or n0 is not missing",
];

fn check(snapshot: &Snapshot) {
    snapshot.verify().unwrap();
    for text in FILTERS {
        let filter: Filter = text.parse().unwrap();
        let found: Vec<u32> = snapshot.matching(&filter).unwrap().iter().collect();
        let matches = |row: &RowId| {
            let document = snapshot.document_at(*row).unwrap();
            filter.matches(document.metadata.as_deref().unwrap_or("{}"))
        };
        let expected: Vec<u32> = snapshot.rows().filter(matches).map(|row| row.0).collect();
        assert_eq!(found, expected, "{text}");
    }
}

/// How many documents have each field, and values of each kind: by their names.
fn counts(snapshot: &Snapshot) -> Vec<(String, usize, [usize; 3])> {
    let fields = snapshot.fields().unwrap().into_iter();
    fields.map(|count| (count.field.to_string(), count.num_documents, count.num_of_kind)).collect()
}

/// Large segments have columns, small ones none; merging small ones writes them. Filters and counts do not depend on
/// it.
#[test]
fn filters_find_what_the_documents_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let columns = |commit: u32| path.join(format!("segments/{commit:010}/columns")).exists();
    let mut store = Store::create(&path, &Settings::bm25_only()).unwrap();
    add(&mut store, 0..1023, true);
    assert_eq!((columns(1), version(&path)), (false, 7));
    check(store.snapshot());
    let of_documents = counts(store.snapshot());
    assert_eq!(
        of_documents.iter().map(|count| count.0.as_str()).collect::<Vec<_>>(),
        ["about.source", "n0", "n1", "tags", "year"]
    );
    store.compact(&CompactOptions::default(), |_, _| {}).unwrap();

    add(&mut store, 1023..2100, true);
    assert_eq!((columns(2), version(&path)), (true, 7));
    let mut transaction = store.begin().unwrap();
    (0..2100).step_by(7).for_each(|number| transaction.delete(&number.to_string()).unwrap());
    transaction.commit().unwrap();
    for snapshot in [store.snapshot(), &Snapshot::open(&path).unwrap()] {
        check(snapshot);
    }
    let before = counts(store.snapshot());
    assert_eq!(before.iter().find(|count| count.0 == "tags").unwrap().1, 1800);
    store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
    assert!(columns(4), "what was in two segments is in one");
    check(&Snapshot::open(&path).unwrap());
    assert_eq!(counts(store.snapshot()), before);
}

/// Older programs refuse what they would misread, and nothing else.
#[test]
fn versions_say_what_a_program_must_know() {
    let folder = tempfile::tempdir().unwrap();
    for (name, num_rows, has_metadata, expected) in
        [("words", 1024, false, 5), ("metadata", 1024, true, 6), ("a pack", 1, false, 7)]
    {
        let path = folder.path().join(name);
        add(&mut Store::create(&path, &Settings::bm25_only()).unwrap(), 0..num_rows, has_metadata);
        assert_eq!(version(&path), expected, "{name}");
    }
    for (has_passages, expected) in [(false, 5), (true, 6)] {
        let path = folder.path().join(format!("passages-{has_passages}"));
        let mut settings = Settings::with_vectors(Metric::Cosine, 2);
        settings.vectors.as_mut().unwrap().passages = has_passages;
        drop(Store::create(&path, &settings).unwrap());
        assert_eq!(version(&path), expected, "passages: {has_passages}");
        assert_eq!(Snapshot::open(&path).unwrap().settings(), &settings);
    }
}
