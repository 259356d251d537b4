//! The CPU's gradients: what [`Backward`] asks for, by kernels.

use std::ops::Range;

use rayon::prelude::*;

use super::attention_gradient::AttentionGradient;
use super::gate_up::{Combine, CombineBackward};
use super::norm::{self, NormGradient};
use super::packed_matrix::PackedMatrix;
use super::{Activations, Cpu, PackedLinear, Table};
use crate::architecture::AttentionShape;
use crate::compute::backward::{Backward, Combined, keeps};
use crate::compute::{Backend, NormWeights, Spans};
use crate::error::Result;
use crate::pooling::Pooling;

impl Backward for Cpu {
    type Matrix = PackedMatrix;

    fn matrix(&self, rows: usize, columns: usize) -> PackedMatrix {
        let mut matrix = PackedMatrix::default();
        matrix.refill(rows, columns, |_, _| 0.0);
        matrix
    }

    fn refill_matrix(matrix: &mut PackedMatrix, values: &[f32]) {
        let (rows, columns) = (matrix.rows(), matrix.depth());
        matrix.refill(rows, columns, |row, k| values[row * columns + k]);
    }

    fn refill_linear(linear: &mut PackedLinear, rows: &[&[f32]], biases: &[f32]) {
        linear.refill(|row, k| rows[row][k], |row| biases[row]);
    }

    fn refill_norm(norm: &mut NormWeights<'static>, new_weight: &[f32], new_bias: Option<&[f32]>) {
        let (NormWeights::Layer { weight, .. } | NormWeights::Rms { weight, .. }) = norm;
        weight.to_mut().copy_from_slice(new_weight);
        if let (NormWeights::Layer { bias, .. }, Some(new_bias)) = (norm, new_bias) {
            bias.to_mut().copy_from_slice(new_bias);
        }
    }

    fn refill_table(table: &mut Table, value: impl Fn(usize) -> f32 + Sync) {
        table.refill(value);
    }

    fn linear_shape(linear: &PackedLinear) -> (usize, usize) {
        (linear.num_rows(), linear.num_columns())
    }

    fn norm_length(norm: &NormWeights<'static>) -> usize {
        norm::length(norm)
    }

    fn shape(x: &Activations) -> (usize, usize) {
        (x.num_rows(), x.columns())
    }

    fn zeros(&self, rows: usize, columns: usize) -> Activations {
        let mut array = self.array(rows, columns);
        array.values_mut().fill(0.0);
        array
    }

    fn copy(&self, x: &Activations) -> Activations {
        let mut copy = self.array(x.num_rows(), x.columns());
        copy.values_mut().copy_from_slice(x.values());
        copy
    }

    fn dot(&self, x: &Activations, y: &Activations) -> Result<f64> {
        Ok(x.values().iter().zip(y.values()).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum())
    }

    fn dropout(&self, x: &mut Activations, key: u64, share: f32) -> Result<()> {
        let kept = 1.0 / (1.0 - share);
        for (index, value) in x.values_mut().iter_mut().enumerate() {
            *value *= if keeps(index, key, share) { kept } else { 0.0 };
        }
        Ok(())
    }

    fn add_product(
        &self,
        x: &Activations,
        matrix: &PackedMatrix,
        scale: f32,
        out: &mut Activations,
        columns: Range<usize>,
    ) -> Result<()> {
        self.product_into(x, matrix, scale, out, columns);
        Ok(())
    }

    fn add_transposed_product(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        matrix: &PackedMatrix,
        scale: f32,
        out: &mut Activations,
    ) -> Result<()> {
        self.transposed_product_into(gradient, columns, matrix, scale, out);
        Ok(())
    }

    fn add_input_gradient(
        &self,
        gradient: &Activations,
        linear: &PackedLinear,
        out: &mut Activations,
    ) -> Result<()> {
        let mut memory = PackedMatrix::default();
        let matrix = linear.dense(self, &mut memory);
        self.transposed_product_into(gradient, 0..gradient.columns(), matrix, 1.0, out);
        Ok(())
    }

    fn add_outer_product(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        x: &Activations,
        scale: f32,
        out: &mut [f32],
    ) -> Result<()> {
        self.outer_product_into(gradient, columns, x, scale, out);
        Ok(())
    }

    fn add_column_sums(&self, gradient: &Activations, columns: Range<usize>, out: &mut [f32]) -> Result<()> {
        for row in gradient.values().chunks_exact(gradient.columns()) {
            for (sum, value) in out.iter_mut().zip(&row[columns.clone()]) {
                *sum += value;
            }
        }
        Ok(())
    }

    fn combine(
        &self,
        &Combined { activation, factors }: &Combined<'_>,
        gate: Option<&Activations>,
        up: &Activations,
    ) -> Result<Activations> {
        let mut out = self.array(up.num_rows(), up.columns());
        let gate = gate.map(Activations::values);
        self.isa.dispatch(Combine { activation, factors, gate, up: up.values(), out: out.values_mut() });
        Ok(out)
    }

    fn combine_backward(
        &self,
        &Combined { activation, factors }: &Combined<'_>,
        mut gradient: Activations,
        gate: Option<&mut Activations>,
        up: &mut Activations,
        of_factors: &mut [f32],
    ) -> Result<()> {
        let width = up.columns();
        let gate = gate.map(Activations::values_mut);
        let (gradient, up) = (gradient.values_mut(), up.values_mut());
        self.isa.dispatch(CombineBackward { activation, width, factors, gradient, gate, up, of_factors });
        Ok(())
    }

    fn norm_heads_backward(
        &self,
        norm: &NormWeights<'static>,
        x: &Activations,
        heads: Range<usize>,
        mut gradient: Activations,
        [of_weight, of_bias]: [&mut [f32]; 2],
    ) -> Result<Activations> {
        let length = norm::length(norm);
        let (num_columns, columns) = (x.columns(), heads.start * length..heads.end * length);
        if columns == (0..num_columns) {
            let (inputs, gradient) = (x.values(), gradient.values_mut());
            self.isa.dispatch(NormGradient { norm, inputs, gradient, of_weight, of_bias });
        } else {
            let inputs = x.values().chunks_exact(num_columns);
            for (x, g) in inputs.zip(gradient.values_mut().chunks_exact_mut(num_columns)) {
                // The sums of one token's heads, then those of all tokens.
                let (mut weight, mut bias) = (vec![0.0; length], vec![0.0; length]);
                self.isa.dispatch(NormGradient {
                    norm,
                    inputs: &x[columns.clone()],
                    gradient: &mut g[columns.clone()],
                    of_weight: &mut weight,
                    of_bias: &mut bias,
                });
                of_weight.iter_mut().zip(weight).for_each(|(sum, x)| *sum += x);
                of_bias.iter_mut().zip(bias).for_each(|(sum, x)| *sum += x);
            }
        }
        Ok(gradient)
    }

    fn attention_backward(
        &self,
        qkv: &Activations,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
        gradient: &Activations,
    ) -> Result<Activations> {
        let mut of_qkv = self.zeros(qkv.num_rows(), qkv.columns());
        let (columns, context) = (qkv.columns(), gradient.columns());
        let mut texts = Vec::new();
        let mut rest = of_qkv.values_mut();
        for span in spans.iter() {
            let (out, behind) = rest.split_at_mut(span.len() * columns);
            texts.push((span, out));
            rest = behind;
        }
        let (isa, values, gradient) = (self.isa, qkv.values(), gradient.values());
        let run = |(span, out): (Range<usize>, &mut [f32])| {
            let qkv = &values[span.start * columns..span.end * columns];
            let gradient = &gradient[span.start * context..span.end * context];
            AttentionGradient { qkv, shape, window, gradient, out }.run(isa);
        };
        if self.parallel {
            texts.into_par_iter().for_each(run);
        } else {
            texts.into_iter().for_each(run);
        }
        Ok(of_qkv)
    }

    fn pool_backward(
        &self,
        gradient: &Activations,
        spans: &Spans,
        pooling: Pooling,
        skipped: usize,
    ) -> Result<Activations> {
        let columns = gradient.columns();
        self.upload(&pooling.spread(gradient.values(), columns, spans, skipped), columns)
    }
}
