//! The shape that a model is written in, and which of its layers are from which.

use std::collections::BTreeSet;

use super::{Exported, numbered};
use crate::architecture::family::{self, nemotron_nas};
use crate::architecture::{Activation, Architecture, LayerShape, SubLayer};

/// The architecture that readers see, and where its layers come from.
pub(super) struct Shape {
    pub(super) architecture: Architecture,
    /// By layer of it: the layer of the model.
    pub(super) from: Vec<usize>,
}

/// Why a model has no such shape, and what to do.
pub(super) struct Refusal {
    pub(super) why: String,
    pub(super) advice: &'static str,
}

impl Shape {
    /// All layers have an attention and an MLP of one width. `whole` is the model with all its attentions.
    pub(super) fn alike(model: &Architecture, whole: &Architecture, pad: bool) -> Result<Shape, Refusal> {
        if model.family == nemotron_nas::FAMILY.model_type {
            let why = "transformers has no class for a model whose layers say what they have".to_owned();
            return Err(Refusal { why, advice: "export the model that it was made from" });
        }
        let left = model.remaining();
        // ModernBERT's first layer lacks a norm, so that no other can take its place.
        let first_differs = !family::by_name(model.family).names.first_attention_normed;
        let all = 0..model.layers.len();
        let mut from: Vec<usize> =
            all.filter(|layer| left.has(SubLayer::Block, *layer) || (*layer == 0 && first_differs)).collect();
        if from.is_empty() && !model.layers.is_empty() {
            from.push(0);
        }
        let widths: BTreeSet<usize> =
            from.iter().filter_map(|layer| left.intermediate_sizes[*layer]).collect();
        let lacking = |sub_layer| -> Vec<usize> {
            from.iter().copied().filter(|layer| !left.has(sub_layer, *layer)).collect()
        };
        let mut unlike: Vec<String> = [SubLayer::Attention, SubLayer::Mlp]
            .into_iter()
            .map(|sub_layer| (sub_layer, lacking(sub_layer)))
            .filter(|(_, layers)| !layers.is_empty())
            .map(|(sub_layer, layers)| format!("{} has no {}", numbered(&layers), sub_layer.name()))
            .collect();
        if let (Some(least), Some(most)) = (widths.first(), widths.last())
            && least < most
        {
            unlike.push(format!("MLPs have {least} to {most} neurons"));
        }
        if !pad && !unlike.is_empty() {
            let advice = match model.family {
                "llama" | "mistral" | "qwen2" => {
                    "fill them up with zeros (--pad), or export to nemotron-nas, which says what each layer has"
                }
                _ => "fill them up with zeros (--pad)",
            };
            return Err(Refusal { why: format!("its layers are not alike: {}", unlike.join("; ")), advice });
        }
        // Of a model without any MLP the least that is one.
        let width = widths.last().copied().unwrap_or(1);
        let layers = from.iter().map(|layer| LayerShape {
            attention: whole.layers[*layer].attention.clone(),
            intermediate_size: Some(width),
        });
        let architecture = Architecture { layers: layers.collect(), ..model.clone() };
        Ok(Shape { architecture, from })
    }

    /// Each layer says what it has: that of the model, with widths as readers round them.
    pub(super) fn of_blocks(model: &Architecture, whole: &Architecture) -> Result<Shape, Refusal> {
        let refused =
            |why: String| Refusal { why, advice: "export to transformers, filled up if need be (--pad)" };
        if !["llama", "mistral", "qwen2", nemotron_nas::FAMILY.model_type].contains(&model.family) {
            return Err(refused(format!(
                "its layers are not Llama's, which all layers of this format are: it is a {}",
                model.family
            )));
        }
        if !model.attention.causal {
            return Err(refused("its tokens see those after them, and readers look back only".to_owned()));
        }
        if model.activation != Activation::Silu {
            let why = format!("its activation is {:?}, and vLLM's reader has silu alone", model.activation);
            return Err(refused(why));
        }
        let mut layers = model.layers.clone();
        for width in layers.iter_mut().filter_map(|layer| layer.intermediate_size.as_mut()) {
            *width = width.next_multiple_of(nemotron_nas::WIDTH_STEP);
        }
        // vLLM's reader makes the residual sum of what the first attention reads, and an MLP needs it.
        let first =
            layers.iter().position(|layer| layer.attention.is_some() || layer.intermediate_size.is_some());
        let first = first.unwrap_or(0);
        if let Some(layer) = layers.get_mut(first)
            && layer.attention.is_none()
        {
            layer.attention = whole.layers[first].attention.clone();
        }
        let from = (0..layers.len()).collect();
        let family = nemotron_nas::FAMILY.model_type;
        Ok(Shape { architecture: Architecture { family, layers, ..model.clone() }, from })
    }

    /// What it has beside what the model has.
    pub(super) fn told(&self, model: &Architecture) -> Exported {
        let (left, new) = (model.remaining(), self.architecture.remaining());
        let added = |sub_layer| -> Vec<usize> {
            let pairs = self.from.iter().enumerate();
            pairs
                .filter(|(here, there)| new.has(sub_layer, *here) && !left.has(sub_layer, **there))
                .map(|(_, there)| *there)
                .collect()
        };
        let zero_neurons = self.from.iter().enumerate().filter_map(|(here, there)| {
            Some(new.intermediate_sizes[here]? - left.intermediate_sizes[*there]?)
        });
        let (zero_attentions, zero_mlps) = (added(SubLayer::Attention), added(SubLayer::Mlp));
        let ends_with_norms = family::by_name(model.family).names.mlp.norms.sum.is_some();
        Exported {
            layers: self.from.len(),
            left_out: (0..model.layers.len()).filter(|layer| !self.from.contains(layer)).collect(),
            zero_neurons: zero_neurons.sum(),
            moved_norms: ends_with_norms && !(zero_attentions.is_empty() && zero_mlps.is_empty()),
            zero_attentions,
            zero_mlps,
        }
    }
}
