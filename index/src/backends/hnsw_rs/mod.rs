//! The graph of Malkov and Yashunin as the crate hnsw_rs builds and searches it.
//!
//! hnsw_rs panics or ends the process on input that it does not expect, so nothing reaches it unchecked. Vectors are
//! finite and of one length, parameters are in range, and files are compared with their checksums before hnsw_rs
//! reads them.
//!
//! The graph holds copies of the rows in the space of [`Space`]. There one distance serves all metrics, and it is
//! never negative.

use std::path::Path;

use ::hnsw_rs::prelude::{AnnT, Distance, Hnsw, HnswIo};
use rayon::prelude::*;

use super::library::{self, Library, LibraryIndex};
use super::space::Space;
use crate::bitmap::Bitmap;
use crate::error::{Damage, Error, Result};
use crate::format::{Format, Kinds, Parameter};
use crate::kernel::{Kernels, Operation};
use crate::metric::Metric;
use crate::quantization::int8::squared_length;
use crate::rows::{ComponentType, Rows};
use crate::vectors::check_vectors;

/// What hnsw_rs calls its files before it adds `.hnsw.graph` and `.hnsw.data`.
const BASENAME: &str = "hnsw-rs";

/// hnsw_rs writes no graph of fewer levels.
const LEVELS: usize = 16;

/// ‖a - b‖². The type's path is written into the files of hnsw_rs, so the type cannot move.
#[derive(Clone, Copy)]
struct Euclidean(Kernels);

impl Euclidean {
    fn new() -> Euclidean {
        Euclidean(Kernels::detect(Operation::SquaredDistance))
    }
}

impl Distance<f32> for Euclidean {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        let mut value = [0.0];
        self.0.compare(a, &[b.into()], &mut value);
        value[0]
    }
}

/// What a graph of hnsw_rs is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HnswRsParams {
    /// M, 2 to 255.
    pub m: usize,
    /// efConstruction, 1 to 65,536.
    pub ef_construction: usize,
}

impl Kinds for HnswRsParams {
    const ALL: &'static [HnswRsParams] = &[HnswRsParams { m: 16, ef_construction: 200 }];
}

impl Format for HnswRsParams {
    fn name(&self) -> &'static str {
        "hnsw-rs"
    }

    fn about(&self) -> &'static str {
        "A graph of the crate hnsw_rs, for comparison: slower, and on several threads another graph each time"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![
            Parameter::new("index.m", &mut self.m),
            Parameter::new("index.ef_construction", &mut self.ef_construction),
        ]
    }

    /// hnsw_rs keeps M in a byte.
    fn check(&self) -> Result<()> {
        for (name, got, range, allowed) in [
            ("m", self.m, 2..=255, "2 to 255"),
            ("ef_construction", self.ef_construction, 1..=65_536, "1 to 65536"),
        ] {
            if !range.contains(&got) {
                return Err(Error::InvalidParameter { name, got: got as f64, allowed });
            }
        }
        Ok(())
    }

    fn bytes_per_row(&self, components: ComponentType, dim: usize) -> usize {
        library::f32_bytes(components, dim) + 4 * dim + 80 * self.m + 1024
    }
}

impl Library for HnswRsParams {
    type Index = HnswRsGraph;

    const FILES: &'static [&'static str] = &HnswRsGraph::FILES;

    fn build(&self, metric: Metric, dim: usize, rows: &[f32]) -> Result<HnswRsGraph> {
        HnswRsGraph::build(metric, dim, rows, self.m, self.ef_construction)
    }

    fn write(graph: &HnswRsGraph, folder: &Path) -> Result<()> {
        graph.dump(folder)
    }

    fn read(&self, folder: &Path, metric: Metric, dim: usize, rows: Rows<'_>) -> Result<HnswRsGraph> {
        HnswRsGraph::load(folder, metric, dim, (rows.len() / dim) as u32)
    }
}

/// A graph over the rows of one matrix, built and searched by hnsw_rs.
///
/// Memory: for each row its D components, 80M bytes of neighbors, and 1 KB more.
///
/// ```
/// use secateur_index::{Metric, backends::HnswRsGraph};
/// use secateur_index::search::{ApproximateIndex, SearchOptions, VectorSearch};
///
/// let rows: Vec<f32> = (0..2000).map(|i| (i as f32).sin()).collect();
/// let graph = HnswRsGraph::build(Metric::Cosine, 4, &rows, 16, 200)?;
/// let index = ApproximateIndex::new(&rows, &graph)?;
/// let hits = index.search(&rows[400..404], 3, &SearchOptions::new(20))?;
/// assert_eq!((hits.len(), hits[0].row.0), (3, 100));
/// # Ok::<(), secateur_index::Error>(())
/// ```
pub struct HnswRsGraph {
    space: Space,
    num_rows: usize,
    inner: Hnsw<'static, f32, Euclidean>,
}

impl HnswRsGraph {
    /// The files that hnsw_rs writes.
    pub(crate) const FILES: [&str; 2] = ["hnsw-rs.hnsw.graph", "hnsw-rs.hnsw.data"];

    /// Builds the graph of `rows`, (N, D) row-major, in parallel on the current rayon pool. A row has M neighbors
    /// (twice as many on level 0), chosen among `ef_construction`.
    ///
    /// On a pool of one thread the same rows give the same graph: hnsw_rs draws levels from a generator with a fixed
    /// seed. On more threads graphs differ from run to run, because the order of the rows differs.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`], [`Error::NotFinite`], [`Error::VectorTooLong`], [`Error::InvalidParameter`] for an M
    /// outside 2 to 255 or an efConstruction outside 1 to 65,536, [`Error::TooManyRows`] for 2³¹ rows or more.
    pub fn build(
        metric: Metric,
        dim: usize,
        rows: &[f32],
        m: usize,
        ef_construction: usize,
    ) -> Result<HnswRsGraph> {
        HnswRsParams { m, ef_construction }.check()?;
        check_vectors(rows, dim)?;
        let num_rows = rows.len() / dim;
        if i32::try_from(num_rows).is_err() {
            return Err(Error::TooManyRows);
        }
        let space = Space::fit(metric, dim, rows);
        let inner = Hnsw::new(m, num_rows, LEVELS, ef_construction, Euclidean::new());
        let rows = rows.par_chunks_exact(dim).enumerate();
        rows.for_each(|(position, row)| inner.insert((&space.row(row), position)));
        Ok(HnswRsGraph { space, num_rows, inner })
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Writes [`HnswRsGraph::FILES`] to a folder. The files must exist already, because hnsw_rs panics if it cannot
    /// create one.
    pub(crate) fn dump(&self, folder: &Path) -> Result<()> {
        match self.inner.file_dump(folder, BASENAME) {
            Ok(_) => Ok(()),
            Err(reason) => Err(backend_error("write", folder, reason)),
        }
    }

    /// Reads what [`HnswRsGraph::dump`] wrote of a graph of so many rows, which must be as it was written.
    pub(crate) fn load(folder: &Path, metric: Metric, dim: usize, num_rows: u32) -> Result<HnswRsGraph> {
        // A graph of hnsw_rs borrows from its reader, although it needs nothing of it. So the reader is leaked: some
        // 200 bytes a graph.
        let reader: &'static HnswIo = Box::leak(Box::new(HnswIo::new(folder, BASENAME)));
        let inner = reader
            .load_hnsw_with_dist::<f32, Euclidean>(Euclidean::new())
            .map_err(|reason| backend_error("read", folder, reason))?;
        let mut rows = Bitmap::default();
        let mut longest: f64 = 1.0;
        for point in inner.get_point_indexation() {
            let (row, vector) = (point.get_origin_id(), point.get_v());
            let is_new = row < num_rows as usize && rows.insert(row as u32);
            if !is_new || vector.len() != dim + 1 || !vector.iter().all(|x| x.is_finite()) {
                let damage = Damage::Undecodable { part: "a row of the graph" };
                return Err(Error::Corrupt { file: folder.join(HnswRsGraph::FILES[1]), damage });
            }
            // With the extra component all are as long as the longest.
            longest = squared_length(vector);
        }
        if rows.len() != num_rows {
            let (field, expected, got) = ("rows", num_rows.to_string(), rows.len().to_string());
            let damage = Damage::Field { field, expected, got };
            return Err(Error::Corrupt { file: folder.join(HnswRsGraph::FILES[0]), damage });
        }
        let space = Space { metric, dim, longest };
        Ok(HnswRsGraph { space, num_rows: num_rows as usize, inner })
    }
}

impl LibraryIndex for HnswRsGraph {
    fn space(&self) -> &Space {
        &self.space
    }

    fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn nearest(&self, query: &[f32], kept: usize) -> Result<Vec<u32>> {
        Ok(self.inner.search(query, kept, kept).iter().map(|near| near.d_id as u32).collect())
    }
}

fn backend_error(
    action: &'static str,
    path: &Path,
    reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Backend { library: "hnsw_rs", action, path: Some(path.to_owned()), source: reason.into() }
}

impl std::fmt::Debug for HnswRsGraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HnswRsGraph")
            .field("metric", &self.space.metric)
            .field("rows", &self.num_rows)
            .finish_non_exhaustive()
    }
}
