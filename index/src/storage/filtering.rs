//! Which documents a filter matches, and which fields there are.

use std::collections::BTreeMap;

use super::fields::{FieldCount, as_list};
use super::snapshot::Snapshot;
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::filter::{Compared, Field, Filter, ValueKind};

impl Snapshot {
    /// The rows of the documents whose metadata match a filter. The `_among` searches and
    /// [`SearchOptions`](crate::search::SearchOptions) take such a set.
    ///
    /// Segments of 1,024 rows or more have columns on disk. Of others, the first filter that names a field reads the
    /// documents, in parallel on the current rayon pool. An inverted index of the field then stays in memory, for later
    /// filters and snapshots of later commits.
    ///
    /// ```
    /// use secateur_index::storage::{NewDocument, Settings, Store};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("db"), &Settings::bm25_only())?;
    /// let mut transaction = store.begin()?;
    /// for (id, metadata) in [("a", r#"{"year": 1999}"#), ("b", r#"{"year": 2020}"#)] {
    ///     transaction.add(&NewDocument { id, title: "", text: "cats", metadata: Some(metadata) }, None)?;
    /// }
    /// let snapshot = transaction.commit()?;
    /// let recent = snapshot.matching(&"year >= 2015".parse()?)?;
    /// let hits = snapshot.bm25()?.search_among("cat", 10, Default::default(), &recent)?;
    /// assert_eq!(hits.len(), 1);
    /// assert_eq!(snapshot.id_at(hits[0].row)?, "b");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a document's record does not match its checksum, [`Error::InvalidMetadata`] if an earlier
    /// version stored metadata that cannot be read.
    pub fn matching(&self, filter: &Filter) -> Result<Bitmap> {
        let mut rows = Bitmap::default();
        for view in self.views() {
            let mut found = view.segment.matching(filter, &view.deleted)?;
            found.subtract(&view.deleted);
            rows.unite(&found, view.base);
        }
        Ok(rows)
    }

    /// Checks that each field that a filter compares is a field of some document, with a value of the kind that it is
    /// compared with. A filter for which that is not so is nearly always a slip of the pen. Costs what
    /// [`Snapshot::matching`] costs, and in an error what [`Snapshot::fields`] does.
    ///
    /// # Errors
    /// [`Error::UnknownField`], [`Error::FieldKind`]; others as [`Snapshot::matching`].
    pub fn check_filter(&self, filter: &Filter) -> Result<()> {
        for (field, compared) in filter.comparisons() {
            let mut found = Vec::new();
            for view in self.views() {
                found.extend(view.segment.kinds(field, &view.deleted)?);
            }
            found.sort();
            found.dedup();
            if found.is_empty() && !self.is_empty() {
                return Err(unknown(field, &self.fields()?));
            }
            check_kinds(field, &found, &compared)?;
        }
        Ok(())
    }

    /// The fields of the metadata of all documents. Reads all columns, and the documents of segments without, in
    /// parallel on the current rayon pool.
    ///
    /// # Errors
    /// As [`Snapshot::matching`].
    pub fn fields(&self) -> Result<Vec<FieldCount>> {
        let mut counts = BTreeMap::new();
        for view in self.views() {
            counts = view.segment.count_fields(&view.deleted, counts)?;
        }
        Ok(as_list(counts))
    }
}

/// [`Snapshot::check_filter`] for documents of several databases, given the fields of all of them.
///
/// # Errors
/// As [`Snapshot::check_filter`].
pub fn check_filter_of_fields(filter: &Filter, fields: &[FieldCount]) -> Result<()> {
    for (field, compared) in filter.comparisons() {
        let counts = fields.iter().filter(|count| count.field == *field);
        let kinds = counts.flat_map(|count| ValueKind::ALL.into_iter().zip(count.num_of_kind));
        let mut found: Vec<ValueKind> =
            kinds.filter(|(_, number)| *number > 0).map(|(kind, _)| kind).collect();
        found.sort();
        found.dedup();
        if found.is_empty() {
            return Err(unknown(field, fields));
        }
        check_kinds(field, &found, &compared)?;
    }
    Ok(())
}

fn unknown(field: &Field, fields: &[FieldCount]) -> Error {
    let mut known: Vec<String> = fields.iter().map(|count| count.field.to_string()).collect();
    known.sort();
    known.dedup();
    Error::UnknownField { field: field.to_string(), known }
}

/// Refuses a field whose values are of none of the kinds that it is compared with.
fn check_kinds(field: &Field, found: &[ValueKind], compared: &Compared) -> Result<()> {
    let Compared { kinds: compared, is_of_texts } = compared;
    if found.is_empty() || compared.is_empty() || compared.iter().any(|kind| found.contains(kind)) {
        return Ok(());
    }
    let advice = match (found, compared.as_slice()) {
        _ if *is_of_texts => ": `contains` and `starts with` are for strings, so compare by ==, < or >",
        ([ValueKind::String], [ValueKind::Number]) => ": write the number in double quotes",
        ([ValueKind::Number], [ValueKind::String]) => ": write the number without quotes",
        _ => "",
    };
    let [found, compared] = [found, compared.as_slice()].map(|kinds| {
        let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        names.join(" and ")
    });
    Err(Error::FieldKind { field: field.to_string(), found, compared, advice })
}
