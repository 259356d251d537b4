//! [`FaissIndex`] in a program with faiss.
//!
//! The index holds the rows in the space of [`Space`] under faiss's L2 metric. Nothing reaches faiss unchecked. Vectors
//! are finite and of one length, and parameters are in range. A file is compared with its checksum before faiss reads
//! it.
//!
//! faiss keeps a search's ef in the index, so searches of one index take turns. While an index is built, faiss uses
//! as many threads as OpenMP gives it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ::faiss::error::Error as Reason;
use ::faiss::index::autotune::ParameterSpace;
use ::faiss::index::io::{read_index, write_index};
use ::faiss::index::{Index, IndexImpl};
use ::faiss::{MetricType, index_factory};

use super::kind::{FaissKind, width};
use crate::backends::library::LibraryIndex;
use crate::backends::space::Space;
use crate::error::{Damage, Error, Result};
use crate::format::Format;
use crate::metric::Metric;
use crate::vectors::check_vectors;

/// An index of faiss over the rows of one matrix.
///
/// ```
/// use secateur_index::{Metric, backends::{FaissIndex, FaissKind}};
/// use secateur_index::search::{ApproximateIndex, SearchOptions, VectorSearch};
///
/// let rows: Vec<f32> = (0..2000).map(|i| (i as f32).sin()).collect();
/// let faiss = FaissIndex::build(Metric::Cosine, 4, &rows, FaissKind::Hnsw { m: 16, ef_construction: 100 })?;
/// let index = ApproximateIndex::new(&rows, &faiss)?;
/// let hits = index.search(&rows[400..404], 3, &SearchOptions::new(20))?;
/// assert_eq!((hits.len(), hits[0].row.0), (3, 100));
/// # Ok::<(), secateur_index::Error>(())
/// ```
pub struct FaissIndex {
    space: Space,
    num_rows: usize,
    kind: FaissKind,
    inner: Mutex<IndexImpl>,
}

/// Rows that are handed over at a time.
const BLOCK: usize = 4096;

/// Lists of an IVF index. faiss prints warnings if a list has fewer than 39 rows.
fn num_lists(num_rows: usize) -> usize {
    (4 * num_rows.isqrt()).min(num_rows / 39).max(1)
}

impl FaissIndex {
    /// The file that faiss writes.
    pub(crate) const FILE: &'static str = "faiss";

    /// Builds the index of `rows`, (N, D) row-major.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`], [`Error::NotFinite`], [`Error::VectorTooLong`]. [`Error::InvalidParameter`] for
    /// parameters out of range or fewer rows than [`FaissKind::min_rows`]. [`Error::Backend`] if faiss refuses.
    /// [`Error::NoFaiss`] in a program without the cargo feature `faiss`.
    pub fn build(metric: Metric, dim: usize, rows: &[f32], kind: FaissKind) -> Result<FaissIndex> {
        Format::check(&kind)?;
        check_vectors(rows, dim)?;
        let num_rows = rows.len() / dim;
        if num_rows < kind.min_rows() {
            let (name, allowed) = ("the number of rows", "at least 9984 for IVF-PQ, 1 for the others");
            return Err(Error::InvalidParameter { name, got: num_rows as f64, allowed });
        }
        let space = Space::fit(metric, dim, rows);
        let build = || -> Result<IndexImpl, Reason> {
            let width = width(dim);
            let description = match kind {
                FaissKind::Flat => "Flat".to_owned(),
                FaissKind::Hnsw { m, .. } => format!("HNSW{m}"),
                // Without "np" training takes many times as long, because it sorts the centroids in an order that
                // nothing uses.
                FaissKind::IvfPq => format!("IVF{},PQ{}np", num_lists(num_rows), width / 8),
            };
            let mut inner = index_factory(width as u32, description, MetricType::L2)?;
            if let FaissKind::Hnsw { ef_construction, .. } = kind {
                set(&inner, "efConstruction", ef_construction)?;
            }
            if !inner.is_trained() {
                inner.train(&moved(&space, rows))?;
            }
            for block in rows.chunks(BLOCK * dim) {
                inner.add(&moved(&space, block))?;
            }
            Ok(inner)
        };
        let inner = build().map_err(|reason| refused("build", None, reason))?;
        Ok(FaissIndex { space, num_rows, kind, inner: Mutex::new(inner) })
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// The rows that faiss finds for a query of its space: at most `kept`.
    fn search(&self, query: &[f32], kept: usize) -> Result<Vec<u32>, Reason> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match self.kind {
            FaissKind::Flat => {}
            FaissKind::Hnsw { .. } => set(&inner, "efSearch", kept)?,
            FaissKind::IvfPq => set(&inner, "nprobe", kept.div_ceil(8).min(num_lists(self.num_rows)))?,
        }
        // Where it finds fewer the rest is -1.
        let labels = inner.search(query, kept)?.labels;
        let rows = labels.iter().filter_map(|label| u32::try_from(label.get()?).ok());
        Ok(rows.filter(|row| (*row as usize) < self.num_rows).collect())
    }

    /// Writes [`FaissIndex::FILE`].
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        name_of(path)
            .and_then(|name| write_index(&*inner, name))
            .map_err(|reason| refused("write", Some(path), reason))
    }

    /// Reads what [`FaissIndex::write`] wrote of an index of these rows, (N, D) row-major, which must be as it was
    /// written.
    pub(crate) fn read(
        path: &Path,
        metric: Metric,
        dim: usize,
        rows: &[f32],
        kind: FaissKind,
    ) -> Result<FaissIndex> {
        let inner =
            name_of(path).and_then(read_index).map_err(|reason| refused("read", Some(path), reason))?;
        let num_rows = rows.len() / dim;
        for (field, expected, got) in [
            ("the number of rows", num_rows as u64, inner.ntotal()),
            ("the number of components", width(dim) as u64, u64::from(inner.d())),
        ] {
            if expected != got {
                let damage = Damage::Field { field, expected: expected.to_string(), got: got.to_string() };
                return Err(Error::Corrupt { file: path.to_owned(), damage });
            }
        }
        let space = Space::fit(metric, dim, rows);
        Ok(FaissIndex { space, num_rows, kind, inner: Mutex::new(inner) })
    }
}

impl LibraryIndex for FaissIndex {
    fn space(&self) -> &Space {
        &self.space
    }

    fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn nearest(&self, query: &[f32], kept: usize) -> Result<Vec<u32>> {
        let mut query = query.to_vec();
        query.resize(width(self.space.dim), 0.0);
        self.search(&query, kept).map_err(|reason| refused("search", None, reason))
    }
}

/// Sets a parameter of an index.
fn set(index: &IndexImpl, name: &str, value: usize) -> Result<(), Reason> {
    ParameterSpace::new()?.set_index_parameter(index, name, value as f64)
}

/// A path as faiss takes it.
fn name_of(path: &Path) -> Result<&str, Reason> {
    path.to_str().ok_or(Reason::BadFilePath)
}

/// Rows as faiss holds them.
fn moved(space: &Space, rows: &[f32]) -> Vec<f32> {
    let width = width(space.dim);
    let row = |row: &[f32]| {
        let mut row = space.row(row);
        row.resize(width, 0.0);
        row
    };
    rows.chunks_exact(space.dim).flat_map(row).collect()
}

fn refused(action: &'static str, path: Option<&Path>, reason: Reason) -> Error {
    Error::Backend { library: "faiss", action, path: path.map(Path::to_owned), source: reason.into() }
}

impl std::fmt::Debug for FaissIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaissIndex")
            .field("kind", &self.kind)
            .field("metric", &self.space.metric)
            .field("rows", &self.num_rows)
            .finish_non_exhaustive()
    }
}
