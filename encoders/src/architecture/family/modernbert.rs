//! ModernBERT (Warner et al. 2024): bidirectional, norms before each sub-layer, rotary positions, gated MLPs, a
//! window in two layers of three.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::keys::FamilyKeys;
use super::rotary::Around;
use super::sizes::Sizes;
use super::{AttentionNames, Family, Gate, Head, MlpNames, Names, Norms, Projections, activation};
use super::{invalid, parse, rotary, windowed_layers};
use crate::architecture::{Architecture, Biases, LayerAttention, LayerShape, NormKind, Positions};
use crate::error::Result;
use crate::keys::Keys;
use crate::pooling::Pooling;

pub(crate) const FAMILY: Family = Family {
    model_type: "modernbert",
    keys: FamilyKeys { tables: &[&KEYS], defaults: DEFAULTS },
    read,
    names: Names {
        prefixes: &["", "model."],
        token_embeddings: "embeddings.tok_embeddings",
        position_embeddings: None,
        type_embeddings: None,
        embedding_norm: Some("embeddings.norm"),
        layer: "layers.{}.",
        attention: AttentionNames {
            norms: Norms::of_input("attn_norm"),
            projections: Projections::Joined("attn.Wqkv"),
            query_norm: None,
            key_norm: None,
            output: "attn.Wo",
        },
        first_attention_normed: false,
        mlp: MlpNames {
            norms: Norms::of_input("mlp_norm"),
            gate: Gate::Joined,
            up: "mlp.Wi",
            output: "mlp.Wo",
        },
        final_norm: Some("final_norm"),
        head: Some(head),
    },
};

const KEYS: Keys = Keys {
    read: &[
        "hidden_activation",
        "norm_eps",
        "norm_bias",
        "attention_bias",
        "mlp_bias",
        "local_attention",
        "global_attn_every_n_layers",
        "layer_types",
        "global_rope_theta",
        "local_rope_theta",
        "classifier_pooling",
        "classifier_activation",
        "classifier_bias",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "partial_rotary_factor",
        "original_max_position_embeddings",
    ],
    harmless: &[
        // Public files have it, and transformers does not read it for this family.
        ("transformers reads norm_eps", &["layer_norm_eps"]),
        ("transformers derives it from local_attention", &["sliding_window"]),
    ],
    only: &[],
};

const DEFAULTS: &str = r#"{"vocab_size": 50368, "hidden_size": 768, "intermediate_size": 1152, "num_hidden_layers": 22,
    "num_attention_heads": 12, "hidden_activation": "gelu", "max_position_embeddings": 8192, "norm_eps": 1e-5,
    "norm_bias": false, "attention_bias": false, "mlp_bias": false, "local_attention": 128,
    "global_attn_every_n_layers": 3, "local_rope_theta": 10000.0, "classifier_pooling": "cls",
    "classifier_bias": false, "classifier_activation": "gelu"}"#;

#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    sizes: Sizes,
    hidden_activation: String,
    norm_eps: f32,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    /// The width of the window, half of it on each side.
    local_attention: usize,
    global_attn_every_n_layers: usize,
    layer_types: Option<Vec<String>>,
    global_rope_theta: Option<f64>,
}

/// The keys that describe the head of a cross-encoder.
#[derive(Deserialize)]
struct HeadConfig {
    classifier_pooling: Option<String>,
    classifier_activation: Option<String>,
    #[serde(default)]
    classifier_bias: bool,
}

fn head(path: &Path, config: &Value) -> Result<Head> {
    let config: HeadConfig = parse(path, config)?;
    let pooling = match config.classifier_pooling.as_deref() {
        None | Some("cls") => Pooling::Cls,
        Some("mean") => Pooling::Mean,
        Some(other) => {
            return Err(invalid(path, "classifier_pooling", format!("{other:?}"), "cls or mean"));
        }
    };
    Ok(Head {
        pooling,
        dense: "head.dense",
        dense_bias: config.classifier_bias,
        activation: activation(path, config.classifier_activation.as_deref().unwrap_or("gelu"))?,
        norm: Some("head.norm"),
        output: "classifier",
    })
}

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let raw = config;
    let config: Config = parse(path, raw)?;
    let sizes = config.sizes;
    let attention = sizes.multi_head(path, false)?;
    if !attention.head_dim.is_multiple_of(2) {
        return Err(invalid(path, "hidden_size", sizes.hidden_size, "an even number of columns a head"));
    }
    let every = config.global_attn_every_n_layers;
    if every == 0 {
        return Err(invalid(path, "global_attn_every_n_layers", 0, "at least 1"));
    }
    let local = windowed_layers(path, config.layer_types.as_deref(), sizes.num_hidden_layers, |layer| {
        !layer.is_multiple_of(every)
    })?;
    let global_theta = config.global_rope_theta.unwrap_or(160_000.0);
    let around = Around { path, config: raw, head_dim: attention.head_dim };
    let layer = |local: bool| -> Result<LayerShape> {
        let attention = if local {
            LayerAttention {
                window: Some(config.local_attention / 2),
                // With null for a base of their own the local layers use the global one.
                rotary: Some(rotary::read(around, "sliding_attention", "local_rope_theta", global_theta)?),
            }
        } else {
            LayerAttention {
                window: None,
                rotary: Some(rotary::read(around, "full_attention", "global_rope_theta", global_theta)?),
            }
        };
        Ok(LayerShape { attention: Some(attention), intermediate_size: Some(sizes.intermediate_size) })
    };
    Ok(Architecture {
        family: FAMILY.model_type,
        vocab_size: sizes.vocab_size,
        hidden_size: sizes.hidden_size,
        positions: Positions::Rotary { max_tokens: sizes.max_position_embeddings },
        embedding_scale: 1.0,
        attention,
        activation: activation(path, &config.hidden_activation)?,
        norm: NormKind::Layer { bias: config.norm_bias },
        norm_eps: config.norm_eps,
        biases: Biases {
            query_key_value: config.attention_bias,
            attention_output: config.attention_bias,
            mlp: config.mlp_bias,
        },
        layers: local.into_iter().map(layer).collect::<Result<_>>()?,
    })
}
