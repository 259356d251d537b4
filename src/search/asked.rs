//! What the indexes of a database are asked for, once queries have vectors.

use secateur_index::bm25::Bm25Statistics;

use super::SearchParams;

/// Queries for the indexes of a database, or of one shard of a set.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The vectors of the queries (Q, D), row-major, where vectors are to be compared.
    pub vectors: Option<&'a [f32]>,
    /// The same queries as texts, where words are.
    pub words: Option<Words<'a>>,
    /// The most hits of each index for a query.
    pub k: usize,
    /// Whether each index scores the hits of the other one, too: they follow its own, as far as they have a score.
    pub completes: bool,
    /// Of these the filter, the ef and the parameters of BM25 are read.
    pub params: &'a SearchParams,
}

/// Queries by words.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The texts of the queries.
    pub queries: &'a [&'a str],
    /// The statistics of all documents for the terms of the queries, where the database has a part of the documents;
    /// `None` where it has all.
    pub statistics: Option<&'a Bm25Statistics>,
}
