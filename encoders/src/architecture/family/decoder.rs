//! What the decoders have in common: RMS norms before each sub-layer, rotary positions, grouped queries, gated MLPs.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::rotary::Around;
use super::sizes::Sizes;
use super::{AttentionNames, Gate, MlpNames, Names, Norms, Projections, activation};
use super::{invalid, parse, rotary, windowed_layers};
use crate::architecture::AttentionShape;
use crate::architecture::{Architecture, Biases, LayerAttention, LayerShape, NormKind, Positions};
use crate::error::Result;
use crate::keys::Keys;

/// The keys of config.json that all decoders read.
pub(super) const KEYS: Keys = Keys {
    read: &[
        "num_key_value_heads",
        "head_dim",
        "rms_norm_eps",
        "attention_bias",
        "mlp_bias",
        "layer_types",
        "is_causal",
        "use_bidirectional_attention",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "partial_rotary_factor",
        "original_max_position_embeddings",
    ],
    harmless: &[],
    only: &[],
};

/// The names of Llama's tensors, which most decoders took over.
pub(super) const NAMES: Names = Names {
    prefixes: &["", "model."],
    token_embeddings: "embed_tokens",
    position_embeddings: None,
    type_embeddings: None,
    embedding_norm: None,
    layer: "layers.{}.",
    attention: ATTENTION_NAMES,
    first_attention_normed: true,
    mlp: MLP_NAMES,
    final_norm: Some("norm"),
    head: None,
};

pub(super) const ATTENTION_NAMES: AttentionNames = AttentionNames {
    norms: Norms::of_input("input_layernorm"),
    projections: Projections::Separate {
        query: "self_attn.q_proj",
        key: "self_attn.k_proj",
        value: "self_attn.v_proj",
    },
    query_norm: None,
    key_norm: None,
    output: "self_attn.o_proj",
};

pub(super) const MLP_NAMES: MlpNames = MlpNames {
    norms: Norms::of_input("post_attention_layernorm"),
    gate: Gate::Separate("mlp.gate_proj"),
    up: "mlp.up_proj",
    output: "mlp.down_proj",
};

/// The keys of config.json that the decoders share.
#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    sizes: Sizes,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: Option<String>,
    rms_norm_eps: f32,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    layer_types: Option<Vec<String>>,
    is_causal: Option<bool>,
    use_bidirectional_attention: Option<bool>,
}

/// The window of a decoder whose config.json has no `layer_types`.
pub(super) struct Window<F> {
    /// `sliding_window`: how many tokens a token sees, itself included.
    pub(super) tokens: Option<usize>,
    /// Whether a layer has it.
    pub(super) in_layer: F,
}

/// No layer has a window.
pub(super) const NO_WINDOW: Window<fn(usize) -> bool> = Window { tokens: None, in_layer: |_| false };

/// The architecture of a decoder like Llama. The families change what differs.
pub(super) fn read(
    family: &'static str,
    path: &Path,
    config: &Value,
    window: &Window<impl Fn(usize) -> bool>,
) -> Result<Architecture> {
    let raw = config;
    let config: Config = parse(path, raw)?;
    // transformers reads `is_causal`; the other key is its Gemma 2's, whose window then is another one.
    if config.use_bidirectional_attention == Some(true) {
        let expected = "false: a decoder looks back only, unless is_causal is false";
        return Err(invalid(path, "use_bidirectional_attention", true, expected));
    }
    let causal = config.is_causal.unwrap_or(true);
    let sizes = config.sizes;
    let num_heads = sizes.num_attention_heads;
    let num_key_value_heads = config.num_key_value_heads.unwrap_or(num_heads);
    if num_heads == 0 || num_key_value_heads == 0 || !num_heads.is_multiple_of(num_key_value_heads) {
        let expected = format!("a divisor of num_attention_heads, {num_heads}");
        return Err(invalid(path, "num_key_value_heads", num_key_value_heads, expected));
    }
    let head_dim = match config.head_dim {
        Some(head_dim) => head_dim,
        None => sizes.head_dim(path)?,
    };
    if head_dim == 0 || !head_dim.is_multiple_of(2) {
        return Err(invalid(path, "head_dim", head_dim, "an even number: pairs of columns are rotated"));
    }
    if window.tokens == Some(0) {
        return Err(invalid(path, "sliding_window", 0, "null or at least 1"));
    }
    let windowed =
        windowed_layers(path, config.layer_types.as_deref(), sizes.num_hidden_layers, &window.in_layer)?;
    let around = Around { path, config: raw, head_dim };
    let layer = |windowed: bool| -> Result<LayerShape> {
        let layer_type = if windowed { "sliding_attention" } else { "full_attention" };
        let attention = LayerAttention {
            // A window of n tokens reaches back n - 1, and to both sides n.
            window: window.tokens.filter(|_| windowed).map(|tokens| if causal { tokens - 1 } else { tokens }),
            rotary: Some(rotary::read(around, layer_type, "rope_theta", 10_000.0)?),
        };
        Ok(LayerShape { attention: Some(attention), intermediate_size: Some(sizes.intermediate_size) })
    };
    Ok(Architecture {
        family,
        vocab_size: sizes.vocab_size,
        hidden_size: sizes.hidden_size,
        positions: Positions::Rotary { max_tokens: sizes.max_position_embeddings },
        embedding_scale: 1.0,
        attention: AttentionShape {
            num_heads,
            num_key_value_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            softcap: None,
            causal,
        },
        activation: activation(path, config.hidden_act.as_deref().unwrap_or("silu"))?,
        norm: NormKind::Rms { offset: 0.0 },
        norm_eps: config.rms_norm_eps,
        biases: Biases {
            query_key_value: config.attention_bias,
            attention_output: config.attention_bias,
            mlp: config.mlp_bias,
        },
        layers: windowed.into_iter().map(layer).collect::<Result<_>>()?,
    })
}
