//! What is wrong with a set is told by an error of its own, which names the shard and what to do.

use std::path::Path;
use std::sync::Arc;

use secateur::shards::{CorpusSource, ShardError, ShardPlan, ShardSet, ShardState, told_of_sets};
use secateur::{Database, Document, Encoder, Error, LoadOptions, SearchParams};

use super::encoder;
use crate::support::copy_folder;
use crate::support::shards::{finished, items, planned, some_documents};

/// The error of a set, whose message names `parts`.
#[track_caller]
fn fault<T>(result: Result<T, Error>, parts: &[&str]) -> ShardError {
    let Err(error) = result else { panic!("no error") };
    for part in parts {
        assert!(error.to_string().contains(part), "no {part:?} in {error}");
    }
    match error {
        Error::Shards(error) => error,
        other => panic!("{other}"),
    }
}

fn open(plan: &ShardPlan) -> Result<ShardSet, Error> {
    ShardSet::open(plan.path())
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn sets_that_are_none_or_not_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set");
    let documents = some_documents(10);
    assert!(matches!(
        fault(ShardPlan::open(&path), &["plan.json", "shards plan"]),
        ShardError::NotASet { .. }
    ));
    let error = Database::builder(&path).plan_shards(0, 10, items(&documents), CorpusSource::default());
    assert!(matches!(fault(error, &["0 shards"]), ShardError::NumShards { num_shards: 0, .. }));
    for wrong in [9, 11] {
        let error =
            Database::builder(&path).plan_shards(2, wrong, items(&documents), CorpusSource::default());
        assert!(matches!(fault(error, &["10 documents"]), ShardError::CorpusCount { got: 10, .. }));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    let plan = planned(Database::builder(&path), 3, &documents);
    let again = Database::builder(&path).plan_shards(3, 10, items(&documents), CorpusSource::default());
    assert!(matches!(again, Err(Error::OutputExists { .. })));
    assert!(matches!(fault(open(&plan), &["shards finish"]), ShardError::NotFinished { .. }));
    let error = plan.build(3, None, items(&documents), |_| {});
    assert!(matches!(fault(error, &["shard 3", "has 3"]), ShardError::NoSuchShard { shard: 3, .. }));
    plan.build(0, None, items(&documents), |_| {}).unwrap();
    plan.build(2, None, items(&documents), |_| {}).unwrap();
    let error = fault(plan.finish(), &["shard 1", "shard-00001", "shards build"]);
    assert!(matches!(error, ShardError::NotBuilt { shard: 1, .. }));
    assert!(matches!(fault(open(&plan), &["shards finish"]), ShardError::NotFinished { .. }));
}

/// A set, or the list of its servers, in the place of something else is told, with what to do.
#[test]
fn sets_in_the_place_of_databases() {
    let folder = tempfile::tempdir().unwrap();
    let plan = planned(Database::builder(folder.path().join("set")), 2, &some_documents(4));
    let servers = folder.path().join("servers.json");
    std::fs::write(&servers, r#"{"shards": [{"replicas": ["http://127.0.0.1:1"]}]}"#).unwrap();
    let told = |error: Option<Error>| Err::<(), _>(told_of_sets(error.unwrap()));
    let set = ["set is a set of shards", "set/shard-00000", "secateur shards"];
    let opened = Database::open(plan.path()).err();
    assert!(matches!(fault(told(opened), &set), ShardError::IsASet { .. }));
    let list = ["servers.json is a list of the servers", "`secateur search`", "folder"];
    let opened = Database::open(&servers).err();
    assert!(matches!(fault(told(opened), &list), ShardError::IsServers { .. }));
    let opened = ShardPlan::open(&servers).err();
    assert!(matches!(fault(told(opened), &list), ShardError::IsServers { .. }));
    // Other JSON is no list of servers, and other folders are no sets.
    std::fs::write(&servers, "{}").unwrap();
    assert!(matches!(told(Database::open(&servers).err()), Err(Error::Index(_))));
    let opened = ShardPlan::open(&servers).err();
    assert!(matches!(fault(told(opened), &["plan.json"]), ShardError::NotASet { .. }));
    assert!(matches!(told(Database::open(folder.path()).err()), Err(Error::Index(_))));
}

#[test]
fn corpora_that_changed() {
    let folder = tempfile::tempdir().unwrap();
    let documents = some_documents(10);
    let plan = planned(Database::builder(folder.path().join("set")), 2, &documents);
    let mut changed = documents.clone();
    changed[7].metadata = None;
    let mut swapped = documents.clone();
    swapped.swap(5, 6);
    for (corpus, problem) in
        [(&changed, "checksum"), (&swapped, "checksum"), (&documents[..9].to_vec(), "it has 9 documents")]
    {
        let error = plan.build(1, None, items(corpus), |_| {});
        assert!(matches!(fault(error, &["shard 1", problem]), ShardError::CorpusChanged { shard: 1, .. }));
        assert!(!plan.shard_path(1).exists());
        // The first shard has none of these documents.
        plan.build(0, None, items(corpus), |_| {}).unwrap();
        std::fs::remove_dir_all(plan.shard_path(0)).unwrap();
    }
}

#[test]
fn damaged_and_foreign_files() {
    let folder = tempfile::tempdir().unwrap();
    let plan = finished(Database::builder(folder.path().join("set")), 3, &some_documents(12), None);
    let manifest = plan.path().join("manifest.json");
    let whole = std::fs::read_to_string(&manifest).unwrap();
    replace(&manifest, "\"version\": 1", "\"version\": 2");
    let error = fault(open(&plan), &["manifest.json", "version 2", "newer secateur"]);
    assert!(matches!(error, ShardError::OtherVersion { found: 2, supported: 1, .. }));
    std::fs::write(&manifest, whole.replacen("12", "13", 1)).unwrap();
    let error = fault(open(&plan), &["manifest.json", "checksum", "shards finish"]);
    assert!(matches!(error, ShardError::BadFile { .. }));
    std::fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    fault(open(&plan), &["manifest.json", "JSON"]);
    std::fs::write(&manifest, &whole).unwrap();
    open(&plan).unwrap();

    // A folder that is gone, one whose manifest is, and one with a flipped bit.
    let (shard, away) = (plan.shard_path(1), folder.path().join("away"));
    std::fs::rename(&shard, &away).unwrap();
    let error = fault(open(&plan), &["shard 1", "shards build"]);
    assert!(matches!(error, ShardError::NotBuilt { shard: 1, .. }));
    copy_folder(&away, &shard);
    open(&plan).unwrap();
    std::fs::remove_file(shard.join("MANIFEST")).unwrap();
    let error = fault(open(&plan), &["shard 1", "MANIFEST"]);
    assert!(matches!(error, ShardError::InShard { shard: 1, .. }));
    let status = plan.status().unwrap();
    assert!(matches!(status[1].state, ShardState::Wrong(_)), "{status:?}");
    std::fs::remove_dir_all(&shard).unwrap();
    copy_folder(&away, &shard);
    let segments = std::fs::read_dir(shard.join("segments")).unwrap();
    let pack = segments.map(|entry| entry.unwrap().path()).find(|path| path.is_file()).unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&pack, &bytes).unwrap();
    fault(plan.verify(), &["shard 1", "damaged"]);
    bytes.pop();
    std::fs::write(&pack, &bytes).unwrap();
    fault(open(&plan), &["shard 1", "damaged"]);
    std::fs::remove_file(&pack).unwrap();
    fault(open(&plan), &["shard 1", "missing"]);
}

#[test]
fn shards_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let documents = some_documents(12);
    let plan = finished(Database::builder(folder.path().join("set")), 3, &documents, None);
    let (shard, away) = (plan.shard_path(2), folder.path().join("away"));

    // Another shard's folder under this name.
    std::fs::rename(&shard, &away).unwrap();
    copy_folder(&plan.shard_path(0), &shard);
    let error = fault(open(&plan), &["shard 2", "not the one that the set was finished with"]);
    assert!(matches!(error, ShardError::Changed { shard: 2, .. }));
    let error = fault(plan.finish(), &["shard 0", "shard 2"]);
    assert!(matches!(error, ShardError::SameDocument { first: 0, second: 2, .. }));
    fault(plan.verify(), &["shard 2"]);
    std::fs::remove_dir_all(&shard).unwrap();
    copy_folder(&away, &shard);
    plan.verify().unwrap();

    // One document more, with an id of another shard; then one that is new.
    let add = |id: &str| {
        let mut database = Database::open(&shard).unwrap();
        database.add(&[Document::new(id, "text")]).unwrap();
        database.commit().unwrap();
    };
    assert!(plan.is_finished().unwrap());
    add("d1");
    assert!(!plan.is_finished().unwrap());
    let error = fault(plan.finish(), &["\"d1\"", "shard 0", "shard 2", "delete"]);
    assert!(matches!(error, ShardError::SameDocument { .. }));
    Database::open(&shard).unwrap().delete("d1").unwrap();
    let mut database = Database::open(&shard).unwrap();
    database.delete("d1").unwrap();
    database.commit().unwrap();
    add("new");
    fault(open(&plan), &["shard 2", "5 documents", "shards finish"]);
    assert_eq!(plan.finish().unwrap().num_documents, 13);
    assert_eq!(open(&plan).unwrap().document("new").unwrap().unwrap().text, "text");

    // A database that has nothing to do with the set.
    std::fs::remove_dir_all(&shard).unwrap();
    let other = Database::builder(&shard).analyzer("german".parse().unwrap());
    other.create().unwrap();
    let error = fault(plan.finish(), &["shard 2", "analyzer", "german", "english"]);
    assert!(matches!(error, ShardError::OtherSettings { shard: 2, .. }));
    let error = plan.build(2, None, items(&documents), |_| {});
    assert!(matches!(fault(error, &["german"]), ShardError::OtherSettings { .. }));
}

#[test]
fn encoders_that_are_others() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = encoder(&folder.path().join("tiny"));
    let short = LoadOptions { max_length: Some(8), ..LoadOptions::default() };
    let other = Arc::new(Encoder::load(folder.path().join("tiny"), &short).unwrap());
    let documents = some_documents(8);
    let builder = |name: &str, encoder: &Arc<Encoder>| {
        Database::builder(folder.path().join(name)).encoder(Arc::clone(encoder))
    };
    let plan = planned(builder("set", &encoder), 2, &documents);
    let foreign = planned(builder("foreign", &other), 2, &documents);
    for (given, named) in [(None, "no encoder"), (Some(&other), "tiny")] {
        let error = plan.build(0, given.map(Arc::clone), items(&documents), |_| {});
        let error = fault(error, &["planned with", named]);
        assert!(matches!(error, ShardError::PlannedEncoder { .. }));
        assert!(!plan.shard_path(0).exists());
    }
    for number in 0..2 {
        foreign.build(number, Some(Arc::clone(&other)), items(&documents), |_| {}).unwrap();
    }
    plan.build(0, Some(Arc::clone(&encoder)), items(&documents), |_| {}).unwrap();
    copy_folder(&foreign.shard_path(1), &plan.shard_path(1));
    let error = fault(plan.finish(), &["shard 1", "fingerprint", "shards build"]);
    assert!(matches!(error, ShardError::OtherEncoder { shard: 1, .. }));
    std::fs::remove_dir_all(plan.shard_path(1)).unwrap();
    plan.build(1, Some(Arc::clone(&encoder)), items(&documents), |_| {}).unwrap();
    plan.finish().unwrap();

    // Searched without its encoder, with another, and by what it lacks.
    let set = open(&plan).unwrap();
    assert!(matches!(set.search("text", &SearchParams::default()), Err(Error::EncoderRequired { .. })));
    let wrong = ShardSet::open_with(plan.path(), None, |_| Ok::<_, Error>(Arc::clone(&other)));
    assert!(matches!(wrong, Err(Error::EncoderMismatch { .. })));
    assert!(ShardSet::open_generation(plan.path(), "none").is_err());
    // A shard with a generation more.
    let mut shard = Database::open(plan.shard_path(1)).unwrap();
    shard.add_generation("more", &other, &Default::default(), |_| {}).unwrap();
    fault(plan.finish(), &["shard 1", "list of generations", "more"]);
}

/// A filter is checked against the fields of all shards.
#[test]
fn filters_on_fields_of_some_shard() {
    let folder = tempfile::tempdir().unwrap();
    let documents = [
        Document::new("1", "a").metadata(r#"{"year": 1999}"#),
        Document::new("2", "a").metadata(r#"{"source": "web"}"#),
    ];
    let set = open(&finished(Database::builder(folder.path().join("set")), 2, &documents, None)).unwrap();
    let check = |filter: &str| set.check_filter(&filter.parse().unwrap());
    check("year > 2000").unwrap();
    check("year > 2000 or source == \"web\"").unwrap();
    let error = check("yeer > 2000 or source == \"web\"").unwrap_err().to_string();
    assert!(error.contains("yeer") && error.contains("year") && error.contains("source"), "{error}");
    let error = check("year > 2000 and source > 3").unwrap_err().to_string();
    assert!(error.contains("source") && error.contains("number"), "{error}");
}
