//! Dot products and squared distances of f32 vectors: one query against many rows, and many against many.
//!
//! The sums are defined, so that the score of a pair (query, row) depends on nothing but the two vectors: with L lanes,
//! lane l adds up the products of the components l, l + L, l + 2L, ... in this order (components beyond D count as 0),
//! and the lanes are then added pairwise, l with l + L/2, and so on. [`Kernel::scan`] for one query and [`product()`] for
//! a batch both compute exactly this, so single and batch search give the same scores bit for bit, wherever a row lies
//! and however the work is divided.
//!
//! L and whether products are fused into the sums (FMA) depend on the instruction set, which is chosen at run time:
//!
//! | instruction set | L | fused |
//! |---|---|---|
//! | AVX-512F | 16 | yes |
//! | AVX2 + FMA | 8 | yes |
//! | any other | 4 | only where the target always has FMA (aarch64) |
//!
//! Between machines scores may therefore differ by rounding: see `max_error` in the tests for the bound.

mod arch;
mod lanes;
mod product;

pub(crate) use product::{PackedQueries, ProductScratch, QUERY_TILE, ROW_PANEL, product};

/// What is computed of a pair of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Σ qᵢvᵢ
    Dot,
    /// Σ (qᵢ - vᵢ)²
    SquaredDistance,
}

/// Q queries by R rows of one step of the register-tiled product. 3 by 4 accumulators, 3 query registers and 1 row
/// register fill the 16 vector registers of AVX2; 12 independent sums hide the latency of FMA (4 cycles, 2 a cycle).
pub(crate) const QUERIES: usize = 3;
pub(crate) const ROWS: usize = 4;

/// L components of each of T vectors, as packed for the product.
type Step<const T: usize, const L: usize> = [[f32; L]; T];

/// The sums of Q by R pairs, L lanes each.
type Sums<const L: usize> = [[[f32; L]; ROWS]; QUERIES];

/// The functions of one instruction set, for one operation.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<const L: usize> {
    scan: fn(&[f32], &[f32], &mut [f32]),
    tile: fn(&[Step<QUERIES, L>], &[Step<ROWS, L>], &mut Sums<L>, bool),
    reduce: fn(&Sums<L>) -> [[f32; ROWS]; QUERIES],
    pack_rows: fn([&[f32]; ROWS], &mut [Step<ROWS, L>]),
}

impl<const L: usize> Kernel<L> {
    /// Compares a query of D components with rows, (N, D) row-major; writes N values.
    pub fn scan(&self, query: &[f32], rows: &[f32], values: &mut [f32]) {
        (self.scan)(query, rows, values);
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
    pub fn scan(&self, query: &[f32], rows: &[f32], values: &mut [f32]) {
        with_kernel!(self, |kernel| kernel.scan(query, rows, values));
    }

    /// The operation applied to one pair.
    pub fn pair(&self, a: &[f32], b: &[f32]) -> f32 {
        let mut value = [0.0];
        self.scan(a, b, &mut value);
        value[0]
    }
}

#[cfg(test)]
mod tests;
