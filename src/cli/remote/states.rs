//! Sets that change between a search and the documents of its hits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secateur::search::Sides;
use secateur::shards::remote::RemoteSet;
use secateur::shards::{ShardPlan, ShardSet};
use secateur::{Database, Document, Hit, SearchParams};
use serde_json::json;

use super::sets::{finished, some_documents};
use super::{Server, between, open, topology, urls, words};
use crate::cli::hits::{as_json, found, with_documents};
use crate::cli::searched::Searched;

const QUERY: &str = "text number 13";

fn five() -> SearchParams {
    SearchParams { k: 5, ..words() }
}

fn search(set: &RemoteSet) -> secateur::Result<Vec<(Hit, Sides)>> {
    Ok(set.search_sides(&[QUERY], &five())?.remove(0))
}

/// Changes the documents of a shard, and waits until its server sees that.
fn change(plan: &ShardPlan, server: &Server, number: usize, with: impl FnOnce(&mut Database)) {
    let path = plan.shard_path(number);
    let mut database = Database::open(&path).unwrap();
    with(&mut database);
    database.commit().unwrap();
    plan.finish().unwrap();
    server.caught_up(&path);
}

/// Hits are found anew when a shard has changed since, and none is shown without its document, or with a later one.
#[test]
fn hits_and_documents_are_of_one_state() {
    let folder = tempfile::tempdir().unwrap();
    let plan = finished(Database::builder(folder.path().join("set")), 2, &some_documents(20), None);
    let servers = [0, 1].map(|number| Server::of(&plan.shard_path(number)));
    let set = open(topology(&urls(&servers)), None, false).unwrap();
    let expected = || {
        let local = ShardSet::open(plan.path()).unwrap();
        as_json(&local, QUERY, &five(), &found(&local, QUERY, &five()).unwrap()).unwrap()
    };
    let shown = |hits, reopened: usize| {
        let found = with_documents(&set, QUERY, &five(), (hits, reopened), || search(&set)).unwrap();
        as_json(&set, QUERY, &five(), &found).unwrap()
    };
    let hits = search(&set).unwrap();
    assert_eq!(hits[0].0.doc_id, "d13");
    let before = shown(hits.clone(), set.reopened());
    assert_eq!((&before, set.reopened()), (&expected(), 0));
    // The best hit goes, and another one is replaced.
    change(&plan, &servers[1], 1, |database| database.delete("d13").unwrap());
    assert_eq!(shown(hits.clone(), 0), expected());
    assert!(set.reopened() == 1 && expected() != before);
    // Hits of a state before the one that is open.
    assert_eq!(shown(hits.clone(), 0), expected());
    let hits = search(&set).unwrap();
    let id = hits[0].0.doc_id.clone();
    let number = usize::from(!Database::open(plan.shard_path(0)).unwrap().contains(&id).unwrap());
    let other = Document::new(id.as_str(), "something else");
    change(&plan, &servers[number], number, |database| {
        database.upsert(&[other]).unwrap();
    });
    assert_eq!(shown(hits, set.reopened()), expected());
    // A server that forgets a hit is wrong.
    let error = set.hits_with(&["d1", "none"]).unwrap_err().to_string();
    assert!(error.contains("\"none\" was a hit, and no shard has such a document"), "{error}");
}

/// What an answer lacks is told even if the set has all of its shards again.
#[test]
fn shards_that_come_back_were_missing() {
    let folder = tempfile::tempdir().unwrap();
    let plan = finished(Database::builder(folder.path().join("set")), 2, &some_documents(20), None);
    let servers = [0, 1].map(|number| Server::of(&plan.shard_path(number)));
    let is_gone = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&is_gone);
    let second = between(
        &servers[1].url,
        move |_, answer| if gone.load(Ordering::SeqCst) { json!([]) } else { answer },
    );
    let set = open(topology(&[vec![servers[0].url.clone()], vec![second]]), None, true).unwrap();
    let missing = || set.missing().unwrap().iter().map(|missing| missing.shard).collect::<Vec<_>>();
    is_gone.store(true, Ordering::SeqCst);
    let hits = search(&set).unwrap();
    assert_eq!((hits.len(), missing()), (5, vec![1]));
    is_gone.store(false, Ordering::SeqCst);
    change(&plan, &servers[0], 0, |database| {
        database.add(&[Document::new("new", "text")]).unwrap();
    });
    assert_eq!(search(&set).unwrap()[0].0.doc_id, "d13");
    assert_eq!((set.reopened(), set.current().missing().len(), missing()), (1, 0, vec![1]));
    // The next answers do not lack it.
    set.renew();
    assert_eq!(search(&set).unwrap()[0].0.doc_id, "d13");
    assert!(missing().is_empty());
}
