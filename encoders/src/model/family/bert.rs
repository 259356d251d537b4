//! BERT (Devlin et al. 2019): bidirectional, learned positions, a norm after each residual sum.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Family, Names, activation, even_head_dim, parse};
use crate::error::Result;
use crate::model::architecture::{Architecture, LayerShape, Positions};
use crate::ops::AttentionShape;

pub(crate) const FAMILY: Family = Family {
    model_type: "bert",
    read,
    names: Names {
        prefixes: &["", "bert."],
        token_embeddings: "embeddings.word_embeddings",
        position_embeddings: "embeddings.position_embeddings",
        type_embeddings: "embeddings.token_type_embeddings",
        embedding_norm: "embeddings.LayerNorm",
        layer: "encoder.layer.{}.",
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        attention_output: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        mlp_up: "intermediate.dense",
        mlp_down: "output.dense",
        mlp_norm: "output.LayerNorm",
    },
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
}

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let config: Config = parse(path, config)?;
    let head_dim = even_head_dim(path, config.hidden_size, config.num_attention_heads)?;
    let layer = LayerShape { attention: true, intermediate_size: Some(config.intermediate_size) };
    Ok(Architecture {
        family: FAMILY.model_type,
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        positions: Positions::Learned { table_rows: config.max_position_embeddings, first: 0 },
        attention: AttentionShape {
            num_heads: config.num_attention_heads,
            num_key_value_heads: config.num_attention_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal: false,
        },
        activation: activation(path, &config.hidden_act)?,
        norm_eps: config.layer_norm_eps,
        layers: vec![layer; config.num_hidden_layers],
    })
}
