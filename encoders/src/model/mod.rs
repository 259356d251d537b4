//! One transformer, whose sub-layers may be absent and whose MLP widths may differ from layer to layer.
//!
//! The families are values of [`Architecture`]; the forward is written once, over any [`Backend`].

mod classifier;
mod load;
mod prompt;
mod scales;
mod trainable;

pub use classifier::Classifier;
pub use prompt::can_keep_prompt;

use std::sync::{Arc, Mutex};

use crate::architecture::{Architecture, AttentionShape, LinearInput, Positions, Rotary};
use crate::compute::{Backend, Matrix, RotationWeights, Spans};
use crate::error::Result;
use crate::pooling::Pooling;
use prompt::{Prompt, Prompted, Reading};

/// Where in the forward hidden states are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before the first layer.
    Embeddings,
    /// After the attention of a layer, with the residual sum and, in post-norm models, its norm. A dropped attention
    /// has none.
    Attention(usize),
    /// After the MLP of a layer, likewise.
    Mlp(usize),
    /// After a layer, whatever it keeps.
    Layer(usize),
    /// What linear layers of a layer read, before any of its sub-layer's is added: (T, their inputs).
    Input(usize, LinearInput),
}

/// A transformer and its weights, on one backend.
pub struct Transformer<B: Backend> {
    architecture: Architecture,
    embeddings: Embeddings<B>,
    /// Each kind of angles that some layer's attention uses.
    rotaries: Vec<Rotary>,
    /// Their cosines and sines, for texts of so many tokens; the longest so far.
    rotations: Vec<Mutex<Option<Angles<B>>>>,
    /// The prompt that texts began with last.
    prompt: Mutex<Option<Arc<Prompt<B>>>>,
    layers: Vec<Layer<B>>,
    final_norm: Option<B::Norm>,
}

struct Angles<B: Backend> {
    length: usize,
    rotation: Arc<B::Rotation>,
}

struct Embeddings<B: Backend> {
    tokens: B::Table,
    /// Learned positions, once for each token type, whose embedding is added to them.
    positions: Option<B::Table>,
    norm: Option<B::Norm>,
}

struct Layer<B: Backend> {
    attention: Option<SubLayer<B>>,
    mlp: Option<SubLayer<B>>,
}

/// x -> sum_norm(x + output_norm(output(core(input_norm(x))))). Each family has some of the norms: pre-norm models
/// the input's, post-norm models the sum's, Gemma 2 the input's and the output's.
struct SubLayer<B: Backend> {
    input_norm: Option<B::Norm>,
    core: Core<B>,
    output: B::Linear,
    output_norm: Option<B::Norm>,
    sum_norm: Option<B::Norm>,
}

/// What a sub-layer computes before its output projection.
enum Core<B: Backend> {
    Attention(Attention<B>),
    Mlp(B::GateUp),
}

struct Attention<B: Backend> {
    /// The number of its layer.
    layer: usize,
    /// Query, key and value projections, side by side.
    qkv: B::Linear,
    /// The norm of each head of the queries.
    query_norm: Option<B::Norm>,
    /// The norm of each head of the keys.
    key_norm: Option<B::Norm>,
    shape: AttentionShape,
    window: Option<usize>,
    /// Index into `Transformer::rotaries`.
    rotary: Option<usize>,
}

/// Who sees the hidden states of a forward.
type Observe<'a, 'o, B> = &'a mut (dyn FnMut(Stage, &<B as Backend>::Activations) -> Result<()> + 'o);

/// The same, if anybody does.
pub(crate) type Observer<'a, 'o, B> = Option<Observe<'a, 'o, B>>;

/// What all layers need to know of a batch.
pub(crate) struct Batch<'a, B: Backend> {
    spans: &'a Spans,
    /// For each of `Transformer::rotaries`.
    rotations: Vec<Arc<B::Rotation>>,
    /// The prompt before each text that the texts themselves lack.
    prompted: Option<Prompted<B>>,
    /// Keeps what attention reads of a prompt.
    reading: Option<Reading<B>>,
}

impl<B: Backend> Transformer<B> {
    /// What it looks like.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The last hidden states: ids (T) of texts that lie one after the other -> (T, D).
    ///
    /// The caller makes sure that ids are below the vocabulary's size and texts no longer than the model allows.
    ///
    /// # Errors
    ///
    /// What the operations fail with.
    pub fn forward(&self, backend: &B, ids: &[u32], spans: &Spans) -> Result<B::Activations> {
        self.forward_typed(backend, ids, &[], spans, None)
    }

    /// The forward with an observer. `observe` sees the hidden states (T, D) before the first layer, after every
    /// sub-layer and after every layer, and the input of every linear layer. It does not see the norm after the last
    /// layer.
    ///
    /// # Errors
    ///
    /// What the operations or `observe` fail with.
    pub fn forward_observed(
        &self,
        backend: &B,
        ids: &[u32],
        spans: &Spans,
        observe: &mut dyn FnMut(Stage, &B::Activations) -> Result<()>,
    ) -> Result<B::Activations> {
        self.forward_typed(backend, ids, &[], spans, Some(observe))
    }

    /// The forward with token types; a type is below the number of types that the model has. If `types` is empty, all
    /// tokens have type 0. A model without types ignores them.
    pub(crate) fn forward_typed(
        &self,
        backend: &B,
        ids: &[u32],
        types: &[u32],
        spans: &Spans,
        mut observe: Observer<'_, '_, B>,
    ) -> Result<B::Activations> {
        let x = self.embeddings.forward(backend, self.architecture.positions, ids, types, spans)?;
        if let Some(observe) = &mut observe {
            observe(Stage::Embeddings, &x)?;
        }
        self.finish(backend, self.forward_layers(backend, x, spans, observe)?)
    }

    /// The hidden states before the first layer: ids (T) -> (T, D).
    pub(crate) fn embed(&self, backend: &B, ids: &[u32], spans: &Spans) -> Result<B::Activations> {
        self.embeddings.forward(backend, self.architecture.positions, ids, &[], spans)
    }

    /// What comes after the last layer: (T, D) -> (T, D).
    pub(crate) fn finish(&self, backend: &B, x: B::Activations) -> Result<B::Activations> {
        norm_if(backend, x, self.final_norm.as_ref())
    }

    /// The layers alone: hidden states before the first layer -> hidden states after the last one, without the final
    /// norm.
    pub(crate) fn forward_layers(
        &self,
        backend: &B,
        mut x: B::Activations,
        spans: &Spans,
        mut observe: Observer<'_, '_, B>,
    ) -> Result<B::Activations> {
        let batch = self.batch(backend, spans)?;
        for number in 0..self.layers.len() {
            x = self.forward_layer(backend, number, x, &batch, observe.as_deref_mut())?;
        }
        Ok(x)
    }

    /// What the layers need to know of a batch.
    pub(crate) fn batch<'a>(&self, backend: &B, spans: &'a Spans) -> Result<Batch<'a, B>> {
        self.batch_after(backend, &[], spans)
    }

    /// The same of texts that lack the prompt of these ids before them.
    fn batch_after<'a>(&self, backend: &B, prompt: &[u32], spans: &'a Spans) -> Result<Batch<'a, B>> {
        let longest = prompt.len() + spans.iter().map(|span| span.len()).max().unwrap_or(0);
        let rotations = (0..self.rotaries.len()).map(|number| self.rotation(backend, number, longest));
        let rotations = rotations.collect::<Result<_>>()?;
        let prompted = match prompt.is_empty() {
            true => None,
            false => Some(self.prompted(backend, prompt, spans)?),
        };
        Ok(Batch { spans, rotations, prompted, reading: None })
    }

    /// The cosines and sines of one kind of attention, for texts of `longest` tokens and perhaps longer ones.
    fn rotation(&self, backend: &B, number: usize, longest: usize) -> Result<Arc<B::Rotation>> {
        let (rotary, head_dim) = (&self.rotaries[number], self.architecture.attention.head_dim);
        let same_until = rotary.same_until().unwrap_or(usize::MAX);
        if longest > same_until {
            // The angles of this length are no other's.
            return Ok(Arc::new(backend.load_rotation(rotation(rotary, longest, head_dim))?));
        }
        let mut kept = self.rotations[number].lock().expect("no panic while angles are computed");
        if let Some(Angles { length, rotation }) = &*kept
            && *length >= longest
        {
            return Ok(Arc::clone(rotation));
        }
        let length = longest.next_power_of_two().min(same_until);
        let rotation = Arc::new(backend.load_rotation(rotation(rotary, length, head_dim))?);
        *kept = Some(Angles { length, rotation: Arc::clone(&rotation) });
        Ok(rotation)
    }

    /// One vector for each text: ids (T) -> (B, D), as [`Transformer::forward`] and [`Backend::pool`] give it.
    ///
    /// Where one row makes a text's vector, what follows the last attention is computed for these rows alone: rows do
    /// not know each other there.
    ///
    /// # Errors
    ///
    /// What the operations fail with.
    pub fn pooled(
        &self,
        backend: &B,
        ids: &[u32],
        spans: &Spans,
        pooling: Pooling,
        skipped: usize,
    ) -> Result<B::Activations> {
        let rows: Vec<u32> = match pooling {
            Pooling::Cls => spans.iter().map(|span| pooling.first(span, skipped) as u32).collect(),
            Pooling::LastToken => spans.iter().map(|span| span.end as u32 - 1).collect(),
            Pooling::Max | Pooling::Mean | Pooling::MeanSqrtLen | Pooling::WeightedMean => {
                let hidden = self.forward(backend, ids, spans)?;
                return backend.pool(&hidden, spans, pooling, skipped);
            }
        };
        self.pooled_rows(backend, ids, &self.batch(backend, spans)?, &rows)
    }

    /// The hidden states of each text's last token: ids (T) of texts that lack a prompt before them -> (B, D). The
    /// prompt is computed once and kept until another one comes. The caller has asked [`can_keep_prompt`].
    ///
    /// # Errors
    ///
    /// What the operations fail with.
    pub fn last_after_prompt(
        &self,
        backend: &B,
        prompt: &[u32],
        ids: &[u32],
        spans: &Spans,
    ) -> Result<B::Activations> {
        let rows: Vec<u32> = spans.iter().map(|span| span.end as u32 - 1).collect();
        self.pooled_rows(backend, ids, &self.batch_after(backend, prompt, spans)?, &rows)
    }

    /// The last hidden states of these rows alone: ids (T) -> (rows, D).
    fn pooled_rows(
        &self,
        backend: &B,
        ids: &[u32],
        batch: &Batch<'_, B>,
        rows: &[u32],
    ) -> Result<B::Activations> {
        let mut x = self.embed(backend, ids, batch.spans)?;
        let last = self.layers.iter().rposition(|layer| layer.attention.is_some());
        for number in 0..last.unwrap_or(0) {
            x = self.forward_layer(backend, number, x, batch, None)?;
        }
        x = match last.and_then(|last| self.layers[last].attention.as_ref()) {
            Some(attention) => attention.forward_selected(backend, x, batch, rows)?,
            None => backend.select(&x, rows)?,
        };
        for layer in &self.layers[last.unwrap_or(0)..] {
            if let Some(mlp) = &layer.mlp {
                x = mlp.forward(backend, x, batch, None)?;
            }
        }
        self.finish(backend, x)
    }

    /// One layer: (T, D) -> (T, D).
    pub(crate) fn forward_layer(
        &self,
        backend: &B,
        number: usize,
        mut x: B::Activations,
        batch: &Batch<'_, B>,
        mut observe: Observer<'_, '_, B>,
    ) -> Result<B::Activations> {
        use LinearInput::{AttentionOutput, MlpInput, MlpOutput, QueryKeyValue};
        let layer = &self.layers[number];
        for (sub_layer, inputs, stage) in [
            (&layer.attention, [QueryKeyValue, AttentionOutput], Stage::Attention(number)),
            (&layer.mlp, [MlpInput, MlpOutput], Stage::Mlp(number)),
        ] {
            if let Some(sub_layer) = sub_layer {
                let inputs = inputs.map(|input| Stage::Input(number, input));
                x = sub_layer.forward(
                    backend,
                    x,
                    batch,
                    observe.as_deref_mut().map(|observe| (observe, inputs)),
                )?;
                if let Some(observe) = &mut observe {
                    observe(stage, &x)?;
                }
            }
        }
        if let Some(observe) = &mut observe {
            observe(Stage::Layer(number), &x)?;
        }
        Ok(x)
    }
}

/// Cosines and sines of the first `length` positions, computed in f64: in f32 the angle of position 8,191 is off by
/// 5e-4.
fn rotation(rotary: &Rotary, length: usize, head_dim: usize) -> RotationWeights<'static> {
    let half = head_dim / 2;
    let frequencies: Vec<f64> = (0..half).map(|k| rotary.frequency(k, head_dim, length)).collect();
    let factor = rotary.attention_factor();
    let angles = || (0..length).flat_map(|position| frequencies.iter().map(move |f| position as f64 * f));
    let matrix = |values: Vec<f32>| Matrix { values: values.into(), rows: length, columns: half };
    RotationWeights {
        cos: matrix(angles().map(|angle| (factor * angle.cos()) as f32).collect()),
        sin: matrix(angles().map(|angle| (factor * angle.sin()) as f32).collect()),
    }
}

fn norm_if<B: Backend>(backend: &B, x: B::Activations, norm: Option<&B::Norm>) -> Result<B::Activations> {
    match norm {
        Some(norm) => backend.norm_in_place(x, norm),
        None => Ok(x),
    }
}

impl<B: Backend> Embeddings<B> {
    fn forward(
        &self,
        backend: &B,
        positions: Positions,
        ids: &[u32],
        types: &[u32],
        spans: &Spans,
    ) -> Result<B::Activations> {
        let mut x = backend.embed(&self.tokens, ids)?;
        if let (Some(table), Positions::Learned { first, table_rows, .. }) = (&self.positions, positions) {
            let mut rows = Vec::with_capacity(ids.len());
            for span in spans.iter() {
                let mut next = first;
                for id in &ids[span] {
                    // Where positions begin after that of the padding, a text that spells the padding out has it there.
                    let is_padding = *id as usize + 1 == first;
                    rows.push(if is_padding { *id } else { next as u32 });
                    next += usize::from(!is_padding);
                }
            }
            for (row, kind) in rows.iter_mut().zip(types) {
                *row += kind * table_rows as u32;
            }
            x = backend.add(x, &backend.embed(table, &rows)?)?;
        }
        norm_if(backend, x, self.norm.as_ref())
    }
}

impl<B: Backend> SubLayer<B> {
    fn forward(
        &self,
        backend: &B,
        x: B::Activations,
        batch: &Batch<'_, B>,
        observe: Option<(Observe<'_, '_, B>, [Stage; 2])>,
    ) -> Result<B::Activations> {
        let normed = self.input_norm.as_ref().map(|norm| backend.norm(&x, norm)).transpose()?;
        let Some((observe, inputs)) = observe else {
            if let (Core::Mlp(gate_up), None) = (&self.core, &self.output_norm) {
                let sum = backend.mlp_add(normed.as_ref(), gate_up, &self.output, x)?;
                return norm_if(backend, sum, self.sum_norm.as_ref());
            }
            let inner = self.core.forward(backend, normed.as_ref().unwrap_or(&x), batch)?;
            return self.add(backend, &inner, x);
        };
        let input = normed.as_ref().unwrap_or(&x);
        observe(inputs[0], input)?;
        let inner = self.core.forward(backend, input, batch)?;
        observe(inputs[1], &inner)?;
        self.add(backend, &inner, x)
    }

    /// Of some rows alone, of which the others are only seen by the attention: (T, D) -> (rows, D).
    fn forward_selected(
        &self,
        backend: &B,
        x: B::Activations,
        batch: &Batch<'_, B>,
        rows: &[u32],
    ) -> Result<B::Activations> {
        let inner = match &self.input_norm {
            Some(norm) => self.core.forward(backend, &backend.norm(&x, norm)?, batch)?,
            None => self.core.forward(backend, &x, batch)?,
        };
        self.add(backend, &backend.select(&inner, rows)?, backend.select(&x, rows)?)
    }

    /// What comes after the core: the output projection, the sum, the norms.
    fn add(&self, backend: &B, inner: &B::Activations, x: B::Activations) -> Result<B::Activations> {
        let sum = match &self.output_norm {
            Some(norm) => {
                backend.add(x, &backend.norm_in_place(backend.linear(inner, &self.output)?, norm)?)?
            }
            None => backend.linear_add(inner, &self.output, x)?,
        };
        norm_if(backend, sum, self.sum_norm.as_ref())
    }
}

impl<B: Backend> Core<B> {
    fn forward(&self, backend: &B, x: &B::Activations, batch: &Batch<'_, B>) -> Result<B::Activations> {
        match self {
            Core::Attention(attention) => attention.forward(backend, x, batch),
            Core::Mlp(gate_up) => backend.gate_up(x, gate_up),
        }
    }
}

impl<B: Backend> Attention<B> {
    fn forward(&self, backend: &B, x: &B::Activations, batch: &Batch<'_, B>) -> Result<B::Activations> {
        let AttentionShape { num_heads, .. } = self.shape;
        let mut qkv = backend.linear(x, &self.qkv)?;
        if let Some(reading) = &batch.reading {
            reading.keep(backend, self.layer, &qkv, batch.spans.num_tokens())?;
        }
        let spans = match &batch.prompted {
            Some(prompted) => {
                qkv = prompted.whole(backend, self.layer, &qkv)?;
                &prompted.spans
            }
            None => batch.spans,
        };
        if let Some(norm) = &self.query_norm {
            qkv = backend.norm_heads(qkv, norm, 0..num_heads)?;
        }
        if let Some(norm) = &self.key_norm {
            qkv = backend.norm_heads(qkv, norm, num_heads..self.shape.num_rotated_heads())?;
        }
        if let Some(rotary) = self.rotary {
            qkv = backend.rotate(qkv, spans, &*batch.rotations[rotary], &self.shape)?;
        }
        let out = backend.attention(&qkv, spans, &self.shape, self.window)?;
        match &batch.prompted {
            Some(prompted) => prompted.own(backend, &out),
            None => Ok(out),
        }
    }
}
