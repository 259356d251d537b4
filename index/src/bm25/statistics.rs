//! What scores depend on besides a document's own text.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Counts over the documents of one index or of several. They are integers, so adding up those of several indexes gives
/// exactly those of one index of all documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bm25Statistics {
    /// N: the documents with at least one term.
    pub num_docs: u64,
    /// The sum of all dl: the terms of these documents.
    pub num_terms: u64,
    /// n of each term that was asked for: the documents that contain it.
    pub document_frequencies: BTreeMap<String, u64>,
}

impl Bm25Statistics {
    /// Adds those of other documents.
    ///
    /// ```
    /// use secateur_index::bm25::Bm25Statistics;
    ///
    /// let of = |num_docs, term: &str, n| Bm25Statistics {
    ///     num_docs,
    ///     num_terms: 7 * num_docs,
    ///     document_frequencies: [(term.to_owned(), n)].into(),
    /// };
    /// let mut sum = of(3, "cat", 2);
    /// sum.add(&of(2, "cat", 1));
    /// assert_eq!(sum, of(5, "cat", 3));
    /// ```
    pub fn add(&mut self, other: &Bm25Statistics) {
        self.num_docs += other.num_docs;
        self.num_terms += other.num_terms;
        for (term, n) in &other.document_frequencies {
            *self.document_frequencies.entry(term.clone()).or_default() += n;
        }
    }

    pub(super) fn document_frequency(&self, term: &str) -> Result<u64> {
        let known = self.document_frequencies.get(term).copied();
        known.ok_or_else(|| Error::MissingTerm { term: term.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A term that was not asked for is no term of zero documents.
    #[test]
    fn unknown_terms_are_refused() {
        let statistics =
            Bm25Statistics { document_frequencies: [("cat".to_owned(), 0)].into(), ..Default::default() };
        assert_eq!(statistics.document_frequency("cat").unwrap(), 0);
        let error = statistics.document_frequency("dog").unwrap_err();
        assert!(matches!(&error, Error::MissingTerm { term } if term == "dog"), "{error}");
    }
}
