//! What a set asks of each of its shards.

use secateur_datasets::Document;
use secateur_index::bm25::Bm25Statistics;
use secateur_index::filter::Filter;
use secateur_index::storage::FieldCount;

use crate::database::Database;
use crate::error::{Error, Result};
use crate::search::{Asked, Ranking, SearchTimes};
use crate::shard_error::ShardError;

/// A part of a corpus that answers for its documents, wherever it is. What goes in and comes out can be sent over a
/// network. All answers of a value are of one state of its documents.
pub trait Shard: Send + Sync {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// How many documents it has.
    fn num_documents(&self) -> u64;

    /// The first round of a search by words: what the scores of these terms depend on, over the shard's documents.
    ///
    /// # Errors
    ///
    /// A file is damaged.
    fn statistics(&self, terms: &[&str]) -> Result<Bm25Statistics>;

    /// The second round: the best hits of each query in the shard, and how long they took. Hits are sorted by score,
    /// descending, and equal scores by the order in which the documents were added. The statistics that come along are
    /// those of all shards.
    ///
    /// # Errors
    ///
    /// A parameter is out of range. A file is damaged.
    fn search(&self, asked: &Asked<'_>) -> Result<(Vec<Ranking>, SearchTimes)>;

    /// Whether the shard has a document with this id.
    ///
    /// # Errors
    ///
    /// A file is damaged.
    fn contains(&self, doc_id: &str) -> Result<bool>;

    /// The document with this id, if the shard has it.
    ///
    /// # Errors
    ///
    /// A file is damaged.
    fn document(&self, doc_id: &str) -> Result<Option<Document>>;

    /// The passage of each of these documents that is nearest to a vector (D). `None` where documents are not split, or
    /// the shard has no such document.
    ///
    /// # Errors
    ///
    /// The encoder of the vectors is not loaded. A file is damaged.
    fn nearest_passages(&self, vector: &[f32], doc_ids: &[&str]) -> Result<Vec<Option<String>>>;

    /// Checks a filter against the shard's documents: see [`Database::check_filter`].
    ///
    /// # Errors
    ///
    /// There is no such field, its values are of another kind, or a file is damaged.
    fn check_filter(&self, filter: &Filter) -> Result<()>;

    /// The fields of the metadata of the shard's documents.
    ///
    /// # Errors
    ///
    /// A file is damaged.
    fn fields(&self) -> Result<Vec<FieldCount>>;
}

/// An error that says which shard it is of, and where that is.
pub(super) fn in_shard(shard: usize, place: impl ToString, source: impl Into<Error>) -> Error {
    let source = source.into();
    let (place, kind) = (place.to_string(), source.kind());
    ShardError::InShard { shard, place, kind, source: Box::new(source) }.into()
}

impl Shard for Database {
    fn place(&self) -> String {
        self.path().display().to_string()
    }

    fn num_documents(&self) -> u64 {
        self.len() as u64
    }

    fn statistics(&self, terms: &[&str]) -> Result<Bm25Statistics> {
        self.term_statistics(terms)
    }

    fn search(&self, asked: &Asked<'_>) -> Result<(Vec<Ranking>, SearchTimes)> {
        let mut times = SearchTimes::default();
        let rankings = self.ranked(asked, &mut times)?;
        Ok((rankings, times))
    }

    fn contains(&self, doc_id: &str) -> Result<bool> {
        Database::contains(self, doc_id)
    }

    fn document(&self, doc_id: &str) -> Result<Option<Document>> {
        Database::document(self, doc_id)
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
