//! One transformer, whose sub-layers may be absent and whose MLP widths may differ from layer to layer.
//!
//! The families are values of [`Architecture`]; the forward is written once, over any [`Ops`].

mod classifier;
mod gates;
mod load;
mod trainable;

pub use classifier::Classifier;
pub(crate) use trainable::AdapterShape;

use crate::architecture::{Architecture, AttentionShape, LinearInput, Positions, Rotary};
use crate::compute::{Matrix, Ops, RotationWeights, Spans};
use crate::error::Result;

/// Where in the forward hidden states are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before the first layer.
    Embeddings,
    /// After the attention of a layer, residual sum (and, in post-norm models, its norm) included. Not seen where the
    /// attention is dropped.
    Attention(usize),
    /// After the MLP of a layer, likewise.
    Mlp(usize),
    /// After a layer, whatever it keeps.
    Layer(usize),
    /// What linear layers of a layer read, before any of its sub-layer's is added: (T, their inputs).
    Input(usize, LinearInput),
}

/// A transformer and its weights, for one kind of operations.
pub struct Transformer<O: Ops> {
    architecture: Architecture,
    embeddings: Embeddings<O>,
    /// Each kind of angles that some layer's attention uses.
    rotaries: Vec<Rotary>,
    layers: Vec<Layer<O>>,
    final_norm: Option<O::Norm>,
}

struct Embeddings<O: Ops> {
    tokens: O::Table,
    /// Learned positions, once for each token type, whose embedding is added to them.
    positions: Option<O::Table>,
    norm: Option<O::Norm>,
}

struct Layer<O: Ops> {
    attention: Option<SubLayer<O>>,
    mlp: Option<SubLayer<O>>,
}

/// x -> sum_norm(x + output_norm(output(core(input_norm(x))))), each norm where the family has it: the input's in
/// pre-norm models, the sum's in post-norm ones, input and output's in Gemma 2.
struct SubLayer<O: Ops> {
    input_norm: Option<O::Norm>,
    core: Core<O>,
    output: O::Linear,
    output_norm: Option<O::Norm>,
    sum_norm: Option<O::Norm>,
}

/// What a sub-layer computes before its output projection.
enum Core<O: Ops> {
    Attention(Attention<O>),
    Mlp(O::Expand),
}

struct Attention<O: Ops> {
    /// Query, key and value projections, side by side.
    qkv: O::Linear,
    /// Of each head of the queries.
    query_norm: Option<O::Norm>,
    /// Of each head of the keys.
    key_norm: Option<O::Norm>,
    shape: AttentionShape,
    window: Option<usize>,
    /// Place in `Transformer::rotaries`.
    rotary: Option<usize>,
}

/// What all layers need to know of a batch.
pub(crate) struct Batch<'a, O: Ops> {
    spans: &'a Spans,
    /// For each of `Transformer::rotaries`.
    rotations: Vec<O::Rotation>,
}

impl<O: Ops> Transformer<O> {
    /// What it looks like.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The last hidden states: ids (T) of texts that lie one after the other -> (T, D).
    ///
    /// Ids are below the vocabulary's size and texts no longer than the model allows: the caller's duty.
    ///
    /// # Errors
    ///
    /// What the operations fail with.
    pub fn forward(&self, ops: &O, ids: &[u32], spans: &Spans) -> Result<O::Rows> {
        self.forward_observed(ops, ids, spans, &mut |_, _| Ok(()))
    }

    /// The same; `observe` is shown the hidden states (T, D) before the first layer, after every sub-layer and after every
    /// layer, and what every linear layer reads. The norm after the last layer is not among them.
    ///
    /// # Errors
    ///
    /// What the operations or `observe` fail with.
    pub fn forward_observed(
        &self,
        ops: &O,
        ids: &[u32],
        spans: &Spans,
        observe: &mut dyn FnMut(Stage, &O::Rows) -> Result<()>,
    ) -> Result<O::Rows> {
        self.forward_typed(ops, ids, &[], spans, observe)
    }

    /// The same; `types` gives each token's type, below the number of types that the model tells apart. Without any, all
    /// tokens are of type 0, and a model that knows no types does not look at them.
    pub(crate) fn forward_typed(
        &self,
        ops: &O,
        ids: &[u32],
        types: &[u32],
        spans: &Spans,
        observe: &mut dyn FnMut(Stage, &O::Rows) -> Result<()>,
    ) -> Result<O::Rows> {
        let x = self.embeddings.forward(ops, self.architecture.positions, ids, types, spans)?;
        observe(Stage::Embeddings, &x)?;
        self.finish(ops, self.forward_layers(ops, x, spans, observe)?)
    }

    /// The hidden states before the first layer: ids (T) -> (T, D).
    pub(crate) fn embed(&self, ops: &O, ids: &[u32], spans: &Spans) -> Result<O::Rows> {
        self.embeddings.forward(ops, self.architecture.positions, ids, &[], spans)
    }

    /// What comes after the last layer: (T, D) -> (T, D).
    pub(crate) fn finish(&self, ops: &O, x: O::Rows) -> Result<O::Rows> {
        norm_if(ops, x, self.final_norm.as_ref())
    }

    /// The layers alone: hidden states before the first -> those after the last, not yet normed.
    pub(crate) fn forward_layers(
        &self,
        ops: &O,
        mut x: O::Rows,
        spans: &Spans,
        observe: &mut dyn FnMut(Stage, &O::Rows) -> Result<()>,
    ) -> Result<O::Rows> {
        let batch = self.batch(ops, spans)?;
        for number in 0..self.layers.len() {
            x = self.forward_layer(ops, number, x, &batch, observe)?;
        }
        Ok(x)
    }

    /// What the layers need to know of a batch.
    pub(crate) fn batch<'a>(&self, ops: &O, spans: &'a Spans) -> Result<Batch<'a, O>> {
        let longest = spans.iter().map(|span| span.len()).max().unwrap_or(0);
        let head_dim = self.architecture.attention.head_dim;
        let rotations =
            self.rotaries.iter().map(|rotary| ops.load_rotation(rotation(rotary, longest, head_dim)));
        Ok(Batch { spans, rotations: rotations.collect::<Result<_>>()? })
    }

    /// One layer: (T, D) -> (T, D).
    pub(crate) fn forward_layer(
        &self,
        ops: &O,
        number: usize,
        mut x: O::Rows,
        batch: &Batch<'_, O>,
        observe: &mut dyn FnMut(Stage, &O::Rows) -> Result<()>,
    ) -> Result<O::Rows> {
        use LinearInput::{AttentionOutput, MlpInput, MlpOutput, QueryKeyValue};
        let layer = &self.layers[number];
        for (sub_layer, inputs, stage) in [
            (&layer.attention, [QueryKeyValue, AttentionOutput], Stage::Attention(number)),
            (&layer.mlp, [MlpInput, MlpOutput], Stage::Mlp(number)),
        ] {
            if let Some(sub_layer) = sub_layer {
                let inputs = inputs.map(|input| Stage::Input(number, input));
                x = sub_layer.forward(ops, x, batch, inputs, observe)?;
                observe(stage, &x)?;
            }
        }
        observe(Stage::Layer(number), &x)?;
        Ok(x)
    }
}

/// Cosines and sines of the first `length` places, computed in f64: in f32 the angle of place 8,191 is off by 5e-4.
fn rotation(rotary: &Rotary, length: usize, head_dim: usize) -> RotationWeights<'static> {
    let half = head_dim / 2;
    let frequencies: Vec<f64> = (0..half).map(|k| rotary.frequency(k, head_dim)).collect();
    let angles = || (0..length).flat_map(|place| frequencies.iter().map(move |f| place as f64 * f));
    let matrix = |values: Vec<f32>| Matrix { values: values.into(), rows: length, columns: half };
    RotationWeights {
        cos: matrix(angles().map(|angle| angle.cos() as f32).collect()),
        sin: matrix(angles().map(|angle| angle.sin() as f32).collect()),
    }
}

fn norm_if<O: Ops>(ops: &O, x: O::Rows, norm: Option<&O::Norm>) -> Result<O::Rows> {
    match norm {
        Some(norm) => ops.norm(x, norm),
        None => Ok(x),
    }
}

impl<O: Ops> Embeddings<O> {
    fn forward(
        &self,
        ops: &O,
        positions: Positions,
        ids: &[u32],
        types: &[u32],
        spans: &Spans,
    ) -> Result<O::Rows> {
        let mut x = ops.embed(&self.tokens, ids)?;
        if let (Some(table), Positions::Learned { first, table_rows, .. }) = (&self.positions, positions) {
            let mut places: Vec<u32> =
                spans.iter().flat_map(|span| (0..span.len()).map(|place| (first + place) as u32)).collect();
            for (place, kind) in places.iter_mut().zip(types) {
                *place += kind * table_rows as u32;
            }
            x = ops.add(x, &ops.embed(table, &places)?)?;
        }
        norm_if(ops, x, self.norm.as_ref())
    }
}

impl<O: Ops> SubLayer<O> {
    fn forward(
        &self,
        ops: &O,
        x: O::Rows,
        batch: &Batch<'_, O>,
        inputs: [Stage; 2],
        observe: &mut dyn FnMut(Stage, &O::Rows) -> Result<()>,
    ) -> Result<O::Rows> {
        let mut core = |input: &O::Rows| {
            observe(inputs[0], input)?;
            self.core.forward(ops, input, batch)
        };
        let inner = match &self.input_norm {
            Some(norm) => core(&ops.norm(ops.copy(&x)?, norm)?)?,
            None => core(&x)?,
        };
        observe(inputs[1], &inner)?;
        let sum = match &self.output_norm {
            Some(norm) => ops.add(x, &ops.norm(ops.linear(&inner, &self.output)?, norm)?)?,
            None => ops.linear_add(&inner, &self.output, x)?,
        };
        norm_if(ops, sum, self.sum_norm.as_ref())
    }
}

impl<O: Ops> Core<O> {
    fn forward(&self, ops: &O, x: &O::Rows, batch: &Batch<'_, O>) -> Result<O::Rows> {
        match self {
            Core::Attention(attention) => attention.forward(ops, x, batch),
            Core::Mlp(expand) => ops.expand(x, expand),
        }
    }
}

impl<O: Ops> Attention<O> {
    fn forward(&self, ops: &O, x: &O::Rows, batch: &Batch<'_, O>) -> Result<O::Rows> {
        let AttentionShape { num_heads, .. } = self.shape;
        let mut qkv = ops.linear(x, &self.qkv)?;
        if let Some(norm) = &self.query_norm {
            qkv = ops.norm_heads(qkv, norm, 0..num_heads)?;
        }
        if let Some(norm) = &self.key_norm {
            qkv = ops.norm_heads(qkv, norm, num_heads..self.shape.num_rotated_heads())?;
        }
        if let Some(rotary) = self.rotary {
            qkv = ops.rotate(qkv, batch.spans, &batch.rotations[rotary], &self.shape)?;
        }
        ops.attention(&qkv, batch.spans, &self.shape, self.window)
    }
}
