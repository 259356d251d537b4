//! One writer, any number of readers.

use secateur_index::Error;
use secateur_index::storage::{Settings, Snapshot, Store};

use crate::document;

#[test]
fn second_writer_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut first = Store::create(&path, &Settings::bm25_only()).unwrap();
    for _ in 0..2 {
        let error = Store::open(&path).unwrap_err();
        assert!(
            matches!(&error, Error::Locked { holder: Some(pid), .. } if *pid == std::process::id()),
            "{error:?}"
        );
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    }
    let mut transaction = first.begin().unwrap();
    transaction.add(&document("1", "text"), None).unwrap();
    let reader = Snapshot::open(&path).unwrap();
    transaction.commit().unwrap();
    assert_eq!((reader.len(), Snapshot::open(&path).unwrap().len()), (0, 1));
    drop(first);
    assert_eq!(Store::open(&path).unwrap().snapshot().len(), 1);
}

/// Readers in other threads see each commit whole or not at all.
#[test]
fn readers_see_whole_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = Store::create(&path, &Settings::bm25_only()).unwrap();
    let mut seen = 0;
    let looks = crate::while_reading(
        &path,
        |snapshot| {
            assert_eq!(snapshot.len() as u64, 3 * snapshot.commit_number());
            assert!(snapshot.commit_number() >= seen);
            seen = snapshot.commit_number();
        },
        || {
            for commit in 0..40 {
                let mut transaction = store.begin().unwrap();
                for part in 0..3 {
                    transaction.add(&document(&format!("{commit}-{part}"), "text"), None).unwrap();
                }
                transaction.commit().unwrap();
            }
        },
    );
    assert!(looks > 0);
}

/// Dropping a transaction leaves no file behind.
#[test]
fn aborted_transactions_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = Store::create(&path, &Settings::bm25_only()).unwrap();
    let mut transaction = store.begin().unwrap();
    transaction.add(&document("1", "text"), None).unwrap();
    drop(transaction);
    assert_eq!(std::fs::read_dir(path.join("segments")).unwrap().count(), 0);
    assert_eq!(store.begin().unwrap().commit().unwrap().commit_number(), 0, "an empty commit writes nothing");
}
