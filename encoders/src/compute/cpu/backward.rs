//! The CPU's gradients: what [`Backward`] asks for, by kernels.

use std::ops::Range;

use rayon::prelude::*;

use super::attention_gradient::AttentionGradient;
use super::gate_up::{Combine, CombineBackward};
use super::gemm::{Accumulate, Scaled};
use super::norm::{self, NormGradient};
use super::packed_matrix::PackedMatrix;
use super::{Activations, Cpu, PackedLinear, Table};
use crate::architecture::AttentionShape;
use crate::compute::backward::{Backward, Combined, NewBlock, NewTable, keeps};
use crate::compute::numbers::{Place, PlaceMut};
use crate::compute::{Backend, NormWeights, Spans};
use crate::error::Result;
use crate::pooling::Pooling;

impl Backward for Cpu {
    type Numbers = Vec<f32>;
    type Matrix = PackedMatrix;

    fn memory(&self) {}

    fn to_numbers(&self, x: Activations) -> Result<Vec<f32>> {
        self.to_vec(&x)
    }

    fn matrix(&self, rows: usize, columns: usize) -> Result<PackedMatrix> {
        let mut matrix = PackedMatrix::default();
        matrix.refill(rows, columns, |_, _| 0.0);
        Ok(matrix)
    }

    fn refill_matrix(matrix: &mut PackedMatrix, (values, first): Place<'_, Vec<f32>>) -> Result<()> {
        let (rows, columns) = (matrix.rows(), matrix.depth());
        let values = &values[first..first + rows * columns];
        matrix.refill(rows, columns, |row, k| values[row * columns + k]);
        Ok(())
    }

    fn refill_linear(linear: &mut PackedLinear, blocks: &[NewBlock<'_, Vec<f32>>]) -> Result<()> {
        let columns = linear.num_columns();
        let (mut rows, mut biases): (Vec<&[f32]>, Vec<f32>) = Default::default();
        for NewBlock { rows: outputs, weight, bias } in blocks {
            let (values, first) = weight;
            rows.extend(values[*first..first + outputs.len() * columns].chunks_exact(columns));
            match bias {
                Some((values, first)) => biases.extend_from_slice(&values[*first..first + outputs.len()]),
                None => biases.resize(rows.len(), 0.0),
            }
        }
        linear.refill(&rows, &biases);
        Ok(())
    }

    fn refill_norm(
        norm: &mut NormWeights<'static>,
        (new_weight, first): Place<'_, Vec<f32>>,
        offset: f32,
        new_bias: Option<Place<'_, Vec<f32>>>,
    ) -> Result<()> {
        let (NormWeights::Layer { weight, .. } | NormWeights::Rms { weight, .. }) = norm;
        let weight = weight.to_mut();
        weight.iter_mut().zip(&new_weight[first..]).for_each(|(slot, x)| *slot = x + offset);
        if let (NormWeights::Layer { bias, .. }, Some((new_bias, first))) = (norm, new_bias) {
            let bias = bias.to_mut();
            bias.iter_mut().zip(&new_bias[first..]).for_each(|(slot, x)| *slot = *x);
        }
        Ok(())
    }

    fn refill_table(table: &mut Table, values: NewTable<'_, Vec<f32>>) -> Result<()> {
        match values {
            NewTable::Scaled(values, factor) => table.refill(|index| values[index] * factor),
            NewTable::Sums { types, positions, columns } => table.refill(|index| {
                positions[index % positions.len()]
                    + types[index / positions.len() * columns + index % columns]
            }),
        }
        Ok(())
    }

    fn refill_relu(out: &mut Vec<f32>, (z, first): Place<'_, Vec<f32>>) -> Result<()> {
        out.iter_mut().zip(&z[first..]).for_each(|(factor, z)| *factor = z.max(0.0));
        Ok(())
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
        self.transposed_product_into(gradient, columns, matrix, Accumulate(scale), out);
        Ok(())
    }

    fn input_gradient(
        &self,
        gradient: &Activations,
        linear: &PackedLinear,
        sum: Option<Activations>,
    ) -> Result<Activations> {
        Ok(match sum {
            Some(mut sum) => {
                self.input_gradient_into(gradient, linear, Accumulate(1.0), &mut sum);
                sum
            }
            None => {
                let mut out = self.array(gradient.num_rows(), linear.num_columns());
                self.input_gradient_into(gradient, linear, Scaled(1.0), &mut out);
                out
            }
        })
    }

    fn add_outer_product(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        x: &Activations,
        scale: f32,
        (out, first): PlaceMut<'_, Vec<f32>>,
    ) -> Result<()> {
        let out = &mut out[first..first + columns.len() * x.columns()];
        self.outer_product_into(gradient, columns, x, scale, out);
        Ok(())
    }

    fn add_column_sums(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        (out, first): PlaceMut<'_, Vec<f32>>,
    ) -> Result<()> {
        for row in gradient.values().chunks_exact(gradient.columns()) {
            for (sum, value) in out[first..].iter_mut().zip(&row[columns.clone()]) {
                *sum += value;
            }
        }
        Ok(())
    }

    fn combine(
        &self,
        Combined { activation, factors }: &Combined<'_, Vec<f32>>,
        gate: Option<&Activations>,
        up: &Activations,
    ) -> Result<Activations> {
        let mut out = self.array(up.num_rows(), up.columns());
        let gate = gate.map(Activations::values);
        let (activation, factors) = (*activation, factors.map(Vec::as_slice));
        let (width, up) = (up.columns(), up.values());
        self.isa.dispatch(Combine { activation, width, factors, gate, up, out: out.values_mut() });
        Ok(out)
    }

    fn combine_backward(
        &self,
        Combined { activation, factors }: &Combined<'_, Vec<f32>>,
        mut gradient: Activations,
        gate: Option<&mut Activations>,
        up: &mut Activations,
        of_factors: Option<&mut Vec<f32>>,
    ) -> Result<()> {
        let width = up.columns();
        let (activation, factors) = (*activation, factors.map(Vec::as_slice));
        let mut sums = vec![0.0; if of_factors.is_some() { width } else { 0 }];
        let gate = gate.map(Activations::values_mut);
        let (gradient, up) = (gradient.values_mut(), up.values_mut());
        let of_neurons = &mut sums[..];
        let work = CombineBackward { activation, width, factors, gradient, gate, up, of_factors: of_neurons };
        self.isa.dispatch(work);
        let factors = factors.unwrap_or_default();
        for ((slot, sum), factor) in of_factors.into_iter().flatten().zip(sums).zip(factors) {
            // ReLU passes nothing where it is at zero.
            *slot += if *factor > 0.0 { sum } else { 0.0 };
        }
        Ok(())
    }

    fn norm_heads_backward(
        &self,
        norm: &NormWeights<'static>,
        x: &Activations,
        heads: Range<usize>,
        mut gradient: Activations,
        of_parameters: Option<&mut [Vec<f32>; 2]>,
    ) -> Result<Activations> {
        let length = norm::length(norm);
        let mut ignored;
        let [of_weight, of_bias] = match of_parameters {
            Some(sums) => sums,
            None => {
                ignored = [vec![0.0; length], vec![0.0; length]];
                &mut ignored
            }
        };
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
        let (how, values, gradient) = ((self.isa, self.factors), qkv.values(), gradient.values());
        let run = |(span, out): (Range<usize>, &mut [f32])| {
            let qkv = &values[span.start * columns..span.end * columns];
            let gradient = &gradient[span.start * context..span.end * context];
            AttentionGradient { qkv, shape, window, gradient, out }.run(how);
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
