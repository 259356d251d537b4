//! A graph in memory.

use std::path::PathBuf;

use super::build::build;
use super::links::LinksBuf;
use super::params::HnswParams;
use super::traversal::GraphView;
use crate::candidates::{Candidates, Matches};
use crate::error::{Error, Result};
use crate::format::MAX_ROWS;
use crate::metric::Metric;
use crate::quantization::codes::CodesBuf;
use crate::quantization::int8::{Int8CodesBuf, stride};
use crate::quantization::kernel::int8::Int8Kernel;
use crate::quantization::kernel::one_bit::OneBitKernel;
use crate::quantization::one_bit::OneBitCodesBuf;
use crate::quantization::{CodeType, Int8Codes};
use crate::rows::Rows;
use crate::topk::RowId;
use crate::vectors::check_vectors;

/// A graph over the rows of one matrix, with codes of them of 8 bits or one a component.
///
/// Memory for each row: D bytes (rounded up to 64) and 16 more, and 8M + 4 bytes of neighbors; 4 more if rows are
/// equal. With 1-bit codes the first part is D / 8 bytes (rounded up to 8) and 8 more (rounded up to 16). While a graph
/// is built, the 8-bit codes are always in memory.
///
/// ```
/// use secateur_index::{Metric, hnsw::{Graph, HnswParams}};
/// use secateur_index::search::{ApproximateIndex, SearchOptions, VectorSearch};
///
/// let rows: Vec<f32> = (0..2000).map(|i| (i as f32).sin()).collect();
/// let graph = Graph::build(Metric::Cosine, 4, &rows, &HnswParams::default())?;
/// let index = ApproximateIndex::new(&rows, &graph)?;
/// let hits = index.search(&rows[400..404], 3, &SearchOptions::new(64))?;
/// assert_eq!((hits.len(), hits[0].row.0), (3, 100));
/// # Ok::<(), secateur_index::Error>(())
/// ```
pub struct Graph {
    pub(crate) params: HnswParams,
    pub(crate) codes: CodesBuf,
    num_rows: usize,
    pub(crate) links: LinksBuf,
}

impl Graph {
    /// The most rows of a graph.
    pub const MAX_ROWS: usize = MAX_ROWS;

    /// Builds the graph of `rows`, (N, D) row-major, in parallel on the current rayon pool. The same rows and
    /// parameters give the same graph, however many threads there are and whatever their instruction set.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`], [`Error::NotFinite`], [`Error::VectorTooLong`], [`Error::InvalidParameter`],
    /// [`Error::TooManyRows`] for 2³¹ rows or more.
    pub fn build(metric: Metric, dim: usize, rows: &[f32], params: &HnswParams) -> Result<Graph> {
        check_vectors(rows, dim)?;
        Graph::of(metric, dim, Rows::F32(rows), params)
    }

    /// [`Graph::build`] of rows that have been checked.
    pub(crate) fn of(metric: Metric, dim: usize, rows: Rows<'_>, params: &HnswParams) -> Result<Graph> {
        params.check()?;
        if rows.len() / dim > Graph::MAX_ROWS {
            return Err(Error::TooManyRows);
        }
        let codes = Int8CodesBuf::encode(metric, dim, rows);
        let (links, num_rows) = (build(&codes, params), codes.metas.len());
        let codes = match params.codes {
            CodeType::Int8 => CodesBuf::Int8(codes, Int8Kernel::detect()),
            CodeType::OneBit => {
                // First, for the memory.
                drop(codes);
                CodesBuf::OneBit(OneBitCodesBuf::encode(metric, dim, rows), OneBitKernel::detect())
            }
        };
        Ok(Graph { params: *params, codes, num_rows, links })
    }

    /// Memory for each row while a graph is built, in bytes: its code, its neighbors and their similarities, its
    /// level and position.
    pub(crate) fn bytes_per_row(dim: usize, m: usize) -> usize {
        stride(dim) + 2 * m * 8 + 44
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// What it was built with.
    pub fn params(&self) -> HnswParams {
        self.params
    }

    pub(crate) fn view(&self) -> GraphView<'_> {
        GraphView { links: self.links.borrow(), codes: self.codes.borrow() }
    }
}

impl Candidates for Graph {
    fn metric(&self) -> Metric {
        self.codes.borrow().space().0
    }

    fn dim(&self) -> usize {
        self.codes.borrow().space().1
    }

    fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn find(
        &self,
        query: &[f32],
        k: usize,
        ef_search: usize,
        matches: &Matches<'_>,
    ) -> Result<Option<Vec<RowId>>> {
        let found = self.view().candidates(query, k, ef_search, matches);
        found.map_err(|damage| Error::Corrupt { file: PathBuf::from("a graph in memory"), damage })
    }

    fn int8_codes(&self) -> Option<Int8Codes<'_>> {
        self.view().codes.int8()
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("metric", &Candidates::metric(self))
            .field("rows", &self.num_rows())
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}
