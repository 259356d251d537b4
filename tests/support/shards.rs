//! Sets of shards, what they are made of and what they are asked.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use secateur::fusion::Fusion;
use secateur::index::bm25::Bm25Params;
use secateur::search::Sides;
use secateur::shards::{CorpusSource, ShardPlan, ShardSet};
use secateur::{DatabaseBuilder, Document, Encoder, Error, Hit, SearchMode, SearchParams};

/// A document on its way into a database.
pub type Item = Result<(Document, Option<Vec<f32>>), Error>;

pub fn items(documents: &[Document]) -> impl Iterator<Item = Item> {
    documents.iter().cloned().map(|document| Ok((document, None)))
}

/// A planned set of these documents, with the settings of a builder.
pub fn planned(builder: DatabaseBuilder, num_shards: usize, documents: &[Document]) -> ShardPlan {
    let count = documents.len() as u64;
    builder.plan_shards(num_shards, count, items(documents), CorpusSource::default()).unwrap()
}

/// A finished set of these documents, whose builder has this encoder.
pub fn finished(
    builder: DatabaseBuilder,
    num_shards: usize,
    documents: &[Document],
    encoder: Option<&Arc<Encoder>>,
) -> ShardPlan {
    let plan = planned(builder, num_shards, documents);
    for number in 0..num_shards {
        plan.build(number, encoder.cloned(), items(documents), |_| {}).unwrap();
    }
    plan.finish().unwrap();
    plan
}

/// A set with this encoder, as folders.
pub fn opened(path: &Path, generation: Option<&str>, encoder: &Arc<Encoder>) -> ShardSet {
    ShardSet::open_with(path, generation, |_| Ok::<_, Error>(Arc::clone(encoder))).unwrap()
}

pub fn some_documents(count: usize) -> Vec<Document> {
    let document = |number: usize| {
        Document::new(format!("d{number}"), format!("text number {number} of {}", number % 3))
            .metadata(format!("{{\"n\": {}}}", number % 4))
    };
    (0..count).map(document).collect()
}

/// Titles, texts and numbers of fewer than `most` documents. They have few words, so that scores are often equal, and
/// some have none.
pub fn few_words(most: usize) -> impl Strategy<Value = Vec<(String, String, u8)>> {
    let words = |most| prop::collection::vec("[a-c]{1,2}", 0..most).prop_map(|words| words.join(" "));
    prop::collection::vec((words(3), words(9), 0u8..4), 0..most)
}

/// What two sets are asked that must answer alike: without a filter and with each of these, for each number of hits.
pub fn all_params(filters: &[&str], ks: &[usize]) -> Vec<SearchParams> {
    let mut all = Vec::new();
    for mode in SearchMode::ALL {
        for filter in std::iter::once(None).chain(filters.iter().map(Some)) {
            for &k in ks {
                let filter = filter.map(|filter| filter.parse().unwrap());
                all.push(SearchParams { k, filter, ..SearchParams::new(mode) });
            }
        }
    }
    let of_fusion = |num_candidates| SearchParams {
        num_candidates: Some(num_candidates),
        fusion: Some(Fusion::WeightedSum),
        dense_weight: Some(0.3),
        ..SearchParams::new(SearchMode::Hybrid)
    };
    all.extend([of_fusion(3), of_fusion(1000)]);
    all.push(SearchParams { bm25: Bm25Params { k1: 1.7, b: 0.9 }, ..SearchParams::new(SearchMode::Bm25) });
    all.push(SearchParams::default());
    all
}

/// A hit and its scores, bit for bit: its own, that by vectors and that by words.
type Bits = (String, u64, Option<u64>, Option<u64>);

pub fn bits(answers: &[Vec<(Hit, Sides)>]) -> Vec<Vec<Bits>> {
    let bits = |(hit, sides): &(Hit, Sides)| {
        let [dense, bm25] = [sides.dense, sides.bm25].map(|place| place.map(|place| place.score.to_bits()));
        (hit.doc_id.clone(), hit.score.to_bits(), dense, bm25)
    };
    answers.iter().map(|hits| hits.iter().map(bits).collect()).collect()
}
