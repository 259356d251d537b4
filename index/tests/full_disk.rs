//! A disk that fills up: clear errors, and nothing lost that was committed.

use std::error::Error as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use secateur_index::storage::{Settings, Snapshot, Store};
use secateur_index::{Error, Metric};

use crate::document;

/// A file system of 4 MiB, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<SmallDisk> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| SmallDisk(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because memory maps may be alive.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Whether the disk is what failed, somewhere down the chain of sources.
fn is_disk_full(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(source) = cause {
        if source
            .downcast_ref::<std::io::Error>()
            .is_some_and(|source| source.kind() == ErrorKind::StorageFull)
        {
            return true;
        }
        cause = source.source();
    }
    false
}

#[test]
fn full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(folder.path()) else {
        secateur_testkit::skip("full_disk_loses_nothing", "a tmpfs cannot be mounted here");
        return;
    };
    let path = folder.path().join("db");
    let mut store = Store::create(&path, &Settings::with_vectors(Metric::L2, 64)).unwrap();
    let mut transaction = store.begin().unwrap();
    for number in 0..100 {
        transaction.add(&document(&number.to_string(), "kept"), Some(&[number as f32; 64])).unwrap();
    }
    transaction.commit().unwrap();

    // Texts of different length bring the end of the disk to different places of a commit.
    for len in [0, 1, 40, 300, 2_000, 20_000] {
        let text = "word ".repeat(len);
        let mut transaction = store.begin().unwrap();
        let mut result = Ok(());
        // At most 20,000 documents of 256 bytes of vector: more than the disk holds, found out in buffers or in commit.
        for number in 100..20_100 {
            result = transaction.add(&document(&number.to_string(), &text), Some(&[1.0; 64]));
            if result.is_err() {
                break;
            }
        }
        let error = match result {
            Err(error) => {
                assert!(matches!(transaction.commit(), Err(Error::TransactionFailed)));
                error
            }
            Ok(()) => transaction.commit().map(drop).unwrap_err(),
        };
        assert!(is_disk_full(&error), "{len} words: {error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(store.snapshot().len(), 100);
        let snapshot = Snapshot::open(&path).unwrap();
        assert_eq!((snapshot.len(), snapshot.verify().unwrap().num_documents), (100, 100));
        assert_eq!(std::fs::read_dir(path.join("segments")).unwrap().count(), 1, "the space is free again");
    }
    let mut transaction = store.begin().unwrap();
    transaction.delete("7").unwrap();
    transaction.add(&document("new", "text"), Some(&[0.0; 64])).unwrap();
    assert_eq!(transaction.commit().unwrap().len(), 100);
}
