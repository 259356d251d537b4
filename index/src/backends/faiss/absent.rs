//! [`FaissIndex`] in a program without faiss: there is none.

use std::convert::Infallible;
use std::path::Path;

use super::kind::FaissKind;
use crate::backends::library::LibraryIndex;
use crate::backends::space::Space;
use crate::error::{Error, Result};
use crate::metric::Metric;

/// An index of faiss. This program was built without the cargo feature `faiss`, so no value of this type exists.
///
/// ```
/// use secateur_index::{Error, Metric, backends::{FaissIndex, FaissKind}};
///
/// let built = FaissIndex::build(Metric::Cosine, 2, &[1.0, 0.0], FaissKind::Flat);
/// assert!(matches!(built, Err(Error::NoFaiss)));
/// ```
#[derive(Debug)]
pub struct FaissIndex(Infallible);

impl FaissIndex {
    /// The file that faiss writes.
    pub(crate) const FILE: &'static str = "faiss";

    /// Builds nothing.
    ///
    /// # Errors
    /// [`Error::NoFaiss`], always.
    pub fn build(_: Metric, _: usize, _: &[f32], _: FaissKind) -> Result<FaissIndex> {
        Err(Error::NoFaiss)
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn write(&self, _: &Path) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn read(_: &Path, _: Metric, _: usize, _: &[f32], _: FaissKind) -> Result<FaissIndex> {
        Err(Error::NoFaiss)
    }
}

impl LibraryIndex for FaissIndex {
    fn space(&self) -> &Space {
        match self.0 {}
    }

    fn num_rows(&self) -> usize {
        match self.0 {}
    }

    fn nearest(&self, _: &[f32], _: usize) -> Result<Vec<u32>> {
        match self.0 {}
    }
}
