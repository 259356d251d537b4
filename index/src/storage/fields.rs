//! What filters need of a segment's metadata. It is read from the documents on first use.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::documents::Documents;
use crate::bitmap::Bitmap;
use crate::error::Result;
use crate::filter::{Column, Field, Filter, Value, ValueKind, read_metadata};

/// The columns of the fields that filters have named so far. Memory: see [`Column`].
#[derive(Default)]
pub(super) struct Fields {
    columns: Mutex<HashMap<Field, Arc<Column>>>,
}

impl Fields {
    /// The rows of a segment that match a filter. The first filter that names a field reads all documents of the
    /// segment, in parallel on the current rayon pool. That happens once, because a segment never changes.
    pub fn matching(&self, filter: &Filter, documents: &Documents) -> Result<Bitmap> {
        let columns = self.columns(filter.fields(), documents)?;
        Ok(filter.rows(documents.rows(), &|field| Arc::clone(&columns[field])))
    }

    /// The kinds of the values of a field.
    pub fn kinds(&self, field: &Field, documents: &Documents) -> Result<Vec<ValueKind>> {
        let columns = self.columns(vec![field], documents)?;
        Ok(columns[field].kinds().collect())
    }

    /// The columns of these fields, at least.
    fn columns(&self, fields: Vec<&Field>, documents: &Documents) -> Result<HashMap<Field, Arc<Column>>> {
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
        Ok(columns)
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
type Counts = BTreeMap<Field, [usize; 4]>;

/// Counts the values of all fields in the rows that are alive.
pub(super) fn count(
    documents: &Documents,
    is_alive: impl Fn(u32) -> bool + Sync,
    counts: Counts,
) -> Result<Counts> {
    let found = (0..documents.rows())
        .into_par_iter()
        .filter(|row| is_alive(*row))
        .try_fold(Counts::new, |mut counts, row| {
            if let Some(metadata) = documents.document(row)?.metadata {
                add_fields(&read_metadata(&metadata), &mut Vec::new(), &mut counts);
            }
            Ok::<_, crate::Error>(counts)
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

fn add_fields(json: &serde_json::Value, path: &mut Vec<String>, counts: &mut Counts) {
    let Some(object) = json.as_object() else { return };
    for (name, value) in object {
        path.push(name.clone());
        if value.is_object() {
            add_fields(value, path, counts);
        } else {
            // The path leads to this value from here.
            let values = Field::new([name.as_str()]).values(json);
            if !values.is_empty() {
                let counts = counts.entry(Field::new(path.iter().cloned())).or_default();
                counts[0] += 1;
                for (count, kind) in counts[1..].iter_mut().zip(ValueKind::ALL) {
                    *count += usize::from(values.iter().any(|value| value.kind() == kind));
                }
            }
        }
        path.pop();
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
