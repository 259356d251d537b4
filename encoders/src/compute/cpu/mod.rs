//! The operations on a CPU, in f32: packed weights, activations and norms folded into the products, no padding.

pub(crate) mod attention;
mod backward;
pub(crate) mod bf16;
pub(crate) mod compact;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod isa;
mod linear;
mod nf4;
mod pool;
pub(crate) mod rotary;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::{AttentionShape, ExpandWeights, LinearWeights, Matrix, NormWeights, Ops, RotationWeights, Spans};
use crate::compute::precision::Precision;
use crate::error::Result;
use attention::{HeadGroup, Scratch};
use elementwise::{LayerNorm, RmsNorm};
use gemm::{Epilogue, Gemm, PackTiles, PackedMatrix};
use isa::Isa;
pub(crate) use linear::Products;
use linear::{BiasActivation, BiasResidual, GatedActivation, Packed};
pub use linear::{PackedExpand, PackedLinear};
pub(crate) use pool::Pool;
pub use pool::Rows;
use rotary::Rotate;
pub use rotary::Rotation;

/// The CPU's operations. A value belongs to one thread at a time and keeps its working memory.
pub struct Cpu {
    isa: Isa,
    /// Whether one operation is spread over the current rayon pool. Batches that already run side by side do not.
    parallel: bool,
    /// Of the linear layers that are loaded.
    products: Products,
    pool: Arc<Pool>,
    scratch: RefCell<Scratch>,
    /// The activations that are multiplied with a matrix that is unpacked.
    packed: RefCell<Vec<f32>>,
    /// The activations in bf16.
    halves: RefCell<Vec<numkong::bf16>>,
    memory: RefCell<Memory>,
}

/// The working memory of products.
#[derive(Default)]
struct Memory {
    tiles: Vec<f32>,
    /// The panels that are being multiplied of a matrix that is unpacked or transposed.
    window: PackedMatrix,
    /// Before their epilogue, where another library has summed.
    sums: Vec<f32>,
}

/// A table in the order of its ids.
pub struct Table {
    values: Vec<f32>,
    columns: usize,
}

impl Cpu {
    /// Operations on one thread.
    pub fn serial() -> Cpu {
        Cpu::new(Isa::detect(), false)
    }

    /// Operations that are each spread over the current rayon pool. The results are the same, bit for bit.
    pub fn parallel() -> Cpu {
        Cpu::new(Isa::detect(), true)
    }

    /// The same, to load linear layers that are multiplied in `precision`.
    pub fn with_precision(self, precision: Precision) -> Cpu {
        self.with_products(Products::of(precision))
    }

    /// The same with a choice that tests make.
    pub(crate) fn with_products(self, products: Products) -> Cpu {
        Cpu { products, ..self }
    }

    /// The same with arrays from a pool that others use, too.
    pub(crate) fn with_pool(self, pool: Arc<Pool>) -> Cpu {
        Cpu { pool, ..self }
    }

    fn new(isa: Isa, parallel: bool) -> Cpu {
        Cpu {
            isa,
            parallel,
            products: Products::F32,
            pool: Arc::default(),
            scratch: RefCell::default(),
            packed: RefCell::default(),
            halves: RefCell::default(),
            memory: RefCell::default(),
        }
    }

    /// The instruction set it computes with.
    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// Whether operations are spread over the pool.
    pub(super) fn is_parallel(&self) -> bool {
        self.parallel
    }

    /// An array to be written: what an earlier use left in it is not cleared.
    pub(super) fn rows(&self, num_rows: usize, columns: usize) -> Rows {
        Rows::new(&self.pool, num_rows, columns)
    }

    /// How linear layers that are loaded are multiplied.
    pub(super) fn products(&self) -> Products {
        self.products
    }

    fn norm_rows(&self, rows: &mut [f32], norm: &NormWeights<'static>) {
        match norm {
            NormWeights::Layer { weight, bias, eps } => {
                self.isa.dispatch(LayerNorm { rows, weight, bias, eps: *eps });
            }
            NormWeights::Rms { weight, eps } => self.isa.dispatch(RmsNorm { rows, weight, eps: *eps }),
        }
    }

    fn product<E: Epilogue + Sync>(&self, x: &Rows, linear: &PackedLinear, epilogue: E, out: &mut Rows) {
        let matrix = &linear.matrix;
        assert_eq!(x.columns, matrix.depth(), "a linear layer's input has as many columns as its weight");
        let num_panels = matrix.num_panels();
        let (isa, stride) = (self.isa, x.columns);
        let rounded = match matrix {
            Packed::Rounded(_) => bf16::round_in_f32(&x.values),
            _ => Vec::new(),
        };
        let a = if rounded.is_empty() { &x.values[..] } else { &rounded[..] };
        let mut packed = self.packed.borrow_mut();
        let mut halves = self.halves.borrow_mut();
        let tiles = match matrix {
            Packed::Dense(_) | Packed::Rounded(_) => None,
            Packed::Compact(_) => {
                isa.dispatch(PackTiles { a, depth: stride, out: &mut packed });
                Some(&packed[..])
            }
            Packed::Bf16(_) => {
                bf16::round_into(a, &mut halves);
                None
            }
        };
        let halves = &halves[..];
        let gemm =
            |b: &PackedMatrix, panels: Range<usize>, out: &mut [&mut [f32]], scratch: &mut Vec<f32>| {
                let depth = 0..matrix.depth();
                isa.dispatch(Gemm { a, stride, b, panels, depth, epilogue, out, tiles, scratch });
            };
        let strip = |panels: Range<usize>, rows: &mut [&mut [f32]], scratch: &mut Memory| match matrix {
            Packed::Dense(matrix) | Packed::Rounded(matrix) => {
                gemm(matrix, panels, rows, &mut scratch.tiles);
            }
            Packed::Bf16(matrix) => {
                for first_panel in panels.clone().step_by(bf16::CHUNK) {
                    let columns = matrix.multiply(halves, first_panel / bf16::CHUNK, &mut scratch.sums);
                    let start = (first_panel - panels.start) * E::WIDTH;
                    let mut out: Vec<&mut [f32]> = rows.iter_mut().map(|row| &mut row[start..]).collect();
                    let sums = &scratch.sums[..];
                    isa.dispatch(bf16::Finish { sums, columns, first_panel, epilogue, out: &mut out });
                }
            }
            Packed::Compact(matrix) => {
                for first in panels.clone().step_by(matrix.window()) {
                    let window = first..(first + matrix.window()).min(panels.end);
                    matrix.unpack(isa, window.clone(), &mut scratch.window);
                    let mut out: Vec<&mut [f32]> = rows
                        .iter_mut()
                        .map(|row| {
                            // The last panel may be cut.
                            let column = |panel: usize| ((panel - panels.start) * E::WIDTH).min(row.len());
                            let columns = column(window.start)..column(window.end);
                            &mut row[columns]
                        })
                        .collect();
                    gemm(&scratch.window, window.clone(), &mut out, &mut scratch.tiles);
                }
            }
        };
        let tasks = if self.parallel { rayon::current_num_threads().min(num_panels) } else { 1 };
        if tasks <= 1 {
            let mut rows: Vec<&mut [f32]> = out.values.chunks_exact_mut(out.columns).collect();
            strip(0..num_panels, &mut rows, &mut self.memory.borrow_mut());
            return;
        }
        let panels_each = num_panels.div_ceil(tasks).next_multiple_of(matrix.panels_together());
        split_columns(out, panels_each * E::WIDTH).into_par_iter().enumerate().for_each(
            |(task, mut rows)| {
                let first = task * panels_each;
                strip(first..(first + panels_each).min(num_panels), &mut rows, &mut Memory::default());
            },
        );
    }
}

/// Vertical strips of `width` columns (the last may be narrower), each as one slice a row.
fn split_columns(rows: &mut Rows, width: usize) -> Vec<Vec<&mut [f32]>> {
    let columns = rows.columns;
    let num_rows = rows.values.len() / columns;
    let mut strips: Vec<Vec<&mut [f32]>> =
        (0..columns.div_ceil(width)).map(|_| Vec::with_capacity(num_rows)).collect();
    for row in rows.values.chunks_exact_mut(columns) {
        for (strip, piece) in strips.iter_mut().zip(row.chunks_mut(width)) {
            strip.push(piece);
        }
    }
    strips
}

impl Ops for Cpu {
    type Rows = Rows;
    type Linear = PackedLinear;
    type Expand = PackedExpand;
    type Norm = NormWeights<'static>;
    type Table = Table;
    type Rotation = Rotation;

    fn load_linear(&self, weights: LinearWeights<'_>) -> Result<PackedLinear> {
        Ok(PackedLinear::pack(weights, self.products))
    }

    fn load_expand(&self, weights: ExpandWeights<'_>) -> Result<PackedExpand> {
        Ok(PackedExpand::pack(weights, self.products))
    }

    fn load_norm(&self, weights: NormWeights<'_>) -> Result<NormWeights<'static>> {
        Ok(match weights {
            NormWeights::Layer { weight, bias, eps } => {
                NormWeights::Layer { weight: weight.into_owned().into(), bias: bias.into_owned().into(), eps }
            }
            NormWeights::Rms { weight, eps } => NormWeights::Rms { weight: weight.into_owned().into(), eps },
        })
    }

    fn load_table(&self, table: Matrix<'_>) -> Result<Table> {
        Ok(Table { values: table.values.into_owned(), columns: table.columns })
    }

    fn load_rotation(&self, weights: RotationWeights<'_>) -> Result<Rotation> {
        Ok(Rotation::new(weights))
    }

    fn embed(&self, table: &Table, ids: &[u32]) -> Result<Rows> {
        let mut rows = self.rows(ids.len(), table.columns);
        for (row, id) in rows.values.chunks_exact_mut(table.columns).zip(ids) {
            row.copy_from_slice(&table.values[*id as usize * table.columns..][..table.columns]);
        }
        Ok(rows)
    }

    fn copy(&self, x: &Rows) -> Result<Rows> {
        let mut out = self.rows(x.num_rows(), x.columns);
        out.values.copy_from_slice(&x.values);
        Ok(out)
    }

    fn add(&self, mut x: Rows, y: &Rows) -> Result<Rows> {
        assert_eq!(x.values.len(), y.values.len(), "arrays of one shape are added");
        for (x, y) in x.values.iter_mut().zip(&y.values) {
            *x += y;
        }
        Ok(x)
    }

    fn norm(&self, mut x: Rows, norm: &NormWeights<'static>) -> Result<Rows> {
        self.norm_rows(&mut x.values, norm);
        Ok(x)
    }

    fn norm_heads(&self, mut x: Rows, norm: &NormWeights<'static>, heads: Range<usize>) -> Result<Rows> {
        let (NormWeights::Layer { weight, .. } | NormWeights::Rms { weight, .. }) = norm;
        let head_dim = weight.len();
        for row in x.values.chunks_exact_mut(x.columns) {
            self.norm_rows(&mut row[heads.start * head_dim..heads.end * head_dim], norm);
        }
        Ok(x)
    }

    fn rotate(
        &self,
        mut qkv: Rows,
        spans: &Spans,
        rotation: &Rotation,
        shape: &AttentionShape,
    ) -> Result<Rows> {
        let columns = qkv.columns;
        for span in spans.iter() {
            let rows = &mut qkv.values[span.start * columns..span.end * columns];
            self.isa.dispatch(Rotate { rows, columns, rotation, shape });
        }
        Ok(qkv)
    }

    fn linear(&self, x: &Rows, linear: &PackedLinear) -> Result<Rows> {
        let mut out = self.rows(x.num_rows(), linear.matrix.rows());
        self.product(x, linear, linear.bias(), &mut out);
        Ok(out)
    }

    fn linear_add(&self, x: &Rows, linear: &PackedLinear, mut residual: Rows) -> Result<Rows> {
        self.product(x, linear, BiasResidual(linear.bias()), &mut residual);
        Ok(residual)
    }

    fn expand(&self, x: &Rows, expand: &PackedExpand) -> Result<Rows> {
        let PackedExpand { linear, activation, columns, gated } = expand;
        let mut out = self.rows(x.num_rows(), *columns);
        if *gated {
            self.product(x, linear, GatedActivation(linear.bias(), *activation), &mut out);
        } else {
            self.product(x, linear, BiasActivation(linear.bias(), *activation), &mut out);
        }
        Ok(out)
    }

    fn attention(
        &self,
        qkv: &Rows,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
    ) -> Result<Rows> {
        assert_eq!(qkv.columns, shape.joined_columns(), "queries, keys and values lie side by side");
        let mut out = self.rows(spans.num_tokens(), shape.num_heads * shape.head_dim);
        let group_columns = shape.num_heads / shape.num_key_value_heads * shape.head_dim;
        // One strip of the output for each text and key-value head.
        let mut groups = Vec::new();
        for (head, mut strip) in split_columns(&mut out, group_columns).into_iter().enumerate() {
            for span in spans.iter() {
                let rest = strip.split_off(span.len());
                groups.push((span, head, std::mem::replace(&mut strip, rest)));
            }
        }
        let (isa, qkv, columns) = (self.isa, &qkv.values[..], qkv.columns);
        let run = |(span, head, mut out): (Range<usize>, usize, Vec<&mut [f32]>), scratch: &mut Scratch| {
            let qkv = &qkv[span.start * columns..span.end * columns];
            HeadGroup { qkv, shape, window, key_value_head: head, out: &mut out }.run(isa, scratch);
        };
        if self.parallel {
            groups.into_par_iter().for_each_init(Scratch::default, |scratch, group| run(group, scratch));
        } else {
            let scratch = &mut self.scratch.borrow_mut();
            groups.into_iter().for_each(|group| run(group, scratch));
        }
        Ok(out)
    }

    fn to_vec(&self, x: &Rows) -> Result<Vec<f32>> {
        Ok(x.values.clone())
    }
}
