//! The statistics of terms that were searched before.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use secateur_index::bm25::Bm25Statistics;

/// Bytes of memory for terms and their statistics, about.
const MOST_BYTES: usize = 64 << 20;

/// Bytes of a term in a map besides its text, about.
const BYTES_OF_TERM: usize = 48;

/// The statistics of all shards for the terms of earlier searches.
#[derive(Default)]
pub(super) struct KnownTerms(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// `None` before the first search.
    statistics: Option<Bm25Statistics>,
    num_bytes: usize,
}

impl KnownTerms {
    /// What is known of these terms; `None` before the first search.
    pub fn of(&self, terms: &[String]) -> Option<Bm25Statistics> {
        let known = self.locked();
        let Bm25Statistics { num_docs, num_terms, document_frequencies } = known.statistics.as_ref()?;
        let of = |term: &String| Some((term.clone(), *document_frequencies.get(term)?));
        let document_frequencies = terms.iter().filter_map(of).collect();
        Some(Bm25Statistics { num_docs: *num_docs, num_terms: *num_terms, document_frequencies })
    }

    /// Remembers what was found of some terms, as far as there is room. Without room for them what was known is
    /// forgotten.
    pub fn keep(&self, found: &Bm25Statistics) {
        let mut known = self.locked();
        let Known { statistics, num_bytes } = &mut *known;
        let kept = statistics
            .get_or_insert_with(|| Bm25Statistics { document_frequencies: BTreeMap::new(), ..found.clone() });
        let new = || {
            let frequencies = found.document_frequencies.iter();
            frequencies.map(|(term, n)| (term, *n, term.len() + BYTES_OF_TERM))
        };
        if *num_bytes + new().map(|(.., bytes)| bytes).sum::<usize>() > MOST_BYTES {
            kept.document_frequencies.clear();
            *num_bytes = 0;
        }
        for (term, n, bytes) in new() {
            if *num_bytes + bytes <= MOST_BYTES && kept.document_frequencies.insert(term.clone(), n).is_none()
            {
                *num_bytes += bytes;
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(terms: impl IntoIterator<Item = String>) -> Bm25Statistics {
        let document_frequencies = terms.into_iter().map(|term| (term, 3)).collect();
        Bm25Statistics { num_docs: 7, num_terms: 70, document_frequencies }
    }

    /// Long terms take the room of many, and one batch does not take more than there is.
    #[test]
    fn bytes_are_bounded() {
        let known = KnownTerms::default();
        let cat = "cat".to_owned();
        assert_eq!(known.of(std::slice::from_ref(&cat)), None);
        known.keep(&of([cat.clone()]));
        assert_eq!(known.of(&[cat.clone(), "dog".to_owned()]), Some(of([cat.clone()])));
        let long = (0..1000).map(|number| format!("{number}{}", "a".repeat(60_000)));
        known.keep(&of(long.clone()));
        assert_eq!(known.of(std::slice::from_ref(&cat)), Some(of([cat.clone()])), "there is room for both");
        known.keep(&of((0..2000).map(|number| format!("b{number}{}", "a".repeat(60_000)))));
        assert_eq!(known.of(std::slice::from_ref(&cat)), Some(of([])), "it is forgotten");
        let bytes = known.locked().num_bytes;
        assert!((MOST_BYTES / 2..=MOST_BYTES).contains(&bytes), "{bytes}");
    }
}
