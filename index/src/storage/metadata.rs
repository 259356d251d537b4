//! The metadata of stored documents, as values.

use rayon::prelude::*;
use serde_json::Value;

use super::documents::Documents;
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::metadata;

impl Documents {
    /// What the metadata of a row says; null if it has none.
    pub fn metadata(&self, row: u32) -> Result<Value> {
        let document = self.document(row)?;
        metadata::read(&document.id, document.metadata.as_deref())
    }

    /// The same, but null for a deleted row if nobody can read it: to delete the document is how that is mended.
    pub fn metadata_unless(&self, deleted: &Bitmap, row: u32) -> Result<Value> {
        match self.metadata(row) {
            Err(Error::InvalidMetadata { .. }) if deleted.contains(row) => Ok(Value::Null),
            metadata => metadata,
        }
    }

    /// Checks that the metadata of each document that is not deleted can be read, in parallel on the current rayon
    /// pool.
    pub fn check_metadata(&self, deleted: &Bitmap) -> Result<()> {
        (0..self.rows()).into_par_iter().filter(|row| !deleted.contains(*row)).try_for_each(|row| {
            let document = self.document(row)?;
            metadata::check_stored(&document.id, document.metadata.as_deref())
        })
    }
}
