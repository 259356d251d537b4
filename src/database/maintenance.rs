//! What is done to a database that does not change its documents: tuning and compaction.

use secateur_encoders::TextKind;
use secateur_index::search::RecallCurve;
use secateur_index::storage::{CompactOptions, CompactReport, Store};

use super::Database;
use crate::error::{Error, Result};

impl Database {
    /// Measures on queries what searches of the HNSW index find of the `k` true hits, with a growing ef, and finds the least
    /// ef that finds the share `target` on average. Changes nothing: see [`Database::set_recall_curve`].
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`]; there is no HNSW index or no query, or the target is not between 0 and 1.
    pub fn tune(&self, queries: &[&str], k: usize, target: f64) -> Result<RecallCurve> {
        let encoder = self.query_encoder()?;
        if self.ef_search().is_none() {
            return Err(secateur_index::Error::NotHnsw.into());
        }
        let vectors = encoder.encode(queries, TextKind::Query)?;
        Ok(self.snapshot.index()?.tune(&vectors, k, target)?)
    }

    /// Sets the ef of searches that name none, of the generation in use, at once and durably.
    ///
    /// # Errors
    ///
    /// There is no HNSW index, the ef is 0, another process is writing, or there are changes that are not committed.
    pub fn set_ef_search(&mut self, ef_search: usize) -> Result<()> {
        let snapshot = self.store()?.set_ef_search(ef_search)?;
        self.set_snapshot(snapshot)
    }

    /// Keeps what [`Database::tune`] measured, of the generation in use, and makes its ef that of searches that name none, at
    /// once and durably.
    ///
    /// # Errors
    ///
    /// As [`Database::set_ef_search`].
    pub fn set_recall_curve(&mut self, curve: &RecallCurve) -> Result<()> {
        let snapshot = self.store()?.set_recall_curve(curve)?;
        self.set_snapshot(snapshot)
    }

    /// What was measured when the generation that is read was tuned last, of the documents that it had then.
    ///
    /// # Errors
    ///
    /// A damaged manifest.
    pub fn recall_curve(&self) -> Result<Option<RecallCurve>> {
        Ok(self.snapshot.recall_curve()?)
    }

    /// Writes what deleted documents have left of the files anew, and many segments as one; see
    /// [`secateur_index::storage::Store::compact`]. `progress` is called with the number of documents written and that of all
    /// to be written. Stopped at any moment it leaves the database as it was, and other processes that have it open read on.
    ///
    /// # Errors
    ///
    /// A damaged file, a full disk; another process is writing, or there are changes that are not committed.
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
