//! Norms of rows, and their gradients.

use super::elementwise::sum;
use super::isa::{Arithmetic, Kernel};
use crate::compute::NormWeights;

/// D, the columns that a norm is over.
pub(super) fn length(norm: &NormWeights<'_>) -> usize {
    let (NormWeights::Layer { weight, .. } | NormWeights::Rms { weight, .. }) = norm;
    weight.len()
}

/// The norm of each row.
pub(super) struct Norm<'a> {
    pub(super) norm: &'a NormWeights<'static>,
    /// What is normed, where that is not in `rows` already.
    pub(super) input: Option<&'a [f32]>,
    /// (T, D)
    pub(super) rows: &'a mut [f32],
}

impl Kernel for Norm<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Norm { norm, input, rows } = self;
        let columns = length(norm);
        for (index, row) in rows.chunks_exact_mut(columns).enumerate() {
            // Row by row, so that it is in the nearest cache when it is normed.
            if let Some(input) = input {
                row.copy_from_slice(&input[index * columns..][..columns]);
            }
            match norm {
                NormWeights::Layer { weight, bias, eps } => layer_norm::<A>(row, weight, bias, *eps),
                NormWeights::Rms { weight, eps } => rms_norm(row, weight, *eps),
            }
        }
    }
}

/// y = (x - mean) / sqrt(variance + eps) * weight + bias (Ba, Kiros & Hinton 2016), in place.
#[inline(always)]
fn layer_norm<A: Arithmetic>(row: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let columns = row.len();
    let mean = sum(row, |x| x) / columns as f32;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / columns as f32;
    let scale = 1.0 / (variance + eps).sqrt();
    for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
        *x = A::mul_add((*x - mean) * scale, *weight, *bias);
    }
}

/// y = x / sqrt(mean(x^2) + eps) * weight (Zhang & Sennrich 2019), in place.
#[inline(always)]
fn rms_norm(row: &mut [f32], weight: &[f32], eps: f32) {
    let columns = row.len();
    let scale = 1.0 / (sum(row, |x| x * x) / columns as f32 + eps).sqrt();
    for (x, weight) in row.iter_mut().zip(weight) {
        *x = *x * scale * weight;
    }
}

/// Let x' = (x - m) s, s = 1 / sqrt(variance + eps), and h = g w. Then dL/dx = s (h - mean(h) - x' mean(h x')). An RMS
/// norm has m = 0 and no mean(h).
pub(super) struct NormGradient<'a> {
    pub(super) norm: &'a NormWeights<'static>,
    pub(super) inputs: &'a [f32],
    pub(super) gradient: &'a mut [f32],
    pub(super) of_weight: &'a mut [f32],
    pub(super) of_bias: &'a mut [f32],
}

impl Kernel for NormGradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let NormGradient { norm, inputs, gradient, of_weight, of_bias } = self;
        let (weight, eps, centered) = match norm {
            NormWeights::Layer { weight, eps, .. } => (weight, *eps, true),
            NormWeights::Rms { weight, eps } => (weight, *eps, false),
        };
        let columns = weight.len();
        let count = columns as f32;
        let mut unit = vec![0.0; columns];
        let mut product = vec![0.0; columns];
        for (x, g) in inputs.chunks_exact(columns).zip(gradient.chunks_exact_mut(columns)) {
            let mean = if centered { sum(x, |x| x) / count } else { 0.0 };
            let scale = 1.0 / (sum(x, |x| (x - mean) * (x - mean)) / count + eps).sqrt();
            for (unit, x) in unit.iter_mut().zip(x) {
                *unit = (x - mean) * scale;
            }
            for (((of_weight, of_bias), unit), g) in
                of_weight.iter_mut().zip(of_bias.iter_mut()).zip(&unit).zip(g.iter())
            {
                *of_weight = A::mul_add(*g, *unit, *of_weight);
                *of_bias += g;
            }
            for (g, weight) in g.iter_mut().zip(weight.iter()) {
                *g *= weight;
            }
            for ((product, unit), g) in product.iter_mut().zip(&unit).zip(g.iter()) {
                *product = unit * g;
            }
            let along = sum(&product, |x| x) / count;
            let shift = if centered { sum(g, |x| x) / count } else { 0.0 };
            for (g, unit) in g.iter_mut().zip(&unit) {
                *g = scale * (*g - shift - unit * along);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::Isa;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// In place and from elsewhere.
        #[test]
        fn norms_are_their_definitions(row in prop::collection::vec(-20.0f32..20.0, 1..100)) {
            let wide: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
            let n = wide.len() as f64;
            let mean = wide.iter().sum::<f64>() / n;
            let variance = wide.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let square = wide.iter().map(|x| x * x).sum::<f64>() / n;
            let (weight, bias) = (vec![1.5f32; row.len()], vec![0.25f32; row.len()]);
            let layer_norm =
                NormWeights::Layer { weight: weight.clone().into(), bias: bias.into(), eps: 1e-3 };
            let rms_norm = NormWeights::Rms { weight: weight.into(), eps: 1e-3 };
            for isa in Isa::available() {
                let normed = |norm| {
                    let mut rows = row.clone();
                    isa.dispatch(Norm { norm, input: None, rows: &mut rows });
                    let mut copied = vec![7.0; row.len()];
                    isa.dispatch(Norm { norm, input: Some(&row), rows: &mut copied });
                    assert_eq!(rows, copied);
                    rows
                };
                let (layer, rms) = (normed(&layer_norm), normed(&rms_norm));
                for (i, x) in wide.iter().enumerate() {
                    // Values up to 20, a scale up to 1/sqrt(1e-3): a few roundings of 20 * 32 * 2^-24.
                    let want = (x - mean) / (variance + 1e-3).sqrt() * 1.5 + 0.25;
                    prop_assert!((f64::from(layer[i]) - want).abs() < 2e-4);
                    prop_assert!((f64::from(rms[i]) - x / (square + 1e-3).sqrt() * 1.5).abs() < 2e-4);
                }
            }
        }
    }
}
