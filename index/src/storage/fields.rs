//! What filters need of a segment's metadata: from its columns file, or from its documents where it has none.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::columns::ColumnsFile;
use super::documents::Documents;
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::filter::{Column, Field, Filter, SharedBytes, Value, ValueKind, each_field, encode};

/// The columns of a segment's fields.
pub(super) struct Fields {
    file: Option<ColumnsFile>,
    /// Those that filters have named so far: checked, or read from the documents. Memory of the latter: the distinct
    /// values, and 4 bytes for each value of each row.
    columns: Mutex<HashMap<Field, Arc<Column>>>,
}

impl Fields {
    pub fn new(file: Option<ColumnsFile>) -> Fields {
        Fields { file, columns: Mutex::default() }
    }

    pub fn file(&self) -> Option<&ColumnsFile> {
        self.file.as_ref()
    }

    /// The rows of a segment that match a filter. In a segment without a columns file the first filter that names a
    /// field reads all documents, in parallel on the current rayon pool. That happens once, because a segment never
    /// changes.
    pub fn matching(&self, filter: &Filter, documents: &Documents, deleted: &Bitmap) -> Result<Bitmap> {
        let columns = self.columns(filter.fields(), documents, deleted)?;
        Ok(filter.rows(documents.rows(), &|field| Arc::clone(&columns[field])))
    }

    /// The kinds of the values of a field.
    pub fn kinds(&self, field: &Field, documents: &Documents, deleted: &Bitmap) -> Result<Vec<ValueKind>> {
        let columns = self.columns(vec![field], documents, deleted)?;
        Ok(columns[field].kinds().collect())
    }

    /// The columns of these fields, at least.
    fn columns(
        &self,
        fields: Vec<&Field>,
        documents: &Documents,
        deleted: &Bitmap,
    ) -> Result<HashMap<Field, Arc<Column>>> {
        // Not locked while documents are read: the pool's threads may take up another search while they wait.
        let known = self.columns.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut missing: Vec<&Field> =
            fields.into_iter().filter(|field| !known.contains_key(*field)).collect();
        missing.sort();
        missing.dedup();
        let mut columns = known;
        if !missing.is_empty() {
            let read = match &self.file {
                Some(file) => missing.iter().map(|field| file.column(field)).collect::<Result<Vec<_>>>()?,
                None => read(&missing, documents, deleted)?,
            };
            let read = missing.into_iter().cloned().zip(read.into_iter().map(Arc::new));
            let mut shared = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
            shared.extend(read);
            columns = shared.clone();
        }
        Ok(columns)
    }

    /// Counts the values of all fields in the rows that are not deleted.
    pub fn count(&self, documents: &Documents, deleted: &Bitmap, mut counts: Counts) -> Result<Counts> {
        let Some(file) = &self.file else { return count(documents, deleted, counts) };
        for field in file.fields() {
            let column = file.column(field)?;
            let (mut all, mut of_kinds) = (Bitmap::default(), [0; 3]);
            for (count, kind) in of_kinds.iter_mut().zip(ValueKind::ALL) {
                let mut rows = column.rows_with(kind, documents.rows());
                rows.subtract(deleted);
                *count = rows.len() as usize;
                all.unite(&rows, 0);
            }
            if !all.is_empty() {
                let [booleans, numbers, strings] = of_kinds;
                let one = Counts::from([(field.clone(), [all.len() as usize, booleans, numbers, strings])]);
                counts = added(counts, one);
            }
        }
        Ok(counts)
    }
}

/// A field of the metadata: how many documents have values of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldCount {
    /// The field.
    pub field: Field,
    /// Documents in which it has a value.
    pub num_documents: usize,
    /// Documents in which it has a boolean, a number, a string: in the order of [`ValueKind::ALL`].
    pub num_of_kind: [usize; 3],
}

/// The documents that have a value of a field, and of each kind.
pub(super) type Counts = BTreeMap<Field, [usize; 4]>;

/// Counts the values of all fields in the documents that are not deleted.
fn count(documents: &Documents, deleted: &Bitmap, counts: Counts) -> Result<Counts> {
    let found = (0..documents.rows())
        .into_par_iter()
        .filter(|row| !deleted.contains(*row))
        .try_fold(Counts::new, |mut counts, row| {
            each_field(&documents.metadata(row)?, &mut |path, values| {
                let counts = counts.entry(Field::new(path.iter().cloned())).or_default();
                counts[0] += 1;
                for (count, kind) in counts[1..].iter_mut().zip(ValueKind::ALL) {
                    *count += usize::from(values.iter().any(|value| value.kind() == kind));
                }
            });
            Ok::<_, Error>(counts)
        })
        .try_reduce(Counts::new, |a, b| Ok(added(a, b)))?;
    Ok(added(counts, found))
}

/// [`Counts`] as they are told.
pub(super) fn as_list(counts: Counts) -> Vec<FieldCount> {
    let one = |(field, [num_documents, booleans, numbers, strings]): (Field, [usize; 4])| FieldCount {
        field,
        num_documents,
        num_of_kind: [booleans, numbers, strings],
    };
    counts.into_iter().map(one).collect()
}

fn added(mut counts: Counts, others: Counts) -> Counts {
    for (field, others) in others {
        let counts = counts.entry(field).or_default();
        counts.iter_mut().zip(others).for_each(|(count, other)| *count += other);
    }
    counts
}

/// Columns of these fields.
fn read(fields: &[&Field], documents: &Documents, deleted: &Bitmap) -> Result<Vec<Column>> {
    let nothing = || vec![Vec::<(Value, u32)>::new(); fields.len()];
    let pairs = (0..documents.rows())
        .into_par_iter()
        .try_fold(nothing, |mut pairs, row| {
            let metadata = documents.metadata_unless(deleted, row)?;
            for (field, pairs) in fields.iter().zip(&mut pairs) {
                pairs.extend(field.values(&metadata).into_iter().map(|value| (value, row)));
            }
            Ok::<_, Error>(pairs)
        })
        .try_reduce(nothing, |mut pairs, others| {
            pairs.iter_mut().zip(others).for_each(|(pairs, others)| pairs.extend(others));
            Ok(pairs)
        })?;
    Ok(pairs.into_iter().map(column).collect())
}

fn column(pairs: Vec<(Value, u32)>) -> Column {
    let bytes = encode(pairs);
    let all = 0..bytes.len();
    let bytes: SharedBytes = Arc::new(bytes);
    Column::open(bytes, all).unwrap_or_else(Column::empty)
}
