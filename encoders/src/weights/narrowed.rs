//! Tensors without the masked neurons of MLPs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::mapped::MappedTable;
use super::matrix::Weight;
use super::shards::StoredTensor;
use super::tensors::{TensorInfo, Tensors};
use crate::architecture::{Architecture, MaskedMlp, NeuronAxis, NeuronMask};
use crate::error::Result;

/// What is taken from a tensor: the neurons of an MLP, along one axis.
pub(crate) type Cut = (MaskedMlp, NeuronAxis);

/// A source whose MLPs lack the neurons of a mask.
pub(crate) struct Narrowed {
    source: Box<dyn Tensors>,
    /// By the tensor's name without prefix.
    cuts: BTreeMap<String, Cut>,
    /// Whose names these are.
    architecture: Architecture,
}

impl Narrowed {
    /// Takes the masked neurons from the tensors of the model that `architecture` describes.
    pub(crate) fn new(source: Box<dyn Tensors>, mask: &NeuronMask, architecture: &Architecture) -> Narrowed {
        Narrowed { source, cuts: cuts(mask, architecture), architecture: architecture.clone() }
    }

    fn cut(&self, tensor: &str) -> Option<&Cut> {
        self.cuts.get(self.architecture.bare_name(tensor))
    }
}

impl Tensors for Narrowed {
    fn list(&self) -> Vec<TensorInfo<'_>> {
        let mut list = self.source.list();
        for info in &mut list {
            if let Some((mlp, axis)) = self.cut(info.name) {
                info.shape = narrowed_shape(&info.shape, *axis, mlp);
            }
        }
        list
    }

    fn contains(&self, tensor: &str) -> bool {
        self.source.contains(tensor)
    }

    fn stored(&self, tensor: &str) -> Option<StoredTensor<'_>> {
        if self.cut(tensor).is_some() { None } else { self.source.stored(tensor) }
    }

    fn values(&self, tensor: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>> {
        let Some((mlp, axis)) = self.cut(tensor) else { return self.source.values(tensor, shape) };
        let whole = whole_shape(shape, *axis, mlp);
        let values = self.source.values(tensor, &whole)?;
        Ok(Cow::Owned(without(&values, &whole, *axis, mlp)))
    }

    fn weight(&self, tensor: &str, rows: usize, columns: usize) -> Result<Weight<'_>> {
        match self.cut(tensor) {
            Some(_) => Ok(self.matrix(tensor, rows, columns)?.into()),
            None => self.source.weight(tensor, rows, columns),
        }
    }

    fn is_quantized(&self) -> bool {
        self.source.is_quantized()
    }

    fn mapped(&self, tensor: &str, rows: usize, columns: usize) -> Result<Option<MappedTable>> {
        if self.cut(tensor).is_some() { Ok(None) } else { self.source.mapped(tensor, rows, columns) }
    }

    fn release(&self, tensor: &str) {
        self.source.release(tensor);
    }
}

/// By tensor name without prefix: which neurons go, and along which axis.
pub(crate) fn cuts(mask: &NeuronMask, architecture: &Architecture) -> BTreeMap<String, Cut> {
    let layers = mask.layers.iter().enumerate();
    layers
        .filter_map(|(layer, mlp)| Some((layer, mlp.as_ref().filter(|mlp| !mlp.masked.is_empty())?)))
        .flat_map(|(layer, mlp)| {
            let tensors = architecture.mlp_tensors(layer).into_iter();
            tensors.map(move |(name, axis)| (name, (mlp.clone(), axis)))
        })
        .collect()
}

/// The shape of a tensor when the masked neurons are gone.
pub(crate) fn narrowed_shape(shape: &[usize], axis: NeuronAxis, mlp: &MaskedMlp) -> Vec<usize> {
    with_width(shape, axis, mlp.width - mlp.masked.len())
}

/// The shape of a tensor when they were there.
fn whole_shape(shape: &[usize], axis: NeuronAxis, mlp: &MaskedMlp) -> Vec<usize> {
    with_width(shape, axis, mlp.width)
}

fn with_width(shape: &[usize], axis: NeuronAxis, width: usize) -> Vec<usize> {
    match (axis, shape) {
        (NeuronAxis::Rows { parts }, [_, rest @ ..]) => [&[parts * width], rest].concat(),
        (NeuronAxis::Columns, [rows, ..]) => vec![*rows, width],
        (_, []) => Vec::new(),
    }
}

/// `values` (shape) without the masked neurons.
pub(crate) fn without(values: &[f32], shape: &[usize], axis: NeuronAxis, mlp: &MaskedMlp) -> Vec<f32> {
    let runs = neurons(values, shape, axis, mlp);
    runs.filter(|(_, goes)| !goes).flat_map(|(run, _)| run).copied().collect()
}

/// `values` (shape) with the masked neurons zero.
pub(crate) fn zeroed(values: &[f32], shape: &[usize], axis: NeuronAxis, mlp: &MaskedMlp) -> Vec<f32> {
    let runs = neurons(values, shape, axis, mlp);
    runs.flat_map(|(run, goes)| run.iter().map(move |x| if goes { 0.0 } else { *x })).collect()
}

/// The numbers of each neuron in a row, as often as the pattern repeats itself, and whether the neuron goes.
fn neurons<'v>(
    values: &'v [f32],
    shape: &[usize],
    axis: NeuronAxis,
    mlp: &MaskedMlp,
) -> impl Iterator<Item = (&'v [f32], bool)> {
    let run = match axis {
        NeuronAxis::Rows { .. } => shape[1..].iter().product(),
        NeuronAxis::Columns => 1,
    };
    let mut goes = vec![false; mlp.width];
    mlp.masked.iter().for_each(|neuron| goes[*neuron] = true);
    values.chunks_exact(run).enumerate().map(move |(number, run)| (run, goes[number % goes.len()]))
}
