//! What is left of a model: the layers that keep their attention, and the widths of the MLPs that stay.
//!
//! [`Remaining`] is one value for all of it. Its JSON form is the key `secateur` of config.json; LLM-Drop's two lists
//! are read and written beside it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Architecture, LayerShape, SubLayer};
use crate::error::{Error, Result};
use crate::prune_error::PruneError;

/// What is left of a model, by layer.
///
/// In config.json:
///
/// ```json
/// "secateur": {"attention": [true, false], "intermediate_sizes": [1075, null]}
/// ```
///
/// ```
/// use secateur_encoders::{architecture::SubLayer, known_models};
/// let mistral = known_models::find("mistral-7b").unwrap().architecture();
/// let mut remaining = mistral.remaining();
/// remaining.drop_last(SubLayer::Mlp, 16)?;
/// remaining.narrow(0.7)?;
/// // "EffiR-3.4B": half of the MLPs, and 70 % of the neurons of the others.
/// assert_eq!(mistral.keep(&remaining).parameters().total(), 3_446_448_128);
/// # Ok::<(), secateur_encoders::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// Whether the layer keeps its attention.
    pub attention: Vec<bool>,
    /// The neurons of the layer's MLP that stay; `None` where the MLP is dropped.
    pub intermediate_sizes: Vec<Option<usize>>,
}

/// How a config.json says what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Layout {
    /// What this program and its library read.
    ///
    /// `secateur`: a [`Remaining`].
    #[default]
    Secateur,
    /// The lists of LLM-Drop, which this program reads too.
    ///
    /// `drop_attn_list` and `drop_mlp_list`, and the file reserved_layers.json, as LLM-Drop's loader reads them.
    /// There is no place for widths.
    LlmDrop,
}

impl Architecture {
    /// Everything that the model has.
    pub fn remaining(&self) -> Remaining {
        Remaining {
            attention: self.layers.iter().map(|layer| layer.attention.is_some()).collect(),
            intermediate_sizes: self.layers.iter().map(|layer| layer.intermediate_size).collect(),
        }
    }

    /// The model with only what remains. What the model lacks already stays absent.
    ///
    /// # Panics
    ///
    /// If `remaining` has another number of layers.
    #[must_use]
    pub fn keep(&self, remaining: &Remaining) -> Architecture {
        let mut kept = self.clone();
        assert_eq!(remaining.attention.len(), kept.layers.len(), "one entry for each layer");
        let entries = remaining.attention.iter().zip(&remaining.intermediate_sizes);
        for (layer, (attention, width)) in kept.layers.iter_mut().zip(entries) {
            layer.attention = layer.attention.take().filter(|_| *attention);
            layer.intermediate_size = layer.intermediate_size.and(*width);
        }
        kept
    }
}

impl Remaining {
    /// Whether a layer has this. A block is there while one of its sub-layers is.
    pub fn has(&self, sub_layer: SubLayer, layer: usize) -> bool {
        let attention = self.attention.get(layer).copied().unwrap_or(false);
        let mlp = self.intermediate_sizes.get(layer).is_some_and(Option::is_some);
        match sub_layer {
            SubLayer::Attention => attention,
            SubLayer::Mlp => mlp,
            SubLayer::Block => attention || mlp,
        }
    }

    /// Drops a sub-layer; of a block what the layer still has.
    ///
    /// # Errors
    ///
    /// [`PruneError::NoSuchSubLayer`]
    pub fn drop(&mut self, sub_layer: SubLayer, layer: usize) -> Result<()> {
        if !self.has(sub_layer, layer) {
            let layers = self.attention.len();
            return Err(PruneError::NoSuchSubLayer { sub_layer: sub_layer.name(), layer, layers }.into());
        }
        if sub_layer != SubLayer::Mlp {
            self.attention[layer] = false;
        }
        if sub_layer != SubLayer::Attention {
            self.intermediate_sizes[layer] = None;
        }
        Ok(())
    }

    /// Drops the sub-layers of the first `count` layers of `order` that have one.
    ///
    /// # Errors
    ///
    /// [`PruneError::TooManyDrops`]
    pub fn drop_in_order(
        &mut self,
        sub_layer: SubLayer,
        order: impl IntoIterator<Item = usize>,
        count: usize,
    ) -> Result<()> {
        let candidates: Vec<usize> =
            order.into_iter().filter(|layer| self.has(sub_layer, *layer)).take(count).collect();
        if candidates.len() < count {
            return Err(PruneError::TooManyDrops {
                sub_layer: sub_layer.name(),
                asked: count,
                available: self.layers().filter(|layer| self.has(sub_layer, *layer)).count(),
                layers: self.attention.len(),
            }
            .into());
        }
        candidates.into_iter().try_for_each(|layer| self.drop(sub_layer, layer))
    }

    /// Drops the `count` sub-layers nearest to the end. For counting parameters it does not matter which ones go,
    /// since the layers of a model are alike.
    ///
    /// # Errors
    ///
    /// [`PruneError::TooManyDrops`]
    pub fn drop_last(&mut self, sub_layer: SubLayer, count: usize) -> Result<()> {
        self.drop_in_order(sub_layer, self.layers().rev(), count)
    }

    /// Keeps this share of the neurons of the MLPs that are left.
    ///
    /// # Errors
    ///
    /// [`PruneError::InvalidShare`] unless it is above 0 and at most 1.
    pub fn narrow(&mut self, share: f64) -> Result<()> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(PruneError::InvalidShare {
                what: "the MLPs' width",
                asked: share.to_string(),
                expected: "the part that stays is above 0 and at most 1".to_owned(),
            }
            .into());
        }
        // Neurons are ranked over all layers together: their sum is rounded, not each layer's number.
        let mut before = 0;
        for width in self.intermediate_sizes.iter_mut().flatten() {
            let kept = |neurons: usize| (neurons as f64 * share).round() as usize;
            let after = before + *width;
            *width = kept(after) - kept(before);
            before = after;
        }
        Ok(())
    }

    /// The layers of `model` whose attention or MLP does not remain.
    pub fn dropped_from(&self, model: &Architecture, sub_layer: SubLayer) -> Vec<usize> {
        let whole = model.remaining();
        whole.layers().filter(|layer| whole.has(sub_layer, *layer) && !self.has(sub_layer, *layer)).collect()
    }

    /// What `model` loses, in words: "attention of layer 0; MLP of layers 0, 2".
    pub fn losses_of(&self, model: &Architecture) -> String {
        let named = [SubLayer::Attention, SubLayer::Mlp].map(|sub_layer| {
            let layers: Vec<String> =
                self.dropped_from(model, sub_layer).iter().map(usize::to_string).collect();
            let noun = if layers.len() == 1 { "layer" } else { "layers" };
            let text = format!("{} of {noun} {}", sub_layer.name(), layers.join(", "));
            (!layers.is_empty()).then_some(text)
        });
        let parts: Vec<String> = named.into_iter().flatten().collect();
        if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
    }

    fn layers(&self) -> std::ops::Range<usize> {
        0..self.attention.len()
    }

    /// Makes a config.json say it, and nothing else about dropped layers. The programs that LLM-Drop names are not in
    /// a new directory, so their names go, too.
    pub(crate) fn write_to(&self, config: &mut Value, layout: Layout) {
        if let Some(config) = config.as_object_mut() {
            for key in ["secateur", "drop_mlp_list", "drop_attn_list", "auto_map"] {
                config.shift_remove(key);
            }
        }
        let without = |sub_layer| -> Vec<usize> {
            self.layers().filter(|layer| !self.has(sub_layer, *layer)).collect()
        };
        match layout {
            Layout::Secateur => config["secateur"] = json!(self),
            Layout::LlmDrop => {
                config["drop_mlp_list"] = json!(without(SubLayer::Mlp));
                config["drop_attn_list"] = json!(without(SubLayer::Attention));
            }
        }
    }

    /// LLM-Drop's reserved_layers.json: the layers that keep their attention, then those that keep their MLP, counted
    /// on from the number of layers.
    pub(crate) fn reserved_layers(&self) -> Vec<usize> {
        let with = |sub_layer| self.layers().filter(move |layer| self.has(sub_layer, *layer));
        with(SubLayer::Attention)
            .chain(with(SubLayer::Mlp).map(|layer| self.attention.len() + layer))
            .collect()
    }

    /// What a config.json in either layout leaves of a model with these layers.
    pub(super) fn read_from(path: &Path, config: &Value, layers: &[LayerShape]) -> Result<Remaining> {
        let mut remaining = Remaining {
            attention: vec![true; layers.len()],
            intermediate_sizes: layers.iter().map(|layer| layer.intermediate_size).collect(),
        };
        for layer in dropped(path, config, "drop_attn_list", layers.len())? {
            remaining.attention[layer] = false;
        }
        for layer in dropped(path, config, "drop_mlp_list", layers.len())? {
            remaining.intermediate_sizes[layer] = None;
        }
        let Some(ours) = config.get("secateur") else { return Ok(remaining) };
        let ours = Remaining::deserialize(ours)
            .map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })?;
        for (field, found) in
            [("attention", ours.attention.len()), ("intermediate_sizes", ours.intermediate_sizes.len())]
        {
            if found != layers.len() {
                return Err(Error::InvalidField {
                    path: path.to_owned(),
                    field: format!("secateur.{field}"),
                    found: format!("a list of {found}"),
                    expected: format!("one entry for each of the {} layers", layers.len()),
                });
            }
        }
        for (kept, ours) in remaining.attention.iter_mut().zip(ours.attention) {
            *kept &= ours;
        }
        for (kept, ours) in remaining.intermediate_sizes.iter_mut().zip(ours.intermediate_sizes) {
            *kept = kept.and(ours);
        }
        Ok(remaining)
    }
}

/// The layers that a list of LLM-Drop names: null, indices in any order, or one boolean a layer. The two do not mix:
/// `true` is not the index 1.
fn dropped(path: &Path, config: &Value, field: &str, num_layers: usize) -> Result<Vec<usize>> {
    let invalid = |found: String, expected: String| Error::InvalidField {
        path: path.to_owned(),
        field: field.to_owned(),
        found,
        expected,
    };
    let list = match config.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => {
            return Err(invalid(
                other.to_string(),
                "null, a list of indices or a list of booleans".to_owned(),
            ));
        }
    };
    if list.iter().any(Value::is_boolean) {
        let flags: Option<Vec<bool>> = list.iter().map(Value::as_bool).collect();
        return match flags {
            Some(flags) if flags.len() == num_layers => {
                Ok((0..num_layers).filter(|layer| flags[*layer]).collect())
            }
            Some(flags) => Err(invalid(
                format!("{} booleans", flags.len()),
                format!("one boolean for each of the {num_layers} layers"),
            )),
            None => Err(invalid(
                Value::from(list.clone()).to_string(),
                "indices or booleans, not both".to_owned(),
            )),
        };
    }
    list.iter()
        .map(|index| {
            let layer = index.as_u64().and_then(|index| usize::try_from(index).ok());
            layer.filter(|layer| *layer < num_layers).ok_or_else(|| {
                invalid(index.to_string(), format!("indices of layers, 0 to {}", num_layers - 1))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{LayerAttention, known_models};

    fn layers_of(config: &Value) -> Result<Vec<(bool, Option<usize>)>> {
        let attention = Some(LayerAttention { window: None, rotary: None });
        let layers = vec![LayerShape { attention, intermediate_size: Some(8) }; 3];
        let remaining = Remaining::read_from("config.json".as_ref(), config, &layers)?;
        Ok(remaining.attention.into_iter().zip(remaining.intermediate_sizes).collect())
    }

    #[test]
    fn llm_drop_lists_are_indices_or_booleans() {
        let whole = (true, Some(8));
        let cases = [
            (json!({}), [whole; 3]),
            (json!({"drop_mlp_list": null, "drop_attn_list": []}), [whole; 3]),
            (json!({"drop_mlp_list": [2, 0]}), [(true, None), whole, (true, None)]),
            (json!({"drop_mlp_list": [1]}), [whole, (true, None), whole]),
            (json!({"drop_mlp_list": [true, false, false]}), [(true, None), whole, whole]),
            (
                json!({"drop_attn_list": [false, false, true], "drop_mlp_list": [0]}),
                [(true, None), whole, (false, Some(8))],
            ),
            (
                json!({"secateur": {"attention": [true, false, true], "intermediate_sizes": [5, 8, null]}}),
                [(true, Some(5)), (false, Some(8)), (true, None)],
            ),
        ];
        for (config, want) in cases {
            assert_eq!(layers_of(&config).unwrap(), want, "{config}");
        }
    }

    #[test]
    fn wrong_lists_are_refused_by_name() {
        let cases = [
            (json!({"drop_mlp_list": [3]}), "drop_mlp_list is 3; expected indices of layers, 0 to 2"),
            (json!({"drop_mlp_list": [true]}), "1 booleans; expected one boolean for each of the 3 layers"),
            (json!({"drop_attn_list": [true, 1, 2]}), "indices or booleans, not both"),
            (json!({"drop_attn_list": "all"}), "drop_attn_list is \"all\""),
            (json!({"drop_attn_list": [-1]}), "drop_attn_list is -1"),
            (
                json!({"secateur": {"attention": [true], "intermediate_sizes": [1, 2, 3]}}),
                "secateur.attention is a list of 1; expected one entry for each of the 3 layers",
            ),
        ];
        for (config, want) in cases {
            let message = layers_of(&config).unwrap_err().to_string();
            assert!(message.contains(want), "{message}");
        }
    }

    /// What is left without blocks, attentions and MLPs, those at the end, and with a share of the neurons.
    fn left(model: &Architecture, [blocks, attention, mlp]: [usize; 3], share: f64) -> Result<Remaining> {
        let mut remaining = model.remaining();
        remaining.drop_last(SubLayer::Block, blocks)?;
        remaining.drop_last(SubLayer::Attention, attention)?;
        remaining.drop_last(SubLayer::Mlp, mlp)?;
        remaining.narrow(share)?;
        Ok(remaining)
    }

    /// Table, model, what goes, and the number of billions that is printed there.
    ///
    /// By the EffiR paper (arXiv 2512.20612): #Params of the tables on Mistral-7B and of Table 5 on LLaMA2-7B.
    #[test]
    fn parameter_counts_are_those_of_the_paper() {
        let cases = [
            ("mistral-7b", [0, 0, 0], 1.0, "7.1"),
            ("mistral-7b", [0, 8, 0], 1.0, "6.8"),
            ("mistral-7b", [0, 16, 0], 1.0, "6.4"),
            ("mistral-7b", [8, 0, 0], 1.0, "5.4"),
            ("mistral-7b", [16, 0, 0], 1.0, "3.6"),
            ("mistral-7b", [0, 0, 8], 1.0, "5.7"),
            ("mistral-7b", [0, 0, 16], 1.0, "4.3"),
            ("mistral-7b", [0, 0, 20], 1.0, "3.6"),
            ("mistral-7b", [0, 0, 24], 1.0, "2.9"),
            ("mistral-7b", [0, 8, 16], 1.0, "4.0"),
            ("mistral-7b", [0, 0, 16], 0.7, "3.4"),
            ("llama2-7b", [0, 0, 0], 1.0, "6.6"),
            ("llama2-7b", [0, 0, 20], 1.0, "3.9"),
            ("llama2-7b", [0, 0, 20], 0.7, "3.4"),
            ("llama2-7b", [0, 0, 20], 0.5, "3.1"),
            ("llama2-7b", [0, 0, 24], 1.0, "3.4"),
            ("llama2-7b", [0, 0, 28], 1.0, "2.8"),
        ];
        for (name, dropped, share, want) in cases {
            let model = known_models::find(name).unwrap().architecture();
            let kept = model.keep(&left(&model, dropped, share).unwrap());
            let billions = kept.parameters().total() as f64 / 1e9;
            assert_eq!(format!("{billions:.1}"), want, "{name} without {dropped:?}, {share}: {billions}");
        }
    }

    #[test]
    fn the_widths_add_up_whatever_their_rounding() {
        let model = known_models::find("mistral-7b").unwrap().architecture();
        let remaining = left(&model, [0, 0, 16], 0.7).unwrap();
        let widths: Vec<usize> = remaining.intermediate_sizes.into_iter().flatten().collect();
        assert_eq!(widths.len(), 16);
        assert_eq!(widths.iter().sum::<usize>(), 160_563, "0.7 * 16 * 14,336 = 160,563.2");
        assert!(widths.iter().all(|width| (10_035..=10_036).contains(width)), "{widths:?}");
    }

    #[test]
    fn nothing_changes_where_everything_remains() {
        for backbone in known_models::all() {
            let model = backbone.architecture();
            assert_eq!(model.keep(&left(&model, [0, 0, 0], 1.0).unwrap()), model, "{}", backbone.name());
            assert_eq!(model.remaining().losses_of(&model), "nothing");
        }
    }

    #[test]
    fn more_than_there_is_cannot_be_dropped() {
        let model = known_models::find("bert-base").unwrap().architecture();
        let cases = [
            ([13, 0, 0], 1.0, "cannot drop 13 block sub-layers: the model has 12, in 12 layers"),
            ([0, 13, 0], 1.0, "cannot drop 13 attention sub-layers: the model has 12"),
            ([2, 0, 11], 1.0, "cannot drop 11 MLP sub-layers: the model has 10, in 12 layers"),
            ([0, 0, 0], 0.0, "cannot cut the MLPs' width by 0: the part that stays is above 0"),
            ([0, 0, 0], 1.5, "cannot cut the MLPs' width by 1.5"),
            ([0, 0, 0], f64::NAN, "cannot cut the MLPs' width by NaN"),
        ];
        for (dropped, share, want) in cases {
            let message = left(&model, dropped, share).unwrap_err().to_string();
            assert!(message.contains(want), "{message}");
        }
    }

    #[test]
    fn what_is_left_can_be_kept_twice() {
        let model = known_models::find("bert-base").unwrap().architecture();
        let mut remaining = model.remaining();
        for (sub_layer, layer) in [(SubLayer::Attention, 0), (SubLayer::Mlp, 0), (SubLayer::Mlp, 2)] {
            remaining.drop(sub_layer, layer).unwrap();
        }
        let kept = model.keep(&remaining);
        assert_eq!(kept.keep(&remaining), kept);
        assert_eq!(kept.remaining(), remaining);
        assert_eq!(kept.layers[1], model.layers[1]);
        assert_eq!(remaining.losses_of(&model), "attention of layer 0; MLP of layers 0, 2");
        assert!(!remaining.has(SubLayer::Block, 0) && remaining.has(SubLayer::Block, 2));
        let message = remaining.drop(SubLayer::Attention, 0).unwrap_err().to_string();
        assert!(message.contains("layer 0 has no attention"), "{message}");
    }
}
