//! 4-bit NormalFloat (Dettmers et al. 2023, arXiv 2305.14314, sections 3 and 3.1). The codes are quantiles of a
//! normal distribution. A block of 64 weights has one scale, and scales have 8 bits.
//!
//! Codes, scales and values are those of bitsandbytes 0.50.2 on a CPU, bit for bit
//! (`quantize_4bit(blocksize=64, quant_type="nf4", compress_statistics=True)`), which rounds so:
//!
//! - The scale is max |w| of a block, and not below 1e-38. The unit is w * (1 / scale), or w / scale in a last block of
//!   fewer than 64. Each operation is in f32.
//! - The code of a unit is the number of boundaries below the unit. A unit on a boundary, the middle between two
//!   values, takes the lower value.
//! - Scales lose their mean (f32, in PyTorch's order of summation on one thread with AVX2). Then they become codes of
//!   the 8-bit dynamic type in blocks of 256.

use std::sync::Arc;

use rayon::prelude::*;

use super::dynamic;

/// The values of the codes. Appendix E of the paper.
pub const VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Weights that share a scale.
pub const BLOCK: usize = 64;

/// A quantized matrix (rows, columns). Blocks run over the rows one after the other: a block may span two.
///
/// ```
/// use secateur_encoders::nf4::Nf4Matrix;
/// let weights: Vec<f32> = (0..128).map(|i| i as f32 - 64.0).collect();
/// let matrix = Nf4Matrix::quantize(&weights, 2, 64);
/// let back = matrix.dequantize();
/// assert_eq!(back[64], 0.0);
/// // The largest gap between two codes is 0.31, the largest weight 64; scales lose up to 1 / 128 of their range.
/// assert!(weights.iter().zip(&back).all(|(w, b)| (w - b).abs() < 0.16 * 64.0));
/// assert_eq!(matrix.num_bytes(), 64 + 2 + 4 + 4);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4Matrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Two weights a byte, the first in the upper half.
    pub(crate) codes: Vec<u8>,
    pub(crate) scales: Arc<Scales>,
}

/// The scale of each block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scales {
    /// As they are.
    Plain(Vec<f32>),
    /// map\[code\] * scale of the block of 256 + offset
    Nested(Box<NestedScales>),
}

/// Scales of blocks as codes of 8 bits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NestedScales {
    pub(crate) codes: Vec<u8>,
    pub(crate) map: [f32; 256],
    pub(crate) scales: Vec<f32>,
    pub(crate) block: usize,
    pub(crate) offset: f32,
}

impl Scales {
    pub(crate) fn nested(scales: &[f32]) -> Scales {
        let offset = dynamic::mean(scales);
        let differences: Vec<f32> = scales.iter().map(|scale| scale - offset).collect();
        let (codes, scales) = dynamic::quantize(&differences);
        Scales::Nested(Box::new(NestedScales {
            codes,
            map: *dynamic::MAP,
            scales,
            block: dynamic::BLOCK,
            offset,
        }))
    }

    /// The scale of a block of weights.
    pub(crate) fn of_block(&self, block: usize) -> f32 {
        match self {
            Scales::Plain(scales) => scales[block],
            Scales::Nested(nested) => {
                let unit = nested.map[usize::from(nested.codes[block])];
                unit * nested.scales[block / nested.block] + nested.offset
            }
        }
    }

    fn num_bytes(&self) -> usize {
        match self {
            Scales::Plain(scales) => size_of_val(&scales[..]),
            Scales::Nested(nested) => {
                nested.codes.len() + size_of_val(&nested.scales[..]) + size_of_val(&nested.offset)
            }
        }
    }
}

impl Nf4Matrix {
    /// Quantizes a row-major matrix, scales too. Every weight must be finite.
    ///
    /// # Panics
    ///
    /// There are not `rows * columns` weights, or none.
    pub fn quantize(weights: &[f32], rows: usize, columns: usize) -> Nf4Matrix {
        assert_eq!(weights.len(), rows * columns, "a matrix has rows * columns weights");
        assert!(!weights.is_empty(), "a matrix has weights");
        let boundaries = boundaries();
        let mut codes = vec![0u8; weights.len().div_ceil(2)];
        let mut scales = vec![0.0f32; weights.len().div_ceil(BLOCK)];
        (codes.par_chunks_mut(BLOCK / 2), &mut scales, weights.par_chunks(BLOCK))
            .into_par_iter()
            .with_min_len(256)
            .for_each(|(codes, scale, weights)| *scale = quantize_block(weights, &boundaries, codes));
        Nf4Matrix { rows, columns, codes, scales: Arc::new(Scales::nested(&scales)) }
    }

    /// The weights that the codes stand for, row-major: value of the code times scale of the block, in f32.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut weights = vec![0.0f32; self.rows * self.columns];
        (weights.par_chunks_mut(BLOCK), self.codes.par_chunks(BLOCK / 2))
            .into_par_iter()
            .with_min_len(256)
            .enumerate()
            .for_each(|(block, (weights, codes))| {
                let scale = self.scales.of_block(block);
                for (pair, byte) in weights.chunks_mut(2).zip(codes) {
                    let values = [byte >> 4, byte & 15].map(|code| VALUES[usize::from(code)] * scale);
                    pair.copy_from_slice(&values[..pair.len()]);
                }
            });
        weights
    }

    /// Output features of a linear layer.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features of a linear layer.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The code of a weight.
    pub(crate) fn code(&self, row: usize, column: usize) -> u8 {
        let place = row * self.columns + column;
        let byte = self.codes[place / 2];
        if place.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
    }

    pub(crate) fn scales(&self) -> &Arc<Scales> {
        &self.scales
    }

    /// Bytes of its codes and scales: 0.5 and 0.0159 a weight.
    pub fn num_bytes(&self) -> usize {
        self.codes.len() + self.scales.num_bytes()
    }
}

/// The middles between neighboring values.
fn boundaries() -> [f32; 15] {
    std::array::from_fn(|i| (VALUES[i] + VALUES[i + 1]) / 2.0)
}

/// Writes the codes of up to 64 weights, two a byte, and returns their scale.
fn quantize_block(weights: &[f32], boundaries: &[f32; 15], codes: &mut [u8]) -> f32 {
    // A subnormal number; its inverse is finite.
    const SMALLEST: f32 = 1e-38;
    let largest = weights.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    let scale = largest.max(SMALLEST);
    let inverse = 1.0 / scale;
    let whole = weights.len() == BLOCK;
    let code = |weight: f32| -> u8 {
        let unit = (if whole { weight * inverse } else { weight / scale }).clamp(-1.0, 1.0);
        boundaries.iter().map(|boundary| u8::from(*boundary < unit)).sum()
    };
    for (byte, pair) in codes.iter_mut().zip(weights.chunks(2)) {
        // An absent second weight counts as 0.
        *byte = code(pair[0]) << 4 | code(pair.get(1).copied().unwrap_or(0.0));
    }
    if whole { largest } else { scale }
}
