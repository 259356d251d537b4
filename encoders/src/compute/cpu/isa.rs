//! One loop, compiled for each instruction set, chosen at run time.
//!
//! A [`Kernel`] is written once in safe Rust over fixed-size arrays. [`Isa::dispatch`] runs it inside a function that
//! enables the processor's vector instructions, and the compiler vectorizes it there.

#![allow(unsafe_code, reason = "vector instructions of the processor at hand")]

#[cfg(target_arch = "x86_64")]
use std::mem::transmute;

/// Columns of a product that are summed together: one vector of 512 bits, or two of 256.
pub(crate) const PANEL: usize = 16;

/// Multiplication and addition, as one instruction where there is one.
///
/// `f32::mul_add` without the instruction calls a software routine that is two orders of magnitude slower, hence the
/// choice by type.
pub(crate) trait Arithmetic: Copy {
    /// Rows of the accumulator tile that fit the vector registers beside one panel of [`PANEL`] columns.
    const TILE_ROWS: usize;
    /// a * b + c
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
    /// sums + a b, of a panel: the inner loop of products. For known instruction sets the instructions are named.
    /// Otherwise the code that the compiler makes of 6 x 16 unrolled sums depends on the code around them, and was
    /// once four times slower.
    #[inline(always)]
    fn add_products(a: f32, b: &[f32; PANEL], sums: &mut [f32; PANEL]) {
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = Self::mul_add(a, *b, *sum);
        }
    }
    /// Whether blocks are turned faster than they are gone through number by number.
    const TURNS: bool = false;
    /// Makes row i of a block its column i.
    #[inline(always)]
    fn turn(block: &mut Block) {
        let Block(rows) = *block;
        for (j, column) in block.0.iter_mut().enumerate() {
            for (slot, row) in column.iter_mut().zip(&rows) {
                *slot = row[j];
            }
        }
    }
}

/// As many rows as columns, each a panel of numbers.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [[f32; PANEL]; PANEL]);

/// Rounds after the product and after the sum: every processor has it.
#[derive(Clone, Copy)]
pub(crate) struct Separate;

impl Arithmetic for Separate {
    const TILE_ROWS: usize = 2;
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Rounds once. Sixteen 256-bit registers: a tile of 6 x 16 leaves four for operands.
#[derive(Clone, Copy)]
pub(crate) struct Fused256;

impl Arithmetic for Fused256 {
    const TILE_ROWS: usize = 6;
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn add_products(a: f32, b: &[f32; PANEL], sums: &mut [f32; PANEL]) {
        // SAFETY: on x86-64 only `run_avx2` computes with this arithmetic.
        unsafe { add_products_256(a, b, sums) }
    }
}

/// Rounds once. Thirty-two 512-bit registers: a tile of 14 x 16 hides the latency of the products.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Fused512;

#[cfg(target_arch = "x86_64")]
impl Arithmetic for Fused512 {
    const TILE_ROWS: usize = 14;
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn add_products(a: f32, b: &[f32; PANEL], sums: &mut [f32; PANEL]) {
        // SAFETY: only `run_avx512` computes with this arithmetic.
        unsafe { add_products_512(a, b, sums) }
    }
    const TURNS: bool = true;
    #[inline(always)]
    fn turn(block: &mut Block) {
        // SAFETY: only `run_avx512` computes with this arithmetic.
        unsafe { super::turn::turn(bytemuck::cast_mut(&mut block.0)) }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_products_256(a: f32, b: &[f32; PANEL], sums: &mut [f32; PANEL]) {
    use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_set1_ps};
    let a = _mm256_set1_ps(a);
    // SAFETY: vectors of f32 and arrays of as many are the same bytes.
    let b = unsafe { transmute::<[f32; PANEL], [__m256; 2]>(*b) };
    // SAFETY: see above.
    let old = unsafe { transmute::<[f32; PANEL], [__m256; 2]>(*sums) };
    let new = [_mm256_fmadd_ps(a, b[0], old[0]), _mm256_fmadd_ps(a, b[1], old[1])];
    // SAFETY: see above.
    *sums = unsafe { transmute::<[__m256; 2], [f32; PANEL]>(new) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn add_products_512(a: f32, b: &[f32; PANEL], sums: &mut [f32; PANEL]) {
    use std::arch::x86_64::{__m512, _mm512_fmadd_ps, _mm512_set1_ps};
    // SAFETY: vectors of f32 and arrays of as many are the same bytes.
    let b = unsafe { transmute::<[f32; PANEL], __m512>(*b) };
    // SAFETY: see above.
    let old = unsafe { transmute::<[f32; PANEL], __m512>(*sums) };
    // SAFETY: see above.
    *sums = unsafe { transmute::<__m512, [f32; PANEL]>(_mm512_fmadd_ps(_mm512_set1_ps(a), b, old)) };
}

/// A loop that is compiled once for each instruction set. `run` must be `#[inline(always)]`, or it is compiled
/// without the instructions.
pub(crate) trait Kernel {
    /// What the loop returns.
    type Output;
    /// The loop.
    fn run<A: Arithmetic>(self) -> Self::Output;
}

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// What every processor of the target has.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, VL, DQ and BW, and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// NEON, which every 64-bit Arm processor has.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// The best of this processor.
    pub(crate) fn detect() -> Isa {
        *Isa::available().last().expect("the portable set is always there")
    }

    /// All that this processor can run, slowest first.
    pub(crate) fn available() -> Vec<Isa> {
        #[allow(unused_mut, reason = "targets without a vector set of ours add none")]
        let mut found = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Isa::Avx2);
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                {
                    found.push(Isa::Avx512);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa::Neon);
        found
    }

    /// Runs `kernel` with this instruction set, which must be one of [`Isa::available`].
    #[inline]
    pub(crate) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Isa::Portable => kernel.run::<Separate>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value of this variant is made by `available` alone, after the processor said it has the
            // features.
            Isa::Avx2 => unsafe { run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 => unsafe { run_avx512(kernel) },
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => kernel.run::<Fused256>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused256>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused512>()
}

/// Asks for the cache line at `address`, which need not be one.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint to the processor. It reads nothing and never faults, whatever the address. Without
    // it a product of 12 to 22 rows with weights beyond the cache took 1.25 to 1.45 times as long.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
