//! What filters need of a segment's metadata. It is read from the documents on first use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::documents::Documents;
use crate::bitmap::Bitmap;
use crate::error::Result;
use crate::filter::{Column, Field, Filter, Value, read_metadata};

/// The columns of the fields that filters have named so far. Memory: see [`Column`].
#[derive(Default)]
pub(super) struct Fields {
    columns: Mutex<HashMap<Field, Arc<Column>>>,
}

impl Fields {
    /// The rows of a segment that match a filter. The first filter that names a field reads all documents of the
    /// segment, in parallel on the current rayon pool. That happens once, because a segment never changes.
    pub fn matching(&self, filter: &Filter, documents: &Documents) -> Result<Bitmap> {
        let fields = filter.fields();
        // Not locked while documents are read: the pool's threads may take up another search while they wait.
        let known = self.columns.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut missing: Vec<&Field> =
            fields.into_iter().filter(|field| !known.contains_key(field)).collect();
        missing.sort();
        missing.dedup();
        let mut columns = known;
        if !missing.is_empty() {
            let read = read(&missing, documents)?;
            let read = missing.into_iter().cloned().zip(read.into_iter().map(Arc::new));
            let mut shared = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
            shared.extend(read);
            columns = shared.clone();
        }
        Ok(filter.rows(documents.rows(), &|field| Arc::clone(&columns[field])))
    }
}

/// Columns of these fields.
fn read(fields: &[&Field], documents: &Documents) -> Result<Vec<Column>> {
    let nothing = || vec![Vec::<(Value, u32)>::new(); fields.len()];
    let pairs = (0..documents.rows())
        .into_par_iter()
        .try_fold(nothing, |mut pairs, row| {
            if let Some(metadata) = documents.document(row)?.metadata {
                let metadata = read_metadata(&metadata);
                for (field, pairs) in fields.iter().zip(&mut pairs) {
                    pairs.extend(field.values(&metadata).into_iter().map(|value| (value, row)));
                }
            }
            Ok::<_, crate::Error>(pairs)
        })
        .try_reduce(nothing, |mut pairs, others| {
            pairs.iter_mut().zip(others).for_each(|(pairs, others)| pairs.extend(others));
            Ok(pairs)
        })?;
    Ok(pairs.into_iter().map(Column::new).collect())
}
