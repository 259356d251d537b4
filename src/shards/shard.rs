//! What a set asks of each of its shards.

use rayon::prelude::*;
use secateur_datasets::Document;
use secateur_index::bm25::Bm25Statistics;
use secateur_index::filter::Filter;
use secateur_index::storage::FieldCount;

use super::facts::ShardFacts;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::search::{Asked, Hit, Ranking, SearchTimes};
use crate::shard_error::ShardError;

/// A part of a corpus that answers for its documents, wherever it is. What goes in and comes out can be sent over a
/// network. All answers of a value are of one state of its documents; where that is gone, they are
/// [`ShardError::Moved`].
///
/// Any of them may fail because a file is damaged, or because there is no answer: [`ShardError::NoAnswer`].
pub trait Shard: Send + Sync {
    /// Where it is, for messages: a folder, or addresses.
    fn place(&self) -> String;

    /// What it says of itself.
    ///
    /// # Errors
    ///
    /// As all.
    fn facts(&self) -> Result<ShardFacts>;

    /// The first round of a search by words: what the scores of these terms depend on, over the shard's documents.
    ///
    /// # Errors
    ///
    /// As all.
    fn statistics(&self, terms: &[&str]) -> Result<Bm25Statistics>;

    /// The second round: the best hits of each query in the shard, and how long they took. Hits are sorted by score,
    /// descending, and equal scores by the order in which the documents were added. The statistics that come along are
    /// those of all shards.
    ///
    /// # Errors
    ///
    /// As all; a parameter is out of range.
    fn search(&self, asked: &Asked<'_>) -> Result<(Vec<Ranking>, SearchTimes)>;

    /// The true `k` best hits of each of the vectors (Q, D), whatever the index finds. In the order of
    /// [`Shard::search`].
    ///
    /// # Errors
    ///
    /// As all; a vector has another length than those of the documents.
    fn search_exactly(&self, vectors: &[f32], k: usize) -> Result<Vec<Vec<Hit>>>;

    /// Whether searches by vectors may miss a neighbor: not in a shard that has no graph yet. A shard that cannot tell
    /// says yes.
    ///
    /// # Errors
    ///
    /// As all.
    fn has_approximate_index(&self) -> Result<bool> {
        Ok(true)
    }

    /// Whether the shard has a document with each of these ids.
    ///
    /// # Errors
    ///
    /// As all.
    fn contains_each(&self, doc_ids: &[&str]) -> Result<Vec<bool>>;

    /// The document with each of these ids, if the shard has it.
    ///
    /// # Errors
    ///
    /// As all.
    fn documents_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>>;

    /// The passage of each of these documents that is nearest to a vector (D). `None` where documents are not split, or
    /// the shard has no such document.
    ///
    /// # Errors
    ///
    /// As all; the encoder of the vectors is not loaded.
    fn nearest_passages(&self, vector: &[f32], doc_ids: &[&str]) -> Result<Vec<Option<String>>>;

    /// Checks a filter against the shard's documents: see [`Database::check_filter`].
    ///
    /// # Errors
    ///
    /// As all; there is no such field, or its values are of another kind.
    fn check_filter(&self, filter: &Filter) -> Result<()>;

    /// The fields of the metadata of the shard's documents.
    ///
    /// # Errors
    ///
    /// As all.
    fn fields(&self) -> Result<Vec<FieldCount>>;
}

/// What asks all shards of a set at once. Shards on this machine are asked by the threads that compute; to wait for
/// others is none of their work.
pub trait FanOut: Send + Sync {
    /// Calls `ask` with each number below `count`, and returns when all calls have returned.
    fn each(&self, count: usize, ask: &(dyn Fn(usize) + Sync));
}

/// The current rayon pool.
pub(super) struct Pool;

impl FanOut for Pool {
    fn each(&self, count: usize, ask: &(dyn Fn(usize) + Sync)) {
        (0..count).into_par_iter().for_each(ask);
    }
}

/// A shard that gave no answer, where such shards are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingShard {
    /// Its number.
    pub shard: usize,
    /// Where it is.
    pub place: String,
    /// Why there is no answer.
    pub problem: String,
}

/// An error that says which shard it is of, and where that is.
pub(super) fn in_shard(shard: usize, place: impl ToString, source: impl Into<Error>) -> Error {
    let source = source.into();
    let (place, kind) = (place.to_string(), source.kind());
    let is_moved = matches!(&source, Error::Shards(error) if error.is_moved());
    ShardError::InShard { shard, place, kind, is_moved, source: Box::new(source) }.into()
}

impl Shard for Database {
    fn place(&self) -> String {
        self.path().display().to_string()
    }

    fn facts(&self) -> Result<ShardFacts> {
        ShardFacts::of(self)
    }

    fn statistics(&self, terms: &[&str]) -> Result<Bm25Statistics> {
        self.term_statistics(terms)
    }

    fn search(&self, asked: &Asked<'_>) -> Result<(Vec<Ranking>, SearchTimes)> {
        let mut times = SearchTimes::default();
        let rankings = self.ranked(asked, &mut times)?;
        Ok((rankings.into_iter().map(Ranking::from).collect(), times))
    }

    fn search_exactly(&self, vectors: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.nearest_exactly(vectors, k)
    }

    fn has_approximate_index(&self) -> Result<bool> {
        Database::has_approximate_index(self)
    }

    fn contains_each(&self, doc_ids: &[&str]) -> Result<Vec<bool>> {
        doc_ids.iter().map(|doc_id| self.contains(doc_id)).collect()
    }

    fn documents_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>> {
        doc_ids.iter().map(|doc_id| self.document(doc_id)).collect()
    }

    fn nearest_passages(&self, vector: &[f32], doc_ids: &[&str]) -> Result<Vec<Option<String>>> {
        Database::nearest_passages(self, vector, doc_ids)
    }

    fn check_filter(&self, filter: &Filter) -> Result<()> {
        Database::check_filter(self, filter)
    }

    fn fields(&self) -> Result<Vec<FieldCount>> {
        Database::fields(self)
    }
}
