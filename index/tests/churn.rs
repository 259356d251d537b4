//! Compaction: deleted documents leave no trace in size or recall, readers keep their state, budgets are kept.

use std::path::Path;

use secateur_index::bm25::Bm25Params;
use secateur_index::hnsw::HnswParams;
use secateur_index::storage::{CompactOptions, NewDocument, Settings, Snapshot, Store, VectorIndex};
use secateur_index::{Error, Metric};

use crate::Random;

const DIM: usize = 16;
const DOCUMENTS: usize = 3000;

fn settings() -> Settings {
    let mut settings = Settings::with_vectors(Metric::Cosine, DIM);
    if let Some(vectors) = &mut settings.vectors {
        vectors.index = VectorIndex::hnsw(HnswParams::default()).with_min_rows(500).with_ef_search(40);
    }
    settings
}

/// Vectors around 40 centers, so that neighbors are near.
fn vector(random: &mut Random) -> [f32; DIM] {
    let center = random.below(40) as u64;
    let mut of_center = Random(center + 1);
    let number = |random: &mut Random| random.below(2001) as f32 / 1000.0 - 1.0;
    std::array::from_fn(|_| 2.0 * number(&mut of_center) + number(random))
}

/// Replaces the documents of this range, by a commit of its own.
fn replace(store: &mut Store, range: std::ops::Range<usize>, turn: usize, random: &mut Random) {
    let mut transaction = store.begin().unwrap();
    for number in range {
        let id = number.to_string();
        if transaction.contains(&id).unwrap() {
            transaction.delete(&id).unwrap();
        }
        let text = format!("text of document {number}, turn {turn}, word w{}", number % 50);
        let document = NewDocument { id: &id, title: "title", text: &text, metadata: Some("{\"a\": 1}") };
        transaction.add(&document, Some(&vector(random))).unwrap();
    }
    transaction.commit().unwrap();
}

fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { size_of(&entry.path()) } else { entry.metadata().unwrap().len() }
            },
        )
        .sum()
}

/// The mean recall@10 with the ef that is set, over vectors like those of the documents.
fn recall(snapshot: &Snapshot) -> f64 {
    let mut random = Random(99);
    let queries: Vec<f32> = (0..300).flat_map(|_| vector(&mut random)).collect();
    snapshot.index().unwrap().recall(&queries, 10, &[40]).unwrap()[0].mean
}

/// Every document is replaced ten times, in several commits. After a compaction the files are at most 1.3 times as long
/// as those of a new database with the same documents. Recall is at most 0.01 lower than there.
#[test]
fn turnover_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = Store::create(&path, &settings()).unwrap();
    let mut random = Random(5);
    for turn in 0..=10 {
        for part in 0..4 {
            replace(&mut store, DOCUMENTS * part / 4..DOCUMENTS * (part + 1) / 4, turn, &mut random);
        }
        if turn > 0 {
            let grown = size_of(&path);
            let report = store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
            assert_eq!(report.num_segments[1], 1);
            assert_eq!(report.num_rows[1], DOCUMENTS);
            assert!(size_of(&path) < grown, "turn {turn}");
        }
    }
    let fresh_path = folder.path().join("fresh");
    let mut fresh = Store::create(&fresh_path, &settings()).unwrap();
    let mut transaction = fresh.begin().unwrap();
    for row in store.snapshot().rows() {
        let document = store.snapshot().document_at(row).unwrap();
        transaction.add(&document.as_new(), Some(&store.snapshot().vector(row).unwrap())).unwrap();
    }
    transaction.commit().unwrap();
    let (size, fresh_size) = (size_of(&path), size_of(&fresh_path));
    assert!(size as f64 <= 1.3 * fresh_size as f64, "{size} bytes, fresh {fresh_size}");
    let (found, fresh_found) = (recall(store.snapshot()), recall(fresh.snapshot()));
    assert!(found >= fresh_found - 0.01 && fresh_found > 0.9, "{found}, fresh {fresh_found}");
    // In fact, the same rows in the same order make the same graph.
    let graphs = [&path, &fresh_path].map(|path| {
        let segment = std::fs::read_dir(path.join("segments")).unwrap().next().unwrap().unwrap().path();
        std::fs::read(segment.join("graph")).unwrap()
    });
    assert!(graphs[0] == graphs[1]);
    store.snapshot().verify().unwrap();
    drop(store);
    assert_eq!(Snapshot::open(&path).unwrap().len(), DOCUMENTS);
}

/// A snapshot from before the compaction reads everything after the files were removed, also what it had not read
/// before.
#[test]
#[cfg(unix)]
fn readers_keep_what_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = Store::create(&path, &settings()).unwrap();
    let mut random = Random(6);
    for part in 0..3 {
        replace(&mut store, part * 600..(part + 1) * 600, 0, &mut random);
    }
    let mut transaction = store.begin().unwrap();
    (0..1800).step_by(2).for_each(|number| transaction.delete(&number.to_string()).unwrap());
    transaction.commit().unwrap();
    let [unread, read] = [(); 2].map(|()| Snapshot::open(&path).unwrap());
    let bm25 = |snapshot: &Snapshot| {
        let hits = snapshot.bm25().unwrap().search("w7 document", 1000, Bm25Params::default()).unwrap();
        hits.iter().map(|hit| (snapshot.id_at(hit.row).unwrap().to_owned(), hit.score)).collect::<Vec<_>>()
    };
    let before = bm25(&read);
    store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
    assert_eq!(std::fs::read_dir(path.join("segments")).unwrap().count(), 1, "the old segments are gone");
    for old in [&unread, &read] {
        assert_eq!(bm25(old), before);
        assert_eq!(old.verify().unwrap().num_documents, 900);
        assert_eq!(old.document("7").unwrap().unwrap().id, "7");
        assert!((0.9..=1.0).contains(&recall(old)));
        assert_eq!(old.num_rows(), 1800);
    }
    let now = Snapshot::open(&path).unwrap();
    assert_eq!((now.num_rows(), now.num_segments()), (900, 1));
    let mut ids = [bm25(&now), before].map(|hits| hits.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
    ids.iter_mut().for_each(|ids| ids.sort());
    assert_eq!(ids[0], ids[1]);
}

/// Readers that open the database while it is compacted again and again find it whole.
#[test]
fn databases_open_while_they_are_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = Store::create(&path, &Settings::bm25_only()).unwrap();
    let looks = crate::while_reading(
        &path,
        |snapshot| {
            assert_eq!(snapshot.rows().count(), snapshot.len());
            assert!(snapshot.bm25().unwrap().search("text", 1, Bm25Params::default()).unwrap().len() <= 1);
        },
        || {
            for number in 0..40 {
                let mut transaction = store.begin().unwrap();
                transaction.add(&crate::document(&number.to_string(), "text"), None).unwrap();
                transaction.commit().unwrap();
                store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
            }
        },
    );
    assert!(looks > 0);
}

/// A small budget leaves several segments, which stay as they are in the next compaction; without documents none is
/// left.
#[test]
fn budgets_are_kept_and_compactions_come_to_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = Store::create(&path, &settings()).unwrap();
    let mut random = Random(7);
    replace(&mut store, 0..2500, 0, &mut random);
    replace(&mut store, 2400..3000, 1, &mut random);
    let small = CompactOptions { memory_budget: 0 };
    let mut seen = Vec::new();
    let report = store.compact(&small, |done, total| seen.push((done, total))).unwrap();
    assert_eq!((report.num_segments, report.num_rows), ([2, 3], [3100, 3000]));
    assert!(report.num_bytes[1] < report.num_bytes[0]);
    assert_eq!(seen, (1..=3000).map(|done| (done, 3000)).collect::<Vec<_>>());
    store.snapshot().verify().unwrap();
    let commit = store.snapshot().commit_number();
    let again = store.compact(&small, |_, _| panic!("nothing is to be written")).unwrap();
    assert_eq!((again.num_segments, store.snapshot().commit_number()), ([3, 3], commit));
    let ids: Vec<&str> = store.snapshot().rows().map(|row| store.snapshot().id_at(row).unwrap()).collect();
    let expected: Vec<String> = (0..2400).chain(2400..3000).map(|number| number.to_string()).collect();
    assert_eq!(ids, expected, "the order in which they were added");

    let mut transaction = store.begin().unwrap();
    (0..3000).for_each(|number| transaction.delete(&number.to_string()).unwrap());
    transaction.commit().unwrap();
    assert_eq!(store.compact(&small, |_, _| {}).unwrap().num_segments, [3, 0]);
    assert!(store.snapshot().is_empty());
    assert_eq!(std::fs::read_dir(path.join("segments")).unwrap().count(), 0);
    replace(&mut store, 0..10, 2, &mut random);
    assert_eq!(Snapshot::open(&path).unwrap().len(), 10);
}

/// Damage is found before it is copied, and the database stays as it was.
#[test]
fn damage_is_not_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = Store::create(&path, &settings()).unwrap();
    let mut random = Random(8);
    replace(&mut store, 0..600, 0, &mut random);
    replace(&mut store, 300..600, 1, &mut random);
    drop(store);
    let vectors = path.join("segments/0000000001/vectors");
    let mut bytes = std::fs::read(&vectors).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&vectors, bytes).unwrap();
    let mut store = Store::open(&path).unwrap();
    let result = store.compact(&CompactOptions::default(), |_, _| {});
    assert!(matches!(&result, Err(Error::Corrupt { file, .. }) if *file == vectors), "{result:?}");
    assert_eq!(store.snapshot().commit_number(), 2);
    assert_eq!(std::fs::read_dir(path.join("segments")).unwrap().count(), 2);
}
