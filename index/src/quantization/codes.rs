//! What a walk compares in place of the vectors.

use super::int8::{self, Int8Codes, Int8CodesBuf};
use super::kernel::int8::Int8Kernel;
use super::kernel::one_bit::OneBitKernel;
use super::one_bit::{self, OneBitCodes, OneBitCodesBuf};
use crate::metric::Metric;

/// The copies of the rows that a walk reads.
///
/// ```
/// use secateur_index::{hnsw::HnswParams, quantization::CodeType};
/// assert_eq!(HnswParams::default().codes, CodeType::Int8);
/// assert_eq!(CodeType::OneBit.to_string(), "1bit");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodeType {
    /// A byte a component. Scores are off by so little that few more rows than are wanted have to be compared again.
    #[default]
    Int8,
    /// A bit a component. A walk has to keep more rows, and all of them are compared again; the more dimensions, the better.
    OneBit,
}

impl CodeType {
    /// Each of them.
    pub const ALL: [CodeType; 2] = [CodeType::Int8, CodeType::OneBit];

    /// The name used in files and on the command line: `int8` or `1bit`.
    pub fn name(self) -> &'static str {
        match self {
            CodeType::Int8 => "int8",
            CodeType::OneBit => "1bit",
        }
    }
}

impl std::fmt::Display for CodeType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Codes of rows where they lie.
#[derive(Clone, Copy)]
pub(crate) enum Codes<'a> {
    Int8(Int8Codes<'a>, Int8Kernel),
    OneBit(OneBitCodes<'a>, OneBitKernel),
}

/// Codes of rows in memory.
pub(crate) enum CodesBuf {
    Int8(Int8CodesBuf),
    OneBit(OneBitCodesBuf),
}

/// A vector to be compared with copies of one kind or the other.
#[derive(Default)]
pub(crate) struct Query {
    pub int8: int8::Query,
    bits: one_bit::Query,
}

impl CodesBuf {
    pub fn borrow(&self) -> Codes<'_> {
        match self {
            CodesBuf::Int8(codes) => Codes::Int8(codes.borrow(), Int8Kernel::detect()),
            CodesBuf::OneBit(bits) => Codes::OneBit(bits.borrow(), OneBitKernel::detect()),
        }
    }
}

impl<'a> Codes<'a> {
    /// The metric and D.
    pub fn space(&self) -> (Metric, usize) {
        match self {
            Codes::Int8(codes, _) => (codes.metric, codes.dim),
            Codes::OneBit(bits, _) => (bits.metric, bits.dim),
        }
    }

    /// The 8-bit copies, if that is what they are: exact searches can use these.
    pub fn int8(&self) -> Option<Int8Codes<'a>> {
        match self {
            Codes::Int8(codes, _) => Some(*codes),
            Codes::OneBit(..) => None,
        }
    }

    /// A vector of D components as a query.
    pub fn query(&self, vector: &[f32], query: &mut Query) {
        match self {
            Codes::Int8(codes, _) => codes.query(vector, &mut query.int8),
            Codes::OneBit(bits, _) => bits.query(vector, &mut query.bits),
        }
    }

    /// Asks for a row that will be compared soon.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        match self {
            Codes::Int8(codes, _) => codes.prefetch(row),
            Codes::OneBit(bits, _) => bits.prefetch(row),
        }
    }

    /// Similarities of a query and rows, of which none is beyond the last. `sums` is scratch.
    #[inline]
    pub fn compare(&self, query: &Query, rows: &[u32], sums: &mut Vec<i32>, visit: impl FnMut(u32, f32)) {
        match self {
            Codes::Int8(codes, kernel) => codes.compare(*kernel, &query.int8, rows, sums, visit),
            Codes::OneBit(bits, kernel) => bits.compare(*kernel, &query.bits, rows, sums, visit),
        }
    }

    /// The rows that are compared again for k hits of a walk that keeps ef.
    pub fn num_compared(&self, k: usize, ef_search: usize) -> usize {
        match self {
            // 8-bit scores seldom put one of the best k further back. More where a walk is long, so that what a longer walk
            // finds is not lost here.
            Codes::Int8(..) => k.saturating_add(k.max(10).max(ef_search / 8)),
            // Anything that is kept may be among the best.
            Codes::OneBit(..) => k.saturating_add(k.max(ef_search)),
        }
    }
}
