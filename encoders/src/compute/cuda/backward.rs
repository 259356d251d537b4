//! The GPU's gradients: what [`Backward`] asks for, by kernels and products.
//!
//! Products read bf16 and sum in f32. Gradients of activations are f32 where several are added up, and bf16 where a
//! kernel makes them for the next product. Those of what is trained are f32.

use std::ops::Range;
use std::sync::Arc;

use secateur_gpu::attention::{self, Forward, Tiles};
use secateur_gpu::gate::{self, Combination};
use secateur_gpu::heads::{self, Preparation, Rotation};
use secateur_gpu::numbers::{self, Filling};
use secateur_gpu::rows::{self, Half, Norm};
use secateur_gpu::training::{self, Dropout, NormedHeads, SummedRows};
use secateur_gpu::{Buffer, Gpu, Operand, Product, pool};

use super::activations::{Activations, State};
use super::weights::{activation_of, padded};
use super::{Batch, Cuda, Linear, Table, attention_of, kernel_of};
use crate::architecture::AttentionShape;
use crate::compute::backward::{Backward, Combined, NewBlock, NewTable, dropout_threshold};
use crate::compute::numbers::{Place, PlaceMut};
use crate::compute::{Backend, Spans};
use crate::error::Result;
use crate::pooling::Pooling;

/// Where the texts of a batch lie, as only the way back asks.
pub(super) struct Places {
    /// Tiles of keys.
    key_tiles: Tiles,
    /// The number of each token's text.
    text_of_token: Buffer<u32>,
}

/// A factor of a low-rank addition: (N, K) in bf16, zeros beyond.
pub(crate) struct Matrix {
    half: Half,
}

impl Batch {
    fn places(&self, gpu: &Gpu) -> Result<Arc<Places>> {
        let mut kept = self.backward.lock().expect("no panic while places are uploaded");
        if let Some(places) = &*kept {
            return Ok(Arc::clone(places));
        }
        let texts = self.spans.iter().zip(0u32..);
        let text_of_token: Vec<u32> = texts.flat_map(|(span, text)| span.map(move |_| text)).collect();
        let text_of_token = gpu.upload(&text_of_token)?;
        let places = Arc::new(Places { key_tiles: self.texts.key_tiles(gpu)?, text_of_token });
        *kept = Some(Arc::clone(&places));
        Ok(places)
    }
}

impl Cuda {
    /// Norms of heads, of which the gradient will ask for the input: the result is another array.
    pub(super) fn norm_heads_at_once(
        &self,
        x: Activations,
        norm: &Norm,
        heads: Range<usize>,
    ) -> Result<Activations> {
        let mut half = self.to_half(x)?;
        heads::norm(&mut half, heads, &norm.weight, norm.eps)?;
        Ok(Activations::half(half))
    }

    /// Queries and keys rotated, or turned back.
    pub(super) fn rotate_at_once(
        &self,
        qkv: Activations,
        spans: &Spans,
        rotation: &Rotation,
        shape: &AttentionShape,
    ) -> Result<Activations> {
        let heads = attention_of(shape, None).heads;
        let batch = self.batch(spans)?;
        let mut half = self.to_half(qkv)?;
        let with = Preparation { rotation: Some(rotation), ..Preparation::default() };
        heads::prepare(&mut half, &heads, batch.texts.places(), &with)?;
        Ok(Activations::half(half))
    }

    /// `product` of left and right added to some columns of an array: what is still zero is written.
    fn add_product_to(
        &self,
        out: &mut Activations,
        columns: Range<usize>,
        product: impl FnOnce(Operand, f32) -> Product,
    ) -> Result<()> {
        let whole = columns == (0..out.columns);
        let x = out.take();
        *out = if matches!(x.state, State::Zero) && whole {
            let sum = self.gpu.buffer::<f32>(x.rows * x.columns)?;
            product(Operand::new(&sum, x.columns), 0.0).run(&self.gpu)?;
            Activations::full(sum, x.columns)
        } else if x.is_half() {
            let half = self.to_half(x)?;
            product(Operand::at(&half.buffer, columns.start, half.stride), 1.0).run(&self.gpu)?;
            Activations::half(half)
        } else {
            let columns_of_row = x.columns;
            let full = self.to_full(x)?;
            product(Operand::at(&full, columns.start, columns_of_row), 1.0).run(&self.gpu)?;
            Activations::full(full, columns_of_row)
        };
        Ok(())
    }
}

impl Backward for Cuda {
    type Numbers = Buffer<f32>;
    type Matrix = Matrix;

    fn memory(&self) -> Gpu {
        self.gpu.clone()
    }

    fn to_numbers(&self, x: Activations) -> Result<Buffer<f32>> {
        self.to_full(x)
    }

    fn matrix(&self, rows: usize, columns: usize) -> Result<Matrix> {
        let stride = padded(columns);
        Ok(Matrix { half: Half { buffer: self.gpu.zeros(rows * stride)?, rows, columns, stride } })
    }

    fn refill_matrix(Matrix { half }: &mut Matrix, values: Place<'_, Buffer<f32>>) -> Result<()> {
        let Half { rows, columns, stride, .. } = *half;
        Ok(rows::narrow_rows(values, (rows, columns), (&mut half.buffer, 0), stride)?)
    }

    fn refill_linear(linear: &mut Linear, blocks: &[NewBlock<'_, Buffer<f32>>]) -> Result<()> {
        let Linear { weight: to, columns, stride, bias: to_bias, .. } = linear;
        for NewBlock { rows, weight, bias } in blocks {
            let first = rows.start * *stride;
            rows::narrow_rows(*weight, (rows.len(), *columns), (to, first), *stride)?;
            if let (Some(to_bias), Some((bias, first))) = (to_bias.as_mut(), bias) {
                let to_bias = Arc::get_mut(to_bias).expect("no record is kept while weights change");
                to_bias.copy_from(rows.start, bias, *first, rows.len())?;
            }
        }
        Ok(())
    }

    fn refill_norm(
        norm: &mut Arc<Norm>,
        (weight, first): Place<'_, Buffer<f32>>,
        offset: f32,
        new_bias: Option<Place<'_, Buffer<f32>>>,
    ) -> Result<()> {
        let norm = Arc::get_mut(norm).expect("no record is kept while weights change");
        numbers::copy(weight, first, offset, &mut norm.weight)?;
        if let (Some(bias), Some((new_bias, first))) = (&mut norm.bias, new_bias) {
            numbers::copy(new_bias, first, 0.0, bias)?;
        }
        Ok(())
    }

    fn refill_table(table: &mut Table, values: NewTable<'_, Buffer<f32>>) -> Result<()> {
        let with = match values {
            NewTable::Scaled(values, factor) => Filling::Scaled(values, factor),
            NewTable::Sums { types, positions, .. } => Filling::Sums { types, positions },
        };
        Ok(numbers::fill_table(&mut table.rows, table.columns, with)?)
    }

    fn refill_relu(out: &mut Buffer<f32>, (z, first): Place<'_, Buffer<f32>>) -> Result<()> {
        Ok(numbers::relu(z, first, out)?)
    }

    fn linear_shape(linear: &Linear) -> (usize, usize) {
        (linear.rows, linear.columns)
    }

    fn norm_length(norm: &Arc<Norm>) -> usize {
        norm.weight.len()
    }

    fn shape(x: &Activations) -> (usize, usize) {
        (x.rows, x.columns)
    }

    fn zeros(&self, rows: usize, columns: usize) -> Activations {
        Activations::zeros(rows, columns)
    }

    fn copy(&self, x: &Activations) -> Activations {
        x.share()
    }

    /// Importance by gradient asks for this, once a sub-layer; the host does it.
    fn dot(&self, x: &Activations, y: &Activations) -> Result<f64> {
        let (x, y) = (self.to_vec(x)?, self.to_vec(y)?);
        Ok(x.iter().zip(&y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum())
    }

    fn dropout(&self, x: &mut Activations, key: u64, share: f32) -> Result<()> {
        let with = Dropout { key, threshold: dropout_threshold(share), scale: 1.0 / (1.0 - share) };
        let taken = x.take();
        let columns = taken.columns;
        *x = if taken.is_half() {
            let mut half = self.to_half(taken)?;
            with.half(&mut half)?;
            Activations::half(half)
        } else {
            let mut full = self.to_full(taken)?;
            with.full(&mut full, columns)?;
            Activations::full(full, columns)
        };
        Ok(())
    }

    fn add_product(
        &self,
        x: &Activations,
        Matrix { half: matrix }: &Matrix,
        scale: f32,
        out: &mut Activations,
        columns: Range<usize>,
    ) -> Result<()> {
        let x = self.as_half(x)?;
        assert_eq!((x.columns, columns.len()), (matrix.columns, matrix.rows), "shapes agree");
        self.add_product_to(out, columns, |out, beta| Product {
            left: Operand::new(&x.buffer, x.stride),
            right: Operand::new(&matrix.buffer, matrix.stride).transposed(),
            out,
            rows: x.rows,
            columns: matrix.rows,
            depth: matrix.stride,
            alpha: scale,
            beta,
        })
    }

    fn add_transposed_product(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        Matrix { half: matrix }: &Matrix,
        scale: f32,
        out: &mut Activations,
    ) -> Result<()> {
        let gradient = self.as_half(gradient)?;
        assert_eq!((out.columns, columns.len()), (matrix.columns, matrix.rows), "shapes agree");
        self.add_product_to(out, 0..matrix.columns, |out, beta| Product {
            left: Operand::at(&gradient.buffer, columns.start, gradient.stride),
            right: Operand::new(&matrix.buffer, matrix.stride),
            out,
            rows: gradient.rows,
            columns: matrix.columns,
            depth: matrix.rows,
            alpha: scale,
            beta,
        })
    }

    fn input_gradient(
        &self,
        gradient: &Activations,
        linear: &Linear,
        sum: Option<Activations>,
    ) -> Result<Activations> {
        let gradient = self.as_half(gradient)?;
        let mut out = self.zeros(gradient.rows, linear.columns);
        assert_eq!((gradient.columns, out.columns), (linear.rows, linear.columns), "shapes agree");
        // Both have zeros beyond the outputs that there are.
        assert_eq!(gradient.stride, linear.padded_rows, "a gradient lies as the outputs did");
        self.add_product_to(&mut out, 0..linear.columns, |out, beta| Product {
            left: Operand::new(&gradient.buffer, gradient.stride),
            right: Operand::new(&linear.weight, linear.stride),
            out,
            rows: gradient.rows,
            columns: linear.columns,
            depth: linear.padded_rows,
            alpha: 1.0,
            beta,
        })?;
        match sum {
            Some(sum) => self.add(sum, &out),
            None => Ok(out),
        }
    }

    fn add_outer_product(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        x: &Activations,
        scale: f32,
        (out, first): PlaceMut<'_, Buffer<f32>>,
    ) -> Result<()> {
        let (gradient, x) = (self.as_half(gradient)?, self.as_half(x)?);
        assert_eq!(gradient.rows, x.rows, "a gradient for each row");
        Product {
            left: Operand::at(&gradient.buffer, columns.start, gradient.stride).transposed(),
            right: Operand::new(&x.buffer, x.stride),
            out: Operand::at(out, first, x.columns),
            rows: columns.len(),
            columns: x.columns,
            depth: x.rows,
            alpha: scale,
            beta: 1.0,
        }
        .run(&self.gpu)?;
        Ok(())
    }

    fn add_column_sums(
        &self,
        gradient: &Activations,
        columns: Range<usize>,
        (out, first): PlaceMut<'_, Buffer<f32>>,
    ) -> Result<()> {
        let part = (columns.start, columns.len());
        if gradient.is_half() {
            let half = self.as_half(gradient)?;
            return Ok(training::column_sums(SummedRows::Half(&half), part, out, first)?);
        }
        let full = self.as_full(gradient)?;
        Ok(training::column_sums(SummedRows::Full(&full, gradient.columns), part, out, first)?)
    }

    fn combine(
        &self,
        mlp: &Combined<'_, Buffer<f32>>,
        gate: Option<&Activations>,
        up: &Activations,
    ) -> Result<Activations> {
        let gate = gate.map(|gate| self.as_half(gate)).transpose()?;
        let up = self.as_half(up)?;
        let mut out = self.half(up.rows, up.columns, up.stride)?;
        gate::combine(&combination(mlp), gate.as_deref(), &up, &mut out)?;
        Ok(Activations::half(out))
    }

    fn combine_backward(
        &self,
        mlp: &Combined<'_, Buffer<f32>>,
        gradient: Activations,
        mut gate: Option<&mut Activations>,
        up: &mut Activations,
        of_factors: Option<&mut Buffer<f32>>,
    ) -> Result<()> {
        let width = up.columns;
        let mut gate_half = match &mut gate {
            Some(gate) => Some(self.to_half(gate.take())?),
            None => None,
        };
        let mut up_half = self.to_half(up.take())?;
        let mut gradient = self.to_full(gradient)?;
        let with = combination(mlp);
        let wanted = of_factors.is_some();
        gate::combine_backward(&with, gate_half.as_mut(), &mut up_half, &mut gradient, wanted)?;
        if let Some(sums) = of_factors {
            training::column_sums(SummedRows::Full(&gradient, width), (0, width), sums, 0)?;
        }
        if let (Some(gate), Some(half)) = (gate, gate_half) {
            *gate = Activations::half(half);
        }
        *up = Activations::half(up_half);
        Ok(())
    }

    fn norm_heads_backward(
        &self,
        norm: &Arc<Norm>,
        x: &Activations,
        heads: Range<usize>,
        gradient: Activations,
        of_parameters: Option<&mut [Buffer<f32>; 2]>,
    ) -> Result<Activations> {
        let (columns, length) = (x.columns, norm.weight.len());
        let x = self.as_full(x)?;
        let mut gradient = self.to_full(gradient)?;
        let of = NormedHeads { columns, first: heads.start * length, heads: heads.len() };
        match of_parameters {
            None => training::norm_backward(&x, norm, of, &mut gradient, None)?,
            Some([of_weight, of_bias]) => {
                if norm.bias.is_some() {
                    assert_eq!(length, columns, "norms with a bias are of whole rows");
                    training::column_sums(SummedRows::Full(&gradient, columns), (0, columns), of_bias, 0)?;
                }
                let mut terms = self.gpu.buffer(x.len() / columns * heads.len() * length)?;
                training::norm_backward(&x, norm, of, &mut gradient, Some(&mut terms))?;
                training::column_sums(SummedRows::Full(&terms, length), (0, length), of_weight, 0)?;
            }
        }
        Ok(Activations::full(gradient, columns))
    }

    /// The forward is computed again, for the sums that it had thrown away: two products of four a head.
    fn attention_backward(
        &self,
        qkv: &Activations,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
        gradient: &Activations,
    ) -> Result<Activations> {
        let attention = attention_of(shape, window);
        let batch = self.batch(spans)?;
        let (tiles, places) = (batch.tiles(&self.gpu, &attention)?, batch.places(&self.gpu)?);
        let (qkv, gradient) = (self.as_half(qkv)?, self.as_half(gradient)?);
        let columns = shape.num_heads * shape.head_dim;
        let mut out = Half::new(&self.gpu, qkv.rows, columns, padded(columns))?;
        let mut logarithms = self.gpu.buffer(qkv.rows * shape.num_heads)?;
        attention::forward(&qkv, &attention, &tiles, Some(&mut logarithms), &mut out)?;
        let mut of_qkv = Half::new(&self.gpu, qkv.rows, qkv.columns, qkv.stride)?;
        let key_tiles = &places.key_tiles;
        let of = Forward { qkv: &qkv, out: &out, logarithms: &logarithms, tiles: &tiles, key_tiles };
        attention::backward(&attention, of, &gradient, &mut of_qkv)?;
        Ok(Activations::half(of_qkv))
    }

    fn pool_backward(
        &self,
        gradient: &Activations,
        spans: &Spans,
        pooling: Pooling,
        skipped: usize,
    ) -> Result<Activations> {
        let columns = gradient.columns;
        let Some(kind) = kernel_of(pooling, skipped) else {
            // Rare; the host does it.
            let gradient = self.to_vec(gradient)?;
            return self.upload(&pooling.spread(&gradient, columns, spans, skipped), columns);
        };
        let batch = self.batch(spans)?;
        let places = batch.places(&self.gpu)?;
        let gradient = self.as_full(gradient)?;
        let mut out = self.gpu.buffer(spans.num_tokens() * columns)?;
        pool::backward(&gradient, &batch.texts, &places.text_of_token, (kind, skipped), &mut out)?;
        Ok(Activations::full(out, columns))
    }
}

fn combination<'a>(mlp: &Combined<'a, Buffer<f32>>) -> Combination<'a> {
    Combination { activation: activation_of(mlp.activation), factors: mlp.factors }
}
