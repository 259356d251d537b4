//! Disks that fail while a set is planned, built, finished and tuned: each step can be taken again.

use std::path::Path;
use std::sync::Arc;

use secateur::database::VectorOptions;
use secateur::index::hnsw::HnswParams;
use secateur::shards::{CorpusSource, SetReport, ShardPlan};
use secateur::{Database, DatabaseBuilder, Document, Encoder, Result, VectorIndex};
use secateur_files::faults::at_every_operation;

use super::encoder;
use crate::support::copy_folder;
use crate::support::shards::{items, opened, planned, some_documents};

const NUM_SHARDS: usize = 2;

/// A set on its way, in the folders of a test.
struct Making {
    encoder: Arc<Encoder>,
    documents: Vec<Document>,
}

impl Making {
    fn builder(&self, folder: &Path) -> DatabaseBuilder {
        let params = HnswParams { m: 2, ef_construction: 4, ..HnswParams::default() };
        let index = VectorIndex::hnsw(params).with_min_rows(2);
        let options = VectorOptions { index, ..VectorOptions::default() };
        Database::builder(folder.join("set")).encoder(Arc::clone(&self.encoder)).vector_options(options)
    }

    fn plan(&self, folder: &Path) -> Result<ShardPlan> {
        let count = self.documents.len() as u64;
        self.builder(folder).plan_shards(NUM_SHARDS, count, items(&self.documents), CorpusSource::default())
    }

    fn build(&self, folder: &Path, number: usize) -> Result<()> {
        let encoder = Some(Arc::clone(&self.encoder));
        set(folder)?.build(number, encoder, items(&self.documents), |_| {}).map(drop)
    }

    fn build_all(&self, folder: &Path) {
        (0..NUM_SHARDS).for_each(|number| self.build(folder, number).unwrap());
    }
}

fn set(folder: &Path) -> Result<ShardPlan> {
    ShardPlan::open(folder.join("set"))
}

/// The manifest of a set that is finished and whole. It has the checksums of the shards.
fn manifest(folder: &Path) -> String {
    set(folder).unwrap().verify().unwrap();
    std::fs::read_to_string(folder.join("set/manifest.json")).unwrap()
}

/// What every step leaves: a plan or none, a shard or none, the manifest before or the one after. The same calls then
/// end with the set of an undisturbed run.
#[test]
fn every_failure_leaves_a_set_that_can_be_made() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let making = Making { encoder: encoder(&path("tiny")), documents: some_documents(12) };
    for name in ["planned", "built"] {
        std::fs::create_dir(path(name)).unwrap();
        planned(making.builder(&path(name)), NUM_SHARDS, &making.documents);
    }
    making.build_all(&path("built"));
    copy_folder(&path("built"), &path("finished"));
    set(&path("finished")).unwrap().finish().unwrap();
    let expected = manifest(&path("finished"));

    at_every_operation(
        scratch.path(),
        |folder| std::fs::create_dir(folder).unwrap(),
        |folder| making.plan(folder),
        |folder, result, case| {
            assert!(result.is_ok() || case.has_failed, "{case}: {result:?}");
            if result.is_err() && !folder.join("set").exists() {
                making.plan(folder).unwrap_or_else(|error| panic!("{case}: {error}"));
            }
            making.build_all(folder);
            set(folder).unwrap().finish().unwrap();
            assert_eq!(manifest(folder), expected, "{case}");
        },
    );
    at_every_operation(
        scratch.path(),
        |folder| copy_folder(&path("planned"), folder),
        |folder| making.build(folder, 0),
        |folder, result, case| {
            assert!(result.is_ok() || case.has_failed, "{case}: {result:?}");
            let shard = set(folder).unwrap().shard_path(0);
            assert!(result.is_err() || shard.exists(), "{case}: acknowledged, and not there");
            if shard.exists() {
                Database::open(&shard).unwrap().verify().unwrap_or_else(|error| panic!("{case}: {error}"));
            }
            making.build_all(folder);
            set(folder).unwrap().finish().unwrap();
            assert_eq!(manifest(folder), expected, "{case}");
        },
    );
    at_every_operation(
        scratch.path(),
        |folder| copy_folder(&path("built"), folder),
        |folder| set(folder)?.finish(),
        |folder, result: Result<SetReport>, case| {
            let is_finished = set(folder).unwrap().is_finished().unwrap();
            assert!(is_finished || (result.is_err() && case.has_failed), "{case}: {result:?}");
            set(folder).unwrap().finish().unwrap();
            assert_eq!(manifest(folder), expected, "{case}");
        },
    );
}

/// An ef is kept in each shard or was not kept there. The same call then ends with all of them.
#[test]
fn every_failure_leaves_a_set_that_can_be_tuned() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let making = Making { encoder: encoder(&path("tiny")), documents: some_documents(12) };
    std::fs::create_dir(path("finished")).unwrap();
    let plan = planned(making.builder(&path("finished")), NUM_SHARDS, &making.documents);
    making.build_all(&path("finished"));
    plan.finish().unwrap();
    let curve = opened(plan.path(), None, &making.encoder).tune(&["text number 3"], 2, 0.5).unwrap();
    let efs = |folder: &Path| -> Vec<Option<usize>> {
        let of = |number| {
            let shard = Database::open(set(folder).unwrap().shard_path(number)).unwrap();
            shard.verify().unwrap();
            shard.recall_curve().unwrap().map(|curve| curve.ef_search)
        };
        (0..NUM_SHARDS).map(of).collect()
    };
    at_every_operation(
        scratch.path(),
        |folder| copy_folder(&path("finished"), folder),
        |folder| set(folder)?.set_recall_curve(None, &curve),
        |folder, result, case| {
            let found = efs(folder);
            let is_kept = |ef: &Option<usize>| *ef == Some(curve.ef_search);
            assert!(found.iter().all(|ef| ef.is_none() || is_kept(ef)), "{case}: {found:?}");
            assert!(result.is_ok() || case.has_failed, "{case}: {result:?}");
            assert!(result.is_err() || found.iter().all(is_kept), "{case}: {found:?}");
            let plan = set(folder).unwrap();
            plan.finish().unwrap();
            plan.set_recall_curve(None, &curve).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(plan.is_finished().unwrap() && efs(folder).iter().all(is_kept), "{case}");
        },
    );
}
