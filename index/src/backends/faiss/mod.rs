//! Indexes of faiss, in programs with the cargo feature `faiss`; the others know of them, and refuse them by name.

#[cfg(not(feature = "faiss"))]
mod absent;
#[cfg(feature = "faiss")]
mod index;

#[cfg(not(feature = "faiss"))]
pub use absent::FaissIndex;
#[cfg(feature = "faiss")]
pub use index::FaissIndex;

use crate::error::{Error, Result};
use crate::hnsw::HnswParams;

/// Which index of faiss. To build and to search one takes a program with the cargo feature `faiss`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaissKind {
    /// `IndexFlatL2`: exact but for rounding.
    Flat,
    /// `IndexHNSWFlat`.
    Hnsw {
        /// M, 2 to 256.
        m: usize,
        /// efConstruction, 1 to 65,536.
        ef_construction: usize,
    },
    /// `IndexIVFPQ`: lists of rows that are near each other, up to 4√N of them, and a byte for 8 components.
    IvfPq,
}

impl FaissKind {
    /// Fewer rows get no index: product quantization is trained on 9,984 or more, 39 for each of 256 centroids.
    pub fn min_rows(self) -> u32 {
        match self {
            FaissKind::Flat | FaissKind::Hnsw { .. } => 1,
            FaissKind::IvfPq => 9984,
        }
    }

    /// Memory for each row while an index is built, in bytes.
    pub(crate) fn bytes_per_row(self, dim: usize) -> usize {
        let copy = 4 * width(dim);
        match self {
            FaissKind::Flat => copy,
            // Neighbors, of 4 bytes each, and what a row has beside them: levels, offsets, a lock.
            FaissKind::Hnsw { m, .. } => copy + 12 * m + 64,
            // The rows are handed over at once to be trained on; then there are a byte for 8 components and a number.
            FaissKind::IvfPq => copy + width(dim) / 8 + 8,
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        match self {
            FaissKind::Hnsw { m, ef_construction } => {
                HnswParams { m, ef_construction, ..HnswParams::default() }.check()
            }
            FaissKind::Flat | FaissKind::IvfPq => Ok(()),
        }
    }

    /// Whether this program can build it.
    pub(crate) fn check_feature(self) -> Result<()> {
        if cfg!(feature = "faiss") { Ok(()) } else { Err(Error::NoFaiss) }
    }
}

/// Components of a row of D in faiss: with the extra one, and zeros up to a multiple of 8, so that product quantization divides
/// them.
fn width(dim: usize) -> usize {
    (dim + 1).next_multiple_of(8)
}

#[cfg(all(test, feature = "faiss"))]
mod tests;
