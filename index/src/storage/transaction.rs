//! Changes of documents that are committed together.

use std::borrow::BorrowMut;

use super::documents::{MAX_ID_LEN, NewDocument};
use super::new_ids::NewIds;
use super::segment_writer::{BM25_BUDGET, SegmentWriter, deleted_words};
use super::snapshot::Snapshot;
use super::store::{NewFolders, Store};
use super::undo::{Step, Undo, Undoing};
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::metadata;

/// Additions and deletions that become visible together, or not at all.
///
/// Memory: the ids of the documents added, about 50 bytes a document, and a bounded amount of postings. Documents and
/// vectors go to disk 4 MiB at a time. Then documents, vectors and words are written at the same time, on the caller's
/// rayon pool. The store is borrowed or owned: see [`Store::begin`], [`Store::into_transaction`].
pub struct Transaction<S: BorrowMut<Store>> {
    store: S,
    /// For each committed segment the new set of deleted rows, if it changes.
    deleted: Vec<Option<Bitmap>>,
    /// [`Snapshot::size`] of what is committed.
    size: usize,
    added: Option<Added>,
    undoing: Undoing,
    has_failed: bool,
}

/// The segment that a transaction writes.
struct Added {
    writer: SegmentWriter,
    /// Removed with its files unless it is committed. After the writer: dropping it closes them.
    folders: NewFolders,
    /// Those that were deleted again are removed.
    ids: NewIds,
}

impl<S: BorrowMut<Store>> Transaction<S> {
    fn new(store: S) -> Transaction<S> {
        let snapshot = &store.borrow().snapshot;
        let (deleted, size) = (vec![None; snapshot.views().len()], snapshot.size());
        Transaction { store, deleted, size, added: None, undoing: Undoing::default(), has_failed: false }
    }

    /// Adds a document, with its vector if and only if the database has vectors: [`Transaction::add_all`] in a database
    /// with one generation at most.
    ///
    /// # Errors
    /// As [`Transaction::add_all`].
    pub fn add(&mut self, document: &NewDocument<'_>, vector: Option<&[f32]>) -> Result<()> {
        self.add_all(document, vector.as_slice())
    }

    /// Adds a document, with a vector for each generation in their order; where a generation has passages, with one or
    /// more, (n, D) row-major.
    ///
    /// # Errors
    /// [`Error::DuplicateDocument`] if the id is taken (a document deleted earlier in this transaction frees its id).
    /// [`Error::RepeatedDocument`] if this transaction has added a document with it.
    /// [`Error::SeveralGenerations`], [`Error::DocumentSize`], [`Error::InvalidMetadata`], [`Error::VectorPresence`],
    /// [`Error::DimensionMismatch`], [`Error::NotFinite`],
    /// [`Error::VectorTooLong`], [`Error::TooManyRows`]: the document is not added and the transaction goes on.
    /// [`Error::Io`] or [`Error::Bm25`]: the transaction can only be dropped.
    pub fn add_all(&mut self, document: &NewDocument<'_>, vectors: &[&[f32]]) -> Result<()> {
        self.check(document, vectors)?;
        self.check_new(document.id)?;
        self.write_or_fail(document, vectors)
    }

    /// Whether [`Transaction::add_all`] takes a document with this id.
    ///
    /// # Errors
    /// [`Error::DuplicateDocument`], [`Error::RepeatedDocument`]; otherwise as [`Snapshot::row`].
    pub fn check_new(&self, id: &str) -> Result<()> {
        if self.added.as_ref().is_some_and(|added| added.ids.contains(id)) {
            return Err(Error::RepeatedDocument { id: id.into() });
        }
        match self.committed(id)? {
            Some(_) => Err(Error::DuplicateDocument { id: id.into() }),
            None => Ok(()),
        }
    }

    /// Begins a part of the changes, of which [`Transaction::end_step`] keeps all or none. Steps may lie in steps. One
    /// takes 16 bytes of memory for each of its changes.
    ///
    /// ```
    /// use secateur_index::storage::{NewDocument, Settings, Store};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("db"), &Settings::bm25_only())?;
    /// let mut transaction = store.begin()?;
    /// transaction.add(&NewDocument { id: "1", title: "", text: "first", metadata: None }, None)?;
    /// let step = transaction.begin_step();
    /// transaction.upsert(&NewDocument { id: "1", title: "", text: "second", metadata: None }, &[])?;
    /// transaction.end_step(step, false);
    /// assert_eq!(transaction.commit()?.document("1")?.unwrap().text, "first");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn begin_step(&mut self) -> Step {
        self.undoing.begin()
    }

    /// Keeps the changes since the step began, or undoes them. The steps in it have ended before.
    pub fn end_step(&mut self, step: Step, is_kept: bool) {
        for undo in self.undoing.end(step, is_kept) {
            match undo {
                Undo::Deleted { segment, row } => {
                    if let Some(deleted) = &mut self.deleted[segment] {
                        deleted.remove(row);
                    }
                }
                Undo::Id(change) => {
                    if let Some(added) = &mut self.added {
                        added.ids.undo(change);
                    }
                }
            }
        }
    }

    /// As [`Transaction::add_all`], in place of the document that has its id. Returns whether there was one.
    ///
    /// ```
    /// use secateur_index::storage::{NewDocument, Settings, Store};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("db"), &Settings::bm25_only())?;
    /// let mut transaction = store.begin()?;
    /// for (text, was_there) in [("first", false), ("second", true)] {
    ///     let document = NewDocument { id: "1", title: "", text, metadata: None };
    ///     assert_eq!(transaction.upsert(&document, &[])?, was_there);
    /// }
    /// assert_eq!(transaction.commit()?.document("1")?.unwrap().text, "second");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::add_all`], but for the id that is taken. After an error the old document is there still,
    /// unless the transaction can only be dropped.
    pub fn upsert(&mut self, document: &NewDocument<'_>, vectors: &[&[f32]]) -> Result<bool> {
        self.check(document, vectors)?;
        let was_there = self.delete_if_there(document.id)?;
        self.write_or_fail(document, vectors)?;
        Ok(was_there)
    }

    /// Adds a document whose id no document has.
    fn write_or_fail(&mut self, document: &NewDocument<'_>, vectors: &[&[f32]]) -> Result<()> {
        let result = self.write(document, vectors);
        self.has_failed |= result.is_err();
        result
    }

    fn check(&self, document: &NewDocument<'_>, vectors: &[&[f32]]) -> Result<()> {
        let id = document.id;
        let sizes = [
            ("the id", id.len(), 1, MAX_ID_LEN),
            ("the title", document.title.len(), 0, MAX_STRING_LEN),
            ("the text", document.text.len(), 0, MAX_STRING_LEN),
            ("the metadata", document.metadata.map_or(0, str::len), 0, MAX_STRING_LEN),
        ];
        for (field, got, min, max) in sizes {
            if !(min..=max).contains(&got) {
                let id = id.chars().take(64).collect();
                return Err(Error::DocumentSize { id, field, got, min, max });
            }
        }
        document
            .metadata
            .map_or(Ok(()), metadata::check)
            .map_err(|fault| Error::InvalidMetadata { id: id.into(), fault })?;
        let snapshot = &self.store.borrow().snapshot;
        let generations = snapshot.generations();
        match (generations, vectors) {
            _ if generations.len() == vectors.len() => {}
            ([] | [_], [] | [_]) => {
                let expected = !generations.is_empty();
                return Err(Error::VectorPresence { id: id.into(), expected });
            }
            _ => {
                let names = generations.iter().map(|generation| generation.name.clone()).collect();
                return Err(Error::SeveralGenerations { names, got: vectors.len() });
            }
        }
        let mut most = 1;
        for (generation, vectors) in generations.iter().zip(vectors) {
            generation.vectors.check_vectors(vectors)?;
            most = most.max(vectors.len() / generation.vectors.dim);
        }
        // Vectors are numbered as rows are.
        let added = self.added.as_ref().map_or(0, |added| added.writer.size() as usize);
        if self.size + added + most > u32::MAX as usize {
            return Err(Error::TooManyRows);
        }
        Ok(())
    }

    fn write(&mut self, document: &NewDocument<'_>, vectors: &[&[f32]]) -> Result<()> {
        let added = match &mut self.added {
            Some(added) => added,
            None => {
                let store = self.store.borrow();
                let folder = store.new_segment_folder(0);
                let folders = NewFolders::new(folder.clone());
                self.added.insert(Added {
                    writer: SegmentWriter::create(
                        folder,
                        &store.generation_files(),
                        store.snapshot.settings().analyzer,
                        BM25_BUDGET,
                    ),
                    folders,
                    ids: NewIds::default(),
                })
            }
        };
        if let Some(change) = added.ids.insert(document.id) {
            self.undoing.note(Undo::Id(change));
            added.writer.add(document, vectors)?;
        }
        Ok(())
    }

    /// Deletes a document, be it committed or added by this transaction.
    ///
    /// # Errors
    /// [`Error::UnknownDocument`] if no document has this id, or no longer.
    pub fn delete(&mut self, id: &str) -> Result<()> {
        match self.delete_if_there(id)? {
            true => Ok(()),
            false => Err(Error::UnknownDocument { id: id.into() }),
        }
    }

    fn delete_if_there(&mut self, id: &str) -> Result<bool> {
        if let Some(change) = self.added.as_mut().and_then(|added| added.ids.remove(id)) {
            self.undoing.note(Undo::Id(change));
            return Ok(true);
        }
        let Some((segment, row)) = self.committed(id)? else { return Ok(false) };
        let view = &self.store.borrow().snapshot.views()[segment];
        self.deleted[segment].get_or_insert_with(|| (*view.deleted).clone()).insert(row);
        self.undoing.note(Undo::Deleted { segment, row });
        Ok(true)
    }

    /// Whether a document with this id would be there after a commit.
    ///
    /// # Errors
    /// As [`Snapshot::row`].
    pub fn contains(&self, id: &str) -> Result<bool> {
        Ok(self.added.as_ref().is_some_and(|added| added.ids.contains(id)) || self.committed(id)?.is_some())
    }

    /// The segment (by position), and the row in it, of a document that is committed and not deleted since.
    fn committed(&self, id: &str) -> Result<Option<(usize, u32)>> {
        let found = self.store.borrow().snapshot.find(id)?;
        let is_deleted =
            |number: usize, row| self.deleted[number].as_ref().is_some_and(|deleted| deleted.contains(row));
        Ok(found.filter(|(number, row)| !is_deleted(*number, *row)))
    }

    /// Makes the changes visible and durable. When this returns, they survive a crash and a power failure. If it fails,
    /// the database is as it was. Without changes nothing is written. If the database has an HNSW index, the graph of
    /// the rows added is built, in parallel on the current rayon pool.
    ///
    /// Small segments are merged on the way: when eight are of a size, they become one of at most 8,192 rows. So a row
    /// is written again at most five times. Segments without a live row go.
    ///
    /// # Errors
    /// [`Error::TransactionFailed`] after a failed write, [`Error::Io`], [`Error::Bm25`]. Should the last step, syncing
    /// the folder, fail, the changes are visible but may not survive a power failure.
    pub fn commit(mut self) -> Result<Snapshot> {
        self.write_commit()
    }

    fn write_commit(&mut self) -> Result<Snapshot> {
        if self.has_failed {
            return Err(Error::TransactionFailed);
        }
        let mut manifest = self.store.borrow().snapshot.manifest().clone();
        manifest.commit += 1;
        for (record, deleted) in manifest.segments.iter_mut().zip(&self.deleted) {
            if let Some(deleted) = deleted {
                record.deleted = deleted_words(deleted, record.rows);
            }
        }
        let mut folders = NewFolders::default();
        if let Some(Added { writer, folders: written, ids }) = self.added.take() {
            manifest.segments.push(writer.finish(ids.removed())?);
            folders = written;
        }
        let store = self.store.borrow_mut();
        if manifest.segments == store.snapshot.manifest().segments {
            return Ok(store.snapshot.clone());
        }
        let before = store.snapshot.clone();
        let (manifest, folders) = store.tidied(manifest, folders);
        let snapshot = store.replace_manifest(manifest, folders)?;
        store.remove_segments_of(&before);
        Ok(snapshot)
    }
}

impl Transaction<Store> {
    /// [`Transaction::commit`] that gives the store back, still locked, for what must be done before others write.
    ///
    /// # Errors
    /// As [`Transaction::commit`]. The lock is released then.
    pub fn commit_locked(mut self) -> Result<Store> {
        self.write_commit()?;
        Ok(self.store)
    }
}

impl Store {
    /// Begins a transaction. Nothing it does is visible before [`Transaction::commit`]; dropping it undoes it.
    ///
    /// # Errors
    /// None at present; reserved for storage that has to be prepared.
    pub fn begin(&mut self) -> Result<Transaction<&mut Store>> {
        Ok(Transaction::new(self))
    }

    /// Begins a transaction that keeps the store, for callers that hold both in one value; the lock is released when
    /// the transaction ends.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub fn into_transaction(self) -> Result<Transaction<Store>> {
        Ok(Transaction::new(self))
    }
}

/// The longest title, text or metadata: their lengths are stored in 32 bits, of which one value means "absent".
const MAX_STRING_LEN: usize = u32::MAX as usize - 1;
