//! The families of models that load: each file says how its config.json and its tensors are spelled.

mod bert;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::architecture::Architecture;
use crate::error::{Error, Result};
use crate::ops::Activation;

/// A family: how to read its configuration, and the names of its tensors.
pub(crate) struct Family {
    /// Its `model_type`.
    pub(crate) model_type: &'static str,
    /// Reads config.json.
    pub(crate) read: fn(&Path, &Value) -> Result<Architecture>,
    /// The names of its tensors.
    pub(crate) names: Names,
}

/// The names of a family's tensors, without the prefix that some checkpoints put before all of them.
///
/// A layer's names follow the layer's own prefix; `{}` in `layer` stands for its number. Linear layers and norms are
/// named without `.weight` and `.bias`.
pub(crate) struct Names {
    /// What may stand before every name: the name of the base model inside a head's.
    pub(crate) prefixes: &'static [&'static str],
    pub(crate) token_embeddings: &'static str,
    pub(crate) position_embeddings: &'static str,
    pub(crate) type_embeddings: &'static str,
    pub(crate) embedding_norm: &'static str,
    pub(crate) layer: &'static str,
    pub(crate) query: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
    pub(crate) attention_output: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) mlp_up: &'static str,
    pub(crate) mlp_down: &'static str,
    pub(crate) mlp_norm: &'static str,
}

const FAMILIES: &[&Family] = &[&bert::FAMILY];

/// The family that a config.json names.
pub(crate) fn by_config(path: &Path, config: &Value) -> Result<&'static Family> {
    let found = config.get("model_type").and_then(Value::as_str).unwrap_or("absent");
    FAMILIES.iter().copied().find(|family| family.model_type == found).ok_or_else(|| Error::UnknownFamily {
        path: path.to_owned(),
        found: found.to_owned(),
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

fn parse<T: DeserializeOwned>(path: &Path, config: &Value) -> Result<T> {
    T::deserialize(config).map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })
}

fn activation(path: &Path, found: &str) -> Result<Activation> {
    match found {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "silu" | "swish" => Ok(Activation::Silu),
        "relu" => Ok(Activation::Relu),
        _ => Err(Error::InvalidField {
            path: path.to_owned(),
            field: "hidden_act".to_owned(),
            found: format!("{found:?}"),
            expected: "gelu, gelu_new, silu or relu".to_owned(),
        }),
    }
}

/// `head_dim`, where it is hidden_size / num_attention_heads.
fn even_head_dim(path: &Path, hidden_size: usize, num_heads: usize) -> Result<usize> {
    if num_heads == 0 || hidden_size == 0 || !hidden_size.is_multiple_of(num_heads) {
        return Err(Error::InvalidField {
            path: path.to_owned(),
            field: "num_attention_heads".to_owned(),
            found: num_heads.to_string(),
            expected: format!("a divisor of hidden_size, {hidden_size}"),
        });
    }
    Ok(hidden_size / num_heads)
}
