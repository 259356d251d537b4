//! What a walk compares in place of the vectors.

use crate::bits::{self, Bits, BitsBuf};
use crate::codes::{self, Codes, CodesBuf};
use crate::kernel::{BitKernel, CodeKernel};
use crate::metric::Metric;

/// The copies of the rows that a walk reads.
///
/// ```
/// use secateur_index::hnsw::{HnswParams, WalkCodes};
/// assert_eq!(HnswParams::default().codes, WalkCodes::Int8);
/// assert_eq!(WalkCodes::OneBit.to_string(), "1bit");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WalkCodes {
    /// A byte a component. Scores are off by so little that few more rows than are wanted have to be compared again.
    #[default]
    Int8,
    /// A bit a component. A walk has to keep more rows, and all of them are compared again; the more dimensions, the better.
    OneBit,
}

impl WalkCodes {
    /// Each of them.
    pub const ALL: [WalkCodes; 2] = [WalkCodes::Int8, WalkCodes::OneBit];

    /// The name used in files and on the command line: `int8` or `1bit`.
    pub fn name(self) -> &'static str {
        match self {
            WalkCodes::Int8 => "int8",
            WalkCodes::OneBit => "1bit",
        }
    }
}

impl std::fmt::Display for WalkCodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Copies of rows where they lie.
#[derive(Clone, Copy)]
pub(crate) enum Copies<'a> {
    Int8(Codes<'a>, CodeKernel),
    OneBit(Bits<'a>, BitKernel),
}

/// Copies of rows in memory.
pub(crate) enum CopiesBuf {
    Int8(CodesBuf),
    OneBit(BitsBuf),
}

/// A vector to be compared with copies of one kind or the other.
#[derive(Default)]
pub(crate) struct Query {
    pub int8: codes::Query,
    bits: bits::Query,
}

impl CopiesBuf {
    pub fn borrow(&self) -> Copies<'_> {
        match self {
            CopiesBuf::Int8(codes) => Copies::Int8(codes.borrow(), CodeKernel::detect()),
            CopiesBuf::OneBit(bits) => Copies::OneBit(bits.borrow(), BitKernel::detect()),
        }
    }
}

impl<'a> Copies<'a> {
    /// The metric and D.
    pub fn space(&self) -> (Metric, usize) {
        match self {
            Copies::Int8(codes, _) => (codes.metric, codes.dim),
            Copies::OneBit(bits, _) => (bits.metric, bits.dim),
        }
    }

    /// The 8-bit copies, if that is what they are: exact searches can use these.
    pub fn int8(&self) -> Option<Codes<'a>> {
        match self {
            Copies::Int8(codes, _) => Some(*codes),
            Copies::OneBit(..) => None,
        }
    }

    /// A vector of D components as a query.
    pub fn query(&self, vector: &[f32], query: &mut Query) {
        match self {
            Copies::Int8(codes, _) => codes.query(vector, &mut query.int8),
            Copies::OneBit(bits, _) => bits.query(vector, &mut query.bits),
        }
    }

    /// Asks for a row that will be compared soon.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        match self {
            Copies::Int8(codes, _) => codes.prefetch(row),
            Copies::OneBit(bits, _) => bits.prefetch(row),
        }
    }

    /// Similarities of a query and rows, of which none is beyond the last. `sums` is scratch.
    #[inline]
    pub fn compare(&self, query: &Query, rows: &[u32], sums: &mut Vec<i32>, visit: impl FnMut(u32, f32)) {
        match self {
            Copies::Int8(codes, kernel) => codes.compare(*kernel, &query.int8, rows, sums, visit),
            Copies::OneBit(bits, kernel) => bits.compare(*kernel, &query.bits, rows, sums, visit),
        }
    }

    /// The rows that are compared again for k hits of a walk that keeps ef.
    pub fn num_compared(&self, k: usize, ef_search: usize) -> usize {
        match self {
            // 8-bit scores seldom put one of the best k further back. More where a walk is long, so that what a longer walk
            // finds is not lost here.
            Copies::Int8(..) => k.saturating_add(k.max(10).max(ef_search / 8)),
            // Anything that is kept may be among the best.
            Copies::OneBit(..) => k.saturating_add(k.max(ef_search)),
        }
    }
}
