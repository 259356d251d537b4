//! Indexes of faiss as kinds of index.

use std::path::Path;

use super::FaissIndex;
use super::kind::{FaissKind, width};
use crate::backends::library::{self, Library};
use crate::error::{Error, Result};
use crate::format::{Format, Kinds, Parameter};
use crate::hnsw::HnswParams;
use crate::metric::Metric;
use crate::rows::{ComponentType, Rows};

impl Kinds for FaissKind {
    const ALL: &'static [FaissKind] =
        &[FaissKind::Flat, FaissKind::Hnsw { m: 16, ef_construction: 200 }, FaissKind::IvfPq];
}

impl Format for FaissKind {
    fn name(&self) -> &'static str {
        match self {
            FaissKind::Flat => "faiss-flat",
            FaissKind::Hnsw { .. } => "faiss-hnsw",
            FaissKind::IvfPq => "faiss-ivf-pq",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            FaissKind::Flat => {
                "faiss's IndexFlatL2. Takes a build with `--features faiss`, as the next two do"
            }
            FaissKind::Hnsw { .. } => "faiss's IndexHNSWFlat",
            FaissKind::IvfPq => {
                "faiss's IndexIVFPQ; of commits of fewer than 9,984 documents every vector is compared"
            }
        }
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        match self {
            FaissKind::Hnsw { m, ef_construction } => {
                vec![Parameter::new("index.m", m), Parameter::new("index.ef_construction", ef_construction)]
            }
            FaissKind::Flat | FaissKind::IvfPq => Vec::new(),
        }
    }

    fn check(&self) -> Result<()> {
        match *self {
            FaissKind::Hnsw { m, ef_construction } => {
                HnswParams { m, ef_construction, ..HnswParams::default() }.check()
            }
            FaissKind::Flat | FaissKind::IvfPq => Ok(()),
        }
    }

    fn check_feature(&self) -> Result<()> {
        if cfg!(feature = "faiss") { Ok(()) } else { Err(Error::NoFaiss) }
    }

    fn min_rows(&self) -> usize {
        FaissKind::min_rows(*self)
    }

    fn bytes_per_row(&self, components: ComponentType, dim: usize) -> usize {
        let copy = 4 * width(dim);
        let index = match self {
            FaissKind::Flat => copy,
            // Neighbors, of 4 bytes each, and what a row has beside them: levels, offsets, a lock.
            FaissKind::Hnsw { m, .. } => copy + 12 * m + 64,
            // All rows are handed over at once for training. Afterwards a row takes a byte for 8 components, and a
            // number.
            FaissKind::IvfPq => copy + width(dim) / 8 + 8,
        };
        library::f32_bytes(components, dim) + index
    }
}

impl Library for FaissKind {
    type Index = FaissIndex;

    const FILES: &'static [&'static str] = &[FaissIndex::FILE];

    fn build(&self, metric: Metric, dim: usize, rows: &[f32]) -> Result<FaissIndex> {
        FaissIndex::build(metric, dim, rows, *self)
    }

    fn write(index: &FaissIndex, folder: &Path) -> Result<()> {
        index.write(&folder.join(FaissIndex::FILE))
    }

    fn read(&self, folder: &Path, metric: Metric, dim: usize, rows: Rows<'_>) -> Result<FaissIndex> {
        FaissIndex::read(&folder.join(FaissIndex::FILE), metric, dim, &rows.to_f32(), *self)
    }

    /// faiss does not report whether the last bytes were written. So the file is read back: a shortened one cannot be
    /// read.
    fn check_written(&self, folder: &Path, metric: Metric, dim: usize, rows: Rows<'_>) -> Result<()> {
        self.read(folder, metric, dim, rows).map(drop)
    }
}
