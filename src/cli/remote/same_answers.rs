//! A set of servers answers as the same set of folders does: hits, scores and order, bit for bit.

use std::sync::Arc;

use proptest::prelude::*;
use secateur::database::VectorOptions;
use secateur::encode::Passages;
use secateur::index::ComponentType;
use secateur::index::bm25::Bm25Params;
use secateur::shards::remote::{RemoteSet, Threads};
use secateur::shards::{SetOptions, Shard, ShardSet};
use secateur::{Database, Document, Error, Filter, Metric, SearchMode, SearchParams};
use secateur_serve::{Access, Limits};

use super::sets::{all_params, bits, few_words, finished, opened, some_documents};
use super::{Server, encoder, open, open_in, options, topology, urls};

#[derive(Debug, Clone)]
struct Case {
    texts: Vec<(String, String, u8)>,
    num_shards: usize,
    deleted: Vec<prop::sample::Index>,
    has_passages: bool,
    half: bool,
}

fn case() -> impl Strategy<Value = Case> {
    (
        few_words(30),
        prop::sample::select(&[1, 2, 3, 7][..]),
        prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(texts, num_shards, deleted, has_passages, half)| Case {
            texts,
            num_shards,
            deleted,
            has_passages,
            half,
        })
}

impl Case {
    fn documents(&self) -> Vec<Document> {
        let document = |(number, (title, text, n)): (usize, &(String, String, u8))| {
            // Ids in another order than documents, and such that have to be quoted.
            let id = format!("{}-\"{number}\\ü", (number * 7) % 10);
            Document::new(id, text).title(title).metadata(format!("{{\"n\":  {n}, \"a b\": \"x\"}}"))
        };
        self.texts.iter().enumerate().map(document).collect()
    }
}

fn compare(remote: &RemoteSet, local: &ShardSet) -> Result<(), TestCaseError> {
    let queries = ["a", "b c", "ab ab cc", "ba zz", "zz", ""];
    let filters = ["n >= 2", "n == 1 or n is missing or `a b` contains \"\\\"\""];
    for params in all_params(&filters, &[1, 100]) {
        let expected = local.search_sides(&queries, &params).unwrap();
        let found = remote.ask(|set| set.search_sides(&queries, &params)).unwrap();
        prop_assert_eq!(&found, &expected, "{:?}", params);
        prop_assert_eq!(bits(&found), bits(&expected));
    }
    let set = remote.current();
    prop_assert_eq!(
        (set.len(), set.analyzer(), set.num_shards()),
        (local.len(), local.analyzer(), local.num_shards())
    );
    let hits = local.search("a b c ab", &SearchParams::default()).unwrap();
    let ids: Vec<&str> = hits.iter().map(|hit| hit.doc_id.as_str()).chain(["none", ""]).collect();
    prop_assert_eq!(set.documents_with(&ids).unwrap(), local.documents_with(&ids).unwrap());
    prop_assert_eq!(set.contains_each(&ids).unwrap(), local.contains_each(&ids).unwrap());
    let passages = local.best_passages("ab c", &ids).unwrap();
    prop_assert_eq!(set.best_passages("ab c", &ids).unwrap(), passages);
    for filter in ["n >= 2", "`a b` == \"x\"", "m == 1", "n == \"1\""] {
        let filter: Filter = filter.parse().unwrap();
        let [got, expected] =
            [&*set, local].map(|set| set.check_filter(&filter).map_err(|error| error.to_string()));
        prop_assert_eq!(got, expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 10, ..ProptestConfig::default() })]

    #[test]
    fn servers_answer_as_folders_do(case in case()) {
        let folder = tempfile::tempdir().unwrap();
        let encoder = encoder();
        let documents = case.documents();
        let path = folder.path().join("set");
        let vectors = VectorOptions {
            passages: case.has_passages.then_some(Passages { length: 6, overlap: 2 }),
            components: if case.half { ComponentType::F16 } else { ComponentType::F32 },
            ..options()
        };
        let builder = Database::builder(&path).encoder(Arc::clone(&encoder)).vector_options(vectors).allow_empty(true);
        let plan = finished(builder, case.num_shards, &documents, Some(&encoder));
        let paths: Vec<_> = (0..case.num_shards).map(|number| plan.shard_path(number)).collect();
        let servers: Vec<Server> = paths.iter().map(|path| Server::of(path)).collect();
        let with_manifest = || {
            let manifest = Some(path.join("manifest.json"));
            super::Topology { manifest, ..topology(&urls(&servers)) }
        };
        let remote = open(topology(&urls(&servers)), Some(&encoder), false).unwrap();
        compare(&remote, &opened(&path, None, &encoder))?;
        compare(&open(with_manifest(), Some(&encoder), false).unwrap(), &opened(&path, None, &encoder))?;

        // Documents go: the set that is open finds that out, and begins anew.
        let mut shards: Vec<Database> = paths
            .iter()
            .map(|path| Database::open(path).unwrap().with_encoder(Arc::clone(&encoder)).unwrap())
            .collect();
        for index in case.deleted.iter().filter(|_| !documents.is_empty()) {
            let id = &documents[index.index(documents.len())].id;
            if let Some(shard) = shards.iter_mut().find(|shard| shard.contains(id).unwrap()) {
                // It may be deleted already.
                let _ = shard.delete(id);
            }
        }
        // Nothing is added that could not be: each shard has a commit more.
        for (number, shard) in shards.iter_mut().enumerate() {
            shard.add(&[Document::new(format!("new-{number}"), "ab c")]).unwrap();
            shard.commit().unwrap();
        }
        plan.finish().unwrap();
        servers.iter().zip(&paths).for_each(|(server, path)| server.caught_up(path));
        compare(&remote, &opened(&path, None, &encoder))?;

        // Another generation, which is read where it is named.
        let second = VectorOptions { metric: Some(Metric::L2), ..options() };
        for shard in &mut shards {
            shard.add_generation("second", &encoder, &second, |_| {}).unwrap();
        }
        plan.finish().unwrap();
        servers.iter().zip(&paths).for_each(|(server, path)| server.caught_up(path));
        let of_second = open_in(with_manifest(), Some("second"), Some(&encoder), false).unwrap();
        compare(&of_second, &opened(&path, Some("second"), &encoder))?;
        compare(&remote, &opened(&path, None, &encoder))?;
    }
}

/// Servers that take little at a time are asked in parts, and answer the same.
#[test]
fn questions_come_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = encoder();
    let path = folder.path().join("set");
    let builder = Database::builder(&path).encoder(Arc::clone(&encoder)).vector_options(options());
    let plan = finished(builder, 2, &some_documents(40), Some(&encoder));
    let limits = Limits { items: 2, body_bytes: 40_000, ..Limits::default() };
    let servers: Vec<Server> = (0..2)
        .map(|number| Server::with(&plan.shard_path(number), Access::default(), limits.clone()))
        .collect();
    let remote = open(topology(&urls(&servers)), Some(&encoder), false).unwrap().current();
    let local = opened(&path, None, &encoder);
    let queries = ["text 1 2 3", "number", "7 of 2", "text number of", "of"];
    for mode in SearchMode::ALL {
        let params = SearchParams { k: 30, ..SearchParams::new(mode) };
        let [found, expected] = [&*remote, &local].map(|set| set.search_sides(&queries, &params).unwrap());
        assert_eq!(bits(&found), bits(&expected), "{mode}");
    }
    let ids: Vec<String> = (0..50).map(|number| format!("d{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(remote.documents_with(&ids).unwrap(), local.documents_with(&ids).unwrap());
    // More hits than a server gives are refused by it, with the field.
    let params = SearchParams { k: 20_000, ..SearchParams::new(SearchMode::Bm25) };
    let error = remote.search("text", &params).unwrap_err().to_string();
    assert!(error.contains("shard 0 (http://") && error.contains("k: 20000 is more than 10000"), "{error}");
}

/// What is left of a set without some of its shards is the set of the others.
#[test]
fn partial_answers_are_those_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set");
    let plan = finished(Database::builder(&path), 3, &some_documents(30), None);
    let open_shard = |number: usize| Database::open(plan.shard_path(number)).unwrap();
    let mut servers: Vec<Server> = (0..3).map(|number| Server::of(&plan.shard_path(number))).collect();
    let topology = topology(&urls(&servers));
    let remote = open(topology.clone(), None, true).unwrap();
    let params = SearchParams::new(SearchMode::Bm25);
    let queries = ["text", "number 4", "of 2"];
    let ask = || remote.ask(|set| set.search_sides(&queries, &params)).unwrap();
    let all = ShardSet::open(&path).unwrap().search_sides(&queries, &params).unwrap();
    assert_eq!(bits(&ask()), bits(&all));
    assert_eq!(remote.missing(), Some(vec![]));
    assert!(all.iter().flatten().any(|(hit, _)| hit.doc_id.as_str() > "d1" && hit.doc_id.as_str() < "d2"));

    let checked = open(topology.clone(), None, true).unwrap();
    let gone = servers.remove(1);
    let url = gone.url.clone();
    drop(gone);
    // A filter is checked by those that are there, and the other one is not asked again.
    checked.ask(|set| set.check_filter(&"n >= 0".parse().unwrap())).unwrap();
    assert_eq!(checked.missing().unwrap()[0].shard, 1);
    let error = checked.ask(|set| set.check_filter(&"m >= 0".parse().unwrap())).unwrap_err();
    assert!(error.to_string().contains("no document has a field m"), "{error}");
    let others: Vec<Box<dyn Shard>> = vec![Box::new(open_shard(0)), Box::new(open_shard(2))];
    let of_others =
        SetOptions { path: path.clone(), manifest: None, partial: false, fan_out: Box::new(Threads) };
    let others = ShardSet::of(others, of_others, |_| Ok::<_, Error>(None)).unwrap();
    // The terms of the first queries are known of all shards; those of others are asked for.
    let queries = ["text of number", "12"];
    let found = remote.ask(|set| set.search_sides(&queries, &params)).unwrap();
    assert_eq!(bits(&found), bits(&others.search_sides(&queries, &params).unwrap()));
    let missing = remote.missing().unwrap();
    assert_eq!((missing.len(), missing[0].shard), (1, 1));
    assert!(missing[0].place == url && missing[0].problem.contains(&url), "{missing:?}");
    // A set that is opened now says so, too, and one that must have all does not open.
    let later = open(topology.clone(), None, true).unwrap();
    assert_eq!(later.missing().unwrap()[0].shard, 1);
    assert_eq!(later.current().len(), 20);
    let message = open(topology.clone(), None, false).err().unwrap().message;
    assert!(message.contains("shard 1") && message.contains(&url), "{message}");
    // It may be back for the next answer.
    remote.renew();
    let found = remote.ask(|set| set.search_sides(&queries, &params)).unwrap();
    assert_eq!(bits(&found), bits(&others.search_sides(&queries, &params).unwrap()));
    // What is wrong with the question is told in any case.
    let wrong = SearchParams { bm25: Bm25Params { k1: -1.0, b: 0.4 }, ..params.clone() };
    let error = remote.ask(|set| set.search("text", &wrong)).unwrap_err();
    assert!(error.to_string().contains("k1"), "{error}");
    servers.clear();
    let error = open(topology, None, true).err().unwrap().message;
    assert!(error.contains("none of 3 shards gave an answer, such as shard 0"), "{error}");
}
