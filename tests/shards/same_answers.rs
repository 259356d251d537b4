//! One database of the same documents is what a set is compared with: hits, scores and order, bit for bit.

use std::sync::Arc;

use proptest::prelude::*;
use secateur::database::VectorOptions;
use secateur::encode::Passages;
use secateur::index::ComponentType;
use secateur::index::hnsw::HnswParams;
use secateur::shards::{CorpusSource, ShardSet};
use secateur::{Database, Document, Error, Hit, Metric, SearchParams, VectorIndex};

use super::encoder;
use crate::support::Random;
use crate::support::shards::{all_params, bits, few_words, items, opened, planned};

const SHARDS: [usize; 5] = [1, 2, 3, 7, 16];

/// A corpus, how it is divided, and what happens to it.
#[derive(Debug, Clone)]
struct Case {
    texts: Vec<(String, String, u8)>,
    num_shards: usize,
    deleted: Vec<prop::sample::Index>,
    /// What is added to the last shard when the set was finished.
    added: Vec<String>,
    has_passages: bool,
    half: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let words = prop::collection::vec("[a-c]{1,2}", 0..6).prop_map(|words| words.join(" "));
    (
        few_words(40),
        prop::sample::select(&SHARDS[..]),
        prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        prop::collection::vec(words, 0..4),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(texts, num_shards, deleted, added, has_passages, half)| Case {
            texts,
            num_shards,
            deleted,
            added,
            has_passages,
            half,
        })
}

impl Case {
    fn documents(&self) -> Vec<Document> {
        let document = |(number, (title, text, n)): (usize, &(String, String, u8))| {
            // Ids in another order than documents.
            let id = format!("{}-{number}", (number * 7) % 10);
            Document::new(id, text).title(title).metadata(format!("{{\"n\": {n}}}"))
        };
        self.texts.iter().enumerate().map(document).collect()
    }

    fn added(&self) -> Vec<Document> {
        let document =
            |(number, text): (usize, &String)| Document::new(format!("new-{number}"), format!("{text} c"));
        self.added.iter().enumerate().map(document).collect()
    }

    fn options(&self) -> VectorOptions {
        VectorOptions {
            passages: self.has_passages.then_some(Passages { length: 6, overlap: 2 }),
            components: if self.half { ComponentType::F16 } else { ComponentType::F32 },
            ..VectorOptions::default()
        }
    }
}

/// Asks both everything, all queries at once and the first alone, twice so that statistics are known the second time.
fn compare(set: &ShardSet, database: &Database) -> Result<(), TestCaseError> {
    let queries = ["a", "b c", "ab ab cc", "ba zz", "zz", ""];
    prop_assert_eq!(set.len(), database.len() as u64);
    for params in all_params(&["n >= 2", "n == 1 or n is missing"], &[1, 4, 100]) {
        let expected = database.search_sides(&queries, &params).unwrap();
        for _ in 0..2 {
            let found = set.search_sides(&queries, &params).unwrap();
            prop_assert_eq!(&found, &expected, "{:?}", params);
            prop_assert_eq!(bits(&found), bits(&expected));
        }
        let one = set.search(queries[1], &params).unwrap();
        prop_assert_eq!(one, database.search(queries[1], &params).unwrap());
    }
    let explained = set.explain("a", &SearchParams::default()).unwrap();
    prop_assert_eq!(explained.hits, database.explain("a", &SearchParams::default()).unwrap().hits);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_set_answers_as_one_database_does(case in case()) {
        let folder = tempfile::tempdir().unwrap();
        let encoder = encoder(&folder.path().join("tiny"));
        let documents = case.documents();
        let [set_path, path] = ["set", "db"].map(|name| folder.path().join(name));
        let builder = |path: &std::path::Path| {
            let builder = Database::builder(path).encoder(Arc::clone(&encoder));
            builder.vector_options(case.options()).allow_empty(true)
        };
        let plan = planned(builder(&set_path), case.num_shards, &documents);
        // In any order.
        for number in (0..case.num_shards).rev() {
            let built = plan.build(number, Some(Arc::clone(&encoder)), items(&documents), |_| {}).unwrap();
            prop_assert!(!built.was_there);
        }
        prop_assert_eq!(plan.finish().unwrap().num_documents, documents.len() as u64);
        let corpus = items(&documents).map(|item| item.map(|(document, _)| document));
        let mut database = builder(&path).build_from(corpus, |_| {}).unwrap();
        compare(&opened(&set_path, None, &encoder), &database)?;

        // Documents are deleted, and some are added behind the last.
        let mut shards: Vec<Database> = (0..case.num_shards)
            .map(|number| Database::open(plan.shard_path(number)).unwrap().with_encoder(Arc::clone(&encoder)).unwrap())
            .collect();
        for index in case.deleted.iter().filter(|_| !documents.is_empty()) {
            let id = &documents[index.index(documents.len())].id;
            if database.delete(id).is_ok() {
                let has_it = |shard: &&mut Database| shard.contains(id).unwrap();
                shards.iter_mut().find(has_it).unwrap().delete(id).unwrap();
            }
        }
        let added = case.added();
        database.add(&added).unwrap();
        database.commit().unwrap();
        shards.last_mut().unwrap().add(&added).unwrap();
        shards.iter_mut().for_each(|shard| shard.commit().unwrap());
        plan.finish().unwrap();
        compare(&opened(&set_path, None, &encoder), &database)?;

        // Another generation, which is read where it is named.
        let options = VectorOptions { metric: Some(Metric::L2), ..VectorOptions::default() };
        database.add_generation("second", &encoder, &options, |_| {}).unwrap();
        for shard in &mut shards {
            shard.add_generation("second", &encoder, &options, |_| {}).unwrap();
        }
        plan.finish().unwrap();
        let second = database.generation("second").unwrap().with_encoder(Arc::clone(&encoder)).unwrap();
        compare(&opened(&set_path, Some("second"), &encoder), &second)?;
        compare(&opened(&set_path, None, &encoder), &database)?;
        plan.verify().unwrap();
    }

    /// With vectors of the caller's, which are often equally near, under every metric.
    #[test]
    fn given_vectors_too(
        vectors in prop::collection::vec([-2i8..3, -2..3, 1..3], 0..60),
        num_shards in prop::sample::select(&SHARDS[..]),
        metric in prop::sample::select(&[Metric::InnerProduct, Metric::Cosine, Metric::L2][..]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let items = || vectors.iter().enumerate().map(|(number, vector)| {
            let document = Document::new(format!("{}-{number}", number % 3), "text")
                .metadata(format!("{{\"n\": {}}}", number % 2));
            Ok::<_, Error>((document, Some(vector.map(f32::from).to_vec())))
        });
        let [set_path, path] = ["set", "db"].map(|name| folder.path().join(name));
        let builder = |path: &std::path::Path| Database::builder(path).vectors(3).metric(metric);
        let count = vectors.len() as u64;
        let plan = builder(&set_path).plan_shards(num_shards, count, items(), CorpusSource::default()).unwrap();
        for number in 0..num_shards {
            plan.build(number, None, items(), |_| {}).unwrap();
        }
        plan.finish().unwrap();
        let database = builder(&path).build_with_vectors(items(), |_| {}).unwrap();
        let set = ShardSet::open(&set_path).unwrap();
        for k in [1, 3, 10, 100] {
            for filter in [None, Some("n == 1")] {
                let filter = filter.map(|filter| filter.parse().unwrap());
                let params = SearchParams { k, filter, ..SearchParams::default() };
                for query in [[1.0, 0.0, 0.0], [0.3, -2.0, 1.5], [0.0, 0.0, 0.0]] {
                    let expected = database.search_vector(&query, &params).unwrap();
                    prop_assert_eq!(set.search_vector(&query, &params).unwrap(), expected);
                }
            }
        }
    }
}

/// The graphs of the shards together find at least what one graph of all finds, at the same ef.
#[test]
fn recall_is_at_least_that_of_one_graph() {
    const DIM: usize = 16;
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    let mut vector = || -> Vec<f32> { (0..DIM).map(|_| random.below(2001) as f32 / 1000.0 - 1.0).collect() };
    let vectors: Vec<Vec<f32>> = (0..3000).map(|_| vector()).collect();
    let queries: Vec<Vec<f32>> = (0..100).map(|_| vector()).collect();
    let items = || {
        let item = |(number, vector): (usize, &Vec<f32>)| {
            Ok::<_, Error>((Document::new(number.to_string(), "text"), Some(vector.clone())))
        };
        vectors.iter().enumerate().map(item)
    };
    let hnsw = VectorIndex::hnsw(HnswParams { m: 4, ef_construction: 20, ..HnswParams::default() });
    let builder = |name: &str, index: VectorIndex| {
        Database::builder(folder.path().join(name)).vectors(DIM).index(index.with_min_rows(100))
    };
    let database = builder("db", hnsw).build_with_vectors(items(), |_| {}).unwrap();
    let exact = builder("exact", VectorIndex::Flat).build_with_vectors(items(), |_| {}).unwrap();
    let plan = builder("set", hnsw).plan_shards(4, 3000, items(), CorpusSource::default()).unwrap();
    for number in 0..4 {
        plan.build(number, None, items(), |_| {}).unwrap();
    }
    plan.finish().unwrap();
    let set = ShardSet::open(plan.path()).unwrap();
    for ef in [10, 20, 50] {
        let params = SearchParams { ef_search: Some(ef), ..SearchParams::default() };
        let (mut of_one, mut of_set) = (0, 0);
        for query in &queries {
            let truth = exact.search_vector(query, &SearchParams::default()).unwrap();
            let found = |hits: Vec<Hit>| hits.iter().filter(|hit| truth.contains(hit)).count();
            of_one += found(database.search_vector(query, &params).unwrap());
            of_set += found(set.search_vector(query, &params).unwrap());
        }
        assert!(of_one < 1000, "one graph finds all: nothing is compared");
        assert!(of_set >= of_one, "ef {ef}: {of_set} of 1000 in the set, {of_one} in one graph");
    }
}
