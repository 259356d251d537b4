//! Codes of either kind, as graphs have them.

use secateur_files::UnknownName;

use super::int8::{self, Int8Codes, Int8CodesBuf};
use super::kernel::int8::Int8Kernel;
use super::kernel::one_bit::OneBitKernel;
use super::one_bit::{self, OneBitCodes, OneBitCodesBuf};
use crate::metric::Metric;

/// The codes of the rows that a graph search compares.
///
/// ```
/// use secateur_index::{hnsw::HnswParams, quantization::CodeType};
/// assert_eq!(HnswParams::default().codes, CodeType::Int8);
/// assert_eq!("1bit".parse(), Ok(CodeType::OneBit));
/// assert_eq!(CodeType::OneBit.to_string(), "1bit");
/// ```
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::Display,
    strum::VariantArray,
    strum::VariantNames,
)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum CodeType {
    /// A byte a component. Scores are nearly exact, so few rows more than are wanted have to be compared again.
    #[default]
    Int8,
    /// A bit a component: less memory, longer searches; for vectors of very many dimensions.
    #[strum(serialize = "1bit")]
    #[cfg_attr(feature = "clap", value(name = "1bit"))]
    OneBit,
}

fn unknown(name: &str) -> UnknownName {
    UnknownName::of::<CodeType>("a kind of codes", name)
}

impl CodeType {
    /// Each of them.
    pub const ALL: &[CodeType] = <CodeType as strum::VariantArray>::VARIANTS;

    /// The name used in files and on the command line: `int8` or `1bit`.
    pub fn name(self) -> &'static str {
        self.into()
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
    Int8(Int8CodesBuf, Int8Kernel),
    OneBit(OneBitCodesBuf, OneBitKernel),
}

/// A vector to be compared with codes of either kind.
#[derive(Default)]
pub(crate) struct CodesQuery {
    pub int8: int8::Int8Query,
    one_bit: one_bit::OneBitQuery,
}

impl CodesBuf {
    pub fn borrow(&self) -> Codes<'_> {
        match self {
            CodesBuf::Int8(codes, kernel) => Codes::Int8(codes.borrow(), *kernel),
            CodesBuf::OneBit(codes, kernel) => Codes::OneBit(codes.borrow(), *kernel),
        }
    }
}

impl<'a> Codes<'a> {
    /// The metric and D.
    pub fn space(&self) -> (Metric, usize) {
        match self {
            Codes::Int8(codes, _) => (codes.metric, codes.dim),
            Codes::OneBit(codes, _) => (codes.metric, codes.dim),
        }
    }

    /// The 8-bit codes, if they are: exact searches can use these.
    pub fn int8(&self) -> Option<Int8Codes<'a>> {
        match self {
            Codes::Int8(codes, _) => Some(*codes),
            Codes::OneBit(..) => None,
        }
    }

    /// A vector of D components as a query.
    pub fn query(&self, vector: &[f32], query: &mut CodesQuery) {
        match self {
            Codes::Int8(codes, _) => codes.query(vector, &mut query.int8),
            Codes::OneBit(codes, _) => codes.query(vector, &mut query.one_bit),
        }
    }

    /// Asks for a row that will be compared soon.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        match self {
            Codes::Int8(codes, _) => codes.prefetch(row),
            Codes::OneBit(codes, _) => codes.prefetch(row),
        }
    }

    /// Similarities of a query and rows, none of which may be beyond the last. `sums` is scratch.
    #[inline]
    pub fn compare(
        &self,
        query: &CodesQuery,
        rows: &[u32],
        sums: &mut Vec<i32>,
        visit: impl FnMut(u32, f32),
    ) {
        match self {
            Codes::Int8(codes, kernel) => codes.compare(*kernel, &query.int8, rows, sums, visit),
            Codes::OneBit(codes, kernel) => codes.compare(*kernel, &query.one_bit, rows, sums, visit),
        }
    }

    /// The number of rows whose vectors are compared for k hits of a search that keeps ef.
    pub fn num_compared(&self, k: usize, ef_search: usize) -> usize {
        match self {
            // 8-bit scores seldom rank one of the best k lower. More of a search with a large ef, so that what it
            // finds more is not lost here.
            Codes::Int8(..) => k.saturating_add(k.max(10).max(ef_search / 8)),
            // Anything that is kept may be among the best.
            Codes::OneBit(..) => k.saturating_add(k.max(ef_search)),
        }
    }
}
