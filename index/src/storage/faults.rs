//! Disks that fail. After any failed operation, and after a power failure at any moment, the database is in the old
//! state or the new one, and sound.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use secateur_files::faults::at_every_operation;

use super::generation::Generation;
use super::{
    CompactOptions, EmbeddingJournal, NewDocument, Settings, Snapshot, Store, Unfinished, VectorIndex,
    VectorSettings,
};
use crate::error::Result;
use crate::hnsw::HnswParams;
use crate::metric::Metric;

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for path in list(from) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}

fn generation(name: &str, dim: usize) -> Generation {
    let index = VectorIndex::hnsw(HnswParams::default()).with_min_rows(4).with_ef_search(10);
    let vectors = VectorSettings { index, passages: true, ..VectorSettings::new(Metric::L2, dim) };
    Generation { name: name.into(), vectors, encoder: None, properties: BTreeMap::new() }
}

fn add_documents(store: &mut Store, ids: std::ops::Range<usize>) -> Result<()> {
    let has_passages = store.snapshot().settings().vectors.is_some_and(|vectors| vectors.passages);
    let mut transaction = store.begin()?;
    for number in ids {
        let id = number.to_string();
        let text = format!("text of {number}");
        let document = NewDocument { id: &id, title: "", text: &text, metadata: Some("{\"a\": 1}") };
        let num_passages = if has_passages { 1 + number % 3 } else { 1 };
        transaction.add(&document, Some(&[number as f32, 1.0].repeat(num_passages)))?;
    }
    transaction.commit().map(drop)
}

fn add_generation(store: &mut Store, name: &str) -> Result<()> {
    let len = store.snapshot().len();
    let mut writer = store.begin_generation(generation(name, 3))?;
    (0..len).try_for_each(|number| writer.add(&[number as f32, 0.5, 1.0].repeat(1 + number % 2)))?;
    writer.finish().map(drop)
}

/// What is done to the database of [`base`], which has the generations that are named.
type Operation = (&'static str, &'static [&'static str], fn(&mut Store) -> Result<()>);

const OPERATIONS: [Operation; 7] = [
    ("an upsert", &["b"], |store| {
        let mut transaction = store.begin()?;
        for id in ["2", "new"] {
            let text = format!("text of {id}");
            let document = NewDocument { id, title: "", text: &text, metadata: None };
            transaction.upsert(&document, &[&[9.0, 1.0], &[9.0, 0.5, 1.0]])?;
        }
        transaction.commit().map(drop)
    }),
    ("a commit", &[], |store| add_documents(store, 20..26)),
    ("a deletion", &["b"], |store| {
        let mut transaction = store.begin()?;
        transaction.delete("2")?;
        transaction.commit().map(drop)
    }),
    ("a compaction", &["b"], |store| store.compact(&CompactOptions::default(), |_, _| {}).map(drop)),
    ("adding a generation", &[], |store| add_generation(store, "b")),
    ("using a generation", &["b"], |store| store.use_generation("b").map(drop)),
    ("dropping a generation", &["b", "c"], |store| store.drop_generation("b").map(drop)),
];

/// Two segments, the first with a graph, with deleted rows.
fn base(path: &Path, generations: &[&str]) {
    let settings = Settings { vectors: Some(generation("", 2).vectors), ..Settings::bm25_only() };
    let mut store = Store::create(path, &settings).unwrap();
    add_documents(&mut store, 0..6).unwrap();
    add_documents(&mut store, 6..8).unwrap();
    let mut transaction = store.begin().unwrap();
    transaction.delete("3").unwrap();
    transaction.delete("7").unwrap();
    transaction.commit().unwrap();
    generations.iter().for_each(|name| add_generation(&mut store, name).unwrap());
}

/// All that a reader sees.
#[derive(Debug, PartialEq)]
struct State {
    commit: u64,
    ids: Vec<String>,
    /// Names, and the bits of all vectors.
    generations: Vec<(String, Vec<u32>)>,
    in_use: Option<String>,
}

/// The state, after everything was checked.
fn state(path: &Path) -> State {
    let snapshot = Snapshot::open(path).unwrap();
    snapshot.verify().unwrap();
    let ids = snapshot.rows().map(|row| {
        let document = snapshot.document_at(row).unwrap();
        assert_eq!(document.text, format!("text of {}", document.id));
        document.id.into_owned()
    });
    let vectors = |name: &str| -> Vec<u32> {
        let snapshot = snapshot.with_generation(name).unwrap();
        let numbers = snapshot.rows().flat_map(|row| snapshot.vector(row).unwrap().to_vec());
        numbers.map(f32::to_bits).collect()
    };
    let generations = snapshot.generations().iter().map(|g| (g.name.clone(), vectors(&g.name)));
    let in_use = snapshot.generation_in_use().map(str::to_owned);
    State { commit: snapshot.commit_number(), ids: ids.collect(), generations: generations.collect(), in_use }
}

/// Lets each disk operation of `operation` fail, on copies of the database that `make` makes.
fn every_failure_leaves_a_state(name: &str, make: impl Fn(&Path), operation: fn(&mut Store) -> Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    make(&path("base"));
    let before = state(&path("base"));
    copy(&path("base"), &path("done"));
    operation(&mut Store::open(path("done")).unwrap()).unwrap();
    let after = state(&path("done"));
    assert_ne!(before, after);
    let prepare = |db: &Path| copy(&path("base"), db);
    let operate = |db: &Path| operation(&mut Store::open(db)?);
    at_every_operation(folder.path(), prepare, operate, |db, result, case| {
        let what = format!("{name}, {case}");
        let found = state(db);
        assert!(found == before || found == after, "{what}: {found:?}");
        // What was acknowledged is there.
        assert!(result.is_err() || found == after, "{what}");
        assert!(result.is_ok() || case.has_failed, "{what}: {result:?}");
        // A writer clears up and goes on.
        let mut store = Store::open(db).unwrap();
        if found == before {
            operation(&mut store).unwrap();
        }
        drop(store);
        assert_eq!(state(db), after, "{what}");
        // A merge that fails is left out; whatever a commit leaves, each folder and each pack is a segment's.
        let names: BTreeSet<_> =
            list(&db.join("segments")).iter().map(|path| path.with_extension("")).collect();
        let num_segments = Snapshot::open(db).unwrap().num_segments();
        assert_eq!(names.len(), num_segments, "{what}: nothing is left over");
    });
}

#[test]
fn every_failure_of_an_operation_leaves_a_state() {
    for (name, generations, operation) in OPERATIONS {
        every_failure_leaves_a_state(name, |path| base(path, generations), operation);
    }
}

#[test]
fn every_failure_of_a_merge_leaves_a_state() {
    let make = |path: &Path| {
        let mut store = Store::create(path, &Settings::with_vectors(Metric::L2, 2)).unwrap();
        (0..7).for_each(|number| add_documents(&mut store, number..number + 1).unwrap());
        assert_eq!(store.snapshot().num_segments(), 7);
    };
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("db");
    make(&path);
    let mut store = Store::open(&path).unwrap();
    add_documents(&mut store, 20..21).unwrap();
    assert_eq!(store.snapshot().num_segments(), 1);
    every_failure_leaves_a_state("a commit that merges", make, |store| add_documents(store, 20..21));
}

/// So many rows are written by two threads, and copied rather than added again.
#[test]
fn every_failure_of_a_copy_leaves_a_state() {
    let make = |path: &Path| {
        let mut store = Store::create(path, &Settings::with_vectors(Metric::L2, 2)).unwrap();
        add_documents(&mut store, 0..1030).unwrap();
        let mut transaction = store.begin().unwrap();
        ["0", "500", "501"].iter().for_each(|id| transaction.delete(id).unwrap());
        transaction.commit().unwrap();
    };
    every_failure_leaves_a_state("a compaction that copies", make, |store| {
        store.compact(&CompactOptions::default(), |_, _| {}).map(drop)
    });
    every_failure_leaves_a_state("a large commit", make, |store| add_documents(store, 2000..3030));
}

/// What the vectors of [`build`] depend on.
const KEY: [u8; 32] = [3; 32];

/// Builds the database `db` in a folder, with a journal, as the library builds one of a corpus. `kept` becomes true
/// when the journal has the vectors.
fn build(folder: &Path, kept: &Cell<bool>) -> Result<()> {
    let unfinished = Unfinished::begin(folder.join("db"))?;
    let mut journal = EmbeddingJournal::open(unfinished.journal(), KEY, 2)?;
    if journal.is_empty() {
        journal.append([1; 32], &[0.0, 1.0, 1.0, 1.0, 2.0, 1.0])?;
    }
    kept.set(true);
    let settings = Settings { vectors: Some(generation("", 2).vectors), ..Settings::bm25_only() };
    let mut store = Store::create(unfinished.folder(), &settings)?;
    add_documents(&mut store, 0..3)?;
    drop(journal);
    unfinished.finish(Some(store))
}

/// A build that fails leaves no database or a whole one, and until that is there the vectors that the journal took.
#[test]
fn an_unfinished_database_is_absent_or_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    fs::create_dir(path("done")).unwrap();
    build(&path("done"), &Cell::new(false)).unwrap();
    let after = state(&path("done/db"));
    let kept = Cell::new(false);
    let prepare = |folder: &Path| {
        kept.set(false);
        fs::create_dir(folder).unwrap();
    };
    at_every_operation(
        scratch.path(),
        prepare,
        |folder| build(folder, &kept),
        |folder, result, case| {
            assert!(result.is_ok() || case.has_failed, "{case}: {result:?}");
            if folder.join("db").exists() {
                assert_eq!(state(&folder.join("db")), after, "{case}");
                return;
            }
            assert!(result.is_err(), "{case}: acknowledged, and not there");
            if kept.get() {
                let unfinished = Unfinished::begin(folder.join("db")).unwrap();
                let journal = EmbeddingJournal::open(unfinished.journal(), KEY, 2).unwrap();
                assert_eq!(journal.len(), 1, "{case}");
            }
            build(folder, &kept).unwrap();
            assert_eq!(state(&folder.join("db")), after, "{case}");
            assert_eq!(list(folder).len(), 1, "{case}: nothing is left over");
        },
    );
}

/// Another user can open a database: its files and folders are as open as the umask says, whoever writes them.
#[test]
fn modes_follow_the_umask() {
    use std::os::unix::fs::PermissionsExt;

    fn all(folder: &Path) -> Vec<PathBuf> {
        let mut paths = list(folder);
        let inner: Vec<PathBuf> =
            paths.iter().filter(|path| path.is_dir()).flat_map(|path| all(path)).collect();
        paths.extend(inner);
        paths
    }

    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    base(&db, &["b"]);
    Store::open(&db).unwrap().compact(&CompactOptions::default(), |_, _| {}).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let [file, inner] = ["file", "folder"].map(|name| folder.path().join(name));
    fs::write(&file, "").unwrap();
    fs::create_dir(&inner).unwrap();
    let paths = all(&db);
    assert!(paths.iter().any(|path| path.ends_with("bm25/meta.json")), "{paths:?}");
    for path in paths {
        assert_eq!(mode(&path), mode(if path.is_dir() { &inner } else { &file }), "{}", path.display());
    }
}
