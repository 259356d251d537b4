//! BERT (Devlin et al. 2019): bidirectional, learned positions, a norm after each residual sum.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::keys::FamilyKeys;
use super::sizes::Sizes;
use super::{AttentionNames, Family, Gate, Head, MlpNames, Names, Norms, Projections, activation, parse};
use crate::architecture::{Architecture, Biases, LayerAttention, LayerShape, NormKind, Positions};
use crate::error::Result;
use crate::keys::Keys;

pub(crate) const FAMILY: Family = Family {
    model_type: "bert",
    keys: FamilyKeys { tables: &[&KEYS], defaults: DEFAULTS },
    read: |path, config| read(FAMILY.model_type, path, config, 0),
    names: Names { head: Some(|_, _| Ok(Head::of_first_token("bert.pooler.dense", "classifier"))), ..NAMES },
};

/// The keys that models like BERT have beside those of all.
pub(super) const KEYS: Keys = Keys {
    read: &["hidden_act", "layer_norm_eps", "position_embedding_type", "type_vocab_size", "is_decoder"],
    harmless: &[],
    only: &[],
};

pub(super) const DEFAULTS: &str = r#"{"vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512,
    "type_vocab_size": 2, "layer_norm_eps": 1e-12, "is_decoder": false}"#;

pub(super) const NAMES: Names = Names {
    prefixes: &["", "bert."],
    token_embeddings: "embeddings.word_embeddings",
    position_embeddings: Some("embeddings.position_embeddings"),
    type_embeddings: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("embeddings.LayerNorm"),
    layer: "encoder.layer.{}.",
    attention: AttentionNames {
        norms: Norms::of_sum("attention.output.LayerNorm"),
        projections: Projections::Separate {
            query: "attention.self.query",
            key: "attention.self.key",
            value: "attention.self.value",
        },
        query_norm: None,
        key_norm: None,
        output: "attention.output.dense",
    },
    first_attention_normed: true,
    mlp: MlpNames {
        norms: Norms::of_sum("output.LayerNorm"),
        gate: Gate::None,
        up: "intermediate.dense",
        output: "output.dense",
    },
    final_norm: None,
    head: None,
};

#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    sizes: Sizes,
    hidden_act: String,
    layer_norm_eps: f32,
    position_embedding_type: Option<String>,
    type_vocab_size: usize,
    is_decoder: bool,
}

/// The architecture of a model like BERT whose first token has the position `first`.
pub(super) fn read(family: &'static str, path: &Path, config: &Value, first: usize) -> Result<Architecture> {
    let config: Config = parse(path, config)?;
    let sizes = config.sizes;
    let attention = sizes.multi_head(path, config.is_decoder)?;
    if sizes.max_position_embeddings <= first {
        let expected = format!("more than the position of the first token, {first}");
        return Err(super::invalid(path, "max_position_embeddings", sizes.max_position_embeddings, expected));
    }
    let layer = LayerShape {
        attention: Some(LayerAttention { window: None, rotary: None }),
        intermediate_size: Some(sizes.intermediate_size),
    };
    if let Some(found) = config.position_embedding_type.filter(|found| found != "absolute") {
        return Err(super::invalid(path, "position_embedding_type", format!("{found:?}"), "absolute"));
    }
    if config.type_vocab_size == 0 {
        return Err(super::invalid(path, "type_vocab_size", 0, "at least 1"));
    }
    let positions = Positions::Learned {
        table_rows: sizes.max_position_embeddings,
        first,
        token_types: config.type_vocab_size,
    };
    Ok(Architecture {
        family,
        vocab_size: sizes.vocab_size,
        hidden_size: sizes.hidden_size,
        positions,
        embedding_scale: 1.0,
        attention,
        activation: activation(path, &config.hidden_act)?,
        norm: NormKind::Layer { bias: true },
        norm_eps: config.layer_norm_eps,
        biases: Biases { query_key_value: true, attention_output: true, mlp: true },
        layers: vec![layer; sizes.num_hidden_layers],
    })
}
