//! Weights on a GPU: bf16, in rows that the hardware likes.

use std::sync::Arc;

use half::bf16;
use secateur_gpu::gate;
use secateur_gpu::nf4::{self, Packed};
use secateur_gpu::{Buffer, Gpu};

use super::super::{GateUpWeights, HalfRows, LinearWeights, Matrix, Nf4Rows, Weight};
use crate::architecture::Activation;
use crate::error::Result;
use crate::weights::quantized::nf4::{BLOCK, VALUES};

/// Columns that rows of bf16 have in memory. Products want rows of 16 bytes, and large ones want 128 columns, a tile of
/// theirs. An MLP that lost a third of its neurons may be slower otherwise than one that lost none.
pub(super) fn padded(columns: usize) -> usize {
    if columns < 1024 { columns.next_multiple_of(8) } else { columns.next_multiple_of(128) }
}

/// A linear layer.
pub struct Linear {
    /// (padded rows, stride): zeros beyond the rows and the columns that there are.
    pub(super) weight: Buffer<bf16>,
    /// Output features.
    pub(super) rows: usize,
    pub(super) padded_rows: usize,
    /// Input features.
    pub(super) columns: usize,
    pub(super) stride: usize,
    /// (padded rows)
    pub(super) bias: Option<Arc<Buffer<f32>>>,
}

/// The projections that an MLP begins with.
pub struct GateUp {
    /// The gate and below it what it multiplies, or what is activated alone; each padded to a width of its own.
    pub(super) linear: Linear,
    /// I
    pub(super) width: usize,
    pub(super) gated: bool,
    pub(super) activation: gate::Activation,
}

/// An embedding table.
pub struct Table {
    /// (V, D)
    pub(super) rows: Buffer<bf16>,
    /// D
    pub(super) columns: usize,
}

impl Linear {
    pub(super) fn load(gpu: &Gpu, weights: LinearWeights<'_>) -> Result<Linear> {
        Linear::stacked(gpu, vec![weights])
    }

    /// Layers with one input, one below the other, the outputs of each padded.
    fn stacked(gpu: &Gpu, parts: Vec<LinearWeights<'_>>) -> Result<Linear> {
        let columns = parts[0].weight.columns();
        let stride = padded(columns);
        let rows = parts.iter().map(|part| part.weight.rows()).sum();
        let padded_rows = parts.iter().map(|part| padded(part.weight.rows())).sum();
        let mut weight = gpu.zeros(padded_rows * stride)?;
        let mut bias = vec![0.0; padded_rows];
        let (mut first, mut any_bias) = (0, false);
        for LinearWeights { weight: part, bias: of_part } in parts {
            let height = padded(part.rows());
            if let Some(of_part) = of_part {
                bias[first..first + of_part.len()].copy_from_slice(&of_part);
                any_bias = true;
            }
            write(gpu, &mut weight, first, stride, part)?;
            first += height;
        }
        let bias = any_bias.then(|| gpu.upload(&bias)).transpose()?.map(Arc::new);
        Ok(Linear { weight, rows, padded_rows, columns, stride, bias })
    }

    /// As the kernels for few rows take it.
    pub(super) fn few(&self, rows: usize) -> secateur_gpu::skinny::Weight<'_> {
        let bias = self.bias.as_deref();
        secateur_gpu::skinny::Weight { buffer: &self.weight, rows, stride: self.stride, bias }
    }
}

impl GateUp {
    pub(super) fn load(gpu: &Gpu, weights: GateUpWeights<'_>) -> Result<GateUp> {
        let GateUpWeights { gate, up, activation } = weights;
        let (width, gated) = (up.weight.rows(), gate.is_some());
        let linear = Linear::stacked(gpu, gate.into_iter().chain([up]).collect())?;
        let activation = activation_of(activation);
        Ok(GateUp { linear, width, gated, activation })
    }
}

/// The kernels' word for a non-linearity.
pub(super) fn activation_of(activation: Activation) -> gate::Activation {
    match activation {
        Activation::Gelu => gate::Activation::Gelu,
        Activation::GeluTanh => gate::Activation::GeluTanh,
        Activation::Silu => gate::Activation::Silu,
        Activation::Relu => gate::Activation::Relu,
        Activation::Tanh => gate::Activation::Tanh,
    }
}

impl Table {
    pub(super) fn load(gpu: &Gpu, table: &Matrix<'_>) -> Result<Table> {
        let mut rows = gpu.buffer(table.values.len())?;
        write_rounded(&mut rows, 0, table.columns, table)?;
        Ok(Table { rows, columns: table.columns })
    }

    pub(super) fn load_half(gpu: &Gpu, table: &HalfRows<'_>) -> Result<Table> {
        let mut rows = gpu.buffer(table.rows * table.columns)?;
        rows.write_bytes_at(0, &table.bytes)?;
        Ok(Table { rows, columns: table.columns })
    }
}

/// Writes the rows of a matrix from row `first` on; what is beyond its columns stays.
fn write(gpu: &Gpu, to: &mut Buffer<bf16>, first: usize, stride: usize, weight: Weight<'_>) -> Result<()> {
    let mut row = first;
    match weight {
        Weight::Dense(parts) => {
            for part in parts {
                write_rounded(to, row * stride, stride, &part)?;
                row += part.rows;
            }
        }
        Weight::Half(parts) => {
            for HalfRows { bytes, rows, columns } in parts {
                if columns == stride {
                    to.write_bytes_at(row * stride, &bytes)?;
                } else {
                    for (number, bytes) in bytes.chunks_exact(2 * columns).enumerate() {
                        to.write_bytes_at((row + number) * stride, bytes)?;
                    }
                }
                row += rows;
            }
        }
        Weight::Int8(parts) => {
            for part in parts {
                let rows = part.rows;
                write_rounded(to, row * stride, stride, &Weight::Int8(vec![part]).dequantize())?;
                row += rows;
            }
        }
        Weight::Nf4(parts) => {
            let values = gpu.upload(&VALUES)?;
            for Nf4Rows { matrix, rows } in parts {
                let blocks = (matrix.rows() * matrix.columns()).div_ceil(BLOCK);
                let scales: Vec<f32> = (0..blocks).map(|block| matrix.scales().of_block(block)).collect();
                let (codes, scales) = (gpu.upload(&matrix.codes)?, gpu.upload(&scales)?);
                let columns = matrix.columns();
                let packed = Packed { codes: &codes, scales: &scales, values: &values, columns };
                nf4::unpack(packed, (rows.start, rows.len()), to, (row * stride, stride))?;
                row += rows.len();
            }
        }
    }
    Ok(())
}

/// Rows in f32, rounded: a stretch of them at a time, so that the rounded ones are never all in the program's memory.
fn write_rounded(to: &mut Buffer<bf16>, first: usize, stride: usize, matrix: &Matrix<'_>) -> Result<()> {
    let columns = matrix.columns;
    let at_once = ((1 << 20) / stride).max(1);
    for (number, rows) in matrix.values.chunks(at_once * columns).enumerate() {
        let mut rounded = vec![bf16::ZERO; rows.len() / columns * stride];
        for (to, row) in rounded.chunks_exact_mut(stride).zip(rows.chunks_exact(columns)) {
            to.iter_mut().zip(row).for_each(|(to, x)| *to = bf16::from_f32(*x));
        }
        to.write_at(first + number * at_once * stride, &rounded)?;
    }
    Ok(())
}
