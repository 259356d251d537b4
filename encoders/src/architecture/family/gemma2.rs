//! Gemma 2 (Gemma Team 2024): norms around each sub-layer, capped scores, a window in every other layer.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::decoder::{self, Window};
use super::keys::FamilyKeys;
use super::{AttentionNames, Family, MlpNames, Names, Norms, activation, invalid, parse};
use crate::architecture::AttentionShape;
use crate::architecture::{Architecture, NormKind};
use crate::error::Result;
use crate::keys::Keys;

const KEYS: Keys = Keys {
    read: &["hidden_activation", "query_pre_attn_scalar", "attn_logit_softcapping", "sliding_window"],
    harmless: &[("transformers reads hidden_activation", &["hidden_act"])],
    only: &[],
};

const DEFAULTS: &str = r#"{"vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "attention_bias": false, "query_pre_attn_scalar": 256, "sliding_window": 4096, "attn_logit_softcapping": 50.0}"#;

pub(crate) const FAMILY: Family = Family {
    model_type: "gemma2",
    keys: FamilyKeys { tables: &[&KEYS, &decoder::KEYS], defaults: DEFAULTS },
    read,
    names: Names {
        attention: AttentionNames {
            norms: Norms {
                input: Some("input_layernorm"),
                output: Some("post_attention_layernorm"),
                sum: None,
            },
            ..decoder::ATTENTION_NAMES
        },
        mlp: MlpNames {
            norms: Norms {
                input: Some("pre_feedforward_layernorm"),
                output: Some("post_feedforward_layernorm"),
                sum: None,
            },
            ..decoder::MLP_NAMES
        },
        ..decoder::NAMES
    },
};

#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    hidden_activation: String,
    query_pre_attn_scalar: f32,
    attn_logit_softcapping: Option<f32>,
    sliding_window: Option<usize>,
}

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let own: Config = parse(path, config)?;
    let window = Window { tokens: own.sliding_window, in_layer: |layer: usize| layer.is_multiple_of(2) };
    let architecture = decoder::read(FAMILY.model_type, path, config, &window)?;
    for (field, value) in [
        ("query_pre_attn_scalar", own.query_pre_attn_scalar),
        ("attn_logit_softcapping", own.attn_logit_softcapping.unwrap_or(1.0)),
    ] {
        if !(value.is_finite() && value > 0.0) {
            return Err(invalid(path, field, value, "a positive number"));
        }
    }
    Ok(Architecture {
        embedding_scale: (own.hidden_size as f32).sqrt(),
        attention: AttentionShape {
            scale: 1.0 / own.query_pre_attn_scalar.sqrt(),
            softcap: own.attn_logit_softcapping,
            ..architecture.attention
        },
        activation: activation(path, &own.hidden_activation)?,
        norm: NormKind::Rms { offset: 1.0 },
        ..architecture
    })
}
