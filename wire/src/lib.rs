//! What a shard of a set is asked for, and what it answers: both sides of the wire.
//!
//! Numbers that must arrive bit for bit are sent as the bits of their IEEE 754 form. These are whole numbers; readers
//! of JSON may round others.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The state of a database that answers are of. Two states have the same only if all their documents and vectors are
/// the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotId {
    /// The number of the commit.
    pub commit: u64,
    /// The checksum of the manifest: 8 hexadecimal digits.
    pub checksum: String,
    /// The generation whose vectors are read, if there are vectors.
    pub generation: Option<String>,
}

/// A question about a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardQuestion<T> {
    /// The state. A shard that is in another one does not answer.
    pub snapshot: SnapshotId,
    /// What is asked.
    pub ask: T,
}

impl<T> ShardQuestion<T> {
    /// The same question, asked in another form.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> ShardQuestion<U> {
        ShardQuestion { snapshot: self.snapshot, ask: of(self.ask) }
    }
}

/// The code of an error that says that a shard is in another state than the one that was asked about.
pub const MOVED: &str = "snapshot_gone";

/// An answer, and the state that it is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardReply<T> {
    /// The state.
    pub snapshot: SnapshotId,
    /// The answer.
    pub answer: T,
}

/// Asks in which state a shard is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardOpening {
    /// The generation whose vectors are to be read; `None` for the one in use.
    pub generation: Option<String>,
}

/// What a shard says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// What it has in common with the other shards of its set, and its counts.
    pub facts: Value,
    /// What it answers in one request.
    pub limits: ShardLimits,
}

/// What a shard answers in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardLimits {
    /// Terms or ids.
    pub items: usize,
    /// Queries.
    pub queries: usize,
    /// Hits of each index for a query.
    pub hits_of_query: usize,
    /// Queries times hits of each index for a query, if there are several queries.
    pub hits: usize,
    /// Bytes of the request's body.
    pub body_bytes: usize,
}

/// Terms whose statistics are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardTerms {
    /// The terms.
    pub terms: Vec<String>,
}

/// What the scores of terms depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatistics {
    /// Documents with at least one term.
    pub num_docs: u64,
    /// The terms of these documents.
    pub num_terms: u64,
    /// For each term that was asked for, in their order: the documents that have it.
    pub frequencies: Vec<u64>,
}

/// The statistics of all shards together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetStatistics {
    /// Documents with at least one term.
    pub num_docs: u64,
    /// The terms of these documents.
    pub num_terms: u64,
    /// The documents that have each of the queries' terms.
    pub frequencies: BTreeMap<String, u64>,
}

/// Queries. They come as vectors, as texts, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardSearch {
    /// The vectors of the queries: the bits of f32.
    pub vectors: Option<Vec<Vec<u32>>>,
    /// The same queries as texts.
    pub queries: Option<Vec<String>>,
    /// The statistics of all shards for the terms of the texts.
    pub statistics: Option<SetStatistics>,
    /// The most hits of each index for a query.
    pub k: usize,
    /// Whether each index scores the hits of the other one, too: they follow its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub completes: bool,
    /// Candidates of an approximate search; `None` for the shard's default.
    pub ef: Option<usize>,
    /// BM25's k1: the bits of f32.
    pub k1: u32,
    /// BM25's b: the bits of f32.
    pub b: u32,
    /// Which documents may be found.
    pub filter: Option<String>,
}

/// Vectors whose true hits are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardExact {
    /// The vectors: the bits of f32.
    pub vectors: Vec<Vec<u32>>,
    /// The most hits for each.
    pub k: usize,
}

/// Hits, the best first.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardHits {
    /// Ids of documents.
    pub ids: Vec<String>,
    /// Their scores: the bits of f64.
    pub scores: Vec<u64>,
}

/// What each index answers to a query.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardRanking {
    /// The hits by vectors; null where there was no vector.
    pub dense: Option<ShardHits>,
    /// The hits by words; null where there was no text.
    pub bm25: Option<ShardHits>,
}

/// The answer to queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardRankings {
    /// In the order of the queries.
    pub rankings: Vec<ShardRanking>,
    /// Seconds that the filter, the vectors and the words took.
    pub seconds: [f64; 3],
}

/// The answer to vectors whose true hits were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardTruth {
    /// In the order of the vectors.
    pub hits: Vec<ShardHits>,
}

/// Ids of documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardIds {
    /// The ids.
    pub ids: Vec<String>,
}

/// A document as it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardDocument {
    /// Its id.
    pub id: String,
    /// Its title; empty where there is none.
    pub title: String,
    /// Its text.
    pub text: String,
    /// The JSON of its metadata, as a text.
    pub metadata: Option<String>,
}

/// Documents by their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardDocuments {
    /// In the order of the ids; null for one that is not there.
    pub documents: Vec<Option<ShardDocument>>,
}

/// Which documents are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardContains {
    /// In the order of the ids.
    pub found: Vec<bool>,
}

/// A query and documents that are hits of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardNearest {
    /// The vector of the query: the bits of f32.
    pub vector: Vec<u32>,
    /// The ids of the documents.
    pub ids: Vec<String>,
}

/// Passages of documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPassages {
    /// The nearest one of each document; null where documents are not split, or there is no such document.
    pub passages: Vec<Option<String>>,
}

/// A filter that is to be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardFilter {
    /// The filter.
    pub filter: String,
}

/// Whether a filter compares fields that there are, with values of their kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardFits {
    /// Whether it does.
    pub fits: bool,
}

/// No more is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardNothing {}

/// A field of the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardField {
    /// The names that lead to it.
    pub path: Vec<String>,
    /// Documents in which it has a value.
    pub documents: usize,
    /// Documents in which it has a boolean, a number, a string.
    pub of_kind: [usize; 3],
}

/// The fields of the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardFields {
    /// All of them.
    pub fields: Vec<ShardField>,
}

/// Whatever a shard is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum ShardAsk {
    /// What it says of itself.
    Facts,
    /// The first round of a search by words.
    Statistics(ShardTerms),
    /// The second round of a search.
    Search(ShardSearch),
    /// The true hits of vectors.
    Exact(ShardExact),
    /// Documents.
    Documents(ShardIds),
    /// Whether documents are there.
    Contains(ShardIds),
    /// Passages of hits.
    Passages(ShardNearest),
    /// Whether a filter fits.
    Filter(ShardFilter),
    /// The fields of the metadata.
    Fields,
}

impl ShardAsk {
    /// The vectors, texts, terms or ids of it, at least 1.
    pub fn num_items(&self) -> usize {
        let count = match self {
            ShardAsk::Facts | ShardAsk::Filter(_) | ShardAsk::Fields => 1,
            ShardAsk::Statistics(ask) => ask.terms.len(),
            ShardAsk::Search(ShardSearch { vectors, queries, .. }) => {
                vectors.as_ref().map(Vec::len).or(queries.as_ref().map(Vec::len)).unwrap_or_default()
            }
            ShardAsk::Exact(ask) => ask.vectors.len(),
            ShardAsk::Documents(ask) | ShardAsk::Contains(ask) => ask.ids.len(),
            ShardAsk::Passages(ask) => ask.ids.len(),
        };
        count.max(1)
    }
}

/// Whatever a shard answers, as [`ShardAsk`] has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ShardAnswer {
    /// Of a database, as it describes itself.
    Facts(Value),
    /// The same, with limits.
    Info(ShardInfo),
    /// The first round.
    Statistics(ShardStatistics),
    /// The second round.
    Rankings(ShardRankings),
    /// True hits.
    Truth(ShardTruth),
    /// Documents.
    Documents(ShardDocuments),
    /// Whether documents are there.
    Contains(ShardContains),
    /// Passages.
    Passages(ShardPassages),
    /// Whether a filter fits.
    Fits(ShardFits),
    /// Fields.
    Fields(ShardFields),
}

impl ShardAnswer {
    /// Its bytes as JSON, about.
    pub fn num_bytes(&self) -> usize {
        let of_hits = |hits: &ShardHits| hits.ids.iter().map(|id| id.len() + 24).sum::<usize>();
        match self {
            ShardAnswer::Facts(_) | ShardAnswer::Info(_) | ShardAnswer::Fits(_) => 1 << 10,
            ShardAnswer::Statistics(statistics) => statistics.frequencies.len() * 8,
            ShardAnswer::Rankings(ShardRankings { rankings, .. }) => rankings
                .iter()
                .flat_map(|ranking| [&ranking.dense, &ranking.bm25])
                .flatten()
                .map(of_hits)
                .sum(),
            ShardAnswer::Truth(ShardTruth { hits }) => hits.iter().map(of_hits).sum(),
            ShardAnswer::Documents(ShardDocuments { documents }) => documents
                .iter()
                .flatten()
                .map(|document| document.title.len() + document.text.len() + 64)
                .sum(),
            ShardAnswer::Contains(ShardContains { found }) => found.len() * 6,
            ShardAnswer::Passages(ShardPassages { passages }) => {
                passages.iter().flatten().map(String::len).sum()
            }
            ShardAnswer::Fields(ShardFields { fields }) => fields.len() * 64,
        }
    }
}
