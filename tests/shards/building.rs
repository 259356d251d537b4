//! Shards are built in any order, go on where they stopped, and have the same bytes however they were built.

use std::sync::Arc;

use secateur::shards::{ShardPlan, ShardState};
use secateur::{Database, Document, Error};

use super::{encoder, items, planned, some_documents};
use crate::support::tree;

/// An interrupted build of a shard goes on, and ends with the bytes of an undisturbed one in another set with the same
/// plan. A shard that is there is left alone.
#[test]
fn interrupted_builds_end_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = encoder(&folder.path().join("tiny"));
    let documents = some_documents(600);
    let plan = |name: &str| {
        let path = folder.path().join(name);
        planned(Database::builder(path).encoder(Arc::clone(&encoder)).allow_empty(true), 2, &documents)
    };
    let (undisturbed, disturbed) = (plan("undisturbed"), plan("disturbed"));
    assert_eq!(tree(undisturbed.path()), tree(disturbed.path()));
    let build = |plan: &ShardPlan, number| {
        plan.build(number, Some(Arc::clone(&encoder)), items(&documents), |_| {}).unwrap().was_there
    };
    for number in 0..2 {
        assert!(!build(&undisturbed, number));
    }

    // The corpus ends with an error behind some of the documents of the last shard.
    let broken = items(&documents[..500]).chain([Err(Error::Source("the disk is gone".into()))]);
    let error = disturbed.build(1, Some(Arc::clone(&encoder)), broken, |_| {}).err().unwrap();
    assert!(
        error.to_string().contains("shard 1") && error.to_string().contains("the disk is gone"),
        "{error}"
    );
    let states = || disturbed.status().unwrap().into_iter().map(|status| status.state).collect::<Vec<_>>();
    assert!(
        matches!(states()[..], [ShardState::Missing, ShardState::Unfinished { num_bytes: 1.. }]),
        "{:?}",
        states()
    );
    for number in [1, 0] {
        assert!(!build(&disturbed, number));
    }
    let before = tree(disturbed.path());
    for number in 0..2 {
        assert!(build(&disturbed, number), "it is there");
    }
    assert_eq!(tree(disturbed.path()), before);
    assert!(matches!(states()[..], [ShardState::Built { num_documents: 300, .. }, ShardState::Built { .. }]));
    for plan in [&undisturbed, &disturbed] {
        plan.finish().unwrap();
        plan.verify().unwrap();
    }
    assert_eq!(tree(disturbed.path()), tree(undisturbed.path()));
}

/// Two builds of one corpus have the same bytes, whatever commits, merges and compactions came after.
#[test]
fn the_same_documents_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let documents = some_documents(1500);
    let built = |name: &str| {
        let path = folder.path().join(name);
        let corpus = documents.iter().cloned().map(Ok::<_, Error>);
        let mut database = Database::builder(&path).build_from(corpus, |_| {}).unwrap();
        let whole = tree(&path);
        for number in 0..10 {
            database.add(&[Document::new(format!("more {number}"), "one more")]).unwrap();
            database.delete(&format!("d{number}")).unwrap();
            database.commit().unwrap();
        }
        let merged = tree(&path);
        database.compact(&Default::default(), |_, _| {}).unwrap();
        database.verify().unwrap();
        [whole, merged, tree(&path)]
    };
    let (first, second) = (built("first"), built("second"));
    for (first, second) in first.into_iter().zip(second) {
        assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
        for (name, bytes) in &first {
            assert!(second[name] == *bytes, "{}", name.display());
        }
    }
}
