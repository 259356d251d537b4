//! The kernels of each instruction set: the code of `lanes`, compiled with that set enabled.

#[cfg(target_arch = "x86_64")]
use super::lanes::Pairs;
use super::lanes::{self, Arithmetic, Fused, Portable, Product, Separate, Square, Term};
use super::{Kernel, Kernels, Operation};
#[cfg(target_arch = "x86_64")]
use super::{PAIRS, Pair, Panel, Sums};
#[cfg(target_arch = "x86_64")]
use crate::rows::{F16, Rows};

/// Kernels for any machine.
pub(super) fn portable(operation: Operation) -> Kernel<4> {
    // Fused products are used only on targets that always have FMA; elsewhere each would be a function call.
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        generic::<Fused>(operation)
    } else {
        generic::<Separate>(operation)
    }
}

fn generic<A: Arithmetic<4>>(operation: Operation) -> Kernel<4> {
    fn kernel_of<T: Term, A: Arithmetic<4>>() -> Kernel<4> {
        Kernel {
            scan: lanes::scan::<T, A, 4>,
            compare: lanes::compare::<T, A, 4>,
            squared_lengths: lanes::squared_lengths::<A, 4>,
            scale: lanes::scale,
            tile: lanes::tile::<Portable, 4>,
        }
    }
    match operation {
        Operation::Dot => kernel_of::<Product, A>(),
        Operation::SquaredDistance => kernel_of::<Square, A>(),
    }
}

/// A module with the kernels of one x86-64 instruction set. `$step` adds the products of a register of pairs with
/// another one to a register of sums.
#[cfg(target_arch = "x86_64")]
macro_rules! instruction_set {
    (
        $name:ident, $lanes:literal, $features:literal, $broadcast:ident, $widen:ident,
        |$sum:ident, $q:ident, $v:ident| $step:expr
    ) => {
        mod $name {
            use std::arch::x86_64::*;

            use super::*;

            const L: usize = $lanes;

            /// The instructions of this set that the compiler does not choose by itself.
            struct Native;

            impl Arithmetic<L> for Native {
                #[inline(always)]
                fn mul_add(a: f32, b: f32, sum: f32) -> f32 {
                    <Fused as Arithmetic<L>>::mul_add(a, b, sum)
                }

                #[inline(always)]
                fn widen(stored: &[F16; L]) -> [f32; L] {
                    // SAFETY: only the functions below use it, which have the features of this instruction set.
                    unsafe { widen(stored) }
                }
            }

            #[target_feature(enable = $features)]
            #[inline]
            fn widen(stored: &[F16; L]) -> [f32; L] {
                bytemuck::cast($widen(bytemuck::cast(*stored)))
            }

            impl Pairs<L> for Native {
                #[inline(always)]
                fn add(q: &[Pair; L], v: Pair, sums: &mut [i32; L]) {
                    // SAFETY: only `tile` below uses it, which has the features of this instruction set.
                    unsafe { add_pairs(q, v, sums) }
                }
            }

            #[target_feature(enable = $features)]
            #[inline]
            fn add_pairs(q: &[Pair; L], v: Pair, sums: &mut [i32; L]) {
                let ($sum, $q, $v) =
                    (bytemuck::cast(*sums), bytemuck::cast(*q), $broadcast(bytemuck::cast(v)));
                *sums = bytemuck::cast($step);
            }

            // Not inlined, so that the sums stay in registers over the loop and are stored once. Inlined, the code
            // lost a quarter of its speed.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn tile(q: &[Panel<L>], v: &[[Pair; PAIRS]], sums: &mut Sums<L>, first: bool) {
                lanes::tile::<Native, L>(q, v, sums, first);
            }

            #[target_feature(enable = $features)]
            fn scale(vector: &[f32], factor: f32, scaled: &mut [Pair]) {
                lanes::scale(vector, factor, scaled);
            }

            #[target_feature(enable = $features)]
            fn scan<T: Term>(query: &[f32], rows: Rows<'_>, values: &mut [f32]) {
                lanes::scan::<T, Native, L>(query, rows, values);
            }

            #[target_feature(enable = $features)]
            fn compare<T: Term>(query: &[f32], rows: &[Rows<'_>], values: &mut [f32]) {
                lanes::compare::<T, Native, L>(query, rows, values);
            }

            #[target_feature(enable = $features)]
            fn squared_lengths(rows: Rows<'_>, dim: usize, values: &mut [f32]) {
                lanes::squared_lengths::<Native, L>(rows, dim, values);
            }

            /// # Safety
            /// The processor must have the features of this instruction set.
            pub unsafe fn kernel(operation: Operation) -> Kernel<L> {
                match operation {
                    // SAFETY: the caller vouches for the same.
                    Operation::Dot => unsafe { kernel_of::<Product>() },
                    // SAFETY: the caller vouches for the same.
                    Operation::SquaredDistance => unsafe { kernel_of::<Square>() },
                }
            }

            /// # Safety
            /// The processor must have the features of this instruction set.
            unsafe fn kernel_of<T: Term>() -> Kernel<L> {
                // SAFETY (of all blocks here): the functions need nothing but the features of this instruction set,
                // which the caller vouches for. A kernel cannot be made in another way.
                Kernel {
                    // SAFETY: see above.
                    scan: |query, rows, values| unsafe { scan::<T>(query, rows, values) },
                    // SAFETY: see above.
                    compare: |query, rows, values| unsafe { compare::<T>(query, rows, values) },
                    // SAFETY: see above.
                    squared_lengths: |rows, dim, values| unsafe { squared_lengths(rows, dim, values) },
                    // SAFETY: see above.
                    scale: |vector, factor, scaled| unsafe { scale(vector, factor, scaled) },
                    // SAFETY: see above.
                    tile: |q, v, sums, first| unsafe { tile(q, v, sums, first) },
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, 8, "avx2,fma,f16c", _mm256_set1_epi32, _mm256_cvtph_ps, |sum, q, v| _mm256_add_epi32(
    sum,
    _mm256_madd_epi16(q, v)
));
#[cfg(target_arch = "x86_64")]
instruction_set!(avx_vnni, 8, "avx2,fma,f16c,avxvnni", _mm256_set1_epi32, _mm256_cvtph_ps, |sum, q, v| {
    _mm256_dpwssd_avx_epi32(sum, q, v)
});
#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx512,
    16,
    "avx512f,avx512bw,avx2,fma,f16c",
    _mm512_set1_epi32,
    _mm512_cvtph_ps,
    |sum, q, v| _mm512_add_epi32(sum, _mm512_madd_epi16(q, v))
);
#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx512_vnni,
    16,
    "avx512f,avx512bw,avx512vnni,avx2,fma,f16c",
    _mm512_set1_epi32,
    _mm512_cvtph_ps,
    |sum, q, v| _mm512_dpwssd_epi32(sum, q, v)
);

/// Every kernel that this machine can run, the fastest last.
pub(super) fn available(operation: Operation) -> Vec<Kernels> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
    let mut kernels = vec![Kernels::Lanes4(portable(operation))];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
    {
        // SAFETY: the features were just detected.
        kernels.push(Kernels::Lanes8(unsafe { avx2::kernel(operation) }));
        if is_x86_feature_detected!("avxvnni") {
            // SAFETY: the features were just detected.
            kernels.push(Kernels::Lanes8(unsafe { avx_vnni::kernel(operation) }));
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: the features were just detected.
            kernels.push(Kernels::Lanes16(unsafe { avx512::kernel(operation) }));
            if is_x86_feature_detected!("avx512vnni") {
                // SAFETY: the features were just detected.
                kernels.push(Kernels::Lanes16(unsafe { avx512_vnni::kernel(operation) }));
            }
        }
    }
    kernels
}
