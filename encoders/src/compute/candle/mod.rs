//! The operations as candle's elementary ones, on any device.
//!
//! Nothing here is fast on a CPU. Everything is plain enough to be checked by eye, and candle differentiates all of it.
//! Candle's own fused operations are not used, because they drop gradients silently. [`super::cpu`] is tested against
//! this module.

use std::ops::Range;

use candle_core::{D, DType, Device, Tensor};

use super::{
    AttentionShape, Backend, GateUpWeights, LinearWeights, Matrix, NormWeights, RotationWeights, Spans,
    vectors_of,
};
use crate::architecture::Activation;
use crate::compute::precision::Precision;
use crate::error::{Error, Result};
use crate::pooling::Pooling;

/// The operations on one candle device.
#[derive(Clone, Debug)]
pub struct Candle {
    device: Device,
    /// How the loaded linear layers are multiplied.
    precision: Precision,
}

/// A linear layer: weight (out, in), in bf16 if it is multiplied so; bias (out).
#[derive(Clone, Debug)]
pub struct CandleLinear {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// The projections that an MLP begins with: one linear layer and its non-linearity, or two of which one is activated.
#[derive(Clone, Debug)]
pub struct CandleGateUp {
    gate: Option<CandleLinear>,
    up: CandleLinear,
    activation: Activation,
}

/// Cosines (L, K / 2) and sines (L, K / 2).
#[derive(Clone, Debug)]
pub struct CandleRotation {
    cos: Tensor,
    sin: Tensor,
}

/// A normalization and its parameters.
#[derive(Clone, Debug)]
pub enum CandleNorm {
    /// Weight (D), bias (D), eps.
    Layer(Tensor, Tensor, f64),
    /// Weight (D), eps.
    Rms(Tensor, f64),
}

#[cfg(test)]
impl CandleLinear {
    /// The layer whose outputs are multiplied by `scale` (1).
    pub(crate) fn scaled(&self, scale: &Tensor) -> Result<CandleLinear> {
        let bias = self.bias.as_ref().map(|bias| bias.broadcast_mul(scale)).transpose()?;
        Ok(CandleLinear { weight: self.weight.broadcast_mul(scale)?, bias })
    }
}

#[cfg(test)]
impl CandleNorm {
    /// The norm whose outputs are multiplied by `scale` (1).
    pub(crate) fn scaled(&self, scale: &Tensor) -> Result<CandleNorm> {
        Ok(match self {
            CandleNorm::Layer(weight, bias, eps) => {
                CandleNorm::Layer(weight.broadcast_mul(scale)?, bias.broadcast_mul(scale)?, *eps)
            }
            CandleNorm::Rms(weight, eps) => CandleNorm::Rms(weight.broadcast_mul(scale)?, *eps),
        })
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Error {
        Error::Candle(error.into())
    }
}

impl Candle {
    /// Operations on `device`.
    pub fn new(device: Device) -> Candle {
        Candle { device, precision: Precision::F32 }
    }

    /// Sets how the linear layers that are loaded later are multiplied.
    pub fn with_precision(self, precision: Precision) -> Candle {
        Candle { precision, ..self }
    }

    fn tensor(&self, matrix: &Matrix<'_>) -> Result<Tensor> {
        Ok(Tensor::from_slice(&matrix.values, (matrix.rows, matrix.columns), &self.device)?)
    }

    fn vector(&self, values: &[f32]) -> Result<Tensor> {
        Ok(Tensor::from_slice(values, values.len(), &self.device)?)
    }
}

fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        // candle's `gelu` is the tanh form.
        Activation::GeluTanh => x.gelu(),
        Activation::Silu => x.silu(),
        Activation::Relu => x.relu(),
        Activation::Tanh => x.tanh(),
    }
}

/// softmax over the last dimension.
fn softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let exp = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// 0 where query i may see key j, minus infinity elsewhere: (L, L).
fn mask(length: usize, causal: bool, window: usize, device: &Device) -> candle_core::Result<Tensor> {
    let hidden = |i: usize, j: usize| (causal && j > i) || i.abs_diff(j) > window;
    let mask: Vec<f32> = (0..length)
        .flat_map(|i| (0..length).map(move |j| if hidden(i, j) { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Tensor::from_vec(mask, (length, length), device)
}

/// Consecutive texts of one length L, which are computed together: the first row, the number n of texts, and L. A
/// batch is sorted by length, so there are few such runs, and each is large enough for a GPU.
fn runs_of_equal_length(spans: &Spans) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for span in spans.iter() {
        match runs.last_mut() {
            Some((_, count, length)) if *length == span.len() => *count += 1,
            _ => runs.push((span.start, 1, span.len())),
        }
    }
    runs
}

/// `x` (T, columns) with the columns that begin at `first` replaced by `middle`.
fn replace_columns(x: &Tensor, first: usize, middle: &Tensor) -> candle_core::Result<Tensor> {
    let end = first + middle.dim(1)?;
    let parts = [x.narrow(1, 0, first)?, middle.clone(), x.narrow(1, end, x.dim(1)? - end)?];
    let parts: Vec<&Tensor> = parts.iter().filter(|part| part.elem_count() > 0).collect();
    Tensor::cat(&parts, 1)
}

impl Backend for Candle {
    type Activations = Tensor;
    type Linear = CandleLinear;
    type GateUp = CandleGateUp;
    type Norm = CandleNorm;
    type Table = Tensor;
    type Rotation = CandleRotation;

    fn load_linear(&self, weights: LinearWeights<'_>) -> Result<CandleLinear> {
        Ok(CandleLinear {
            weight: match self.precision {
                Precision::F32 => self.tensor(&weights.weight.dequantize())?,
                Precision::Bf16 => self.tensor(&weights.weight.dequantize())?.to_dtype(DType::BF16)?,
                Precision::Int8 => {
                    return Err(Error::Candle("candle's operations have no products of 8 bits".into()));
                }
            },
            bias: weights.bias.map(|bias| self.vector(&bias)).transpose()?,
        })
    }

    fn load_gate_up(&self, weights: GateUpWeights<'_>) -> Result<CandleGateUp> {
        Ok(CandleGateUp {
            gate: weights.gate.map(|gate| self.load_linear(gate)).transpose()?,
            up: self.load_linear(weights.up)?,
            activation: weights.activation,
        })
    }

    fn load_norm(&self, weights: NormWeights<'_>) -> Result<CandleNorm> {
        Ok(match weights {
            NormWeights::Layer { weight, bias, eps } => {
                CandleNorm::Layer(self.vector(&weight)?, self.vector(&bias)?, f64::from(eps))
            }
            NormWeights::Rms { weight, eps } => CandleNorm::Rms(self.vector(&weight)?, f64::from(eps)),
        })
    }

    fn load_table(&self, table: Matrix<'_>) -> Result<Tensor> {
        self.tensor(&table)
    }

    fn load_rotation(&self, weights: RotationWeights<'_>) -> Result<CandleRotation> {
        Ok(CandleRotation { cos: self.tensor(&weights.cos)?, sin: self.tensor(&weights.sin)? })
    }

    fn upload(&self, values: &[f32], columns: usize) -> Result<Tensor> {
        Ok(Tensor::from_slice(values, (values.len() / columns, columns), &self.device)?)
    }

    fn to_vec(&self, x: &Tensor) -> Result<Vec<f32>> {
        Ok(x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    fn embed(&self, table: &Tensor, ids: &[u32]) -> Result<Tensor> {
        Ok(table.index_select(&Tensor::from_slice(ids, ids.len(), &self.device)?, 0)?)
    }

    fn add(&self, x: Tensor, y: &Tensor) -> Result<Tensor> {
        Ok((x + y)?)
    }

    fn norm_in_place(&self, x: Tensor, norm: &CandleNorm) -> Result<Tensor> {
        self.norm(&x, norm)
    }

    fn norm(&self, x: &Tensor, norm: &CandleNorm) -> Result<Tensor> {
        Ok(match norm {
            CandleNorm::Layer(weight, bias, eps) => {
                let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
                let unit = centered.broadcast_div(&(variance + *eps)?.sqrt()?)?;
                unit.broadcast_mul(weight)?.broadcast_add(bias)?
            }
            CandleNorm::Rms(weight, eps) => {
                let square = x.sqr()?.mean_keepdim(D::Minus1)?;
                x.broadcast_div(&(square + *eps)?.sqrt()?)?.broadcast_mul(weight)?
            }
        })
    }

    fn norm_heads(&self, x: Tensor, norm: &CandleNorm, heads: Range<usize>) -> Result<Tensor> {
        let (CandleNorm::Layer(weight, ..) | CandleNorm::Rms(weight, _)) = norm;
        let head_dim = weight.dim(0)?;
        let part = x.narrow(1, heads.start * head_dim, heads.len() * head_dim)?;
        let normed = self.norm(&part.reshape((x.dim(0)?, heads.len(), head_dim))?, norm)?;
        Ok(replace_columns(&x, heads.start * head_dim, &normed.flatten_from(1)?)?)
    }

    fn rotate(
        &self,
        qkv: Tensor,
        spans: &Spans,
        rotation: &CandleRotation,
        shape: &AttentionShape,
    ) -> Result<Tensor> {
        let positions: Vec<u32> = spans.iter().flat_map(|span| 0..span.len() as u32).collect();
        let positions = Tensor::from_vec(positions, spans.num_tokens(), &self.device)?;
        // (T, 1, K / 2): all heads of a token rotate alike.
        let of_tokens = |table: &Tensor| table.index_select(&positions, 0)?.unsqueeze(1);
        let (cos, sin) = (of_tokens(&rotation.cos)?, of_tokens(&rotation.sin)?);
        let (heads, half) = (shape.num_rotated_heads(), shape.head_dim / 2);
        let x = qkv.narrow(1, 0, heads * shape.head_dim)?.reshape(((), heads, shape.head_dim))?;
        let (a, b) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
        let rotated_a = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let rotated_b = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        let rotated = Tensor::cat(&[rotated_a, rotated_b], 2)?.flatten_from(1)?;
        Ok(replace_columns(&qkv, 0, &rotated)?)
    }

    fn linear(&self, x: &Tensor, linear: &CandleLinear) -> Result<Tensor> {
        let y = match linear.weight.dtype() {
            DType::BF16 if x.device().is_cpu() => {
                // candle would round the sums to bf16 as well.
                let rounded = x.to_dtype(DType::BF16)?.to_dtype(DType::F32)?;
                rounded.matmul(&linear.weight.to_dtype(DType::F32)?.t()?)?
            }
            DType::BF16 => x.to_dtype(DType::BF16)?.matmul(&linear.weight.t()?)?.to_dtype(DType::F32)?,
            _ => x.matmul(&linear.weight.t()?)?,
        };
        Ok(match &linear.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }

    fn linear_add(&self, x: &Tensor, linear: &CandleLinear, residual: Tensor) -> Result<Tensor> {
        self.add(residual, &self.linear(x, linear)?)
    }

    fn gate_up(&self, x: &Tensor, gate_up: &CandleGateUp) -> Result<Tensor> {
        let up = self.linear(x, &gate_up.up)?;
        Ok(match &gate_up.gate {
            Some(gate) => (activate(&self.linear(x, gate)?, gate_up.activation)? * up)?,
            None => activate(&up, gate_up.activation)?,
        })
    }

    fn attention(
        &self,
        qkv: &Tensor,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
    ) -> Result<Tensor> {
        let AttentionShape { num_heads, num_key_value_heads, head_dim, scale, softcap, causal } = *shape;
        let mut contexts = Vec::with_capacity(spans.len());
        for (start, count, length) in runs_of_equal_length(spans) {
            let rows = qkv.narrow(0, start, count * length)?;
            // (n L, heads K) at `column` -> (n, heads, L, K)
            let heads = |column: usize, heads: usize| {
                rows.narrow(1, column * head_dim, heads * head_dim)?
                    .reshape((count, length, heads, head_dim))?
                    .transpose(1, 2)?
                    .contiguous()
            };
            // Each key-value head once for every query head that reads it.
            let repeated = |column: usize| {
                let group = num_heads / num_key_value_heads;
                heads(column, num_key_value_heads)?
                    .unsqueeze(2)?
                    .expand((count, num_key_value_heads, group, length, head_dim))?
                    .reshape((count, num_heads, length, head_dim))
            };
            let query = heads(0, num_heads)?;
            let key = repeated(num_heads)?;
            let value = repeated(num_heads + num_key_value_heads)?;
            let mut scores = (query.matmul(&key.t()?)? * f64::from(scale))?;
            if let Some(cap) = softcap.map(f64::from) {
                scores = ((scores / cap)?.tanh()? * cap)?;
            }
            if causal || window.is_some() {
                let window = window.unwrap_or(usize::MAX);
                scores = scores.broadcast_add(&mask(length, causal, window, &self.device)?)?;
            }
            let context = softmax(&scores)?.matmul(&value)?;
            contexts.push(context.transpose(1, 2)?.reshape((count * length, num_heads * head_dim))?);
        }
        Ok(Tensor::cat(&contexts, 0)?)
    }

    fn pool(&self, hidden: &Tensor, spans: &Spans, pooling: Pooling, skipped: usize) -> Result<Tensor> {
        let vectors = spans.iter().map(|span| {
            let first = pooling.first(span.start..span.end, skipped);
            let counted = hidden.narrow(0, first, span.end - first);
            Ok(match pooling {
                Pooling::Cls => hidden.narrow(0, first, 1)?,
                Pooling::LastToken => hidden.narrow(0, span.end - 1, 1)?,
                Pooling::Max => counted?.max_keepdim(0)?,
                Pooling::Mean => counted?.mean_keepdim(0)?,
                Pooling::MeanSqrtLen => (counted?.sum_keepdim(0)? / ((span.end - first) as f64).sqrt())?,
                Pooling::WeightedMean => {
                    let weights: Vec<f32> =
                        (first..span.end).map(|token| (token - span.start + 1) as f32).collect();
                    let total: f32 = weights.iter().sum();
                    let weights = Tensor::from_vec(weights, (1, span.end - first), &self.device)?;
                    (weights.matmul(&counted?)? / f64::from(total))?
                }
            })
        });
        Ok(Tensor::cat(&vectors.collect::<Result<Vec<Tensor>>>()?, 0)?)
    }

    fn select(&self, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
        Ok(x.index_select(&Tensor::from_slice(rows, rows.len(), &self.device)?, 0)?)
    }

    fn select_below(&self, above: &Tensor, below: &Tensor, rows: &[u32]) -> Result<Tensor> {
        self.select(&Tensor::cat(&[above, below], 0)?, rows)
    }

    fn to_vectors(&self, x: &Tensor, kept: usize, unit: bool) -> Result<Vec<f32>> {
        Ok(vectors_of(self.to_vec(x)?, x.dim(1)?, kept, unit))
    }
}
