//! Checks of a run.

use std::collections::HashSet;

use secateur_datasets::Run;

use super::Error;

/// Every score is finite and no list holds a document twice.
pub(super) fn check_lists(run: &Run) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for (query_id, list) in run {
        seen.clear();
        for hit in list {
            if !hit.score.is_finite() {
                return Err(Error::NonFiniteScore {
                    query_id: query_id.clone(),
                    doc_id: hit.doc_id.clone(),
                    score: hit.score,
                });
            }
            if !seen.insert(hit.doc_id.as_str()) {
                return Err(Error::DuplicateDocument {
                    query_id: query_id.clone(),
                    doc_id: hit.doc_id.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Checks that a data set holds what a run names: `is_query` and `is_document` say whether it holds an id.
///
/// [`evaluate`](super::evaluate) alone cannot tell an unknown id from an id without a judgment: both have no gain. A
/// run made on another data set would look like a bad run.
///
/// # Errors
///
/// [`Error::UnknownQuery`] or [`Error::UnknownDocument`] for the first such id in the order of the run.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use secateur::eval::{Error, check_ids};
/// use secateur_datasets::{Run, ScoredDocument};
///
/// let hit = ScoredDocument { doc_id: "d7".to_owned(), score: 1.0 };
/// let run: Run = BTreeMap::from([("q1".to_owned(), vec![hit])]);
/// assert_eq!(check_ids(&run, |id| id == "q1", |id| id == "d7"), Ok(()));
///
/// let error = check_ids(&run, |id| id == "q1", |id| id == "d1").unwrap_err();
/// assert_eq!(error, Error::UnknownDocument { query_id: "q1".to_owned(), doc_id: "d7".to_owned() });
/// ```
pub fn check_ids(
    run: &Run,
    is_query: impl Fn(&str) -> bool,
    is_document: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    for (query_id, list) in run {
        if !is_query(query_id) {
            return Err(Error::UnknownQuery { query_id: query_id.clone() });
        }
        if let Some(hit) = list.iter().find(|hit| !is_document(&hit.doc_id)) {
            return Err(Error::UnknownDocument { query_id: query_id.clone(), doc_id: hit.doc_id.clone() });
        }
    }
    Ok(())
}
