//! Damaged files: an error that names the file, never a panic, and never silence from `verify`.

use std::fs;
use std::path::{Path, PathBuf};

use secateur_index::bm25::Bm25Params;
use secateur_index::hnsw::HnswParams;
use secateur_index::search::SearchOptions;
use secateur_index::storage::{NewDocument, Settings, Snapshot, Store, VectorIndex};
use secateur_index::{Error, Metric, Result};

use crate::Random;

/// Two segments with deletions in both.
fn database(path: &Path) {
    let mut settings = Settings::with_vectors(Metric::Cosine, 5);
    if let Some(vectors) = &mut settings.vectors {
        vectors.index = VectorIndex::hnsw(HnswParams::default()).with_min_rows(150).with_ef_search(100);
    }
    let mut store = Store::create(path, &settings).unwrap();
    // The second segment is too small for a graph.
    for (segment, num_rows) in [(0, 150), (1, 100)] {
        let mut transaction = store.begin().unwrap();
        for number in 0..num_rows {
            let id = format!("document {segment}-{number}");
            let text = format!("some words, the number {number} and the word w{}", number % 7);
            let document = NewDocument { id: &id, title: "title", text: &text, metadata: Some("{\"a\":1}") };
            let vector = [number as f32, 1.0, -2.0, segment as f32, 0.5];
            transaction.add(&document, Some(&vector)).unwrap();
        }
        transaction.delete(&format!("document {segment}-7")).unwrap();
        transaction.commit().unwrap();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            // The lock file holds nothing that is read back; tantivy's are not part of the database.
            false
                if path.file_name().unwrap() == "LOCK"
                    || path.extension().is_some_and(|end| end == "lock") => {}
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Uses everything a reader can use; errors are fine here, panics are not.
fn use_everything(snapshot: &Snapshot) -> Result<()> {
    let query = [1.0, 0.0, 1.0, 0.0, 1.0];
    let flat = snapshot.flat()?;
    let results = [
        flat.search(&query, 10).map(drop),
        flat.search_batch(&query.repeat(4), 10).map(drop),
        // Small enough to be walked.
        snapshot.index()?.search(&query, 5, &SearchOptions::new(5)).map(drop),
        snapshot.bm25().and_then(|index| index.search("word w3 number", 10, Bm25Params::default())).map(drop),
        snapshot.row("document 1-3").map(drop),
        snapshot.document("document 0-149").map(drop),
    ];
    for row in snapshot.rows() {
        drop((snapshot.document_at(row), snapshot.id_at(row), snapshot.vector(row)));
    }
    results.into_iter().collect()
}

/// Opens and verifies the database; returns the first error.
fn probe(path: &Path) -> Result<()> {
    let snapshot = Snapshot::open(path)?;
    let used = use_everything(&snapshot);
    let verified = snapshot.verify();
    assert!(used.is_ok() || verified.is_err(), "verify missed {used:?}");
    verified.map(drop)
}

fn check(path: &Path, damaged: &Path, what: &str) {
    let named = match probe(path) {
        Ok(()) => panic!("{}: {what} went unnoticed", damaged.display()),
        Err(Error::Corrupt { file, .. } | Error::NewerFormat { file, .. }) => file,
        Err(error) => panic!("{}: {what} gave {error:?}", damaged.display()),
    };
    assert_eq!(named, damaged, "{what}");
    assert!(
        Store::open(path).is_err() || Snapshot::open(path).unwrap().verify().is_err(),
        "a writer hides {what}"
    );
}

#[test]
fn any_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    database(&path);
    probe(&path).unwrap();
    let files = files(&path);
    assert!(files.len() > 10, "{files:?}");
    let mut random = Random(2);
    for file in &files {
        let whole = fs::read(file).unwrap();
        // Every byte of the first 128, which hold headers, and some of the rest.
        let mut places: Vec<usize> = (0..whole.len().min(128)).collect();
        places.extend((0..60).map(|_| random.below(whole.len())));
        for place in places {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << random.below(8);
            fs::write(file, &bytes).unwrap();
            check(&path, file, &format!("a flipped bit in byte {place}"));
        }
        let lengths = [0, 1, 63, 64, whole.len() / 2, whole.len() - 1];
        for len in lengths.into_iter().filter(|len| *len < whole.len()) {
            fs::write(file, &whole[..len]).unwrap();
            check(&path, file, &format!("a cut to {len} bytes"));
        }
        fs::write(file, [&whole[..], &[0]].concat()).unwrap();
        check(&path, file, "a byte too many");
        fs::write(file, vec![0; whole.len()]).unwrap();
        check(&path, file, "zeros");

        fs::remove_file(file).unwrap();
        match probe(&path) {
            Err(Error::NotADatabase { path: named }) => assert!(file.ends_with("MANIFEST") && named == path),
            Err(Error::Corrupt { file: named, .. }) => assert_eq!(named, *file),
            other => panic!("without {}: {other:?}", file.display()),
        }
        fs::write(file, &whole).unwrap();
    }
    probe(&path).unwrap();
}

/// Forged files: headers that say something else and bytes changed anywhere, with valid checksums. They give an error
/// or an answer, never a panic. If a search finds something wrong, `verify` does, too.
#[test]
fn forged_files_are_survived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    database(&path);
    let mut random = Random(12);
    for file in files(&path).iter().filter(|file| !file.parent().unwrap().ends_with("bm25")) {
        let whole = fs::read(file).unwrap();
        for _ in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                let end = if random.below(2) == 0 { 60 } else { whole.len() };
                bytes[random.below(end)] = random.below(256) as u8;
            }
            // Of the body of a manifest; of the tables of a documents file, wherever it says they are.
            let place = usize::try_from(u64::from_le_bytes(*bytes[16..].first_chunk().unwrap())).ok();
            let (from, at) = match file.file_name().and_then(|name| name.to_str()) {
                Some("MANIFEST") => (Some(64), 24),
                Some("documents") => (place, 32),
                Some(name) if name.ends_with(".pack") => (place, 24),
                _ => (None, 0),
            };
            if let Some(part) = from.and_then(|from| bytes.get(from..)) {
                let crc = crc32fast::hash(part).to_le_bytes();
                bytes[at..at + 4].copy_from_slice(&crc);
            }
            let crc = crc32fast::hash(&bytes[..60]).to_le_bytes();
            bytes[60..64].copy_from_slice(&crc);
            fs::write(file, &bytes).unwrap();
            drop(probe(&path));
        }
        fs::write(file, &whole).unwrap();
    }
    probe(&path).unwrap();
}

/// A later version is refused before anything else of the file is believed, and both versions are named.
#[test]
fn newer_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    database(&path);
    // Too long for a pack, and without a graph.
    let text = "long ".repeat(300_000);
    let document = NewDocument { id: "long", title: "", text: &text, metadata: None };
    let mut store = Store::open(&path).unwrap();
    let mut transaction = store.begin().unwrap();
    transaction.add(&document, Some(&[1.0; 5])).unwrap();
    transaction.commit().unwrap();
    drop(store);
    for (name, reads) in [
        ("MANIFEST", 7),
        ("segments/0000000001/documents", 1),
        ("segments/0000000002.pack", 1),
        ("segments/0000000003/vectors", 2),
        ("segments/0000000001/graph", 4),
        ("segments/0000000003/codes", 1),
    ] {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        let mut newer = whole.clone();
        newer[8..12].copy_from_slice(&8u32.to_le_bytes());
        fs::write(&file, &newer).unwrap();
        let error = Snapshot::open(&path).unwrap_err();
        assert!(
            matches!(&error, Error::NewerFormat { file: named, found: 8, supported } if *named == file && *supported == reads),
            "{error}"
        );
        let message = error.to_string();
        assert!(message.contains("version 8") && message.contains(&format!("version {reads}")), "{message}");
        fs::write(&file, &whole).unwrap();
    }
}

/// Folders that hold something else.
#[test]
fn other_folders_are_no_databases() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    assert!(matches!(Snapshot::open(&missing), Err(Error::NoDatabase { path }) if path == missing));
    for path in [&empty, &file] {
        assert!(matches!(Snapshot::open(path), Err(Error::NotADatabase { path: named }) if named == *path));
        assert!(matches!(Store::open(path), Err(Error::NotADatabase { .. })));
    }
    assert!(fs::read_dir(&empty).unwrap().next().is_none(), "a refused folder is left as it was");

    let settings = Settings::bm25_only();
    assert!(matches!(Store::create(folder.path(), &settings), Err(Error::AlreadyExists { .. })));
    drop(Store::create(&empty, &settings).unwrap());
    assert!(matches!(Store::create(&empty, &settings), Err(Error::AlreadyExists { .. })));
    // A creation interrupted before its manifest stood can be repeated.
    fs::rename(empty.join("MANIFEST"), empty.join("MANIFEST.tmp")).unwrap();
    assert!(Store::create(&empty, &settings).unwrap().snapshot().is_empty());
}
