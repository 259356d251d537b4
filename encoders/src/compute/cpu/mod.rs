//! The operations on a CPU, in f32. Weights are packed, activations and norms are folded into the products, and there
//! is no padding.

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod attention_gradient;
mod attention_products;
mod backward;
mod bf16;
mod elementwise;
mod gate_up;
mod gemm;
#[cfg(target_arch = "x86_64")]
mod half_attention;
mod half_products;
#[cfg(target_arch = "x86_64")]
mod half_tiles;
pub(crate) mod idle;
mod int8;
#[cfg(target_arch = "x86_64")]
mod integer_attention;
mod isa;
pub(crate) mod kept_panels;
mod linear;
mod low_precision;
mod nf4;
mod norm;
mod numbers;
mod packed_matrix;
mod product;
mod product_gradients;
mod quantized_mlp;
mod rotary;
#[cfg(target_arch = "x86_64")]
mod rounded_matrix;
mod strips;
mod table;
#[cfg(target_arch = "x86_64")]
mod tile_units;
#[cfg(target_arch = "x86_64")]
mod turn;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::precision::Precision;
use super::{
    AttentionShape, Backend, GateUpWeights, LinearWeights, MappedTable, Matrix, NormWeights, RotationWeights,
    Spans, vectors_of,
};
use crate::error::Result;
use crate::pooling::Pooling;
pub use activations::Activations;
pub(crate) use activations::Pool;
use attention::HeadGroup;
#[cfg(target_arch = "x86_64")]
use half_attention::HalfHeadGroup;
pub(crate) use half_products::Factors;
#[cfg(target_arch = "x86_64")]
use half_products::RoundedRows;
#[cfg(target_arch = "x86_64")]
use half_tiles::Tile;
use int8::QuantizedRows;
#[cfg(test)]
pub(crate) use int8::Units;
pub(crate) use int8::quantize_rows;
use isa::Isa;
use kept_panels::KeptPanels;
pub(crate) use linear::Products;
use linear::{BiasActivation, BiasResidual, GatedActivation};
pub use linear::{PackedGateUp, PackedLinear};
use norm::Norm;
use packed_matrix::PackedMatrix;
use rotary::Rotate;
pub use rotary::Rotation;
use strips::split_columns;
pub use table::Table;

/// The CPU as a backend. A value belongs to one thread at a time and keeps its working memory.
pub struct Cpu {
    isa: Isa,
    /// Whether one operation is spread over the current rayon pool. Batches that already run side by side do not.
    parallel: bool,
    /// How the loaded linear layers are multiplied.
    products: Products,
    /// What the products multiply that training goes back through, forward and back.
    factors: Factors,
    /// What was packed when the model was loaded before.
    kept: RefCell<KeptPanels>,
    pool: Arc<Pool>,
    scratch: RefCell<Scratch>,
    /// The activations that are multiplied with a matrix that is unpacked.
    packed: RefCell<Vec<f32>>,
    /// The activations in bf16.
    halves: RefCell<Vec<half::bf16>>,
    /// The activations in 8 bits.
    codes: RefCell<QuantizedRows>,
    /// What is between the products of an MLP in 8 bits.
    inner_codes: RefCell<QuantizedRows>,
    /// What is multiplied in tiles.
    #[cfg(target_arch = "x86_64")]
    rounded_rows: RefCell<RoundedRows>,
    memory: RefCell<Memory>,
}

/// The working memory of one thread's attention.
#[derive(Default)]
struct Scratch {
    whole: attention::Scratch,
    #[cfg(target_arch = "x86_64")]
    half: half_attention::Scratch,
    #[cfg(target_arch = "x86_64")]
    integer: integer_attention::Scratch,
}

/// The working memory of products.
#[derive(Default)]
struct Memory {
    tiles: Vec<f32>,
    /// The panels that are being multiplied of a matrix that is unpacked or transposed.
    window: PackedMatrix,
    /// Before their epilogue, where another library has summed.
    sums: Vec<f32>,
    /// The panels that are multiplied in tiles.
    #[cfg(target_arch = "x86_64")]
    half_panels: [Vec<Tile>; 2],
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

    /// Sets how the linear layers that are loaded later are multiplied.
    pub fn with_precision(self, precision: Precision) -> Cpu {
        self.with_products(Products::of(precision))
    }

    /// Sets how products are computed; for tests.
    pub(crate) fn with_products(self, products: Products) -> Cpu {
        Cpu { products, ..self }
    }

    /// Sets what the products multiply that training goes back through.
    pub(crate) fn with_factors(self, factors: Factors) -> Cpu {
        Cpu { factors, ..self }
    }

    /// Reads the packed matrices of the linear layers that are loaded later, or writes them.
    pub(crate) fn with_kept(self, kept: KeptPanels) -> Cpu {
        Cpu { kept: RefCell::new(kept), ..self }
    }

    /// Ends what is kept of the model that was loaded.
    pub(crate) fn finish_kept(self) {
        self.kept.into_inner().finish();
    }

    /// Takes arrays from a pool that others use, too.
    pub(crate) fn with_pool(self, pool: Arc<Pool>) -> Cpu {
        Cpu { pool, ..self }
    }

    fn new(isa: Isa, parallel: bool) -> Cpu {
        Cpu {
            isa,
            parallel,
            products: Products::F32,
            factors: Factors::F32,
            kept: RefCell::new(KeptPanels::off()),
            pool: Arc::default(),
            scratch: RefCell::default(),
            packed: RefCell::default(),
            halves: RefCell::default(),
            codes: RefCell::default(),
            inner_codes: RefCell::default(),
            #[cfg(target_arch = "x86_64")]
            rounded_rows: RefCell::default(),
            memory: RefCell::default(),
        }
    }

    /// An array to be written: what an earlier use left in it is not cleared.
    fn array(&self, num_rows: usize, columns: usize) -> Activations {
        Activations::new(&self.pool, num_rows, columns)
    }

    /// What attention multiplies. Where training does, bf16. Beside linear layers of fewer than 32 bits bf16 with AMX,
    /// and integers with AVX-512 VNNI; AVX-512 BF16 alone would not be faster than f32.
    #[cfg(target_arch = "x86_64")]
    fn attention_factors(&self) -> AttentionFactors {
        let beside = matches!(self.products, Products::Bf16 | Products::Int8(_));
        if self.factors.are_tiles() || beside && half_tiles::are_there() && amx::is_there() {
            AttentionFactors::Halves
        } else if beside && self.isa == Isa::Avx512 && integer_attention::are_there() {
            AttentionFactors::Integers
        } else {
            AttentionFactors::F32
        }
    }
}

/// What attention multiplies.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
enum AttentionFactors {
    F32,
    Halves,
    Integers,
}

impl Backend for Cpu {
    type Activations = Activations;
    type Linear = PackedLinear;
    type GateUp = PackedGateUp;
    type Norm = NormWeights<'static>;
    type Table = Table;
    type Rotation = Rotation;

    fn load_linear(&self, weights: LinearWeights<'_>) -> Result<PackedLinear> {
        Ok(PackedLinear::pack(weights, (self.products, &mut self.kept.borrow_mut())))
    }

    fn load_gate_up(&self, weights: GateUpWeights<'_>) -> Result<PackedGateUp> {
        Ok(PackedGateUp::pack(weights, (self.products, &mut self.kept.borrow_mut())))
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
        Ok(Table::new(table, self.products == Products::Halves))
    }

    fn load_mapped_table(&self, table: &MappedTable) -> Result<Table> {
        if self.products == Products::Halves {
            let (rows, columns) = (table.rows(), table.columns());
            return self.load_table(Matrix { values: table.to_vec().into(), rows, columns });
        }
        Ok(Table::mapped(table.clone()))
    }

    fn load_rotation(&self, weights: RotationWeights<'_>) -> Result<Rotation> {
        Ok(Rotation::new(weights))
    }

    fn upload(&self, values: &[f32], columns: usize) -> Result<Activations> {
        let mut array = self.array(values.len() / columns, columns);
        array.values.copy_from_slice(values);
        Ok(array)
    }

    fn to_vec(&self, x: &Activations) -> Result<Vec<f32>> {
        Ok(x.values.clone())
    }

    fn embed(&self, table: &Table, ids: &[u32]) -> Result<Activations> {
        let mut rows = self.array(ids.len(), table.columns);
        for (row, id) in rows.values.chunks_exact_mut(table.columns).zip(ids) {
            table.read(*id, row);
        }
        Ok(rows)
    }

    fn add(&self, mut x: Activations, y: &Activations) -> Result<Activations> {
        assert_eq!(x.values.len(), y.values.len(), "arrays of one shape are added");
        for (x, y) in x.values.iter_mut().zip(&y.values) {
            *x += y;
        }
        Ok(x)
    }

    fn norm(&self, x: &Activations, norm: &NormWeights<'static>) -> Result<Activations> {
        let mut out = self.array(x.num_rows(), x.columns);
        self.isa.dispatch(Norm { norm, input: Some(&x.values), rows: &mut out.values });
        Ok(out)
    }

    fn norm_in_place(&self, mut x: Activations, norm: &NormWeights<'static>) -> Result<Activations> {
        self.isa.dispatch(Norm { norm, input: None, rows: &mut x.values });
        Ok(x)
    }

    fn norm_heads(
        &self,
        mut x: Activations,
        norm: &NormWeights<'static>,
        heads: Range<usize>,
    ) -> Result<Activations> {
        let head_dim = norm::length(norm);
        for row in x.values.chunks_exact_mut(x.columns) {
            let rows = &mut row[heads.start * head_dim..heads.end * head_dim];
            self.isa.dispatch(Norm { norm, input: None, rows });
        }
        Ok(x)
    }

    fn rotate(
        &self,
        mut qkv: Activations,
        spans: &Spans,
        rotation: &Rotation,
        shape: &AttentionShape,
    ) -> Result<Activations> {
        let columns = qkv.columns;
        for span in spans.iter() {
            let rows = &mut qkv.values[span.start * columns..span.end * columns];
            self.isa.dispatch(Rotate { rows, columns, rotation, shape });
        }
        Ok(qkv)
    }

    fn linear(&self, x: &Activations, linear: &PackedLinear) -> Result<Activations> {
        let mut out = self.array(x.num_rows(), linear.matrix.rows());
        self.product(x, linear, linear.bias(), &mut out);
        Ok(out)
    }

    fn linear_add(
        &self,
        x: &Activations,
        linear: &PackedLinear,
        mut residual: Activations,
    ) -> Result<Activations> {
        self.product(x, linear, BiasResidual(linear.bias()), &mut residual);
        Ok(residual)
    }

    fn gate_up(&self, x: &Activations, gate_up: &PackedGateUp) -> Result<Activations> {
        let PackedGateUp { linear, activation, columns, gated } = gate_up;
        let mut out = self.array(x.num_rows(), *columns);
        let exactness = gate_up.exactness();
        if *gated {
            self.product(x, linear, GatedActivation(linear.bias(), *activation, exactness), &mut out);
        } else {
            self.product(x, linear, BiasActivation(linear.bias(), *activation, exactness), &mut out);
        }
        Ok(out)
    }

    fn mlp_add(
        &self,
        x: Option<&Activations>,
        gate_up: &PackedGateUp,
        output: &PackedLinear,
        mut residual: Activations,
    ) -> Result<Activations> {
        if self.add_quantized_mlp(x, gate_up, output, &mut residual) {
            return Ok(residual);
        }
        let inner = self.gate_up(x.unwrap_or(&residual), gate_up)?;
        self.linear_add(&inner, output, residual)
    }

    fn attention(
        &self,
        qkv: &Activations,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
    ) -> Result<Activations> {
        assert_eq!(qkv.columns, shape.joined_columns(), "queries, keys and values lie side by side");
        let mut out = self.array(spans.num_tokens(), shape.num_heads * shape.head_dim);
        let group_columns = shape.num_heads / shape.num_key_value_heads * shape.head_dim;
        // One strip of the output for each text and key-value head.
        let mut groups = Vec::new();
        let all = 0..out.columns;
        for (head, mut strip) in split_columns(&mut out, all, group_columns).into_iter().enumerate() {
            for span in spans.iter() {
                let rest = strip.split_off(span.len());
                groups.push((span, head, std::mem::replace(&mut strip, rest)));
            }
        }
        let (isa, qkv, columns) = (self.isa, &qkv.values[..], qkv.columns);
        #[cfg(target_arch = "x86_64")]
        let factors = self.attention_factors();
        let run = |(span, head, mut out): (Range<usize>, usize, Vec<&mut [f32]>), scratch: &mut Scratch| {
            let qkv = &qkv[span.start * columns..span.end * columns];
            let Scratch {
                whole: scratch,
                #[cfg(target_arch = "x86_64")]
                half,
                #[cfg(target_arch = "x86_64")]
                integer,
            } = scratch;
            let group = HeadGroup { qkv, shape, window, key_value_head: head, out: &mut out, scratch };
            #[cfg(target_arch = "x86_64")]
            match factors {
                AttentionFactors::Integers if group.out.len() <= integer_attention::MOST_TOKENS => {
                    return integer_attention::attend(group, integer);
                }
                AttentionFactors::Halves => return isa.dispatch(HalfHeadGroup { group, half }),
                AttentionFactors::F32 | AttentionFactors::Integers => {}
            }
            isa.dispatch(group);
        };
        if self.parallel {
            groups.into_par_iter().for_each_init(Scratch::default, |scratch, group| run(group, scratch));
        } else {
            let scratch = &mut self.scratch.borrow_mut();
            groups.into_iter().for_each(|group| run(group, scratch));
        }
        Ok(out)
    }

    fn pool(
        &self,
        hidden: &Activations,
        spans: &Spans,
        pooling: Pooling,
        skipped: usize,
    ) -> Result<Activations> {
        self.upload(&pooling.pool(&hidden.values, hidden.columns, spans, skipped), hidden.columns)
    }

    fn select(&self, x: &Activations, rows: &[u32]) -> Result<Activations> {
        let mut out = self.array(rows.len(), x.columns);
        for (to, row) in out.values.chunks_exact_mut(x.columns).zip(rows) {
            to.copy_from_slice(&x.values[*row as usize * x.columns..][..x.columns]);
        }
        Ok(out)
    }

    fn select_below(&self, above: &Activations, below: &Activations, rows: &[u32]) -> Result<Activations> {
        let columns = above.columns;
        assert_eq!(columns, below.columns, "both arrays are as wide");
        let mut out = self.array(rows.len(), columns);
        for (to, row) in out.values.chunks_exact_mut(columns).zip(rows) {
            let row = *row as usize;
            let (from, row) = match row.checked_sub(above.num_rows()) {
                Some(row) => (below, row),
                None => (above, row),
            };
            to.copy_from_slice(&from.values[row * columns..][..columns]);
        }
        Ok(out)
    }

    fn to_vectors(&self, x: &Activations, kept: usize, unit: bool) -> Result<Vec<f32>> {
        Ok(vectors_of(self.to_vec(x)?, x.columns, kept, unit))
    }
}
