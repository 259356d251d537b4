//! What the server asks of a database.

use std::sync::Arc;

use secateur_wire::{ShardAnswer, ShardAsk, ShardReply, SnapshotId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::model::Embedder;

/// A search, as it is asked for. Fields that are `None` are the database's to choose.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// What to look for; `None` if `vector` says it.
    pub query: Option<String>,
    /// A vector of the client's own.
    pub vector: Option<Vec<f32>>,
    /// The most hits.
    pub k: Option<usize>,
    /// `dense`, `bm25` or `hybrid`.
    pub mode: Option<String>,
    /// Which documents may be found.
    pub filter: Option<String>,
    /// The generation whose vectors are read.
    pub generation: Option<String>,
    /// Candidates of an approximate search.
    pub ef: Option<usize>,
    /// Hits of each index that a hybrid search fuses.
    pub candidates: Option<usize>,
    /// `rrf` or `sum`.
    pub fusion: Option<String>,
    /// How much the vectors count beside the words.
    pub dense_weight: Option<f64>,
    /// BM25's k1.
    pub k1: Option<f32>,
    /// BM25's b.
    pub b: Option<f32>,
    /// How many of the best hits a cross-encoder ranks anew.
    pub rerank: Option<usize>,
    /// The most characters of a hit's snippet.
    pub snippet: Option<usize>,
}

/// A part of a text, and whether it is a word of the query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The part.
    pub text: String,
    /// Whether it is one of the query's words.
    pub marked: bool,
}

/// A hit's place in one of two rankings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HitPlace {
    /// Counted from 1; null for a document that only the other index found.
    pub rank: Option<usize>,
    /// The score there.
    pub score: f64,
}

/// A document that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundHit {
    /// Its id.
    pub doc_id: String,
    /// Higher is better; what it means depends on the mode.
    pub score: f64,
    /// Its title; empty where there is none.
    pub title: String,
    /// Its text.
    pub text: String,
    /// Its metadata: an object, or null.
    pub metadata: Value,
    /// The passage that is nearest to the query, where documents are split.
    pub passage: Option<String>,
    /// The title, with the query's words marked.
    pub title_spans: Vec<Span>,
    /// The part of the text with the most of the query's words.
    pub snippet: Vec<Span>,
    /// Its place in the ranking by vectors.
    pub dense: Option<HitPlace>,
    /// Its place in the ranking by words.
    pub bm25: Option<HitPlace>,
    /// What a cross-encoder reads of it.
    #[serde(skip)]
    pub read: String,
}

/// The answer to a search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchAnswer {
    /// What was looked for; null if it was a vector.
    pub query: Option<String>,
    /// Which index answered.
    pub mode: String,
    /// The generation whose vectors were read, if the database has any.
    pub generation: Option<String>,
    /// The number of the commit that was searched.
    pub commit: u64,
    /// Best first.
    pub hits: Vec<FoundHit>,
}

/// A document that comes in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDocument {
    /// Its id.
    #[serde(alias = "_id")]
    pub id: String,
    /// Its title.
    #[serde(default)]
    pub title: String,
    /// Its text.
    #[serde(default)]
    pub text: String,
    /// Its metadata: the JSON of an object.
    #[serde(default, deserialize_with = "text_of_object")]
    pub metadata: Option<String>,
    /// Its vector, in a database whose vectors no encoder makes.
    #[serde(default)]
    pub vector: Option<Vec<f32>>,
}

/// Values take many times the bytes of their text, so one object at a time is read to values.
fn text_of_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let object = Option::<Map<String, Value>>::deserialize(deserializer)?;
    Ok(object.map(|object| Value::Object(object).to_string()))
}

/// A change of a database.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds documents; an id that is taken is an error.
    Add(Vec<NewDocument>),
    /// Adds documents, in place of those with their ids.
    Upsert(Vec<NewDocument>),
    /// Deletes the documents with these ids; one that is not there is an error.
    Delete(Vec<String>),
    /// Deletes the documents that match a filter.
    DeleteMatching(String),
}

/// What a change did: all of it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Changed {
    /// Documents that are new.
    pub added: usize,
    /// Documents that replaced others.
    pub replaced: usize,
    /// Documents that are gone.
    pub deleted: usize,
    /// Documents that there are now.
    pub documents: usize,
    /// The number of the commit.
    pub commit: u64,
}

/// A part of the list of documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// The documents of this part, in the order in which they were added.
    pub documents: Vec<Value>,
    /// How many there are in all parts.
    pub total: usize,
    /// The number of the commit that was read.
    pub commit: u64,
}

/// A database of documents. All methods may take long; the server calls them on threads for that.
pub trait Collection: Send + Sync {
    /// The encoder of the generation in use, if one makes the vectors.
    fn embedder(&self) -> Option<Arc<dyn Embedder>>;

    /// Whether searches of the generation of this name can be answered at once. One that is not there counts as such:
    /// they say so. It takes no time.
    fn is_loaded(&self, generation: &str) -> bool;

    /// Loads what searches of this generation need, such as its encoder. Others go on meanwhile.
    ///
    /// # Errors
    ///
    /// An encoder does not load, or a file is damaged.
    fn load(&self, generation: &str) -> Result<(), Fault>;

    /// Answers searches. They see one state of the database each; those that are asked together may share work. One of
    /// a generation that is not loaded is refused.
    fn search(&self, requests: &[SearchRequest]) -> Vec<Result<SearchAnswer, Fault>>;

    /// The documents with these ids, in their order; null for one that is not there.
    ///
    /// # Errors
    ///
    /// A file is damaged.
    fn documents(&self, ids: &[String]) -> Result<Vec<Value>, Fault>;

    /// Documents in the order in which they were added, all or those that match a filter. They are at most `count`, and
    /// begin after the first `start` ones.
    ///
    /// # Errors
    ///
    /// The filter is wrong, or a file is damaged.
    fn list(&self, filter: Option<&str>, start: usize, count: usize) -> Result<Listed, Fault>;

    /// The generations: a list of objects.
    fn generations(&self) -> Value;

    /// What the database holds, in numbers and names.
    ///
    /// # Errors
    ///
    /// A file is damaged.
    fn info(&self) -> Result<Value, Fault>;

    /// Makes a change durable, and searches see it.
    ///
    /// # Errors
    ///
    /// The change contradicts what is there, another process is writing, or the disk is full. Nothing is changed then.
    fn change(&self, change: Change) -> Result<Changed, Fault>;

    /// Answers as a shard of a set, as read through a generation, or through the one in use. It changes nothing. With a
    /// `snapshot` the answer is of that state.
    ///
    /// # Errors
    ///
    /// The database is in another state: [`Fault::moved`]. It is no shard, what is asked contradicts itself, or a file
    /// is damaged.
    fn shard(
        &self,
        generation: Option<&str>,
        snapshot: Option<&SnapshotId>,
        ask: &ShardAsk,
    ) -> Result<ShardReply<ShardAnswer>, Fault>;

    /// Takes up what other processes have committed, and says whether there was something.
    ///
    /// # Errors
    ///
    /// A file is damaged, or an encoder does not load. What was searched before is searched on.
    fn refresh(&self) -> Result<bool, Fault>;
}
