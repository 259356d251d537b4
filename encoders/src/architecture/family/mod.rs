//! The families of models that load: each file says how its config.json and its tensors are spelled.

mod bert;
mod decoder;
mod gemma2;
pub(crate) mod int8;
pub(crate) mod keys;
mod llama;
mod mistral;
mod modernbert;
pub(crate) mod nemotron_nas;
mod qwen2;
mod qwen3;
pub(crate) mod rotary;
mod sizes;
mod xlm_roberta;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Architecture;
use crate::architecture::Activation;
use crate::error::{Error, Result};
use crate::pooling::Pooling;
use keys::FamilyKeys;

/// A family: how to read its configuration, and the names of its tensors.
pub(crate) struct Family {
    /// Its `model_type`.
    pub(crate) model_type: &'static str,
    /// The keys of its config.json.
    pub(crate) keys: FamilyKeys,
    /// Reads config.json.
    pub(crate) read: fn(&Path, &Value) -> Result<Architecture>,
    /// The names of its tensors.
    pub(crate) names: Names,
}

/// The names of a family's tensors, without the prefix that some checkpoints put before all of them.
///
/// A layer's names follow the layer's own prefix; `{}` in `layer` stands for its number. Linear layers, norms and
/// tables are named without `.weight` and `.bias`.
pub(crate) struct Names {
    /// What may stand before every name: the name of the base model inside a head's.
    pub(crate) prefixes: &'static [&'static str],
    pub(crate) token_embeddings: &'static str,
    pub(crate) position_embeddings: Option<&'static str>,
    pub(crate) type_embeddings: Option<&'static str>,
    pub(crate) embedding_norm: Option<&'static str>,
    pub(crate) layer: &'static str,
    pub(crate) attention: AttentionNames,
    /// Whether layer 0 has its attention's input norm: ModernBERT, whose embeddings are normed, leaves it out.
    pub(crate) first_attention_normed: bool,
    pub(crate) mlp: MlpNames,
    pub(crate) final_norm: Option<&'static str>,
    /// The head of a cross-encoder, by its config.json.
    pub(crate) head: Option<fn(&Path, &Value) -> Result<Head>>,
}

pub(crate) struct AttentionNames {
    pub(crate) norms: Norms,
    pub(crate) projections: Projections,
    pub(crate) query_norm: Option<&'static str>,
    pub(crate) key_norm: Option<&'static str>,
    pub(crate) output: &'static str,
}

impl AttentionNames {
    /// The norms of layer `number`.
    pub(crate) fn norms_of_layer(&self, number: usize, first_normed: bool) -> Norms {
        Norms { input: self.norms.input.filter(|_| number > 0 || first_normed), ..self.norms }
    }
}

/// The projections to queries, keys and values.
pub(crate) enum Projections {
    Separate {
        query: &'static str,
        key: &'static str,
        value: &'static str,
    },
    /// One layer with all outputs side by side.
    Joined(&'static str),
}

pub(crate) struct MlpNames {
    pub(crate) norms: Norms,
    pub(crate) gate: Gate,
    pub(crate) up: &'static str,
    pub(crate) output: &'static str,
}

/// Where the layer is whose activation multiplies the output of `up`.
pub(crate) enum Gate {
    /// There is none: `up` itself is activated.
    None,
    Separate(&'static str),
    /// The first half of the outputs of `up`.
    Joined,
}

/// The norms of a sub-layer: of its input, of its output, of the residual sum.
#[derive(Clone, Copy)]
pub(crate) struct Norms {
    pub(crate) input: Option<&'static str>,
    pub(crate) output: Option<&'static str>,
    pub(crate) sum: Option<&'static str>,
}

impl Norms {
    const fn of_input(name: &'static str) -> Norms {
        Norms { input: Some(name), output: None, sum: None }
    }

    const fn of_sum(name: &'static str) -> Norms {
        Norms { input: None, output: None, sum: Some(name) }
    }
}

/// output(norm(activation(dense(x)))) of the pooled hidden states x. These names have no prefix.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) pooling: Pooling,
    pub(crate) dense: &'static str,
    pub(crate) dense_bias: bool,
    pub(crate) activation: Activation,
    pub(crate) norm: Option<&'static str>,
    pub(crate) output: &'static str,
}

impl Head {
    /// The head of BERT and those that took it over: tanh of the first token.
    const fn of_first_token(dense: &'static str, output: &'static str) -> Head {
        Head {
            pooling: Pooling::Cls,
            dense,
            dense_bias: true,
            activation: Activation::Tanh,
            norm: None,
            output,
        }
    }
}

const FAMILIES: &[&Family] = &[
    &bert::FAMILY,
    &xlm_roberta::FAMILY,
    &modernbert::FAMILY,
    &mistral::FAMILY,
    &llama::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &gemma2::FAMILY,
    &nemotron_nas::FAMILY,
];

/// The family that a config.json names, if it is known.
pub(crate) fn find(config: &Value) -> Option<&'static Family> {
    let found = config.get("model_type").and_then(Value::as_str)?;
    FAMILIES.iter().copied().find(|family| family.model_type == found)
}

/// The family that a config.json names.
pub(crate) fn by_config(path: &Path, config: &Value) -> Result<&'static Family> {
    find(config).ok_or_else(|| Error::UnknownFamily {
        path: path.to_owned(),
        found: config.get("model_type").map_or_else(|| "absent".to_owned(), Value::to_string),
        known: FAMILIES.iter().map(|family| family.model_type).collect::<Vec<_>>().join(", "),
    })
}

/// The family of an architecture.
pub(crate) fn by_name(model_type: &str) -> &'static Family {
    FAMILIES
        .iter()
        .copied()
        .find(|family| family.model_type == model_type)
        .expect("an architecture is read by one of the families")
}

/// The head of a cross-encoder with this config.json.
pub(crate) fn head(path: &Path, config: &Value, architecture: &Architecture) -> Result<Head> {
    let head = by_name(architecture.family).names.head.ok_or_else(|| {
        let known: Vec<&str> = FAMILIES
            .iter()
            .filter(|family| family.names.head.is_some())
            .map(|family| family.model_type)
            .collect();
        let expected = format!("a family that scores pairs: {}", known.join(", "));
        invalid(path, "model_type", format!("{:?}", architecture.family), expected)
    })?;
    head(path, config)
}

fn parse<T: DeserializeOwned>(path: &Path, config: &Value) -> Result<T> {
    crate::json::of_value(path, config.clone())
}

fn invalid(path: &Path, field: &str, found: impl ToString, expected: impl ToString) -> Error {
    Error::InvalidField {
        path: path.to_owned(),
        field: field.to_owned(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

fn activation(path: &Path, found: &str) -> Result<Activation> {
    match found {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "silu" | "swish" => Ok(Activation::Silu),
        "relu" => Ok(Activation::Relu),
        _ => Err(invalid(path, "hidden_act", format!("{found:?}"), "gelu, gelu_new, silu or relu")),
    }
}

/// `layer_types` of a config.json: for each layer whether it has a window. `otherwise` answers where the key is absent.
fn windowed_layers(
    path: &Path,
    layer_types: Option<&[String]>,
    num_layers: usize,
    otherwise: impl Fn(usize) -> bool,
) -> Result<Vec<bool>> {
    let Some(types) = layer_types else { return Ok((0..num_layers).map(otherwise).collect()) };
    if types.len() != num_layers {
        let expected = format!("one entry for each of the {num_layers} layers");
        return Err(invalid(path, "layer_types", format!("a list of {}", types.len()), expected));
    }
    types
        .iter()
        .map(|name| match name.as_str() {
            "full_attention" => Ok(false),
            "sliding_attention" => Ok(true),
            _ => {
                Err(invalid(path, "layer_types", format!("{name:?}"), "full_attention and sliding_attention"))
            }
        })
        .collect()
}
