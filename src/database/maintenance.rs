//! What is done to a database that does not change its documents: tuning and compaction.

use secateur_encoders::TextKind;
use secateur_index::search::RecallCurve;
use secateur_index::storage::{CompactOptions, CompactReport, Store};

use super::Database;
use crate::error::{Error, Result};

impl Database {
    /// Measures the recall of the HNSW index at `k` on queries, with a growing ef, and finds the least ef whose mean
    /// recall is `target`. Changes nothing: see [`Database::set_recall_curve`].
    ///
    /// # Errors
    ///
    /// The errors of [`Database::search_batch`]. There is no HNSW index, no graph in it yet, or no query, or the target
    /// is not between 0 and 1.
    pub fn tune(&self, queries: &[&str], k: usize, target: f64) -> Result<RecallCurve> {
        let encoder = self.query_encoder()?;
        if self.ef_search().is_none() {
            return Err(secateur_index::Error::NotHnsw.into());
        }
        if !self.has_approximate_index()? {
            // A recall would be that of exact searches, and its ef wrong as soon as there is a graph.
            let fewest = self.vector_index().and_then(|index| index.fewest_rows()).unwrap_or_default();
            return Err(secateur_index::Error::NoGraph { fewest }.into());
        }
        let vectors = encoder.encode(queries, TextKind::Query)?;
        Ok(self.snapshot.index()?.tune(&vectors, k, target)?)
    }

    pub(crate) fn has_approximate_index(&self) -> Result<bool> {
        Ok(self.snapshot.has_approximate_index()?)
    }

    /// Sets the default ef of the generation in use, durably.
    ///
    /// # Errors
    ///
    /// There is no HNSW index, the ef is 0, another process is writing, or there are uncommitted changes.
    pub fn set_ef_search(&mut self, ef_search: usize) -> Result<()> {
        let snapshot = self.store()?.set_ef_search(ef_search)?;
        self.set_snapshot(snapshot)
    }

    /// Stores the recall curve that [`Database::tune`] measured on the generation that is read, and makes the curve's
    /// ef its default, durably.
    ///
    /// # Errors
    ///
    /// As [`Database::set_ef_search`].
    pub fn set_recall_curve(&mut self, curve: &RecallCurve) -> Result<()> {
        let mut store = self.store()?;
        let snapshot = match self.generation_name() {
            Some(name) => store.set_recall_curve_of(name, curve)?,
            None => store.set_recall_curve(curve)?,
        };
        self.set_snapshot(snapshot)
    }

    /// The recall curve of the last tuning of the generation that is read, on the documents of that time.
    ///
    /// # Errors
    ///
    /// A damaged manifest.
    pub fn recall_curve(&self) -> Result<Option<RecallCurve>> {
        Ok(self.snapshot.recall_curve()?)
    }

    /// Reclaims the space of deleted documents and makes one segment of many: see
    /// [`secateur_index::storage::Store::compact`]. `progress` is called with the number of documents written and the
    /// number of all to be written. A compaction that is stopped leaves the database as it was. Other processes that
    /// have the database open read on.
    ///
    /// # Errors
    ///
    /// A file is damaged, the disk is full, another process is writing, or there are uncommitted changes.
    pub fn compact(
        &mut self,
        options: &CompactOptions,
        progress: impl FnMut(usize, usize),
    ) -> Result<CompactReport> {
        let mut store = self.store()?;
        let report = store.compact(options, progress)?;
        self.set_snapshot(store.snapshot().clone())?;
        Ok(report)
    }

    /// The database locked for writing, for a commit of its own.
    pub(super) fn store(&self) -> Result<Store> {
        if self.changes.is_some() {
            return Err(Error::UncommittedChanges { path: self.path.clone() });
        }
        Ok(Store::open(&self.path)?)
    }
}
