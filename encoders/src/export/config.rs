//! The config.json of an exported model.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::shape::Shape;
use crate::architecture::Architecture;
use crate::architecture::family::keys::with_defaults;
use crate::architecture::family::{self, nemotron_nas};
use crate::error::Result;

/// The class that readers make of a config.json with blocks, in Python.
pub(super) const CLASS_FILE: &str = "configuration_decilm.py";

/// Readers look at attributes where JSON has keys. It stays a dict, so that the configuration can be written again.
pub(super) const CLASS: &str = r#""""The class of the config.json beside it. secateur wrote both."""

from transformers import LlamaConfig


class Block(dict):
    """A part of a layer, whose keys are attributes, too."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class DeciLMConfig(LlamaConfig):
    model_type = "nemotron-nas"

    def __init__(self, block_configs=None, **kwargs):
        super().__init__(**kwargs)
        self.block_configs = [
            Block({part: Block(keys) for part, keys in block.items()}) for block in block_configs or []
        ]
"#;

/// What the angles of rotary positions depend on, as families spell it.
const ROTARY: [&str; 4] =
    ["rope_theta", "rope_scaling", "rope_parameters", "original_max_position_embeddings"];

/// A model's config.json, and what it says.
pub(super) struct ModelConfig<'a> {
    pub(super) path: &'a Path,
    pub(super) config: &'a Value,
    pub(super) architecture: &'a Architecture,
}

impl ModelConfig<'_> {
    /// What a config.json in the place of this one says.
    pub(super) fn read(&self, config: &Value) -> Result<Architecture> {
        Architecture::from_config(self.path, config)
    }

    /// The model with the attentions and MLPs that were dropped, as if they were there.
    pub(super) fn whole(&self) -> Result<Architecture> {
        let mut config = self.without_pruning();
        if let Some(blocks) = config.get_mut("block_configs").and_then(Value::as_array_mut) {
            let attention = blocks.iter().map(|block| block["attention"].clone());
            let is_there = |attention: &Value| attention["no_op"] != true;
            let some = attention.clone().find(is_there).unwrap_or(json!({"n_heads_in_group": 1}));
            for block in blocks {
                block["attention"] = some.clone();
            }
        }
        self.read(&config)
    }

    /// The config.json without what says that parts are dropped, and without code of the model's own.
    fn without_pruning(&self) -> Value {
        let mut config = self.config.clone();
        if let Some(config) = config.as_object_mut() {
            for key in ["secateur", "drop_mlp_list", "drop_attn_list", "auto_map"] {
                config.shift_remove(key);
            }
        }
        config["vocab_size"] = self.architecture.vocab_size.into();
        config
    }

    /// Of the model's own family, with layers that are alike.
    pub(super) fn alike(&self, shape: &Shape) -> Result<Value> {
        let mut config = self.without_pruning();
        config["num_hidden_layers"] = shape.from.len().into();
        if let Some(width) = shape.architecture.layers.first().and_then(|layer| layer.intermediate_size) {
            config["intermediate_size"] = width.into();
        }
        // Mistral's list is not read, and may be of any length.
        let types =
            config["layer_types"].as_array().filter(|types| types.len() == self.architecture.layers.len());
        let types = types.map(|types| shape.from.iter().map(|layer| types[*layer].clone()).collect());
        if let Some(config) = config.as_object_mut() {
            match types {
                Some(types) => _ = config.insert("layer_types".to_owned(), types),
                None => _ = config.shift_remove("layer_types"),
            }
        }
        let says_layer_types = family::by_name(self.architecture.family)
            .keys
            .with_common()
            .any(|keys| keys.read.contains(&"layer_types"));
        if says_layer_types && self.read(&config)? != shape.architecture {
            // Which layers have a window followed from their numbers.
            config["layer_types"] = layer_types(&shape.architecture);
        }
        Ok(config)
    }

    /// Of nemotron-nas. `has_head` tells whether the files have a language-model head of their own.
    pub(super) fn of_blocks(&self, shape: &Shape, has_head: bool) -> Value {
        let Architecture { attention, biases, .. } = self.architecture;
        let whole = with_defaults(family::by_name(self.architecture.family), self.config);
        let mut config = Map::new();
        config.insert("architectures".to_owned(), json!(["DeciLMForCausalLM"]));
        config.insert(
            "auto_map".to_owned(),
            json!({"AutoConfig": format!("{}.DeciLMConfig", CLASS_FILE.trim_end_matches(".py"))}),
        );
        config.insert("model_type".to_owned(), nemotron_nas::FAMILY.model_type.into());
        let taken = [
            "hidden_size",
            "num_attention_heads",
            "max_position_embeddings",
            "rms_norm_eps",
            "initializer_range",
            "bos_token_id",
            "eos_token_id",
            "pad_token_id",
            "torch_dtype",
            "dtype",
        ];
        for key in taken.iter().chain(&ROTARY) {
            if let Some(value) = whole.get(*key).filter(|value| !value.is_null()) {
                config.insert((*key).to_owned(), value.clone());
            }
        }
        let mut config = Value::Object(config);
        let mut has_theta = config.get("rope_theta").is_some();
        for key in ["rope_scaling", "rope_parameters"] {
            let Some(parameters) = config.get_mut(key).and_then(Value::as_object_mut) else { continue };
            // transformers does not heed it in these families, and vLLM does.
            parameters.shift_remove("partial_rotary_factor");
            has_theta |= parameters.get("rope_theta").is_some_and(|theta| !theta.is_null());
        }
        if !has_theta {
            config["rope_theta"] = json!(10_000.0);
        }
        config["vocab_size"] = self.architecture.vocab_size.into();
        config["num_hidden_layers"] = shape.from.len().into();
        config["num_key_value_heads"] = attention.num_key_value_heads.into();
        config["head_dim"] = attention.head_dim.into();
        config["hidden_act"] = "silu".into();
        let widest = shape.architecture.layers.iter().filter_map(|layer| layer.intermediate_size).max();
        config["intermediate_size"] = widest.unwrap_or(nemotron_nas::WIDTH_STEP).into();
        config["attention_bias"] = biases.attention_output.into();
        if biases.query_key_value != biases.attention_output {
            config["qkv_bias"] = biases.query_key_value.into();
        }
        config["mlp_bias"] = biases.mlp.into();
        // Without a head the table of embeddings is the only one there is.
        config["tie_word_embeddings"] = (!has_head).into();
        let windows = shape.architecture.layers.iter().filter_map(|layer| layer.attention.as_ref()?.window);
        if let Some(window) = windows.max() {
            config["sliding_window"] = (window + 1).into();
            config["layer_types"] = layer_types(&shape.architecture);
        }
        config["block_configs"] = nemotron_nas::block_configs(&shape.architecture);
        config
    }
}

/// `layer_types`: which layers have a window.
fn layer_types(architecture: &Architecture) -> Value {
    let has_window = architecture
        .layers
        .iter()
        .map(|layer| layer.attention.as_ref().is_some_and(|attention| attention.window.is_some()));
    has_window.map(|has| if has { "sliding_attention" } else { "full_attention" }).collect()
}
