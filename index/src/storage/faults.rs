//! Disks that fail: after any failed operation, and after a power failure at any moment, the database is in the old state or the
//! new one, and sound.
//!
//! The model of a power failure is as bad as POSIX allows: of a file there is what it held when it was last synced, of a folder the
//! names that it had when it was last synced, with whatever these names stood for.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::generation::Generation;
use super::{CompactOptions, NewDocument, Settings, Snapshot, Store, VectorIndex, VectorSettings};
use crate::error::Result;
use crate::hnsw::HnswParams;
use crate::metric::Metric;

/// What is to fail, and what has been made durable so far.
struct Disk {
    /// Operations until the one that fails.
    left: usize,
    has_failed: bool,
    /// Whether all operations after it fail too.
    is_power_failure: bool,
    /// The bytes of files when they were last synced, by inode; open, so that no other file gets the number.
    files: HashMap<u64, (File, Vec<u8>)>,
    /// The names in folders when they were last synced, and the inodes of files, `None` for folders.
    folders: HashMap<PathBuf, BTreeMap<PathBuf, Option<u64>>>,
}

thread_local! {
    /// The disk of the test that runs on this thread.
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// Before each operation: whether it fails.
pub(crate) fn step() -> io::Result<()> {
    DISK.with_borrow_mut(|disk| match disk {
        Some(disk) if disk.has_failed && disk.is_power_failure => Err(io::Error::other("the power is off")),
        Some(disk) if disk.left == 0 && !disk.has_failed => {
            disk.has_failed = true;
            Err(io::Error::other("the disk failed"))
        }
        Some(disk) => {
            disk.left = disk.left.saturating_sub(1);
            Ok(())
        }
        None => Ok(()),
    })
}

pub(crate) fn file_synced(path: &Path) {
    DISK.with_borrow_mut(|disk| disk.iter_mut().for_each(|disk| disk.keep_file(path)));
}

pub(crate) fn folder_synced(folder: &Path) {
    DISK.with_borrow_mut(|disk| disk.iter_mut().for_each(|disk| disk.keep_folder(folder)));
}

impl Disk {
    /// A disk on which all that is in a folder is durable.
    fn of(folder: &Path, left: usize, is_power_failure: bool) -> Disk {
        let (files, folders) = (HashMap::new(), HashMap::new());
        let mut disk = Disk { left, has_failed: false, is_power_failure, files, folders };
        disk.keep_all(folder);
        disk
    }

    fn keep_all(&mut self, folder: &Path) {
        self.keep_folder(folder);
        for entry in list(folder) {
            if entry.is_dir() { self.keep_all(&entry) } else { self.keep_file(&entry) }
        }
    }

    fn keep_file(&mut self, path: &Path) {
        let file = File::open(path).unwrap();
        let inode = file.metadata().unwrap().ino();
        self.files.insert(inode, (file, fs::read(path).unwrap()));
    }

    fn keep_folder(&mut self, folder: &Path) {
        let inode = |path: &Path| (!path.is_dir()).then(|| fs::metadata(path).unwrap().ino());
        let names = list(folder).into_iter().map(|path| (path.file_name().unwrap().into(), inode(&path)));
        self.folders.insert(folder.to_owned(), names.collect());
    }

    /// Writes what is durable of a folder to another one.
    fn restore(&self, folder: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for (name, inode) in self.folders.get(folder).into_iter().flatten() {
            match inode {
                None => self.restore(&folder.join(name), &to.join(name)),
                // Never synced: there is a name, and nothing behind it.
                Some(inode) => {
                    let bytes = self.files.get(inode).map_or(&[][..], |(_, bytes)| bytes);
                    fs::write(to.join(name), bytes).unwrap();
                }
            }
        }
    }
}

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
    let vectors = VectorSettings { index, ..VectorSettings::new(Metric::L2, dim) };
    Generation { name: name.into(), vectors, encoder: None, properties: BTreeMap::new() }
}

fn add_documents(store: &mut Store, ids: std::ops::Range<usize>) -> Result<()> {
    let mut transaction = store.begin()?;
    for number in ids {
        let id = number.to_string();
        let text = format!("text of {number}");
        let document = NewDocument { id: &id, title: "", text: &text, metadata: Some("{\"a\": 1}") };
        transaction.add(&document, Some(&[number as f32, 1.0]))?;
    }
    transaction.commit().map(drop)
}

fn add_generation(store: &mut Store, name: &str) -> Result<()> {
    let len = store.snapshot().len();
    let mut writer = store.begin_generation(generation(name, 3))?;
    (0..len).try_for_each(|number| writer.add(&[number as f32, 0.5, 1.0]))?;
    writer.finish().map(drop)
}

/// What is done to the database of [`base`], which has the generations that are named.
type Operation = (&'static str, &'static [&'static str], fn(&mut Store) -> Result<()>);

const OPERATIONS: [Operation; 6] = [
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

#[test]
fn every_failure_leaves_a_state() {
    for (name, generations, operation) in OPERATIONS {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        base(&path("base"), generations);
        let before = state(&path("base"));
        copy(&path("base"), &path("done"));
        operation(&mut Store::open(path("done")).unwrap()).unwrap();
        let after = state(&path("done"));
        assert_ne!(before, after);
        for is_power_failure in [false, true] {
            for number in 0.. {
                let what = format!("{name}, operation {number}, power failure: {is_power_failure}");
                let db = path("db");
                copy(&path("base"), &db);
                let mut store = Store::open(&db).unwrap();
                DISK.set(Some(Disk::of(&db, number, is_power_failure)));
                let result = operation(&mut store);
                drop(store);
                let disk = DISK.take().unwrap();
                let mut left = db.clone();
                if is_power_failure {
                    left = path("restored");
                    disk.restore(&db, &left);
                }
                let found = state(&left);
                assert!(found == before || found == after, "{what}: {found:?}");
                // What was acknowledged is there.
                assert!(result.is_err() || found == after, "{what}");
                // A writer clears up and goes on.
                let mut store = Store::open(&left).unwrap();
                if found == before {
                    operation(&mut store).unwrap();
                }
                drop(store);
                assert_eq!(state(&left), after, "{what}");
                let names = |path: &Path| -> usize { list(&path.join("segments")).len() };
                assert_eq!(names(&left), names(&path("done")), "{what}: nothing is left over");
                fs::remove_dir_all(&db).unwrap();
                if is_power_failure {
                    fs::remove_dir_all(&left).unwrap();
                }
                if !disk.has_failed {
                    assert!(result.is_ok() && number > 3, "{what}: {result:?}");
                    break;
                }
            }
        }
    }
}

/// The model itself: what is not synced is gone, names and bytes.
#[test]
fn what_is_not_synced_is_lost() {
    use crate::file_format::disk::{DiskFile, rename, sync_folder};
    use std::io::Write;

    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("old"), "old").unwrap();
    DISK.set(Some(Disk::of(&root, usize::MAX, true)));
    let write = |name: &str, is_synced: bool| {
        let mut file = DiskFile::create(&root.join(name)).unwrap();
        file.write_all(b"new").unwrap();
        if is_synced {
            file.sync().unwrap();
        }
    };
    write("synced", true);
    write("unsynced", false);
    sync_folder(&root).unwrap();
    write("unnamed", true);
    write("sibling", true);
    rename(&root.join("sibling"), &root.join("old")).unwrap();
    let disk = DISK.take().unwrap();
    let restored = folder.path().join("restored");
    disk.restore(&root, &restored);
    let mut found: Vec<(String, String)> = list(&restored)
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    let expected = [("old", "old"), ("synced", "new"), ("unsynced", "")];
    assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}
