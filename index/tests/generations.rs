//! Several generations of vectors over the same documents, and the format from before there were any.

use std::path::{Path, PathBuf};

use secateur_index::bm25::{Analyzer, Bm25Params};
use secateur_index::hnsw::HnswParams;
use secateur_index::quantization::CodeType;
use secateur_index::search::SearchOptions;
use secateur_index::storage::{
    CompactOptions, EncoderIdentity, Generation, Settings, Snapshot, Store, VectorIndex, VectorSettings,
};
use secateur_index::{ComponentType, Error, Metric, Result};

use crate::document;

fn hnsw(min_rows: u32) -> VectorIndex {
    VectorIndex::hnsw(HnswParams::default()).with_min_rows(min_rows).with_ef_search(100)
}

fn generation(name: &str, dim: usize) -> Generation {
    Generation {
        name: name.into(),
        vectors: VectorSettings { index: hnsw(20), ..VectorSettings::new(Metric::L2, dim) },
        encoder: Some(EncoderIdentity { name: format!("encoder of {name}"), fingerprint: [dim as u8; 32] }),
        properties: [("key".to_owned(), name.to_owned())].into(),
    }
}

/// The vector of document `number` in a generation of `dim` dimensions.
fn vector(number: usize, dim: usize) -> Vec<f32> {
    (0..dim).map(|at| ((number * 37 + at * 11) % 23) as f32 + number as f32 / 1000.0).collect()
}

/// 60 documents in two segments, of which every fifth is deleted; vectors of 3 dimensions.
fn database(path: &Path) -> Store {
    let mut store = Store::create(path, &Settings::with_vectors(Metric::Cosine, 3)).unwrap();
    for range in [0..40, 40..60] {
        let mut transaction = store.begin().unwrap();
        for number in range {
            let id = number.to_string();
            transaction.add(&document(&id, &format!("text {id}")), Some(&vector(number, 3))).unwrap();
        }
        transaction.commit().unwrap();
    }
    let mut transaction = store.begin().unwrap();
    (0..60).step_by(5).for_each(|number| transaction.delete(&number.to_string()).unwrap());
    transaction.commit().unwrap();
    store
}

fn add(store: &mut Store, generation: Generation) -> Result<Snapshot> {
    let (dim, snapshot) = (generation.vectors.dim, store.snapshot().clone());
    let mut writer = store.begin_generation(generation)?;
    for row in snapshot.rows() {
        writer.add(&vector(snapshot.id_at(row)?.parse().unwrap(), dim))?;
    }
    writer.finish()
}

/// All files are whole, and what is read is right.
fn check(snapshot: &Snapshot, name: &str, dim: usize) {
    snapshot.verify().unwrap();
    check_read(snapshot, name, dim);
}

/// Every document is found by its vector of the generation that is read, exactly and with the graph.
fn check_read(snapshot: &Snapshot, name: &str, dim: usize) {
    assert_eq!(snapshot.generation(), Some(name));
    for row in snapshot.rows() {
        let number: usize = snapshot.id_at(row).unwrap().parse().unwrap();
        let own = vector(number, dim);
        assert_eq!(*snapshot.vector(row).unwrap(), own);
        let exact = snapshot.flat().unwrap().search(&own, 5).unwrap();
        assert!(exact.iter().all(|hit| snapshot.id_at(hit.row).is_ok()), "no deleted row");
        let walked = snapshot.index().unwrap().search(&own, 5, &SearchOptions::new(60)).unwrap();
        assert_eq!(walked, exact);
        if name != "original" {
            assert_eq!((exact[0].row, exact[0].score), (row, 0.0));
        }
    }
    let hits = snapshot.bm25().unwrap().search("text", 100, Bm25Params::default()).unwrap();
    assert_eq!(hits.len(), snapshot.len());
}

#[test]
fn generations_are_added_used_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = database(&path);
    let before = store.snapshot().clone();
    let added = add(&mut store, generation("small", 2)).unwrap();
    check(&added, "original", 3);
    check(&added.with_generation("small").unwrap(), "small", 2);
    add(&mut store, generation("large", 70)).unwrap();
    assert_eq!(store.use_generation("small").unwrap().generation(), Some("small"));
    drop(store);

    let snapshot = Snapshot::open(&path).unwrap();
    check(&snapshot, "small", 2);
    assert_eq!(snapshot.settings().properties["key"], "small");
    assert_eq!(snapshot.settings().encoder.as_ref().unwrap().name, "encoder of small");
    let names =
        |snapshot: &Snapshot| snapshot.generations().iter().map(|g| g.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&snapshot), ["original", "small", "large"]);
    assert_eq!(snapshot.generations()[2], generation("large", 70));
    check(&snapshot.with_generation("large").unwrap(), "large", 70);
    check(&before, "original", 3);

    // A document comes with a vector for each.
    let mut store = Store::open(&path).unwrap();
    let mut transaction = store.begin().unwrap();
    transaction.delete("7").unwrap();
    let result = transaction.add(&document("new", "text"), Some(&[0.0, 0.0]));
    assert!(
        matches!(&result, Err(Error::SeveralGenerations { names, got: 1 }) if names.len() == 3),
        "{result:?}"
    );
    let result = transaction.add_all(&document("new", "text"), &[&[0.0; 3], &[0.0; 3], &[0.0; 70]]);
    assert!(matches!(result, Err(Error::DimensionMismatch { expected: 2, got: 3 })), "{result:?}");
    transaction.add_all(&document("new", "text"), &[&[0.0; 3], &[0.0; 2], &[0.0; 70]]).unwrap();
    assert!(transaction.upsert(&document("new", "text"), &[&[1.0; 3], &[0.5; 2], &[2.0; 70]]).unwrap());
    transaction.delete("new").unwrap();
    check(&transaction.commit().unwrap(), "small", 2);

    // A compaction takes all of them along.
    store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
    for (name, dim) in [("original", 3), ("small", 2), ("large", 70)] {
        let snapshot = store.snapshot().with_generation(name).unwrap();
        assert_eq!((snapshot.num_segments(), snapshot.num_rows(), snapshot.len()), (1, 47, 47));
        check(&snapshot, name, dim);
    }

    let old = Snapshot::open(&path).unwrap().with_generation("original").unwrap();
    for name in ["original", "large"] {
        store.drop_generation(name).unwrap();
    }
    check(&old, "original", 3);
    assert_eq!(names(store.snapshot()), ["small"]);
    check(store.snapshot(), "small", 2);
    // The only one left takes documents again.
    let mut transaction = store.begin().unwrap();
    transaction.add(&document("100", "text"), Some(&vector(100, 2))).unwrap();
    check(&transaction.commit().unwrap(), "small", 2);
    // A name can be given again; its files are others.
    check(
        &add(&mut store, generation("original", 5)).unwrap().with_generation("original").unwrap(),
        "original",
        5,
    );
    drop(store);
    check(Store::open(&path).unwrap().snapshot(), "small", 2);
}

/// Damage to a generation that is not in use is an error of those who read it. All else works: texts, the generation in
/// use, documents that are added, and the end of the damaged one.
#[test]
fn damage_to_a_generation_that_is_not_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = database(&path);
    add(&mut store, generation("small", 2)).unwrap();
    drop(store);
    let damaged: Vec<PathBuf> =
        files(&path).into_iter().filter(|file| file.ends_with("g4/vectors")).collect();
    let file = damaged.first().unwrap_or_else(|| panic!("{:?}", files(&path)));
    let whole = std::fs::read(file).unwrap();
    for damage in ["cut", "removed", "zeros"] {
        match damage {
            "cut" => std::fs::write(file, &whole[..whole.len() - 1]).unwrap(),
            "removed" => std::fs::remove_file(file).unwrap(),
            _ => std::fs::write(file, vec![0; whole.len()]).unwrap(),
        }
        let refused = |what: &str, result: Result<()>| match result {
            Err(Error::Corrupt { file: named, .. }) => assert_eq!(&named, file, "{damage}: {what}"),
            other => panic!("{damage}: {what}: {other:?}"),
        };
        let snapshot = Snapshot::open(&path).unwrap();
        check_read(&snapshot, "original", 3);
        check_read(&snapshot.latest().unwrap(), "original", 3);
        refused("read", snapshot.with_generation("small").map(drop));
        refused("verify", snapshot.verify().map(drop));
        // It says what to do.
        let message = snapshot.with_generation("small").err().unwrap().to_string();
        assert!(
            message.contains("of generation \"small\", which can be dropped and added again"),
            "{message}"
        );
        let mut store = Store::open(&path).unwrap();
        refused("use", store.use_generation("small").map(drop));
        refused("compact", store.compact(&CompactOptions::default(), |_, _| {}).map(drop));
        assert_eq!(Snapshot::open(&path).unwrap().generation(), Some("original"));
    }
    // A reader that has the database open reads on.
    let reader = Snapshot::open(&path).unwrap();
    let mut store = Store::open(&path).unwrap();
    check(&store.drop_generation("small").unwrap(), "original", 3);
    check_read(&reader, "original", 3);
    store.snapshot().verify().unwrap();
    assert!(!file.exists());
    drop(store);
    check(Store::open(&path).unwrap().snapshot(), "original", 3);
}

/// The names in a folder, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files in a folder and in those in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = names_in(folder).into_iter().map(|name| folder.join(name));
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What is dropped takes its files along. Of a pack it leaves nothing that is read, and a compaction that writes the
/// segment anew leaves nothing at all.
#[test]
fn dropped_generations_leave_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = database(&path);
    // Too long for a pack.
    let long = "long ".repeat(300_000) + "text";
    let mut transaction = store.begin().unwrap();
    transaction.add(&document("1000", &long), Some(&vector(1000, 3))).unwrap();
    transaction.commit().unwrap();
    add(&mut store, generation("small", 2)).unwrap();
    let segments = path.join("segments");
    let packs = ["0000000001", "0000000001.pack", "0000000002", "0000000002.pack", "0000000004"];
    assert_eq!(names_in(&segments), packs);
    let base = ["bm25", "codes", "documents", "g5", "lengths", "vectors"];
    assert_eq!(names_in(&segments.join("0000000004")), base);
    assert_eq!(names_in(&segments.join("0000000001/g5")), ["graph", "vectors"]);
    store.use_generation("small").unwrap();
    let bytes = store.snapshot().num_bytes();
    store.drop_generation("original").unwrap();
    assert!(store.snapshot().num_bytes() < bytes);
    assert_eq!(names_in(&segments.join("0000000004")), ["bm25", "documents", "g5", "lengths"]);
    check(store.snapshot(), "small", 2);
    // Another one, and the first again, in the folders beside the packs.
    add(&mut store, generation("large", 70)).unwrap();
    store.drop_generation("large").unwrap();
    assert_eq!(names_in(&segments.join("0000000001")), ["g5"]);
    drop(store);
    let mut store = Store::open(&path).unwrap();
    check(store.snapshot(), "small", 2);
    store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
    check(&Snapshot::open(&path).unwrap(), "small", 2);
    assert_eq!(names_in(&segments).len(), 1);
}

/// A generation that is not finished leaves nothing; neither does one that a killed process began.
#[test]
fn unfinished_generations_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = database(&path);
    let before = files(&path.join("segments"));
    let commit = store.snapshot().commit_number();
    let mut writer = store.begin_generation(generation("small", 2)).unwrap();
    let result = writer.add(&[1.0]);
    assert!(matches!(result, Err(Error::DimensionMismatch { expected: 2, got: 1 })), "{result:?}");
    (0..40).for_each(|number| writer.add(&vector(number, 2)).unwrap());
    let result = writer.finish();
    assert!(matches!(result, Err(Error::GenerationRows { expected: 48, got: 40 })), "{result:?}");
    assert_eq!(files(&path.join("segments")), before);
    let mut writer = store.begin_generation(generation("small", 2)).unwrap();
    (0..48).for_each(|number| writer.add(&vector(number, 2)).unwrap());
    assert!(matches!(writer.add(&vector(0, 2)), Err(Error::GenerationRows { expected: 48, got: 49 })));
    drop(writer);
    assert_eq!((files(&path.join("segments")), store.snapshot().commit_number()), (before.clone(), commit));
    // As a killed process leaves it.
    for segment in ["0000000001", "0000000002"] {
        let left = path.join("segments").join(segment).join("g4");
        std::fs::create_dir_all(&left).unwrap();
        std::fs::write(left.join("vectors"), "half").unwrap();
    }
    drop(store);
    let mut store = Store::open(&path).unwrap();
    assert_eq!(files(&path.join("segments")), before);
    check(&add(&mut store, generation("small", 2)).unwrap().with_generation("small").unwrap(), "small", 2);
}

#[test]
fn bad_requests_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = database(&path);
    for name in ["", "a/b", "..\\x", "ü", "two words", &"x".repeat(65)] {
        let result = store.begin_generation(generation(name, 2)).map(drop);
        assert!(matches!(result, Err(Error::GenerationName { .. })), "{name}: {result:?}");
    }
    let result = store.begin_generation(generation("original", 2)).map(drop);
    assert!(matches!(result, Err(Error::GenerationExists { .. })), "{result:?}");
    let result = store.begin_generation(generation("x", 0)).map(drop);
    assert!(matches!(result, Err(Error::InvalidParameter { name: "dim", .. })), "{result:?}");
    let error = store.use_generation("x").unwrap_err();
    assert_eq!(error.to_string(), "the database has no generation \"x\"; it has original");
    assert!(matches!(store.drop_generation("x"), Err(Error::UnknownGeneration { .. })));
    assert!(matches!(store.drop_generation("original"), Err(Error::GenerationInUse { .. })));
    let commit = store.snapshot().commit_number();
    assert_eq!(store.use_generation("original").unwrap().commit_number(), commit, "nothing to do");
    check(store.snapshot(), "original", 3);
}

/// A database that was made for words alone gets vectors.
#[test]
fn databases_of_words_get_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = Store::create(&path, &Settings::bm25_only()).unwrap();
    let mut transaction = store.begin().unwrap();
    (0..30).for_each(|number| transaction.add(&document(&number.to_string(), "text"), None).unwrap());
    assert_eq!(transaction.commit().unwrap().generation(), None);
    assert!(matches!(store.snapshot().with_generation("x"), Err(Error::UnknownGeneration { .. })));
    check(&add(&mut store, generation("small", 2)).unwrap(), "small", 2);
    check(&Snapshot::open(&path).unwrap(), "small", 2);
}

/// Databases of older format versions are read, and written on.
#[test]
fn every_format_is_read() {
    for version in [1, 3, 4, 5, 6] {
        format_is_read(version);
    }
}

fn format_is_read(format: u8) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    copy(&fixtures.join(format!("database-v{format}")), &path);
    let check = |snapshot: &Snapshot, deleted: &[&str]| {
        snapshot.verify().unwrap();
        assert_eq!(snapshot.len(), 25 - deleted.len());
        assert_eq!(snapshot.generation(), Some("original"));
        let settings = snapshot.settings();
        let vectors = settings.vectors.unwrap();
        assert_eq!((vectors.metric, vectors.dim), (Metric::Cosine, 4));
        assert_eq!(vectors.passages, format == 6);
        assert_eq!(settings.analyzer, (format > 4).then_some(Analyzer::English));
        let components = if format == 4 { ComponentType::F16 } else { ComponentType::F32 };
        assert_eq!(vectors.components, components);
        let codes = if format == 4 { CodeType::OneBit } else { CodeType::Int8 };
        let params = HnswParams { m: 4, ef_construction: 20, seed: 3, codes };
        assert_eq!(vectors.index, VectorIndex::hnsw(params).with_min_rows(10).with_ef_search(50));
        let encoder = settings.encoder.as_ref().unwrap();
        assert_eq!((encoder.name.as_str(), encoder.fingerprint), ("an encoder", [7; 32]));
        let properties: Vec<(&str, &str)> =
            settings.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(properties, [("encoder", "some/model"), ("passage_separator", " ")]);
        for number in 0..25 {
            let id = format!("d{number}");
            let Some(stored) = snapshot.document(&id).unwrap() else {
                assert!(deleted.contains(&id.as_str()), "{id}");
                continue;
            };
            assert_eq!(
                (&*stored.title, &*stored.text),
                (&*format!("Title {number}"), &*format!("word w{} text", number % 5))
            );
            let row = snapshot.row(&id).unwrap().unwrap();
            assert_eq!(*snapshot.vector(row).unwrap(), [number as f32, 1.0, -2.0, (number % 7) as f32]);
        }
        let nearest = snapshot.flat().unwrap().search(&[14.0, 1.0, -2.0, 0.0], 1).unwrap()[0];
        assert_eq!((snapshot.id_at(nearest.row).unwrap(), nearest.score > 0.999), ("d14", true));
        let matching = snapshot.matching(&"year >= 2010 and tags == \"t0\"".parse().unwrap()).unwrap();
        assert_eq!(matching.len(), 3, "d12, d18, d24");
        let hits = snapshot.bm25().unwrap().search("w3", 10, Bm25Params::default()).unwrap();
        assert_eq!(
            hits.len(),
            (0..25).filter(|n| n % 5 == 3 && !deleted.contains(&&*format!("d{n}"))).count()
        );
    };
    check(&Snapshot::open(&path).unwrap(), &["d3", "d21"]);
    let version = || std::fs::read(path.join("MANIFEST")).unwrap()[8];
    assert_eq!(version(), format, "reading changes nothing");
    let mut store = Store::open(&path).unwrap();
    let mut transaction = store.begin().unwrap();
    transaction.delete("d8").unwrap();
    transaction.commit().unwrap();
    assert_eq!(version(), format.max(3));
    check(store.snapshot(), &["d3", "d8", "d21"]);
    check(&Snapshot::open(&path).unwrap(), &["d3", "d8", "d21"]);
    store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
    check(&Snapshot::open(&path).unwrap(), &["d3", "d8", "d21"]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &target) } else { std::fs::copy(&entry, &target).map(drop).unwrap() }
    }
}
