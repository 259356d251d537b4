//! Dot products and squared distances of vectors: one f32 query against many rows, and many against many. Rows may
//! have components of 16 bits, which are converted to f32, exactly, as they are loaded.
//!
//! The order of summation is defined, so that a score depends on nothing but the two vectors. With L lanes, lane l
//! adds up the products of the components l, l + L, l + 2L, ... in this order. Components beyond D count as 0. Then the
//! lanes are added pairwise, l with l + L/2, and so on. [`Kernels::scan`] and [`Kernels::compare`] compute exactly
//! this. So a score depends neither on where a row lies nor on how the work is divided. [`Product`], for batches, is
//! faster and rough. Its values only tell which rows can be among the best; those rows are compared again.
//!
//! L and whether products are fused into the sums (FMA) depend on the instruction set, which is chosen at run time:
//!
//! | instruction set | L | fused |
//! |---|---|---|
//! | AVX-512F, BW | 16 | yes |
//! | AVX2 + FMA, F16C | 8 | yes |
//! | any other | 4 | only where the target always has FMA (aarch64) |
//!
//! Between machines scores may therefore differ by rounding.

#![allow(unsafe_code, reason = "vector instructions of the processor at hand")]

mod arch;
mod lanes;
mod prefetch;
mod product;

pub(crate) use prefetch::prefetch;
pub(crate) use product::{
    MAX_DIM, MAX_QUERIES, PackedQueries, Product, ROW_PANEL, UNIT, max_error, rounding_error, scale,
    underflow,
};

use crate::rows::Rows;

/// What is computed of a pair of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Σ qᵢvᵢ
    Dot,
    /// Σ (qᵢ - vᵢ)²
    SquaredDistance,
}

/// Rows that are compared with one query at the same time. 8 independent sums hide the latency of FMA. 8 streams of
/// sequential reads together reach the bandwidth of the memory; one stream alone does not.
const STREAMS: usize = 8;

/// Rows of a tile of the product. With two registers of queries that makes 12 sums. These 14 registers, one pair of a
/// row and one product fill the 16 vector registers of AVX2.
const ROWS: usize = 6;

/// Two consecutive components of a scaled vector.
type Pair = [i16; 2];

/// Pairs of components of a block. Rows of this length lie side by side, so that a tile finds all of them from one
/// address.
const PAIRS: usize = 256;

/// A pair of 2L queries.
type Panel<const L: usize> = [[Pair; L]; 2];

/// The sums of a tile: each lane is that of one query.
type Sums<const L: usize> = [[[i32; L]; 2]; ROWS];

/// The functions of one instruction set, for one operation.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<const L: usize> {
    scan: fn(&[f32], Rows<'_>, &mut [f32]),
    compare: fn(&[f32], &[Rows<'_>], &mut [f32]),
    squared_lengths: fn(Rows<'_>, usize, &mut [f32]),
    scale: fn(&[f32], f32, &mut [Pair]),
    tile: fn(&[Panel<L>], &[[Pair; PAIRS]], &mut Sums<L>, bool),
}

impl<const L: usize> Kernel<L> {
    /// Compares a query of D components with rows, (N, D) row-major; writes N values.
    pub fn scan(&self, query: &[f32], rows: Rows<'_>, values: &mut [f32]) {
        (self.scan)(query, rows, values);
    }

    /// The lengths of rows, (N, D) to (N): the root of the product of each with itself.
    pub fn lengths(&self, rows: Rows<'_>, dim: usize, lengths: &mut [f32]) {
        (self.squared_lengths)(rows, dim, lengths);
        lengths.iter_mut().for_each(|length| *length = length.sqrt());
    }

    /// L
    pub fn lanes(&self) -> usize {
        L
    }
}

/// The kernels of this machine for one operation.
#[derive(Clone, Copy)]
pub(crate) enum Kernels {
    Lanes4(Kernel<4>),
    #[cfg(target_arch = "x86_64")]
    Lanes8(Kernel<8>),
    #[cfg(target_arch = "x86_64")]
    Lanes16(Kernel<16>),
}

/// Runs `$body` with `$kernel` bound to the kernel of the instruction set.
macro_rules! with_kernel {
    ($kernels:expr, |$kernel:ident| $body:expr) => {
        match $kernels {
            $crate::kernel::Kernels::Lanes4($kernel) => $body,
            #[cfg(target_arch = "x86_64")]
            $crate::kernel::Kernels::Lanes8($kernel) => $body,
            #[cfg(target_arch = "x86_64")]
            $crate::kernel::Kernels::Lanes16($kernel) => $body,
        }
    };
}
pub(crate) use with_kernel;

impl Kernels {
    /// The fastest kernels that this machine can run.
    pub fn detect(operation: Operation) -> Kernels {
        // The last one is the fastest.
        arch::available(operation).pop().unwrap_or(Kernels::Lanes4(arch::portable(operation)))
    }

    /// Compares a query of D components with rows, (N, D) row-major; writes N values.
    pub fn scan(&self, query: &[f32], rows: Rows<'_>, values: &mut [f32]) {
        with_kernel!(self, |kernel| kernel.scan(query, rows, values));
    }

    /// Compares a query of D components with rows that lie anywhere, all with components of one type; writes as many
    /// values.
    pub fn compare(&self, query: &[f32], rows: &[Rows<'_>], values: &mut [f32]) {
        with_kernel!(self, |kernel| (kernel.compare)(query, rows, values));
    }

    /// The lengths of rows, (N, D) to (N): the root of the product of each with itself.
    pub fn lengths(&self, rows: Rows<'_>, dim: usize, lengths: &mut [f32]) {
        with_kernel!(self, |kernel| kernel.lengths(rows, dim, lengths));
    }

    /// The operation applied to one pair.
    #[cfg(test)]
    pub fn pair(&self, a: &[f32], b: &[f32]) -> f32 {
        let mut value = [0.0];
        self.scan(a, Rows::F32(b), &mut value);
        value[0]
    }
}

#[cfg(test)]
mod tests;
