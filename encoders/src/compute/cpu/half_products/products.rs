//! The products of a linear layer and of its gradients, in tiles of bf16.

use std::ops::Range;

use rayon::prelude::*;

use super::super::gemm::{Accumulate, Epilogue};
use super::super::isa::PANEL;
use super::super::linear::{Packed, PackedLinear};
use super::super::packed_matrix::PackedMatrix;
use super::super::rounded_matrix::RoundedPanel;
use super::super::strips::columns_of;
use super::super::{Activations, Cpu};
use super::gemm::HalfGemm;
use super::tiles::{Panels, RoundedRows};

impl Cpu {
    /// `out` = x M^T by the epilogue.
    pub(in super::super) fn half_product<E: Epilogue + Sync>(
        &self,
        x: &Activations,
        linear: &PackedLinear,
        epilogue: E,
        out: &mut Activations,
    ) {
        let mut a = self.rounded_rows.borrow_mut();
        a.refill(&x.values, x.columns, x.columns, x.num_rows());
        let (isa, a, all) = (self.isa, &*a, 0..out.columns);
        self.for_strips(out, all, (E::WIDTH, 1), |panels, rows, memory| match &linear.matrix {
            Packed::Dense(matrix) => {
                let (b, kept, scratch) =
                    (Panels::Of(matrix), &linear.rounded.panels[..], &mut memory.half_panels);
                isa.dispatch(HalfGemm { a, b, kept, panels, epilogue, out: rows, scratch });
            }
            Packed::LowPrecision(matrix) => {
                for first in panels.clone().step_by(matrix.window()) {
                    let window = first..(first + matrix.window()).min(panels.end);
                    matrix.unpack(isa, window.clone(), &mut memory.window);
                    let mut out = columns_of(rows, &panels, &window, E::WIDTH);
                    let (b, scratch) = (Panels::Of(&memory.window), &mut memory.half_panels);
                    isa.dispatch(HalfGemm {
                        a,
                        b,
                        kept: &[],
                        panels: window,
                        epilogue,
                        out: &mut out,
                        scratch,
                    });
                }
            }
            Packed::Rounded(_) | Packed::Bf16(_) | Packed::Int8(_) => {
                unreachable!("layers that are differentiated are loaded in f32 or held in bf16")
            }
        });
    }

    /// `out[:, columns]` += `scale` x M^T: (T, K), (N, K) -> (T, N).
    pub(in super::super) fn half_product_into(
        &self,
        x: &Activations,
        matrix: &PackedMatrix,
        scale: f32,
        out: &mut Activations,
        columns: Range<usize>,
    ) {
        let mut a = self.rounded_rows.borrow_mut();
        a.refill(&x.values, x.columns, x.columns, x.num_rows());
        self.half_product_of(&a, (Panels::Of(matrix), &[]), Accumulate(scale), out, columns);
    }

    /// g\[:, columns\] M by the epilogue: (T, N), (N, K) -> (T, K).
    pub(in super::super) fn half_transposed_product_into<E: Epilogue + Sync>(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        matrix: &PackedMatrix,
        epilogue: E,
        out: &mut Activations,
    ) {
        let (values, stride) = (&gradient.values[columns.start..], gradient.columns);
        let mut a = self.rounded_rows.borrow_mut();
        a.refill(values, stride, columns.len(), gradient.num_rows());
        let all = 0..out.columns;
        self.half_product_of(&a, (Panels::Transposed(matrix), &[]), epilogue, out, all);
    }

    /// g M of a linear layer by the epilogue: (T, N), (N, K) -> (T, K).
    pub(in super::super) fn half_input_gradient<E: Epilogue + Sync>(
        &self,
        gradient: &Activations,
        linear: &PackedLinear,
        matrix: &PackedMatrix,
        epilogue: E,
        out: &mut Activations,
    ) {
        let mut a = self.rounded_rows.borrow_mut();
        a.refill(&gradient.values, gradient.columns, gradient.columns, gradient.num_rows());
        let kept =
            if matches!(linear.matrix, Packed::Dense(_)) { &linear.rounded.transposed[..] } else { &[] };
        let all = 0..out.columns;
        self.half_product_of(&a, (Panels::Transposed(matrix), kept), epilogue, out, all);
    }

    /// `out[:, columns]` = A B^T by the epilogue.
    fn half_product_of<E: Epilogue + Sync>(
        &self,
        a: &RoundedRows,
        (b, kept): (Panels<'_>, &[RoundedPanel]),
        epilogue: E,
        out: &mut Activations,
        columns: Range<usize>,
    ) {
        let isa = self.isa;
        self.for_strips(out, columns, (PANEL, 1), |panels, out, memory| {
            isa.dispatch(HalfGemm { a, b, kept, panels, epilogue, out, scratch: &mut memory.half_panels });
        });
    }

    /// `out` += `scale` g\[:, columns\]^T x: (T, N), (T, K) -> (N, K), row-major.
    pub(in super::super) fn half_outer_product_into(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        x: &Activations,
        scale: f32,
        out: &mut [f32],
    ) {
        let depth = x.columns;
        let tasks = if self.parallel { rayon::current_num_threads() } else { 1 };
        let rows_each = columns.len().div_ceil(tasks).max(1);
        let (isa, epilogue) = (self.isa, Accumulate(scale));
        let b = Panels::Columns { values: &x.values, stride: depth, columns: depth };
        let panels = 0..depth.div_ceil(PANEL);
        let run = |a: &mut RoundedRows, scratch: &mut _, (task, out): (usize, &mut [f32])| {
            let first = columns.start + task * rows_each;
            a.refill_columns(&gradient.values, gradient.columns, first..first + out.len() / depth);
            let mut rows: Vec<&mut [f32]> = out.chunks_exact_mut(depth).collect();
            isa.dispatch(HalfGemm {
                a,
                b,
                kept: &[],
                panels: panels.clone(),
                epilogue,
                out: &mut rows,
                scratch,
            });
        };
        if tasks > 1 {
            let work = out.par_chunks_mut(rows_each * depth).enumerate();
            work.for_each(|part| run(&mut RoundedRows::default(), &mut Default::default(), part));
        } else {
            let scratch = &mut self.memory.borrow_mut().half_panels;
            run(&mut self.rounded_rows.borrow_mut(), scratch, (0, out));
        }
    }
}
