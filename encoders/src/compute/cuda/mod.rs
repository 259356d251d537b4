//! The operations on an NVIDIA GPU, by the kernels of `secateur-gpu`.
//!
//! Weights are bf16 and so is what linear layers read; the residual stream, norms and sums are f32. A pre-norm layer is
//! nine launches. With at most [`skinny::MOST`] tokens it is five: an operation may put off what the next one can do on
//! its way. [`Activations`] says what is put off.

mod activations;
mod backward;
mod numbers;
mod weights;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use secateur_gpu::attention::{self, Attention, Texts, Tiles};
use secateur_gpu::heads::{self, Preparation, Rotation};
use secateur_gpu::rows::{self, Half, Norm};
use secateur_gpu::skinny::{self, Input, Output};
use secateur_gpu::{Buffer, Gpu, Operand, Product, gate, pool};

use super::{
    AttentionShape, Backend, GateUpWeights, HalfRows, LinearWeights, Matrix, NormWeights, RotationWeights,
    Spans,
};
use crate::error::{Error, Result};
use crate::pooling::Pooling;
pub use activations::Activations;
use activations::{HELD, Pending, State};
use weights::padded;
pub use weights::{GateUp, Linear, Table};

/// The operations on one GPU.
pub struct Cuda {
    gpu: Gpu,
    /// The most tokens whose products are done by the kernels for few rows.
    few: usize,
    /// Whether each operation is done when it is asked for. Training looks at what comes out of each; otherwise some
    /// are put off, to be done by the next.
    at_once: bool,
    /// What the operations of a batch need to know of its texts: those of the batch before, as a rule the same one.
    batch: Mutex<Option<Arc<Batch>>>,
}

/// Where the texts of a batch lie, on the device.
struct Batch {
    spans: Spans,
    texts: Texts,
    /// Of attention, by the number of query heads that share a key-value head.
    tiles: Mutex<Option<(usize, Arc<Tiles>)>>,
    /// What only the way back needs.
    backward: Mutex<Option<Arc<backward::Places>>>,
}

impl From<secateur_gpu::Error> for Error {
    fn from(error: secateur_gpu::Error) -> Error {
        Error::Gpu(error)
    }
}

impl Cuda {
    /// Operations on this GPU.
    pub fn new(gpu: Gpu) -> Cuda {
        Cuda { gpu, few: skinny::MOST, at_once: false, batch: Mutex::default() }
    }

    /// Operations on this GPU that training can go back through.
    pub fn for_training(gpu: Gpu) -> Cuda {
        Cuda { gpu, few: 0, at_once: true, batch: Mutex::default() }
    }

    /// Sets the most tokens that are multiplied by the kernels for few rows; at most [`skinny::LIMIT`].
    pub fn with_few(self, few: usize) -> Cuda {
        Cuda { few: few.min(skinny::LIMIT), ..self }
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn batch(&self, spans: &Spans) -> Result<Arc<Batch>> {
        let mut kept = self.batch.lock().expect("no panic while texts are uploaded");
        if let Some(batch) = &*kept
            && batch.spans == *spans
        {
            return Ok(Arc::clone(batch));
        }
        let lengths: Vec<usize> = spans.iter().map(|span| span.len()).collect();
        let texts = Texts::new(&self.gpu, &lengths)?;
        let (tiles, backward) = Default::default();
        let batch = Arc::new(Batch { spans: spans.clone(), texts, tiles, backward });
        *kept = Some(Arc::clone(&batch));
        Ok(batch)
    }

    /// Rows of which every column, those beyond the first ones included, is written by the operation that follows.
    fn half(&self, rows: usize, columns: usize, stride: usize) -> Result<Half> {
        Ok(Half { buffer: self.gpu.buffer(rows * stride)?, rows, columns, stride })
    }

    /// x W^T in bf16, without the bias. Columns beyond the outputs are zeros, as the weight's rows are.
    fn product(&self, x: &Half, linear: &Linear) -> Result<Half> {
        let out = self.half(x.rows, linear.rows, linear.padded_rows)?;
        assert_eq!(x.stride, linear.stride, "a linear layer's input has as many columns as its weight");
        Product {
            left: Operand::new(&x.buffer, x.stride),
            right: Operand::new(&linear.weight, linear.stride).transposed(),
            out: Operand::new(&out.buffer, out.stride),
            rows: x.rows,
            columns: linear.padded_rows,
            depth: linear.stride,
            alpha: 1.0,
            beta: 0.0,
        }
        .run(&self.gpu)?;
        Ok(out)
    }

    /// x W^T written to f32 rows or added to them, without the bias.
    fn product_full(&self, x: &Half, linear: &Linear, out: &mut Buffer<f32>, beta: f32) -> Result<()> {
        assert_eq!(x.stride, linear.stride, "a linear layer's input has as many columns as its weight");
        Product {
            left: Operand::new(&x.buffer, x.stride),
            right: Operand::new(&linear.weight, linear.stride).transposed(),
            out: Operand::new(out, linear.rows),
            rows: x.rows,
            columns: linear.rows,
            depth: linear.stride,
            alpha: 1.0,
            beta,
        }
        .run(&self.gpu)?;
        Ok(())
    }

    /// Whether a product of so many rows is one of few.
    fn is_few(&self, rows: usize) -> bool {
        rows <= self.few
    }

    /// `run` with the input as the kernels for few rows take it.
    fn with_few_rows<T>(
        &self,
        x: &Activations,
        linear: &Linear,
        run: impl FnOnce(Input<'_>) -> Result<T>,
    ) -> Result<T> {
        match &x.state {
            State::Normed { full, norm } if x.columns == linear.stride => run(Input::Normed(full, norm)),
            _ => run(Input::Half(&*self.as_half(x)?)),
        }
    }
}

impl Backend for Cuda {
    type Activations = Activations;
    type Linear = Linear;
    type GateUp = GateUp;
    type Norm = Arc<Norm>;
    type Table = Table;
    type Rotation = Arc<Rotation>;

    fn takes_half(&self) -> bool {
        true
    }

    fn load_linear(&self, weights: LinearWeights<'_>) -> Result<Linear> {
        Linear::load(&self.gpu, weights)
    }

    fn load_gate_up(&self, weights: GateUpWeights<'_>) -> Result<GateUp> {
        GateUp::load(&self.gpu, weights)
    }

    fn load_norm(&self, weights: NormWeights<'_>) -> Result<Arc<Norm>> {
        let (weight, bias, eps) = match weights {
            NormWeights::Layer { weight, bias, eps } => (weight, Some(bias), eps),
            NormWeights::Rms { weight, eps } => (weight, None, eps),
        };
        let bias = bias.map(|bias| self.gpu.upload(&bias)).transpose()?;
        Ok(Arc::new(Norm { weight: self.gpu.upload(&weight)?, bias, eps }))
    }

    fn load_table(&self, table: Matrix<'_>) -> Result<Table> {
        Table::load(&self.gpu, &table)
    }

    fn load_half_table(&self, table: HalfRows<'_>) -> Result<Table> {
        Table::load_half(&self.gpu, &table)
    }

    fn load_rotation(&self, weights: RotationWeights<'_>) -> Result<Arc<Rotation>> {
        let RotationWeights { cos, sin } = weights;
        Ok(Arc::new(Rotation { cos: self.gpu.upload(&cos.values)?, sin: self.gpu.upload(&sin.values)? }))
    }

    fn upload(&self, values: &[f32], columns: usize) -> Result<Activations> {
        Ok(Activations::full(self.gpu.upload(values)?, columns))
    }

    fn to_vec(&self, x: &Activations) -> Result<Vec<f32>> {
        Ok(self.as_full(x)?.to_vec()?)
    }

    fn embed(&self, table: &Table, ids: &[u32]) -> Result<Activations> {
        let mut out = self.gpu.buffer(ids.len() * table.columns)?;
        rows::embed(&table.rows, &self.gpu.upload(ids)?, &mut out, table.columns)?;
        Ok(Activations::full(out, table.columns))
    }

    fn select(&self, x: &Activations, rows: &[u32]) -> Result<Activations> {
        let numbers = self.gpu.upload(rows)?;
        if let State::Stored { full: Some(full), .. } = &x.state {
            let mut out = self.gpu.buffer(rows.len() * x.columns)?;
            rows::select(full, &numbers, &mut out, x.columns)?;
            return Ok(Activations::full(out, x.columns));
        }
        let half = self.as_half(x)?;
        let mut out = self.half(rows.len(), half.columns, half.stride)?;
        rows::select_half(&half, &numbers, &mut out)?;
        Ok(Activations::half(out))
    }

    fn select_below(&self, above: &Activations, below: &Activations, rows: &[u32]) -> Result<Activations> {
        let numbers = self.gpu.upload(rows)?;
        let halves = [self.as_half(above)?, self.as_half(below)?];
        let Half { columns, stride, .. } = *halves[0];
        assert_eq!((columns, stride), (halves[1].columns, halves[1].stride), "both arrays are as wide");
        let mut both = self.half(halves[0].rows + halves[1].rows, columns, stride)?;
        let middle = halves[0].rows * stride;
        both.buffer.copy_from(0, &halves[0].buffer, 0, middle)?;
        both.buffer.copy_from(middle, &halves[1].buffer, 0, halves[1].rows * stride)?;
        let mut out = self.half(rows.len(), columns, stride)?;
        rows::select_half(&both, &numbers, &mut out)?;
        Ok(Activations::half(out))
    }

    fn add(&self, x: Activations, y: &Activations) -> Result<Activations> {
        let (rows, columns) = (x.rows, x.columns);
        assert_eq!((rows, columns), (y.rows, y.columns), "arrays of one shape are added");
        let mut sum = self.to_full(x)?;
        match &y.state {
            State::Stored { full: Some(full), .. } => rows::add(&mut sum, full, columns)?,
            _ => rows::add_half(&mut sum, &*self.as_half(y)?)?,
        }
        Ok(Activations::full(sum, columns))
    }

    fn norm(&self, x: &Activations, norm: &Arc<Norm>) -> Result<Activations> {
        let full = self.as_full(x)?;
        // The product that follows takes the norm on its way.
        if self.is_few(x.rows) && norm.bias.is_none() {
            let state = State::Normed { full, norm: Arc::clone(norm) };
            return Ok(Activations { rows: x.rows, columns: x.columns, state });
        }
        self.normed(&full, x.columns, norm).map(Activations::half)
    }

    fn norm_in_place(&self, x: Activations, norm: &Arc<Norm>) -> Result<Activations> {
        let (rows, columns) = (x.rows, x.columns);
        if x.is_half() {
            let mut half = self.to_half(x)?;
            rows::norm_half_in_place(&mut half, norm)?;
            return Ok(Activations::half(half));
        }
        let mut full = self.to_full(x)?;
        let mut half = Half::new(&self.gpu, rows, columns, padded(columns))?;
        rows::norm_in_place(&mut full, norm, &mut half)?;
        Ok(Activations::both(full, half))
    }

    fn norm_heads(&self, x: Activations, norm: &Arc<Norm>, heads: Range<usize>) -> Result<Activations> {
        assert!(norm.bias.is_none(), "norms of heads are RMS norms");
        if self.at_once {
            return self.norm_heads_at_once(x, norm, heads);
        }
        self.put_off(x, |pending| pending.norms.push((heads, Arc::clone(norm))))
    }

    fn rotate(
        &self,
        qkv: Activations,
        spans: &Spans,
        rotation: &Arc<Rotation>,
        shape: &AttentionShape,
    ) -> Result<Activations> {
        if self.at_once {
            return self.rotate_at_once(qkv, spans, rotation, shape);
        }
        self.put_off(qkv, |pending| pending.rotation = Some(Arc::clone(rotation)))
    }

    fn linear(&self, x: &Activations, linear: &Linear) -> Result<Activations> {
        // A few numbers for each text, such as logits, are not rounded.
        if linear.rows < 8 {
            let mut out = self.gpu.buffer(x.rows * linear.rows)?;
            self.product_full(&*self.as_half(x)?, linear, &mut out, 0.0)?;
            if let Some(bias) = &linear.bias {
                rows::add_bias(&mut out, &*self.outputs_of(bias, linear.rows)?)?;
            }
            return Ok(Activations::full(out, linear.rows));
        }
        if self.is_few(x.rows) {
            let mut out = self.half(x.rows, linear.rows, linear.padded_rows)?;
            self.with_few_rows(x, linear, |input| {
                let weight = linear.few(linear.padded_rows);
                Ok(skinny::multiply(input, weight, Output::Store(&mut out))?)
            })?;
            return Ok(Activations::half(out));
        }
        let mut out = self.product(&*self.as_half(x)?, linear)?;
        match &linear.bias {
            None => Ok(Activations::half(out)),
            Some(bias) if self.at_once => {
                rows::add_bias_half(&mut out, bias)?;
                Ok(Activations::half(out))
            }
            Some(bias) => {
                self.put_off(Activations::half(out), |pending| pending.bias = Some(Arc::clone(bias)))
            }
        }
    }

    fn linear_add(&self, x: &Activations, linear: &Linear, residual: Activations) -> Result<Activations> {
        let columns = linear.rows;
        assert_eq!((residual.rows, residual.columns), (x.rows, columns), "the sum has one shape");
        let mut sum = self.to_full(residual)?;
        if self.is_few(x.rows) {
            self.with_few_rows(x, linear, |input| {
                Ok(skinny::multiply(input, linear.few(columns), Output::Add(&mut sum))?)
            })?;
        } else {
            self.product_full(&*self.as_half(x)?, linear, &mut sum, 1.0)?;
            if let Some(bias) = &linear.bias {
                rows::add_bias(&mut sum, &*self.outputs_of(bias, columns)?)?;
            }
        }
        Ok(Activations::full(sum, columns))
    }

    fn gate_up(&self, x: &Activations, gate_up: &GateUp) -> Result<Activations> {
        let GateUp { linear, width, gated, activation } = gate_up;
        let mut out = self.half(x.rows, *width, padded(*width))?;
        if self.is_few(x.rows) {
            self.with_few_rows(x, linear, |input| {
                let output = match gated {
                    true => Output::Gate(&mut out, *activation),
                    false => Output::Activate(&mut out, *activation),
                };
                Ok(skinny::multiply(input, linear.few(linear.padded_rows), output)?)
            })?;
        } else {
            let both = self.product(&*self.as_half(x)?, linear)?;
            gate::forward(&both, linear.bias.as_deref(), *activation, &mut out)?;
        }
        Ok(Activations::half(out))
    }

    fn attention(
        &self,
        qkv: &Activations,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
    ) -> Result<Activations> {
        assert_eq!(qkv.columns, shape.joined_columns(), "queries, keys and values lie side by side");
        let attention = attention_of(shape, window);
        let (heads, num_heads) = (attention.heads, shape.num_heads);
        let batch = self.batch(spans)?;
        let columns = num_heads * heads.head_dim;
        let mut out = Half::new(&self.gpu, qkv.rows, columns, padded(columns))?;
        let few = qkv.rows <= attention::FEW;
        let prepared = match &qkv.state {
            State::Deferred(deferred) => {
                let mut deferred = deferred.lock().expect(HELD);
                if few {
                    let (half, pending) = deferred.parts();
                    let with = pending.preparation(num_heads, shape.num_rotated_heads());
                    attention::few(half, &attention, &batch.texts, &with, &mut out)?;
                    return Ok(Activations::half(out));
                }
                deferred.settle(self, |half, pending| {
                    let with = pending.preparation(num_heads, shape.num_rotated_heads());
                    Ok(heads::prepare(half, &heads, batch.texts.places(), &with)?)
                })?
            }
            _ => self.as_half(qkv)?,
        };
        if few {
            attention::few(&prepared, &attention, &batch.texts, &Preparation::default(), &mut out)?;
        } else {
            let tiles = batch.tiles(&self.gpu, &attention)?;
            attention::forward(&prepared, &attention, &tiles, None, &mut out)?;
        }
        Ok(Activations::half(out))
    }

    fn pool(
        &self,
        hidden: &Activations,
        spans: &Spans,
        pooling: Pooling,
        skipped: usize,
    ) -> Result<Activations> {
        let Some(kind) = kernel_of(pooling, skipped) else {
            // Rare; the host does it.
            let pooled = pooling.pool(&self.to_vec(hidden)?, hidden.columns, spans, skipped);
            return self.upload(&pooled, hidden.columns);
        };
        let batch = self.batch(spans)?;
        let mut out = self.gpu.buffer(spans.len() * hidden.columns)?;
        pool::forward(&*self.as_full(hidden)?, &batch.texts, kind, skipped, &mut out)?;
        Ok(Activations::full(out, hidden.columns))
    }

    fn to_vectors(&self, x: &Activations, kept: usize, unit: bool) -> Result<Vec<f32>> {
        if !unit {
            return Ok(super::vectors_of(self.to_vec(x)?, x.columns, kept, false));
        }
        let mut out = self.gpu.buffer(x.rows * kept)?;
        pool::unit_rows(&*self.as_full(x)?, x.columns, kept, &mut out)?;
        Ok(out.to_vec()?)
    }
}

fn attention_of(shape: &AttentionShape, window: Option<usize>) -> Attention {
    let AttentionShape { num_heads, num_key_value_heads, head_dim, scale, softcap, causal } = *shape;
    let heads = heads::Heads { num_heads, num_key_value_heads, head_dim };
    Attention { heads, scale, softcap, causal, window }
}

/// The kernels' word for a pooling, if they know it.
fn kernel_of(pooling: Pooling, skipped: usize) -> Option<pool::Pool> {
    match pooling {
        Pooling::Cls if skipped == 0 => Some(pool::Pool::First),
        Pooling::LastToken => Some(pool::Pool::Last),
        Pooling::Mean => Some(pool::Pool::Mean),
        Pooling::WeightedMean => Some(pool::Pool::WeightedMean),
        Pooling::Cls | Pooling::Max | Pooling::MeanSqrtLen => None,
    }
}

impl Batch {
    fn tiles(&self, gpu: &Gpu, attention: &Attention) -> Result<Arc<Tiles>> {
        let group = attention.heads.num_heads / attention.heads.num_key_value_heads;
        let mut kept = self.tiles.lock().expect("no panic while tiles are uploaded");
        if let Some((of_group, tiles)) = &*kept
            && *of_group == group
        {
            return Ok(Arc::clone(tiles));
        }
        let tiles = Arc::new(self.texts.tiles(gpu, attention)?);
        *kept = Some((group, Arc::clone(&tiles)));
        Ok(tiles)
    }
}

impl Pending {
    /// Which heads the norms are of: the first `num_heads` are queries, and keys follow up to `num_rotated`.
    fn preparation(&self, num_heads: usize, num_rotated: usize) -> Preparation<'_> {
        let norm_of =
            |heads: Range<usize>| self.norms.iter().find(|(of, _)| *of == heads).map(|(_, norm)| &**norm);
        let (query, key) = (norm_of(0..num_heads), norm_of(num_heads..num_rotated));
        let found = usize::from(query.is_some()) + usize::from(key.is_some());
        assert_eq!(found, self.norms.len(), "norms are of all queries or of all keys");
        Preparation {
            bias: self.bias.as_deref(),
            query_norm: query.map(|norm| &norm.weight),
            key_norm: key.map(|norm| &norm.weight),
            eps: query.or(key).map_or(0.0, |norm| norm.eps),
            rotation: self.rotation.as_deref(),
        }
    }
}
