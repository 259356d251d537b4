//! The kernels of each instruction set: the code of `lanes`, compiled with that set enabled.

use super::lanes::{self, Arithmetic, Fused, Product, Separate, Square};
use super::{Kernel, Kernels, Operation, QUERIES, ROWS, Step, Sums};

/// Kernels for any machine.
pub(super) fn portable(operation: Operation) -> Kernel<4> {
    // A target that always has FMA has it in its baseline; elsewhere a fused product would be a function call.
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        generic::<Fused>(operation)
    } else {
        generic::<Separate>(operation)
    }
}

fn generic<A: Arithmetic>(operation: Operation) -> Kernel<4> {
    let reduce = lanes::reduce::<4>;
    let pack_rows = lanes::pack::<ROWS, 4>;
    match operation {
        Operation::Dot => Kernel {
            scan: lanes::scan::<Product, A, 4>,
            tile: lanes::tile::<Product, A, 4>,
            reduce,
            pack_rows,
        },
        Operation::SquaredDistance => {
            Kernel { scan: lanes::scan::<Square, A, 4>, tile: lanes::tile::<Square, A, 4>, reduce, pack_rows }
        }
    }
}

/// A module with the kernels of one x86-64 instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! instruction_set {
    ($name:ident, $lanes:literal, $features:literal) => {
        mod $name {
            use super::*;

            const L: usize = $lanes;

            // Not inlined, so that the sums stay in registers over the loop and are stored once: inlined into their
            // caller they cost a quarter of the speed.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn tile_product(q: &[Step<QUERIES, L>], v: &[Step<ROWS, L>], sums: &mut Sums<L>, first: bool) {
                lanes::tile::<Product, Fused, L>(q, v, sums, first);
            }

            #[target_feature(enable = $features)]
            #[inline(never)]
            fn tile_square(q: &[Step<QUERIES, L>], v: &[Step<ROWS, L>], sums: &mut Sums<L>, first: bool) {
                lanes::tile::<Square, Fused, L>(q, v, sums, first);
            }

            #[target_feature(enable = $features)]
            fn scan_product(query: &[f32], rows: &[f32], values: &mut [f32]) {
                lanes::scan::<Product, Fused, L>(query, rows, values);
            }

            #[target_feature(enable = $features)]
            fn scan_square(query: &[f32], rows: &[f32], values: &mut [f32]) {
                lanes::scan::<Square, Fused, L>(query, rows, values);
            }

            #[target_feature(enable = $features)]
            fn reduce(sums: &Sums<L>) -> [[f32; ROWS]; QUERIES] {
                lanes::reduce(sums)
            }

            #[target_feature(enable = $features)]
            fn pack_rows(rows: [&[f32]; ROWS], steps: &mut [Step<ROWS, L>]) {
                lanes::pack(rows, steps);
            }

            /// # Safety
            /// The processor must have the features of this instruction set.
            pub unsafe fn kernel(operation: Operation) -> Kernel<L> {
                // SAFETY (of all blocks here): the functions need nothing but the features of this instruction set,
                // which the caller vouches for; a kernel cannot be made in another way.
                match operation {
                    Operation::Dot => Kernel {
                        // SAFETY: see above.
                        scan: |query, rows, values| unsafe { scan_product(query, rows, values) },
                        // SAFETY: see above.
                        tile: |q, v, sums, first| unsafe { tile_product(q, v, sums, first) },
                        // SAFETY: see above.
                        reduce: |sums| unsafe { reduce(sums) },
                        // SAFETY: see above.
                        pack_rows: |rows, steps| unsafe { pack_rows(rows, steps) },
                    },
                    Operation::SquaredDistance => Kernel {
                        // SAFETY: see above.
                        scan: |query, rows, values| unsafe { scan_square(query, rows, values) },
                        // SAFETY: see above.
                        tile: |q, v, sums, first| unsafe { tile_square(q, v, sums, first) },
                        // SAFETY: see above.
                        reduce: |sums| unsafe { reduce(sums) },
                        // SAFETY: see above.
                        pack_rows: |rows, steps| unsafe { pack_rows(rows, steps) },
                    },
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, 8, "avx2,fma");
#[cfg(target_arch = "x86_64")]
instruction_set!(avx512, 16, "avx512f,avx2,fma");

/// Every kernel that this machine can run, the fastest last.
pub(super) fn available(operation: Operation) -> Vec<Kernels> {
    let mut kernels = vec![Kernels::Lanes4(portable(operation))];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features were just detected.
        kernels.push(Kernels::Lanes8(unsafe { avx2::kernel(operation) }));
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the features were just detected.
            kernels.push(Kernels::Lanes16(unsafe { avx512::kernel(operation) }));
        }
    }
    kernels
}
