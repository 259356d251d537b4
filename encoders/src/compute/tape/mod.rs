//! The operations on a CPU, with a record of what they did, by which training differentiates them.
//!
//! The forward is that of [`super::cpu`]: the vectors are the same. What an operation needs for its gradient it keeps,
//! and nothing where no gradient is asked for: a frozen layer has a gradient of its input alone. [`Tape::backward`] plays
//! the record back (reverse accumulation, Linnainmaa 1970). Its gradients are tested against PyTorch's (`train/tests.rs`).

mod attention;
mod dropout;
mod linear;
mod mlp;
mod norm;
mod parameters;
mod table;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::cpu::elementwise::{LayerNorm, RmsNorm};
use super::cpu::rotary::Rotation;
use super::cpu::{Cpu, Products, Rows};
use super::{AttentionShape, ExpandWeights, LinearWeights, Matrix, NormWeights, Ops, RotationWeights, Spans};
use crate::error::Result;
pub(crate) use dropout::Dropout;
use linear::Kept;
pub(crate) use linear::{Block, LowRank, RecordedLinear};
use mlp::Combine;
pub(crate) use mlp::RecordedExpand;
pub(crate) use norm::{RecordedNorm, TrainedNorm};
pub(crate) use parameters::{Gradients, Parameter, Place, Sizes, sizes};
pub(crate) use table::{RecordedTable, TrainedTable};

/// From the gradient of an operation's output to those of its inputs.
type Step = Box<dyn FnOnce(&Tape, Rows, &mut Sink<'_>) + Send>;

/// The operations, and the record of those since it was begun.
pub struct Tape {
    fused: Cpu,
    /// Whether anything is recorded.
    recording: bool,
    dropout: Dropout,
    /// How each array that has a gradient was made; nothing for one that was given.
    record: RefCell<Vec<Option<Step>>>,
}

/// A (T, columns) array and its place in the record, if what it was made from is trained.
#[derive(Clone)]
pub struct Tracked {
    rows: Arc<Rows>,
    place: Option<usize>,
}

/// Gradients as they are added up.
struct Sink<'a> {
    /// By place in the record.
    arrays: Vec<Option<Rows>>,
    parameters: &'a mut Gradients,
}

/// The gradients of the arrays that were given.
pub(crate) struct Given {
    arrays: Vec<Option<Rows>>,
}

impl Given {
    /// That of one; none where the output does not depend on it.
    pub(crate) fn take(&mut self, array: &Tracked) -> Option<Rows> {
        self.arrays.get_mut(array.place?)?.take()
    }
}

impl Tracked {
    /// The elements, row-major.
    pub(crate) fn values(&self) -> &[f32] {
        self.rows.values()
    }
}

impl Sink<'_> {
    fn add(&mut self, ops: &Tape, place: Option<usize>, gradient: Rows) {
        let Some(place) = place else { return };
        match &mut self.arrays[place] {
            Some(sum) => ops.add_to(sum, &gradient),
            none => *none = Some(gradient),
        }
    }
}

impl Tape {
    /// Operations that compute with `fused` and record nothing.
    pub(crate) fn forward_only(fused: Cpu) -> Tape {
        Tape { fused, recording: false, dropout: Dropout::default(), record: RefCell::default() }
    }

    /// The same, with dropout.
    pub(crate) fn with_dropout(self, dropout: Dropout) -> Tape {
        Tape { dropout, ..self }
    }

    /// The same, from now on recording.
    pub(crate) fn recording(self) -> Tape {
        Tape { recording: true, ..self }
    }

    /// What it computes with, for others to use.
    pub(crate) fn into_fused(self) -> Cpu {
        self.fused
    }

    /// An array from elsewhere, whose gradient is wanted.
    pub(crate) fn given(&self, values: &[f32], columns: usize) -> Tracked {
        let mut rows = self.fused.rows(values.len() / columns, columns);
        rows.values_mut().copy_from_slice(values);
        self.remember(rows, true, None)
    }

    /// Plays the record back from `output`, whose gradient is `gradient`; it is empty afterwards.
    pub(crate) fn backward(&self, output: &Tracked, gradient: &[f32], parameters: &mut Gradients) -> Given {
        let record = self.record.take();
        let mut sink = Sink { arrays: record.iter().map(|_| None).collect(), parameters };
        if let Some(place) = output.place {
            let mut rows = self.fused.rows(output.rows.num_rows(), output.rows.columns());
            rows.values_mut().copy_from_slice(gradient);
            sink.arrays[place] = Some(rows);
        }
        for (place, step) in record.into_iter().enumerate().rev() {
            if let Some(step) = step
                && let Some(gradient) = sink.arrays[place].take()
            {
                step(self, gradient, &mut sink);
            }
        }
        Given { arrays: sink.arrays }
    }

    fn zeros(&self, num_rows: usize, columns: usize) -> Rows {
        let mut rows = self.fused.rows(num_rows, columns);
        rows.values_mut().fill(0.0);
        rows
    }

    fn copied(&self, rows: &Rows) -> Rows {
        let mut copy = self.fused.rows(rows.num_rows(), rows.columns());
        copy.values_mut().copy_from_slice(rows.values());
        copy
    }

    /// The array itself where nobody else holds it.
    fn owned(&self, rows: Arc<Rows>) -> Rows {
        Arc::try_unwrap(rows).unwrap_or_else(|shared| self.copied(&shared))
    }

    fn add_to(&self, sum: &mut Rows, rows: &Rows) {
        sum.values_mut().iter_mut().zip(rows.values()).for_each(|(sum, x)| *sum += x);
    }

    /// What an adapter sees of `x`, where it does not see all of it.
    fn dropped(&self, x: &Rows, dropout: &Dropout, adapter: &LowRank) -> Option<Rows> {
        dropout.drops(adapter).then(|| {
            let mut dropped = self.copied(x);
            dropout.apply(adapter, dropped.values_mut());
            dropped
        })
    }

    /// Whether an operation on `inputs` is to be recorded.
    fn differentiates(&self, inputs: &[&Tracked], is_trained: bool) -> bool {
        self.recording && (is_trained || inputs.iter().any(|input| input.place.is_some()))
    }

    fn remember(&self, rows: Rows, differentiated: bool, step: Option<Step>) -> Tracked {
        let place = (differentiated && self.recording).then(|| {
            let mut record = self.record.borrow_mut();
            record.push(step);
            record.len() - 1
        });
        Tracked { rows: Arc::new(rows), place }
    }

    fn constant(&self, rows: Rows) -> Tracked {
        Tracked { rows: Arc::new(rows), place: None }
    }

    /// `residual` + linear(x), or linear(x) alone.
    fn apply(&self, x: &Tracked, linear: &Arc<RecordedLinear>, residual: Option<Tracked>) -> Result<Tracked> {
        let mut inputs = vec![x];
        inputs.extend(&residual);
        let differentiates = self.differentiates(&inputs, linear.is_trained());
        let residual_place = residual.as_ref().and_then(|residual| residual.place);
        let mut out = match residual {
            Some(residual) => self.fused.linear_add(&x.rows, linear.packed(), self.owned(residual.rows))?,
            None => self.fused.linear(&x.rows, linear.packed())?,
        };
        let dropout = self.dropout;
        let inner = linear.add_adapters(self, &x.rows, &dropout, &mut out);
        if !differentiates {
            return Ok(self.constant(out));
        }
        let (linear, place) = (Arc::clone(linear), x.place);
        let x = linear.is_trained().then(|| Arc::clone(&x.rows));
        let kept = Kept { x, inner, dropout };
        let step = move |ops: &Tape, gradient: Rows, sink: &mut Sink<'_>| {
            let of_input = linear.backward(ops, &kept, &gradient, place.is_some(), sink.parameters);
            if let Some(of_input) = of_input {
                sink.add(ops, place, of_input);
            }
            sink.add(ops, residual_place, gradient);
        };
        Ok(self.remember(out, true, Some(Box::new(step))))
    }
}

impl Ops for Tape {
    type Rows = Tracked;
    type Linear = Arc<RecordedLinear>;
    type Expand = Arc<RecordedExpand>;
    type Norm = Arc<RecordedNorm>;
    type Table = Arc<RecordedTable>;
    type Rotation = Arc<[Rotation; 2]>;

    fn load_linear(&self, weights: LinearWeights<'_>) -> Result<Arc<RecordedLinear>> {
        Ok(Arc::new(RecordedLinear::new(&self.fused, weights)?))
    }

    fn load_expand(&self, weights: ExpandWeights<'_>) -> Result<Arc<RecordedExpand>> {
        let gate = weights.gate.map(|gate| RecordedLinear::new(&self.fused, gate)).transpose()?;
        let up = RecordedLinear::new(&self.fused, weights.up)?;
        Ok(Arc::new(RecordedExpand::new(gate, up, weights.activation)))
    }

    fn load_norm(&self, weights: NormWeights<'_>) -> Result<Arc<RecordedNorm>> {
        Ok(Arc::new(RecordedNorm::new(self.fused.load_norm(weights)?)))
    }

    fn load_table(&self, table: Matrix<'_>) -> Result<Arc<RecordedTable>> {
        let halves = self.fused.products() == Products::Halves;
        Ok(Arc::new(RecordedTable::new(table, halves)))
    }

    fn load_rotation(&self, weights: RotationWeights<'_>) -> Result<Arc<[Rotation; 2]>> {
        let rotation = self.fused.load_rotation(weights)?;
        let reversed = rotation.reversed();
        Ok(Arc::new([rotation, reversed]))
    }

    fn embed(&self, table: &Arc<RecordedTable>, ids: &[u32]) -> Result<Tracked> {
        let mut rows = self.fused.rows(ids.len(), table.columns());
        table.read(ids, rows.values_mut());
        if !self.differentiates(&[], table.is_trained()) {
            return Ok(self.constant(rows));
        }
        let (table, ids) = (Arc::clone(table), ids.to_vec());
        let step = move |_: &Tape, gradient: Rows, sink: &mut Sink<'_>| {
            table.backward(&ids, gradient.values(), sink.parameters);
        };
        Ok(self.remember(rows, true, Some(Box::new(step))))
    }

    fn copy(&self, x: &Tracked) -> Result<Tracked> {
        Ok(x.clone())
    }

    fn add(&self, x: Tracked, y: &Tracked) -> Result<Tracked> {
        let differentiates = self.differentiates(&[&x, y], false);
        let places = [x.place, y.place];
        let mut sum = self.owned(x.rows);
        self.add_to(&mut sum, &y.rows);
        if !differentiates {
            return Ok(self.constant(sum));
        }
        let step = move |ops: &Tape, gradient: Rows, sink: &mut Sink<'_>| {
            if places[0].is_some() && places[1].is_some() {
                sink.add(ops, places[1], ops.copied(&gradient));
                sink.add(ops, places[0], gradient);
            } else {
                sink.add(ops, places[0].or(places[1]), gradient);
            }
        };
        Ok(self.remember(sum, true, Some(Box::new(step))))
    }

    fn norm(&self, x: Tracked, norm: &Arc<RecordedNorm>) -> Result<Tracked> {
        let columns = x.rows.columns();
        let heads = 0..columns / norm.len();
        self.norm_heads(x, norm, heads)
    }

    fn norm_heads(&self, x: Tracked, norm: &Arc<RecordedNorm>, heads: Range<usize>) -> Result<Tracked> {
        let columns = heads.start * norm.len()..heads.end * norm.len();
        let differentiates = self.differentiates(&[&x], norm.is_trained());
        let input = differentiates.then(|| Arc::clone(&x.rows));
        let place = x.place;
        let mut out = self.owned(x.rows);
        let isa = self.fused.isa();
        let num_columns = out.columns();
        for row in out.values_mut().chunks_exact_mut(num_columns) {
            let rows = &mut row[columns.clone()];
            match &norm.weights {
                NormWeights::Layer { weight, bias, eps } => {
                    isa.dispatch(LayerNorm { rows, weight, bias, eps: *eps });
                }
                NormWeights::Rms { weight, eps } => isa.dispatch(RmsNorm { rows, weight, eps: *eps }),
            }
        }
        let Some(input) = input else { return Ok(self.constant(out)) };
        let norm = Arc::clone(norm);
        let step = move |ops: &Tape, mut gradient: Rows, sink: &mut Sink<'_>| {
            let isa = ops.fused.isa();
            if columns == (0..num_columns) {
                norm.backward(isa, input.values(), gradient.values_mut(), sink.parameters);
            } else {
                let inputs = input.values().chunks_exact(num_columns);
                for (x, g) in inputs.zip(gradient.values_mut().chunks_exact_mut(num_columns)) {
                    norm.backward(isa, &x[columns.clone()], &mut g[columns.clone()], sink.parameters);
                }
            }
            sink.add(ops, place, gradient);
        };
        Ok(self.remember(out, true, Some(Box::new(step))))
    }

    fn rotate(
        &self,
        qkv: Tracked,
        spans: &Spans,
        rotation: &Arc<[Rotation; 2]>,
        shape: &AttentionShape,
    ) -> Result<Tracked> {
        let place = qkv.place;
        let differentiates = self.differentiates(&[&qkv], false);
        let out = self.fused.rotate(self.owned(qkv.rows), spans, &rotation[0], shape)?;
        if !differentiates {
            return Ok(self.constant(out));
        }
        let (spans, rotation, shape) = (spans.clone(), Arc::clone(rotation), *shape);
        let step = move |ops: &Tape, gradient: Rows, sink: &mut Sink<'_>| {
            let turned = ops.fused.rotate(gradient, &spans, &rotation[1], &shape);
            sink.add(ops, place, turned.expect("a rotation on the CPU does not fail"));
        };
        Ok(self.remember(out, true, Some(Box::new(step))))
    }

    fn linear(&self, x: &Tracked, linear: &Arc<RecordedLinear>) -> Result<Tracked> {
        self.apply(x, linear, None)
    }

    fn linear_add(&self, x: &Tracked, linear: &Arc<RecordedLinear>, residual: Tracked) -> Result<Tracked> {
        self.apply(x, linear, Some(residual))
    }

    fn expand(&self, x: &Tracked, expand: &Arc<RecordedExpand>) -> Result<Tracked> {
        let gate = expand.gate.as_ref().map(|gate| self.apply(x, gate, None)).transpose()?;
        let up = self.apply(x, &expand.up, None)?;
        let inputs: Vec<&Tracked> = gate.iter().chain([&up]).collect();
        let differentiates = self.differentiates(&inputs, expand.is_gated());
        let mut out = self.fused.rows(up.rows.num_rows(), expand.width());
        self.fused.isa().dispatch(Combine {
            activation: expand.activation,
            factors: expand.factors(),
            gate: gate.as_ref().map(Tracked::values),
            up: up.values(),
            out: out.values_mut(),
        });
        if !differentiates {
            return Ok(self.constant(out));
        }
        let expand = Arc::clone(expand);
        let step = move |ops: &Tape, mut gradient: Rows, sink: &mut Sink<'_>| {
            let places = [gate.as_ref().and_then(|gate| gate.place), up.place];
            let mut gate = gate.map(|gate| ops.owned(gate.rows));
            let mut up = ops.owned(up.rows);
            expand.backward(
                ops.fused.isa(),
                gradient.values_mut(),
                gate.as_mut().map(Rows::values_mut),
                up.values_mut(),
                sink.parameters,
            );
            if let Some(gate) = gate {
                sink.add(ops, places[0], gate);
            }
            sink.add(ops, places[1], up);
        };
        Ok(self.remember(out, true, Some(Box::new(step))))
    }

    fn attention(
        &self,
        qkv: &Tracked,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
    ) -> Result<Tracked> {
        let out = self.fused.attention(&qkv.rows, spans, shape, window)?;
        if !self.differentiates(&[qkv], false) {
            return Ok(self.constant(out));
        }
        let (qkv, spans, shape) = (qkv.clone(), spans.clone(), *shape);
        let step = move |ops: &Tape, gradient: Rows, sink: &mut Sink<'_>| {
            let mut of_qkv = ops.zeros(qkv.rows.num_rows(), qkv.rows.columns());
            let (columns, context) = (qkv.rows.columns(), gradient.columns());
            let mut texts = Vec::new();
            let mut rest = of_qkv.values_mut();
            for span in spans.iter() {
                let (out, behind) = rest.split_at_mut(span.len() * columns);
                texts.push((span, out));
                rest = behind;
            }
            let isa = ops.fused.isa();
            let (values, gradient) = (qkv.values(), gradient.values());
            let run = |(span, out): (Range<usize>, &mut [f32])| {
                let qkv = &values[span.start * columns..span.end * columns];
                let gradient = &gradient[span.start * context..span.end * context];
                attention::Backward { qkv, shape: &shape, window, gradient, out }.run(isa);
            };
            if ops.fused.is_parallel() {
                texts.into_par_iter().for_each(run);
            } else {
                texts.into_iter().for_each(run);
            }
            sink.add(ops, qkv.place, of_qkv);
        };
        Ok(self.remember(out, true, Some(Box::new(step))))
    }

    fn to_vec(&self, x: &Tracked) -> Result<Vec<f32>> {
        Ok(x.values().to_vec())
    }
}
