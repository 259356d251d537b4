//! A corpus whose documents are checked as they are read.

use std::collections::HashMap;

use crate::beir::Documents;
use crate::document::Document;
use crate::error::Result;
use crate::fault::Fault;

/// The ids of a file and the line each was used on first.
#[derive(Default)]
pub(crate) struct Ids(HashMap<Box<str>, u64>);

impl Ids {
    /// Keeps an id; the fault if it was used before.
    pub(crate) fn insert(&mut self, id: String, line: u64) -> Option<Fault> {
        if let Some(&first_line) = self.0.get(id.as_str()) {
            return Some(Fault::DuplicateId { id, first_line });
        }
        self.0.insert(id.into_boxed_str(), line);
        None
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }
}

/// The documents of a corpus, from [`Documents::checked`].
pub struct CheckedDocuments {
    documents: Documents,
    ids: Ids,
    allow_empty: bool,
}

impl Documents {
    /// The same documents, checked. A repeated id is an error that names both lines. So is a document that has
    /// neither title nor text, unless it is allowed. Ids are kept in memory: about 100 bytes and the id for a
    /// document.
    ///
    /// ```
    /// use secateur_datasets::beir::BeirFolder;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let lines = ["a", "b", "a"].map(|id| format!("{{\"_id\": \"{id}\", \"text\": \"x\"}}\n"));
    /// std::fs::write(folder.path().join("corpus.jsonl"), lines.concat())?;
    /// let mut corpus = BeirFolder::open(folder.path())?.corpus()?.checked(false).skip(2);
    /// let error = corpus.next().unwrap().unwrap_err().to_string();
    /// assert!(error.ends_with("corpus.jsonl:3: duplicate id \"a\", first used on line 1"), "{error}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checked(self, allow_empty: bool) -> CheckedDocuments {
        CheckedDocuments { documents: self, ids: Ids::default(), allow_empty }
    }
}

impl Iterator for CheckedDocuments {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Result<Document>> {
        let document = match self.documents.next()? {
            Ok(document) => document,
            error => return Some(error),
        };
        let empty = !self.allow_empty && document.is_empty();
        let fault = match empty {
            true => Some(Fault::NoText { id: document.id.clone() }),
            false => self.ids.insert(document.id.clone(), self.documents.line()),
        };
        Some(match fault {
            Some(fault) => Err(self.documents.error(fault)),
            None => Ok(document),
        })
    }
}
