//! BERT (Devlin et al. 2019): bidirectional, learned positions, a norm after each residual sum.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{
    AttentionNames, Family, Gate, Head, MlpNames, Names, Norms, Projections, activation, even_head_dim, parse,
};
use crate::error::Result;
use crate::model::architecture::{Architecture, Biases, LayerAttention, LayerShape, NormKind, Positions};
use crate::ops::AttentionShape;

pub(crate) const FAMILY: Family = Family {
    model_type: "bert",
    read: |path, config| read(FAMILY.model_type, path, config, 0),
    names: Names { head: Some(|_, _| Ok(Head::of_first_token("bert.pooler.dense", "classifier"))), ..NAMES },
};

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
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    layer_norm_eps: f32,
    position_embedding_type: Option<String>,
    #[serde(default = "two")]
    type_vocab_size: usize,
}

fn two() -> usize {
    2
}

/// The architecture of a model like BERT whose first token has the position `first`.
pub(super) fn read(family: &'static str, path: &Path, config: &Value, first: usize) -> Result<Architecture> {
    let config: Config = parse(path, config)?;
    let head_dim = even_head_dim(path, config.hidden_size, config.num_attention_heads)?;
    if config.max_position_embeddings <= first {
        let expected = format!("more than the position of the first token, {first}");
        return Err(super::invalid(
            path,
            "max_position_embeddings",
            config.max_position_embeddings,
            expected,
        ));
    }
    let layer = LayerShape {
        attention: Some(LayerAttention { window: None, rotary: None }),
        intermediate_size: Some(config.intermediate_size),
    };
    if let Some(found) = config.position_embedding_type.filter(|found| found != "absolute") {
        return Err(super::invalid(path, "position_embedding_type", format!("{found:?}"), "absolute"));
    }
    if config.type_vocab_size == 0 {
        return Err(super::invalid(path, "type_vocab_size", 0, "at least 1"));
    }
    let positions = Positions::Learned {
        table_rows: config.max_position_embeddings,
        first,
        token_types: config.type_vocab_size,
    };
    Ok(Architecture {
        family,
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        positions,
        embedding_scale: 1.0,
        attention: AttentionShape {
            num_heads: config.num_attention_heads,
            num_key_value_heads: config.num_attention_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            softcap: None,
            causal: false,
        },
        activation: activation(path, &config.hidden_act)?,
        norm: NormKind::Layer { bias: true },
        norm_eps: config.layer_norm_eps,
        biases: Biases { query_key_value: true, attention_output: true, mlp: true },
        layers: vec![layer; config.num_hidden_layers],
    })
}
