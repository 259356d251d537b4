//! Which index of faiss.

/// The kinds of faiss indexes. A program needs the cargo feature `faiss` to build or search one.
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
    /// Segments of fewer rows get no index. Product quantization is trained on at least 9,984 rows: 39 for each of
    /// 256 centroids.
    pub fn min_rows(self) -> usize {
        match self {
            FaissKind::Flat | FaissKind::Hnsw { .. } => 1,
            FaissKind::IvfPq => 9984,
        }
    }
}

/// Components of a row of D in faiss, with the extra one. Zeros fill them up to a multiple of 8, so that product
/// quantization divides them.
pub(super) fn width(dim: usize) -> usize {
    (dim + 1).next_multiple_of(8)
}
