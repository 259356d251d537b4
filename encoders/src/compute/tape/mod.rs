//! A tape over a backend: it computes what the backend computes and writes down how, so that training can go back
//! through it.
//!
//! A decorator, as `Autodiff` of burn is: [`Tape`] is itself a [`Backend`], over any that is [`Backward`]. The
//! vectors are those of the backend, bit for bit. The tape keeps what an operation needs for its gradient, and nothing
//! where no gradient is asked for. A frozen layer has a gradient of its input alone. [`Tape::backward`] plays the tape
//! back (reverse accumulation, Linnainmaa 1970). The gradients on the CPU are tested against PyTorch's
//! (`train/tests.rs`).

mod dropout;
mod gate_up;
mod linear;
mod norm;
mod parameters;
mod scale;
mod table;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::backward::Backward;
use super::{
    AttentionShape, Backend, GateUpWeights, LinearWeights, Matrix, NormWeights, RotationWeights, Spans,
};
use crate::error::Result;
use crate::pooling::Pooling;
pub(crate) use dropout::Dropout;
pub(crate) use gate_up::TapeGateUp;
pub(crate) use linear::{AdapterShape, Block, TapeLinear};
use linear::{InputGradient, Kept};
pub(crate) use norm::{TapeNorm, TrainedNorm};
pub(crate) use parameters::{Gradients, Parameter, ParameterRows, Sizes, sizes};
pub(crate) use scale::SubLayerScale;
pub(crate) use table::{TapeTable, TrainedTable};

/// Turns the gradient of an operation's output into gradients of its inputs.
type Step<B> = Box<dyn FnOnce(&B, <B as Backend>::Activations, &mut Sink<'_, B>) -> Result<()> + Send>;

/// A backend, and what it has done since the tape began.
pub(crate) struct Tape<B: Backward> {
    backend: B,
    /// Whether anything is written down.
    recording: bool,
    dropout: Dropout,
    /// How each array that has a gradient was made; nothing for one that was given.
    steps: RefCell<Vec<Option<Step<B>>>>,
}

/// A (T, columns) array, and its node on the tape if what it was made from is trained.
pub(crate) struct Tracked<B: Backward> {
    array: Arc<B::Activations>,
    node: Option<usize>,
}

impl<B: Backward> Clone for Tracked<B> {
    fn clone(&self) -> Tracked<B> {
        Tracked { array: Arc::clone(&self.array), node: self.node }
    }
}

/// Gradients as they are added up.
struct Sink<'a, B: Backward> {
    /// By node.
    arrays: Vec<Option<B::Activations>>,
    parameters: &'a mut Gradients<B::Numbers>,
}

impl<B: Backward> Sink<'_, B> {
    fn add(&mut self, backend: &B, node: Option<usize>, gradient: B::Activations) -> Result<()> {
        let Some(node) = node else { return Ok(()) };
        self.arrays[node] = Some(match self.arrays[node].take() {
            Some(sum) => backend.add(sum, &gradient)?,
            None => gradient,
        });
        Ok(())
    }
}

/// The gradients of the arrays that were given.
pub(crate) struct Given<B: Backward> {
    arrays: Vec<Option<B::Activations>>,
}

impl<B: Backward> Given<B> {
    /// The gradient of an array; `None` if the output does not depend on it.
    pub(crate) fn take(&mut self, array: &Tracked<B>) -> Option<B::Activations> {
        self.arrays.get_mut(array.node?)?.take()
    }
}

/// The array itself where nobody else holds it.
fn owned<B: Backward>(backend: &B, array: Arc<B::Activations>) -> B::Activations {
    Arc::try_unwrap(array).unwrap_or_else(|shared| backend.copy(&shared))
}

impl<B: Backward> Tape<B> {
    /// A tape on which nothing is written.
    pub(crate) fn forward_only(backend: B) -> Tape<B> {
        Tape { backend, recording: false, dropout: Dropout::default(), steps: RefCell::default() }
    }

    /// Adds dropout.
    pub(crate) fn with_dropout(self, dropout: Dropout) -> Tape<B> {
        Tape { dropout, ..self }
    }

    /// Records from now on.
    pub(crate) fn recording(self) -> Tape<B> {
        Tape { recording: true, ..self }
    }

    /// Who computes.
    pub(crate) fn backend(&self) -> &B {
        &self.backend
    }

    /// The same, for others to use.
    pub(crate) fn into_backend(self) -> B {
        self.backend
    }

    /// An array from elsewhere, whose gradient is wanted.
    pub(crate) fn given(&self, array: Tracked<B>) -> Tracked<B> {
        self.node(array.array, None)
    }

    /// Plays the tape back from `output`, whose gradient is `gradient`; it is empty afterwards.
    pub(crate) fn backward(
        &self,
        output: &Tracked<B>,
        gradient: B::Activations,
        parameters: &mut Gradients<B::Numbers>,
    ) -> Result<Given<B>> {
        let steps = self.steps.take();
        let mut sink = Sink { arrays: steps.iter().map(|_| None).collect(), parameters };
        if let Some(node) = output.node {
            sink.arrays[node] = Some(gradient);
        }
        for (node, step) in steps.into_iter().enumerate().rev() {
            if let Some(step) = step
                && let Some(gradient) = sink.arrays[node].take()
            {
                step(&self.backend, gradient, &mut sink)?;
            }
        }
        Ok(Given { arrays: sink.arrays })
    }

    /// Whether an operation on `inputs` is to be written down.
    fn differentiates(&self, inputs: &[&Tracked<B>], is_trained: bool) -> bool {
        self.recording && (is_trained || inputs.iter().any(|input| input.node.is_some()))
    }

    fn node(&self, array: Arc<B::Activations>, step: Option<Step<B>>) -> Tracked<B> {
        let node = self.recording.then(|| {
            let mut steps = self.steps.borrow_mut();
            steps.push(step);
            steps.len() - 1
        });
        Tracked { array, node }
    }

    fn record(
        &self,
        array: B::Activations,
        step: impl FnOnce(&B, B::Activations, &mut Sink<'_, B>) -> Result<()> + Send + 'static,
    ) -> Tracked<B> {
        self.node(Arc::new(array), Some(Box::new(step)))
    }

    fn constant(&self, array: B::Activations) -> Tracked<B> {
        Tracked { array: Arc::new(array), node: None }
    }

    /// `residual` + linear(x), or linear(x) alone.
    fn apply(
        &self,
        x: &Tracked<B>,
        linear: &Arc<TapeLinear<B>>,
        residual: Option<Tracked<B>>,
    ) -> Result<Tracked<B>> {
        let mut inputs = vec![x];
        inputs.extend(&residual);
        let differentiates = self.differentiates(&inputs, linear.is_trained());
        let residual_node = residual.as_ref().and_then(|residual| residual.node);
        let mut out = match residual {
            Some(residual) => {
                self.backend.linear_add(&x.array, linear.loaded(), owned(&self.backend, residual.array))?
            }
            None => self.backend.linear(&x.array, linear.loaded())?,
        };
        let dropout = self.dropout;
        let inner = linear.add_adapters(&self.backend, &x.array, &dropout, &mut out)?;
        if !differentiates {
            return Ok(self.constant(out));
        }
        let (linear, node) = (Arc::clone(linear), x.node);
        let x = linear.is_trained().then(|| Arc::clone(&x.array));
        let kept = Kept { x, inner, dropout };
        Ok(self.record(out, move |backend, gradient, sink| {
            let sum = match node {
                Some(node) => InputGradient::AddedTo(sink.arrays[node].take()),
                None => InputGradient::Unwanted,
            };
            let of_input = linear.backward(backend, &kept, &gradient, sum, sink.parameters)?;
            if let Some(node) = node {
                sink.arrays[node] = of_input;
            }
            sink.add(backend, residual_node, gradient)
        }))
    }

    /// Writes down how `out` came from `kept`, an array at `node` of which some heads were normed; nothing is kept
    /// where there is no gradient.
    fn normed(
        &self,
        node: Option<usize>,
        kept: Option<Arc<B::Activations>>,
        norm: &Arc<TapeNorm<B>>,
        heads: Range<usize>,
        out: B::Activations,
    ) -> Tracked<B> {
        let Some(x) = kept else { return self.constant(out) };
        let norm = Arc::clone(norm);
        self.record(out, move |backend, gradient, sink| {
            let of_input = norm.backward(backend, &x, heads, gradient, sink.parameters)?;
            sink.add(backend, node, of_input)
        })
    }

    /// What a norm gave, with its factor where there is one.
    fn scaled_by(&self, norm: &TapeNorm<B>, out: Tracked<B>) -> Tracked<B> {
        match norm.scale {
            Some(scale) => self.scaled(out, scale),
            None => out,
        }
    }
}

impl<B: Backward> Backend for Tape<B> {
    type Activations = Tracked<B>;
    type Linear = Arc<TapeLinear<B>>;
    type GateUp = Arc<TapeGateUp<B>>;
    type Norm = Arc<TapeNorm<B>>;
    type Table = Arc<TapeTable<B>>;
    /// By the angles, and by the opposite ones.
    type Rotation = Arc<[B::Rotation; 2]>;

    fn load_linear(&self, weights: LinearWeights<'_>) -> Result<Arc<TapeLinear<B>>> {
        Ok(Arc::new(TapeLinear::new(self.backend.load_linear(weights)?)))
    }

    fn load_gate_up(&self, weights: GateUpWeights<'_>) -> Result<Arc<TapeGateUp<B>>> {
        let gate = weights.gate.map(|gate| self.load_linear(gate)).transpose()?;
        Ok(Arc::new(TapeGateUp::new(gate, self.load_linear(weights.up)?, weights.activation)))
    }

    fn load_norm(&self, weights: NormWeights<'_>) -> Result<Arc<TapeNorm<B>>> {
        Ok(Arc::new(TapeNorm::new(self.backend.load_norm(weights)?)))
    }

    fn load_table(&self, table: Matrix<'_>) -> Result<Arc<TapeTable<B>>> {
        let columns = table.columns;
        Ok(Arc::new(TapeTable::new(self.backend.load_table(table)?, columns)))
    }

    fn load_rotation(&self, weights: RotationWeights<'_>) -> Result<Arc<[B::Rotation; 2]>> {
        let mut reversed = weights.clone();
        reversed.sin.values.to_mut().iter_mut().for_each(|sin| *sin = -*sin);
        Ok(Arc::new([self.backend.load_rotation(weights)?, self.backend.load_rotation(reversed)?]))
    }

    fn upload(&self, values: &[f32], columns: usize) -> Result<Tracked<B>> {
        Ok(self.constant(self.backend.upload(values, columns)?))
    }

    fn to_vec(&self, x: &Tracked<B>) -> Result<Vec<f32>> {
        self.backend.to_vec(&x.array)
    }

    fn embed(&self, table: &Arc<TapeTable<B>>, ids: &[u32]) -> Result<Tracked<B>> {
        let rows = self.backend.embed(table.loaded(), ids)?;
        if !self.differentiates(&[], table.is_trained()) {
            return Ok(self.constant(rows));
        }
        let (table, ids) = (Arc::clone(table), ids.to_vec());
        Ok(self.record(rows, move |backend, gradient, sink| {
            table.backward(&ids, backend.to_numbers(gradient)?, sink.parameters);
            Ok(())
        }))
    }

    fn add(&self, x: Tracked<B>, y: &Tracked<B>) -> Result<Tracked<B>> {
        let differentiates = self.differentiates(&[&x, y], false);
        let nodes = [x.node, y.node];
        let sum = self.backend.add(owned(&self.backend, x.array), &y.array)?;
        if !differentiates {
            return Ok(self.constant(sum));
        }
        Ok(self.record(sum, move |backend, gradient, sink| {
            if nodes[0].is_some() && nodes[1].is_some() {
                sink.add(backend, nodes[1], backend.copy(&gradient))?;
            }
            sink.add(backend, nodes[0].or(nodes[1]), gradient)
        }))
    }

    fn norm(&self, x: &Tracked<B>, norm: &Arc<TapeNorm<B>>) -> Result<Tracked<B>> {
        let heads = 0..B::shape(&x.array).1 / norm.len();
        let kept = self.differentiates(&[x], norm.is_trained()).then(|| Arc::clone(&x.array));
        let out = self.normed(x.node, kept, norm, heads, self.backend.norm(&x.array, norm.loaded())?);
        Ok(self.scaled_by(norm, out))
    }

    fn norm_in_place(&self, x: Tracked<B>, norm: &Arc<TapeNorm<B>>) -> Result<Tracked<B>> {
        let node = x.node;
        // What is normed is needed for the gradient.
        let kept = self
            .differentiates(&[&x], norm.is_trained() || norm.scale.is_some())
            .then(|| Arc::clone(&x.array));
        let heads = 0..B::shape(&x.array).1 / norm.len();
        let out = self.backend.norm_in_place(owned(&self.backend, x.array), norm.loaded())?;
        Ok(self.scaled_by(norm, self.normed(node, kept, norm, heads, out)))
    }

    fn norm_heads(&self, x: Tracked<B>, norm: &Arc<TapeNorm<B>>, heads: Range<usize>) -> Result<Tracked<B>> {
        let kept = self.differentiates(&[&x], norm.is_trained()).then(|| Arc::clone(&x.array));
        let node = x.node;
        let x = owned(&self.backend, x.array);
        let out = self.backend.norm_heads(x, norm.loaded(), heads.clone())?;
        Ok(self.normed(node, kept, norm, heads, out))
    }

    fn rotate(
        &self,
        qkv: Tracked<B>,
        spans: &Spans,
        rotation: &Arc<[B::Rotation; 2]>,
        shape: &AttentionShape,
    ) -> Result<Tracked<B>> {
        let node = qkv.node;
        let differentiates = self.differentiates(&[&qkv], false);
        let out = self.backend.rotate(owned(&self.backend, qkv.array), spans, &rotation[0], shape)?;
        if !differentiates {
            return Ok(self.constant(out));
        }
        let (spans, rotation, shape) = (spans.clone(), Arc::clone(rotation), *shape);
        Ok(self.record(out, move |backend, gradient, sink| {
            let rotated = backend.rotate(gradient, &spans, &rotation[1], &shape)?;
            sink.add(backend, node, rotated)
        }))
    }

    fn linear(&self, x: &Tracked<B>, linear: &Arc<TapeLinear<B>>) -> Result<Tracked<B>> {
        self.apply(x, linear, None)
    }

    fn linear_add(
        &self,
        x: &Tracked<B>,
        linear: &Arc<TapeLinear<B>>,
        residual: Tracked<B>,
    ) -> Result<Tracked<B>> {
        match linear.scale {
            None => self.apply(x, linear, Some(residual)),
            Some(scale) => self.add(residual, &self.scaled(self.apply(x, linear, None)?, scale)),
        }
    }

    fn gate_up(&self, x: &Tracked<B>, gate_up: &Arc<TapeGateUp<B>>) -> Result<Tracked<B>> {
        let gate = gate_up.gate.as_ref().map(|gate| self.apply(x, gate, None)).transpose()?;
        let up = self.apply(x, &gate_up.up, None)?;
        let inputs: Vec<&Tracked<B>> = gate.iter().chain([&up]).collect();
        let differentiates = self.differentiates(&inputs, gate_up.is_trained());
        let gate_array = gate.as_ref().map(|gate| &*gate.array);
        let out = self.backend.combine(&gate_up.combined(), gate_array, &up.array)?;
        if !differentiates {
            return Ok(self.constant(out));
        }
        let gate_up = Arc::clone(gate_up);
        Ok(self.record(out, move |backend, gradient, sink| {
            let nodes = [gate.as_ref().and_then(|gate| gate.node), up.node];
            let mut gate = gate.map(|gate| owned(backend, gate.array));
            let mut up = owned(backend, up.array);
            gate_up.backward(backend, gradient, gate.as_mut(), &mut up, sink.parameters)?;
            if let Some(gate) = gate {
                sink.add(backend, nodes[0], gate)?;
            }
            sink.add(backend, nodes[1], up)
        }))
    }

    fn attention(
        &self,
        qkv: &Tracked<B>,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
    ) -> Result<Tracked<B>> {
        let out = self.backend.attention(&qkv.array, spans, shape, window)?;
        if !self.differentiates(&[qkv], false) {
            return Ok(self.constant(out));
        }
        let (qkv, spans, shape) = (qkv.clone(), spans.clone(), *shape);
        Ok(self.record(out, move |backend, gradient, sink| {
            let of_qkv = backend.attention_backward(&qkv.array, &spans, &shape, window, &gradient)?;
            sink.add(backend, qkv.node, of_qkv)
        }))
    }

    fn pool(
        &self,
        hidden: &Tracked<B>,
        spans: &Spans,
        pooling: Pooling,
        skipped: usize,
    ) -> Result<Tracked<B>> {
        let out = self.backend.pool(&hidden.array, spans, pooling, skipped)?;
        if !self.differentiates(&[hidden], false) {
            return Ok(self.constant(out));
        }
        let (node, spans) = (hidden.node, spans.clone());
        Ok(self.record(out, move |backend, gradient, sink| {
            let of_hidden = backend.pool_backward(&gradient, &spans, pooling, skipped)?;
            sink.add(backend, node, of_hidden)
        }))
    }

    /// What is trained pools all of its rows: this has no gradient.
    fn select(&self, x: &Tracked<B>, rows: &[u32]) -> Result<Tracked<B>> {
        assert!(!self.differentiates(&[x], false), "no gradient goes through a selection of rows");
        Ok(self.constant(self.backend.select(&x.array, rows)?))
    }

    /// Nor through this.
    fn select_below(&self, above: &Tracked<B>, below: &Tracked<B>, rows: &[u32]) -> Result<Tracked<B>> {
        assert!(!self.differentiates(&[above, below], false), "no gradient goes through a selection of rows");
        Ok(self.constant(self.backend.select_below(&above.array, &below.array, rows)?))
    }

    fn to_vectors(&self, x: &Tracked<B>, kept: usize, unit: bool) -> Result<Vec<f32>> {
        self.backend.to_vectors(&x.array, kept, unit)
    }
}
