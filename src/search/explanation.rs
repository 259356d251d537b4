//! Where a score comes from, and where the time went.

use std::time::Duration;

use super::Hit;

/// A hit's place in one ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Counted from 1. `None` beyond the hits of this index that are fused: the other index found the document.
    pub rank: Option<usize>,
    /// The score there: of the metric, or of BM25.
    pub score: f64,
}

/// Where a document stands among the hits of each index.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Sides {
    /// Its place in the ranking by vectors; `None` if it is not in it, or there is none. For a weighted sum it has the
    /// documents that were found by words, too.
    pub dense: Option<Place>,
    /// Its place in the ranking by words, likewise; `None` if it has none of them.
    pub bm25: Option<Place>,
}

/// How long the parts of a search took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SearchTimes {
    /// Finding the documents that match the filter.
    pub filter: Duration,
    /// Making tokens of the query.
    pub tokenize: Duration,
    /// Making the query's vector of its tokens.
    pub encode: Duration,
    /// Searching the vectors.
    pub dense: Duration,
    /// Searching the words.
    pub bm25: Duration,
    /// Making one ranking of two.
    pub fuse: Duration,
}

/// The answer to a query, with what led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The hits, best first, as [`Database::search`](crate::Database::search) gives them.
    pub hits: Vec<(Hit, Sides)>,
    /// Where the time went.
    pub times: SearchTimes,
}
