//! The products that a linear layer's gradient is made of, on the packed matrices of the forward.
//!
//! The gradients need no second copy of a matrix: it is transposed a window at a time.

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::{Accumulate, Epilogue, Gemm, PackTransposedTiles};
use super::isa::PANEL;
use super::linear::{Packed, PackedLinear};
use super::packed_matrix::PackedMatrix;
use super::strips::columns_of;
use super::{Activations, Cpu};

/// Panels of a transposed matrix that are made at a time.
const WINDOW: usize = 8;

impl PackedLinear {
    /// Its matrix in f32: as it is, or unpacked into `memory`.
    pub(super) fn dense<'a>(&'a self, ops: &Cpu, memory: &'a mut PackedMatrix) -> &'a PackedMatrix {
        match &self.matrix {
            Packed::Dense(matrix) | Packed::Rounded(matrix) => matrix,
            Packed::LowPrecision(matrix) => {
                matrix.unpack(ops.isa, 0..self.matrix.num_panels(), memory);
                memory
            }
            Packed::Bf16(_) | Packed::Int8(_) => {
                unreachable!("layers that are differentiated are loaded in f32 or held in bf16")
            }
        }
    }
}

impl Cpu {
    /// `out[:, columns]` += `scale` x M^T: (T, K), (N, K) -> (T, N).
    pub(super) fn product_into(
        &self,
        x: &Activations,
        matrix: &PackedMatrix,
        scale: f32,
        out: &mut Activations,
        columns: Range<usize>,
    ) {
        assert_eq!((x.columns, columns.len()), (matrix.depth(), matrix.rows()), "shapes agree");
        #[cfg(target_arch = "x86_64")]
        if self.factors.are_tiles() {
            return self.half_product_into(x, matrix, scale, out, columns);
        }
        let (isa, matrix) = (self.isa, &*self.factors.matrix(matrix));
        let a = &*self.factors.numbers(&x.values);
        self.for_strips(out, columns, (PANEL, 1), |panels, rows, memory| {
            isa.dispatch(Gemm {
                a,
                stride: x.columns,
                b: matrix,
                panels,
                depth: 0..matrix.depth(),
                epilogue: Accumulate(scale),
                out: rows,
                tiles: None,
                scratch: &mut memory.tiles,
            });
        });
    }

    /// g W, with the weights of a layer, by the epilogue: (T, N), (N, K) -> (T, K).
    pub(super) fn input_gradient_into<E: Epilogue + Sync>(
        &self,
        gradient: &Activations,
        linear: &PackedLinear,
        epilogue: E,
        out: &mut Activations,
    ) {
        let mut memory = PackedMatrix::default();
        let matrix = linear.dense(self, &mut memory);
        #[cfg(target_arch = "x86_64")]
        if self.factors.are_tiles() {
            return self.half_input_gradient(gradient, linear, matrix, epilogue, out);
        }
        self.transposed_product_into(gradient, 0..gradient.columns, matrix, epilogue, out);
    }

    /// g\[:, columns\] M by the epilogue: (T, N), (N, K) -> (T, K).
    pub(super) fn transposed_product_into<E: Epilogue + Sync>(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        matrix: &PackedMatrix,
        epilogue: E,
        out: &mut Activations,
    ) {
        assert_eq!((columns.len(), out.columns), (matrix.rows(), matrix.depth()), "shapes agree");
        #[cfg(target_arch = "x86_64")]
        if self.factors.are_tiles() {
            return self.half_transposed_product_into(gradient, columns, matrix, epilogue, out);
        }
        let (isa, all) = (self.isa, 0..out.columns);
        let (rows, matrix) = (matrix.rows(), &*self.factors.matrix(matrix));
        let a = &self.factors.numbers(&gradient.values)[columns.start..];
        // Once for all windows.
        let mut tiles = self.packed.borrow_mut();
        self.pack_tiles(a, gradient.columns, (gradient.num_rows(), rows), &mut tiles);
        let tiles = Some(&tiles[..]);
        self.for_strips(out, all, (PANEL, 1), |panels, rows_out, memory| {
            for first in panels.clone().step_by(WINDOW) {
                let some = first..(first + WINDOW).min(panels.end);
                memory.window.refill_transposed(matrix, some.clone());
                let mut out = columns_of(rows_out, &panels, &some, PANEL);
                isa.dispatch(Gemm {
                    a,
                    stride: gradient.columns,
                    b: &memory.window,
                    panels: some,
                    depth: 0..rows,
                    epilogue,
                    out: &mut out,
                    tiles,
                    scratch: &mut memory.tiles,
                });
            }
        });
    }

    /// `out` += `scale` g\[:, columns\]^T x: (T, N), (T, K) -> (N, K), row-major.
    pub(super) fn outer_product_into(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        x: &Activations,
        scale: f32,
        out: &mut [f32],
    ) {
        let (num_tokens, depth) = (x.num_rows(), x.columns);
        assert_eq!(out.len(), columns.len() * depth, "shapes agree");
        #[cfg(target_arch = "x86_64")]
        if self.factors.are_tiles() {
            return self.half_outer_product_into(gradient, columns, x, scale, out);
        }
        let (g, values) = (&*self.factors.numbers(&gradient.values), &*self.factors.numbers(&x.values));
        let pool = &self.pool;
        let mut packed = PackedMatrix::in_memory(pool.take(depth.next_multiple_of(PANEL) * num_tokens));
        packed.refill_columns(values, depth, depth);
        let tasks = if self.parallel { rayon::current_num_threads() } else { 1 };
        let rows_each = columns.len().div_ceil(tasks).max(1);
        let isa = self.isa;
        let run = |(task, out): (usize, &mut [f32])| {
            let first = columns.start + task * rows_each;
            let num_rows = out.len() / depth;
            let mut tiles = pool.take(num_rows * num_tokens);
            isa.dispatch(PackTransposedTiles {
                a: g,
                stride: gradient.columns,
                columns: first..first + num_rows,
                out: &mut tiles,
            });
            let mut rows: Vec<&mut [f32]> = out.chunks_exact_mut(depth).collect();
            isa.dispatch(Gemm {
                a: &[],
                stride: num_tokens,
                b: &packed,
                panels: 0..packed.num_panels(),
                depth: 0..num_tokens,
                epilogue: Accumulate(scale),
                out: &mut rows,
                tiles: Some(&tiles),
                scratch: &mut Vec::new(),
            });
            pool.give_back(tiles);
        };
        if tasks > 1 {
            out.par_chunks_mut(rows_each * depth).enumerate().for_each(run);
        } else {
            run((0, out));
        }
        pool.give_back(packed.into_memory());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compute::Backend;
    use crate::compute::backward::Backward;

    fn rows(ops: &Cpu, values: &[f32], columns: usize) -> Activations {
        ops.upload(values, columns).unwrap()
    }

    proptest! {
        /// Each product against its definition in f64, with the bound of a sum of n products of numbers up to 1 (Higham
        /// 2002, eq. 3.5), on one thread and on several; both give the same bits.
        #[test]
        fn gradients_of_products_are_their_definitions(
            (t, n, k) in (1..30usize, 1..70usize, 1..70usize),
            first in 0..20usize,
            seed in any::<u64>(),
        ) {
            let mut state = seed;
            let mut random = |len: usize| -> Vec<f32> {
                (0..len).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 40) as f32 / (1 << 23) as f32 - 1.0
                }).collect()
            };
            // The gradient has columns before and behind those that are used.
            let wide = n + first + 3;
            let (g, x, m) = (random(t * wide), random(t * k), random(n * k));
            let mut matrix = PackedMatrix::default();
            matrix.refill(n, k, |row, column| m[row * k + column]);
            let columns = first..first + n;
            let bound = |terms: usize| (terms * terms + 8) as f64 * f64::from(f32::EPSILON);
            let mut seen: Vec<Vec<f32>> = Vec::new();
            for ops in [Cpu::serial(), Cpu::parallel()] {
                let (gradient, input) = (rows(&ops, &g, wide), rows(&ops, &x, k));
                let mut product = rows(&ops, &vec![1.0; t * wide], wide);
                ops.product_into(&input, &matrix, 0.5, &mut product, columns.clone());
                let mut transposed = rows(&ops, &vec![1.0; t * k], k);
                ops.transposed_product_into(&gradient, columns.clone(), &matrix, Accumulate(0.5), &mut transposed);
                let mut outer = vec![1.0; n * k];
                ops.outer_product_into(&gradient, columns.clone(), &input, 0.5, &mut outer);
                let mut sums = vec![1.0; n];
                ops.add_column_sums(&gradient, columns.clone(), (&mut sums, 0)).unwrap();
                let wide_sum = |terms: &mut dyn Iterator<Item = (f32, f32)>| -> f64 {
                    1.0 + 0.5 * terms.map(|(a, b)| f64::from(a) * f64::from(b)).sum::<f64>()
                };
                for i in 0..t {
                    for j in 0..wide {
                        let want = match j.checked_sub(first).filter(|j| *j < n) {
                            Some(j) => wide_sum(&mut (0..k).map(|c| (x[i * k + c], m[j * k + c]))),
                            None => 1.0,
                        };
                        prop_assert!((f64::from(product.values[i * wide + j]) - want).abs() <= bound(k));
                    }
                    for c in 0..k {
                        let want = wide_sum(&mut (0..n).map(|j| (g[i * wide + first + j], m[j * k + c])));
                        prop_assert!((f64::from(transposed.values[i * k + c]) - want).abs() <= bound(n));
                    }
                }
                for j in 0..n {
                    for c in 0..k {
                        let want = wide_sum(&mut (0..t).map(|i| (g[i * wide + first + j], x[i * k + c])));
                        prop_assert!((f64::from(outer[j * k + c]) - want).abs() <= bound(t));
                    }
                    let want = 1.0 + (0..t).map(|i| f64::from(g[i * wide + first + j])).sum::<f64>();
                    prop_assert!((f64::from(sums[j]) - want).abs() <= bound(t));
                }
                seen.push([&product.values[..], &transposed.values, &outer, &sums].concat());
            }
            prop_assert!(seen[0] == seen[1]);
        }
    }
}
