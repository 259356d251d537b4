//! Databases whose indexes are left to other libraries.

use std::fs;
use std::path::{Path, PathBuf};

use secateur_index::backends::FaissKind;
use secateur_index::search::SearchOptions;
use secateur_index::storage::{CompactOptions, NewDocument, Settings, Snapshot, Store, VectorIndex};
use secateur_index::{Error, Metric};

use crate::Random;

const DIM: usize = 8;

fn vector(random: &mut Random) -> Vec<f32> {
    (0..DIM).map(|_| random.below(2001) as f32 / 1000.0 - 1.0).collect()
}

/// An index of another library, the files that it keeps, and rows that are enough for it.
struct Backend {
    index: VectorIndex,
    names: &'static [&'static str],
    num_rows: usize,
}

fn backends() -> Vec<Backend> {
    let index = VectorIndex::hnsw_rs(8, 40).with_min_rows(20).with_ef_search(10);
    let names: &[&str] = &["hnsw-rs.hnsw.graph", "hnsw-rs.hnsw.data"];
    let mut backends = vec![Backend { index, names, num_rows: 400 }];
    if cfg!(feature = "faiss") {
        let hnsw = FaissKind::Hnsw { m: 8, ef_construction: 40 };
        for (kind, num_rows) in [(FaissKind::Flat, 400), (hnsw, 400), (FaissKind::IvfPq, 10_000)] {
            let index = VectorIndex::faiss(kind).with_min_rows(20).with_ef_search(10);
            backends.push(Backend { index, names: &["faiss"], num_rows });
        }
    }
    backends
}

impl Backend {
    /// A segment with an index and one of 10 rows, which gets none, with deletions in both.
    fn database(&self, path: &Path, metric: Metric) -> Store {
        let mut settings = Settings::with_vectors(metric, DIM);
        if let Some(vectors) = &mut settings.vectors {
            vectors.index = self.index;
        }
        let mut store = Store::create(path, &settings).unwrap();
        let mut random = Random(5);
        for (segment, num_rows) in [(0, self.num_rows), (1, 10)] {
            let mut transaction = store.begin().unwrap();
            for number in 0..num_rows {
                let id = format!("{segment}-{number}");
                let document = NewDocument { id: &id, title: "", text: "a word", metadata: None };
                transaction.add(&document, Some(&vector(&mut random))).unwrap();
            }
            transaction.delete(&format!("{segment}-7")).unwrap();
            transaction.commit().unwrap();
        }
        assert_eq!(store.snapshot().settings().vectors.unwrap().index, self.index);
        store
    }

    /// The files of the index of a segment.
    fn files(&self, path: &Path, segment: &str) -> Vec<PathBuf> {
        self.names.iter().map(|name| path.join("segments").join(segment).join(name)).collect()
    }
}

/// What a snapshot finds has true scores and no deleted row; with an ef of all rows it is what the exact index finds.
fn check(snapshot: &Snapshot, query: &[f32]) {
    let index = snapshot.index().unwrap();
    let num_rows = snapshot.num_rows();
    let all = index.flat().search(query, num_rows).unwrap();
    let found = index.search(query, 10, &SearchOptions::new(10)).unwrap();
    assert!(found.len() == 10 && found.iter().all(|hit| all.contains(hit)), "{found:?}");
    assert_eq!(index.search(query, 10, &SearchOptions::new(num_rows)).unwrap(), all[..10]);
    assert_eq!(index.search(query, num_rows, &SearchOptions::new(10)).unwrap(), all);
}

/// Commits, changes of ef, deletions and compactions keep the rules; a reader that searches for the first time when
/// its files are gone, too.
#[test]
fn what_is_committed_is_searched() {
    for (backend, metric) in
        backends().iter().flat_map(|backend| Metric::ALL.iter().map(move |metric| (backend, *metric)))
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut store = backend.database(&path, metric);
        assert!(backend.files(&path, "0000000001").iter().all(|file| file.exists()));
        assert!(backend.files(&path, "0000000002").iter().all(|file| !file.exists()));
        let query = vector(&mut Random(9));
        check(store.snapshot(), &query);
        let [searched, idle] = [0, 1].map(|_| Snapshot::open(&path).unwrap());
        check(&searched, &query);
        let curve = searched.index().unwrap().tune(&query, 10, 0.9).unwrap();
        let tuned = store.set_recall_curve(&curve).unwrap();
        assert_eq!(tuned.settings().vectors.unwrap().index.ef_search(), Some(curve.ef_search));

        store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
        assert!(backend.files(&path, "0000000001").iter().all(|file| !file.exists()));
        let left = backend.num_rows + 10 - 2;
        assert_eq!((store.snapshot().num_segments(), store.snapshot().num_rows()), (1, left));
        assert!(backend.files(&path, "0000000004").iter().all(|file| file.exists()));
        check(store.snapshot(), &query);
        check(&searched, &query);
        check(&idle, &query);
        let [exact, found] = [
            idle.flat().unwrap().search(&query, 10).unwrap(),
            idle.index().unwrap().search(&query, 10, &SearchOptions::new(1)).unwrap(),
        ];
        assert_eq!(exact, found, "without its files a segment is searched exactly");
        store.snapshot().verify().unwrap();
    }
}

/// Bytes changed or cut off anywhere are found before a library reads them; what does not need them goes on.
#[test]
fn damage_is_found_before_a_library_reads_it() {
    let mut random = Random(3);
    let corrupt = |result: Result<(), Error>, file: &Path, what: &str| match result {
        Err(Error::Corrupt { file: named, .. }) => assert_eq!(named, file, "{what}"),
        other => panic!("{}: {what} gave {other:?}", file.display()),
    };
    for backend in backends().iter().filter(|backend| backend.num_rows < 1000) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        drop(backend.database(&path, Metric::Cosine));
        for file in backend.files(&path, "0000000001") {
            let whole = fs::read(&file).unwrap();
            let places: Vec<usize> = (0..80).chain((0..60).map(|_| random.below(whole.len()))).collect();
            for place in places {
                let mut bytes = whole.clone();
                bytes[place] ^= 1 << random.below(8);
                fs::write(&file, &bytes).unwrap();
                let snapshot = Snapshot::open(&path).unwrap();
                corrupt(snapshot.index().map(drop), &file, &format!("byte {place}"));
                corrupt(snapshot.verify().map(drop), &file, &format!("byte {place}"));
                assert_eq!(snapshot.flat().unwrap().search(&[1.0; DIM], 3).unwrap().len(), 3);
                assert!(snapshot.bm25().is_ok());
            }
            for len in [0, 1, whole.len() - 1] {
                fs::write(&file, &whole[..len]).unwrap();
                corrupt(Snapshot::open(&path).map(drop), &file, "a cut");
            }
            fs::remove_file(&file).unwrap();
            corrupt(Snapshot::open(&path).map(drop), &file, "nothing");
            fs::write(&file, &whole).unwrap();
        }
        check(&Snapshot::open(&path).unwrap(), &[1.0; DIM]);
    }
}

/// A program without faiss builds no index of it, and says what it lacks.
#[cfg(not(feature = "faiss"))]
#[test]
fn faiss_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::with_vectors(Metric::Cosine, DIM);
    if let Some(vectors) = &mut settings.vectors {
        vectors.index = VectorIndex::faiss(FaissKind::Flat);
    }
    let result = Store::create(folder.path().join("db"), &settings);
    assert!(matches!(result, Err(Error::NoFaiss)), "{result:?}");
    assert!(result.unwrap_err().to_string().contains("`--features faiss`"));
}
