//! Reading the documents of a database: one by its id, all, or those that match.

use secateur_datasets::Document;
use secateur_index::RowId;
use secateur_index::filter::Filter;
use secateur_index::storage::{FieldCount, StoredDocument};

use super::Database;
use crate::error::{Error, Result};

impl Database {
    /// The document with this id, if there is one.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn document(&self, doc_id: &str) -> Result<Option<Document>> {
        Ok(self.snapshot.document(doc_id)?.map(owned))
    }

    /// The vector of the document with this id in the generation that is read, (D), as it was stored. `None` if there
    /// is no such document.
    ///
    /// # Errors
    ///
    /// [`Error::NoVectors`]; a damaged file.
    pub fn vector(&self, doc_id: &str) -> Result<Option<Vec<f32>>> {
        if self.dim().is_none() {
            return Err(Error::NoVectors { path: self.path.clone() });
        }
        match self.snapshot.row(doc_id)? {
            Some(row) => Ok(Some(self.snapshot.vector(row)?.into_owned())),
            None => Ok(None),
        }
    }

    /// All documents, in the order in which they were added, each read when it is asked for.
    ///
    /// # Errors
    ///
    /// An item is an error if its record is damaged.
    pub fn documents(&self) -> impl Iterator<Item = Result<Document>> + '_ {
        self.snapshot.rows().map(|row| self.document_at(row))
    }

    /// The documents whose metadata match, as [`Database::documents`].
    ///
    /// # Errors
    ///
    /// As [`Database::documents`].
    pub fn documents_matching(&self, filter: &Filter) -> Result<impl Iterator<Item = Result<Document>> + '_> {
        Ok(self.rows(Some(filter))?.into_iter().map(|row| self.document_at(row)))
    }

    /// The rows of all documents, or of those whose metadata match, in the order in which they were added. They are
    /// those of this value until it commits.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn rows(&self, filter: Option<&Filter>) -> Result<Vec<RowId>> {
        Ok(match filter {
            Some(filter) => self.snapshot.matching(filter)?.iter().map(RowId).collect(),
            None => self.snapshot.rows().collect(),
        })
    }

    /// The document in a row.
    ///
    /// # Errors
    ///
    /// There is no such row, or a file is damaged.
    pub fn document_at(&self, row: RowId) -> Result<Document> {
        Ok(owned(self.snapshot.document_at(row)?))
    }

    /// The rows of all documents with their ids, in the order in which they were added.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Result<(RowId, &str)>> + '_ {
        self.snapshot.rows().map(|row| Ok((row, self.snapshot.id_at(row)?)))
    }

    /// The id of the document in a row.
    pub(crate) fn id_at(&self, row: RowId) -> Result<&str> {
        Ok(self.snapshot.id_at(row)?)
    }

    /// The fields of the metadata of all documents, which are read.
    pub(crate) fn fields(&self) -> Result<Vec<FieldCount>> {
        Ok(self.snapshot.fields()?)
    }

    /// Checks that each field that a filter compares is a field of some document, of the kind that it is compared
    /// with: see [`Snapshot::check_filter`](secateur_index::storage::Snapshot::check_filter).
    ///
    /// # Errors
    ///
    /// There is no such field, its values are of another kind, or a file is damaged.
    pub fn check_filter(&self, filter: &Filter) -> Result<()> {
        Ok(self.snapshot.check_filter(filter)?)
    }

    /// Whether there is a document with this id.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn contains(&self, doc_id: &str) -> Result<bool> {
        Ok(self.snapshot.contains(doc_id)?)
    }
}

fn owned(stored: StoredDocument<'_>) -> Document {
    Document {
        id: stored.id.into_owned(),
        title: stored.title.into_owned(),
        text: stored.text.into_owned(),
        metadata: stored.metadata.map(|metadata| metadata.into_owned()),
    }
}
