//! How to search.

use crate::bitmap::Bitmap;
use crate::error::{Error, Result};

/// How to search.
///
/// ```
/// use secateur_index::search::SearchOptions;
/// assert_eq!(SearchOptions::default(), SearchOptions::new(100));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchOptions<'f> {
    /// ef of the HNSW paper: the rows that a graph search keeps. A larger ef finds more of the true hits and takes
    /// longer. At least 1; an ef below k counts as k.
    pub ef_search: usize,
    /// The rows that may be found, over all segments; `None` for all.
    pub filter: Option<&'f Bitmap>,
}

impl SearchOptions<'_> {
    /// The ef where none is named: 100.
    pub const DEFAULT_EF: usize = 100;

    /// Options with this ef and without a filter.
    pub fn new(ef_search: usize) -> Self {
        SearchOptions { ef_search, filter: None }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_ef_search(self.ef_search)
    }
}

impl Default for SearchOptions<'_> {
    /// ef 100.
    fn default() -> Self {
        SearchOptions::new(Self::DEFAULT_EF)
    }
}

pub(crate) fn check_ef_search(ef_search: usize) -> Result<()> {
    if ef_search == 0 {
        return Err(Error::InvalidParameter { name: "ef_search", got: 0.0, allowed: "at least 1" });
    }
    Ok(())
}
