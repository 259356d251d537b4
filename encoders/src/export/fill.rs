//! The tensors of an exported model: those of the model under their new names, and zeros where it has none.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::Dtype;

use super::ExportFormat;
use super::shape::Shape;
use crate::architecture::family;
use crate::architecture::modules::{Module, Role};
use crate::architecture::{Architecture, NeuronAxis, NormKind};
use crate::error::Result;
use crate::weights::tensors::{TensorInfo, Tensors};
use crate::weights::write::{Elements, NewTensor};

/// What a module is made of.
enum Origin {
    /// The model's module of this name.
    Module(String),
    /// Numbers that are all the same: of its weight. Its bias is zero.
    Constant(f32),
}

/// Whether there is a language-model head beside the table of embeddings.
pub(super) fn has_head(source: &dyn Tensors) -> bool {
    source.contains(HEAD)
}

const HEAD: &str = "lm_head.weight";

/// All tensors of the shape, and those of the model that are not the transformer's. `model` tells what `source` has.
pub(super) fn tensors<'a>(
    source: &'a dyn Tensors,
    model: &Architecture,
    shape: &Shape,
    format: ExportFormat,
) -> Result<Vec<NewTensor<'a>>> {
    let infos: HashMap<&'a str, TensorInfo<'a>> =
        source.list().into_iter().map(|info| (info.name, info)).collect();
    let prefix = prefix_of(source, model);
    // A reader of whole language models wants their names.
    let new_prefix = if format == ExportFormat::NemotronNas { "model." } else { prefix };
    let table = model.token_embeddings().name;
    let usual = infos.get(format!("{prefix}{table}").as_str()).map_or(Dtype::F32, |info| info.dtype);

    let modules = shape.architecture.modules();
    let origins = origins(model, shape, &modules);
    let axes: HashMap<String, NeuronAxis> =
        (0..shape.from.len()).flat_map(|layer| shape.architecture.mlp_tensors(layer)).collect();
    let mut new = Vec::new();
    for (module, origin) in modules.iter().zip(&origins) {
        let suffixes = ["weight", "bias"].into_iter().take(1 + usize::from(module.has_bias));
        for suffix in suffixes {
            let is_weight = suffix == "weight";
            let to = if is_weight { module.shape.clone() } else { vec![module.shape[0]] };
            let bare = format!("{}.{suffix}", module.name);
            let name = format!("{new_prefix}{bare}");
            let (dtype, elements) = match origin {
                Origin::Constant(value) => {
                    let (value, count) = (if is_weight { *value } else { 0.0 }, to.iter().product());
                    (usual, Elements::Computed(Box::new(move || Ok(vec![value; count].into()))))
                }
                Origin::Module(of) => {
                    let tensor = format!("{prefix}{of}.{suffix}");
                    let Some(info) = infos.get(tensor.as_str()) else {
                        // The source says which file lacks it.
                        source.values(&tensor, &to)?;
                        continue;
                    };
                    let elements = elements(source, info, &to, axes.get(&bare).copied());
                    let dtype = match (&elements, info.dtype) {
                        // What is computed is computed in f32.
                        (Elements::Computed(_), Dtype::F64) => Dtype::F32,
                        (_, dtype) => dtype,
                    };
                    (dtype, elements)
                }
            };
            new.push(NewTensor { name, dtype, shape: to, elements });
        }
    }
    new.extend(others(source, model, format));
    Ok(new)
}

/// What stands before all names of the transformer's tensors.
fn prefix_of(source: &dyn Tensors, model: &Architecture) -> &'static str {
    let table = model.token_embeddings().name;
    let prefixes = model.prefixes();
    let has_table = |prefix: &&str| source.contains(&format!("{prefix}{table}"));
    prefixes.iter().copied().find(has_table).unwrap_or(prefixes[0])
}

/// Where each module of the shape comes from.
fn origins(model: &Architecture, shape: &Shape, modules: &[Module]) -> Vec<Origin> {
    let theirs = model.modules();
    let found = |module: &Module| {
        let layer = module.layer.map(|layer| shape.from[layer]);
        theirs.iter().find(|other| other.role == module.role && other.layer == layer).map(|other| &other.name)
    };
    let neutral = match model.norm {
        NormKind::Layer { .. } => 1.0,
        NormKind::Rms { offset } => 1.0 - offset,
    };
    let mut origins: Vec<Origin> = modules
        .iter()
        .map(|module| match found(module) {
            Some(name) => Origin::Module(name.clone()),
            None if module.role.input().is_some() => Origin::Constant(0.0),
            None => Origin::Constant(neutral),
        })
        .collect();
    // The norms that hidden states go through one after the other. Where some are missing, the last of these takes over
    // the weights of the one before them. The others only scale what is scaled again.
    let is_of_sum = |module: &Module| matches!(module.role, Role::EmbeddingNorm | Role::SumNorm(_));
    let places: Vec<usize> = (0..modules.len()).filter(|place| is_of_sum(&modules[*place])).collect();
    let mut last: Option<usize> = None;
    for place in places {
        match last {
            Some(before) if matches!(origins[place], Origin::Constant(_)) => origins.swap(before, place),
            _ => {}
        }
        last = Some(place);
    }
    origins
}

/// A tensor of the model, filled up to a shape with neurons of zeros.
fn elements<'a>(
    source: &'a dyn Tensors,
    info: &TensorInfo<'a>,
    to: &[usize],
    axis: Option<NeuronAxis>,
) -> Elements<'a> {
    let TensorInfo { name, shape: ref from, .. } = *info;
    let grows = match (axis, &from[..], to) {
        (Some(NeuronAxis::Rows { .. }), [rows, rest @ ..], [more, same @ ..]) => rest == same && rows < more,
        (Some(NeuronAxis::Columns), [rows, columns], [same, more]) => rows == same && columns < more,
        _ => false,
    };
    if let (Some(axis), true) = (axis, grows) {
        let (from, to) = (from.clone(), to.to_vec());
        return Elements::Computed(Box::new(move || {
            let values = source.values(name, &from)?;
            Ok(Cow::Owned(filled(&values, &from, &to, axis)))
        }));
    }
    if from == to
        && let Some(stored) = source.stored(name)
    {
        return Elements::Stored(stored.bytes);
    }
    // A shape that is not the configuration's is an error here.
    let to = to.to_vec();
    Elements::Computed(Box::new(move || source.values(name, &to)))
}

/// `values` with zeros where `to` has more neurons than `from`: at the end of each of the parts that stand one below
/// the other.
fn filled(values: &[f32], from: &[usize], to: &[usize], axis: NeuronAxis) -> Vec<f32> {
    let (parts, of_each, more) = match axis {
        NeuronAxis::Rows { parts } => {
            let rest: usize = from[1..].iter().product();
            (parts, from[0] / parts * rest, to[0] / parts * rest)
        }
        NeuronAxis::Columns => (from[0], from[1], to[1]),
    };
    let mut filled = vec![0.0; parts * more];
    for (part, values) in filled.chunks_exact_mut(more).zip(values.chunks_exact(of_each)) {
        part[..of_each].copy_from_slice(values);
    }
    filled
}

/// What the model has beside its transformer: heads. What lies in dropped layers is left out, and so are buffers of
/// layers, whose numbers may be others.
fn others<'a>(
    source: &'a dyn Tensors,
    model: &Architecture,
    format: ExportFormat,
) -> impl Iterator<Item = NewTensor<'a>> {
    let names = &family::by_name(model.family).names;
    let layers = names.layer.split("{}").next().unwrap_or_default();
    let own: Vec<String> = model
        .modules()
        .into_iter()
        .filter(|module| module.layer.is_none())
        .flat_map(|module| ["weight", "bias"].map(|suffix| format!("{}.{suffix}", module.name)))
        .collect();
    let model = model.clone();
    source
        .list()
        .into_iter()
        .filter(move |info| {
            let bare = model.bare_name(info.name);
            let is_own = bare.starts_with(layers) || own.iter().any(|own| own == bare);
            !is_own && (format != ExportFormat::NemotronNas || info.name == HEAD)
        })
        .map(|info| NewTensor::of(source, info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_come_after_the_neurons_of_each_part() {
        let values: Vec<f32> = (1..=8).map(|n| n as f32).collect();
        let rows =
            |parts, from: &[usize], to: &[usize]| filled(&values, from, to, NeuronAxis::Rows { parts });
        assert_eq!(rows(1, &[4, 2], &[5, 2]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 0.0, 0.0]);
        assert_eq!(rows(2, &[4, 2], &[6, 2]), [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 5.0, 6.0, 7.0, 8.0, 0.0, 0.0]);
        assert_eq!(rows(1, &[8], &[9]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 0.0]);
        assert_eq!(
            filled(&values, &[2, 4], &[2, 5], NeuronAxis::Columns),
            [1.0, 2.0, 3.0, 4.0, 0.0, 5.0, 6.0, 7.0, 8.0, 0.0]
        );
    }
}
