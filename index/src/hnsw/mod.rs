//! Approximate search: a hierarchical navigable small world graph.
//!
//! Yu. A. Malkov and D. A. Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical
//! navigable small world graphs", 2018 (arXiv:1603.09320). The paper's symbols and ours:
//!
//! | paper | here |
//! |---|---|
//! | M, M_max | `m`: neighbors chosen, and the most kept, on levels above 0 |
//! | M_max0 | `2 * m`: the same on level 0, where new rows choose as many, too |
//! | efConstruction, ef | `ef_construction`, `ef_search` |
//! | mL = 1 / ln(M) | the levels of `links::level` |
//! | ep | `entry_point` |
//! | algorithm 1, INSERT | `build`, a batch of rows at a time |
//! | algorithm 2, SEARCH-LAYER | `walk::View::search_level` |
//! | algorithm 4, SELECT-NEIGHBORS-HEURISTIC | `select::Selection::choose` |
//! | algorithm 5, K-NN-SEARCH | `walk::View::search`, [`VectorSearch::search`](crate::search::VectorSearch::search) |
//!
//! The walk compares copies of the vectors of 8 bits a component (`codes`) or of one (`bits`); the nearest rows it has found are
//! compared again with the vectors themselves, so the score of a hit is the score that the exact index gives it.
//!
//! Where only some rows may be found, `plan` chooses what is fastest for their number: comparing their vectors, or their
//! copies; walking from match to match (`walk::View::search_among`); or walking all rows and keeping more of them.

mod build;
mod links;
mod plan;
mod pool;
mod repair;
mod select;
mod visited;
mod walk;

/// What a graph is made of, for those who store it.
pub(crate) mod parts {
    pub(crate) use super::links::{Links, MAX_LEVEL, NONE};
    pub(crate) use super::walk::View;
}

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::quantization::CodeType;
use crate::quantization::codes::CodesBuf;
use crate::quantization::int8::{Int8CodesBuf, stride};
use crate::quantization::one_bit::OneBitCodesBuf;
use crate::rows::Rows;
use crate::vectors::check_vectors;
use build::LinksBuf;

/// What a graph is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HnswParams {
    /// M: neighbors of a row on each level; twice as many on level 0. 2 to 256.
    pub m: usize,
    /// Rows among which the neighbors of a new one are chosen. 1 to 65,536.
    pub ef_construction: usize,
    /// Decides the levels of rows and the order in which they are inserted.
    pub seed: u64,
    /// What walks compare. It makes no difference to the edges, which are chosen by 8-bit copies.
    pub codes: CodeType,
}

impl Default for HnswParams {
    /// M 16, efConstruction 200, seed 0, 8-bit copies.
    fn default() -> HnswParams {
        HnswParams { m: 16, ef_construction: 200, seed: 0, codes: CodeType::Int8 }
    }
}

impl HnswParams {
    pub(crate) fn check(&self) -> Result<()> {
        let refuse =
            |name, got: usize, allowed| Err(Error::InvalidParameter { name, got: got as f64, allowed });
        if !(2..=256).contains(&self.m) {
            return refuse("m", self.m, "2 to 256");
        }
        if !(1..=65_536).contains(&self.ef_construction) {
            return refuse("ef_construction", self.ef_construction, "1 to 65536");
        }
        Ok(())
    }
}

/// A graph over the rows of one matrix, with copies of them of 8 bits or one a component: what an
/// [`ApproximateIndex`](crate::search::ApproximateIndex) walks.
///
/// Memory: for each row D bytes (rounded up to 64) and 16 more, or with 1-bit copies D / 8 bytes (rounded up to 8) and 8 more
/// (rounded up to 16); 8M bytes of neighbors and 4 more. While it is built the 8-bit copies are always there.
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
    pub(crate) copies: CodesBuf,
    num_rows: usize,
    pub(crate) links: LinksBuf,
}

impl Graph {
    /// The most rows of a graph.
    pub const MAX_ROWS: usize = pool::MAX_ROWS;

    /// Builds the graph of `rows`, (N, D) row-major, in parallel on the current rayon pool. The same rows and parameters
    /// give the same graph, however many threads there are and whatever their instruction set.
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
        let (links, num_rows) = (build::build(&codes, params), codes.metas.len());
        let copies = match params.codes {
            CodeType::Int8 => CodesBuf::Int8(codes),
            CodeType::OneBit => {
                // First, for the memory.
                drop(codes);
                CodesBuf::OneBit(OneBitCodesBuf::encode(metric, dim, rows))
            }
        };
        Ok(Graph { params: *params, copies, num_rows, links })
    }

    /// Memory for each row while a graph is built, in bytes: its code, its neighbors and their similarities, its level and place.
    pub(crate) fn bytes_per_row(dim: usize, m: usize) -> usize {
        stride(dim) + 2 * m * 8 + 40
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// What it was built with.
    pub fn params(&self) -> HnswParams {
        self.params
    }

    pub(crate) fn view(&self) -> walk::View<'_> {
        walk::View { links: self.links.borrow(), copies: self.copies.borrow() }
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("metric", &self.copies.borrow().space().0)
            .field("rows", &self.num_rows())
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
