//! Shards are built in any order, go on where they stopped, and have the same bytes however they were built.

use std::sync::Arc;

use secateur::shards::{CorpusSource, DocumentsChecksum, ShardError, ShardPlan, ShardState};
use secateur::{Database, Document, Error};

use super::encoder;
use crate::support::shards::{finished, items, planned, some_documents};
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

/// A plan of parts that were read on several machines is that of the whole corpus, and so are shards built of them.
#[test]
fn parts_of_a_corpus_are_planned_and_built_apart() {
    let folder = tempfile::tempdir().unwrap();
    let documents = some_documents(11);
    let whole = finished(Database::builder(folder.path().join("whole")), 3, &documents, None);
    let parts = [&documents[..3], &documents[3..7], &documents[7..]];
    let checksum_of = |part: &[Document]| {
        let mut checksum = DocumentsChecksum::default();
        part.iter().for_each(|document| checksum.add(document, None));
        checksum.finish()
    };
    let checksums = parts.map(checksum_of);
    let builder = || Database::builder(folder.path().join("parts"));
    let none = builder().plan_parts(11, Vec::new(), CorpusSource::default());
    assert!(matches!(none, Err(Error::Shards(ShardError::NumShards { num_shards: 0, .. }))));
    let plan = builder().plan_parts(11, checksums.to_vec(), CorpusSource::default()).unwrap();
    assert_eq!(plan.shards(), whole.shards());

    // A document too few, and the part of another shard.
    for wrong in [&documents[3..6], &documents[7..]] {
        let error = plan.build_part(1, None, items(wrong), |_| {}).err().unwrap();
        assert!(matches!(error, Error::Shards(ShardError::CorpusChanged { shard: 1, .. })), "{error}");
    }
    for (number, part) in parts.iter().enumerate() {
        // What comes behind the shard's documents is not read.
        let more = items(part).chain(items(&documents));
        assert!(!plan.build_part(number, None, more, |_| {}).unwrap().was_there);
        assert_eq!(tree(&plan.shard_path(number)), tree(&whole.shard_path(number)));
    }
    assert_eq!(plan.finish().unwrap().num_documents, 11);
}
