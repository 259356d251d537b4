//! The parameters of a graph.

use crate::error::{Error, Result};
use crate::quantization::CodeType;

/// What a graph is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HnswParams {
    /// M: neighbors of a row on each level; twice as many on level 0. 2 to 256.
    pub m: usize,
    /// Rows among which the neighbors of a new one are chosen. 1 to 65,536.
    pub ef_construction: usize,
    /// Decides the levels of rows and the order in which they are inserted.
    pub seed: u64,
    /// What searches compare in place of vectors. It makes no difference to the edges, which 8-bit codes decide.
    pub codes: CodeType,
}

impl Default for HnswParams {
    /// M 16, efConstruction 200, seed 0, 8-bit codes.
    fn default() -> HnswParams {
        HnswParams::DEFAULT
    }
}

impl HnswParams {
    pub(crate) const DEFAULT: HnswParams =
        HnswParams { m: 16, ef_construction: 200, seed: 0, codes: CodeType::Int8 };

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
