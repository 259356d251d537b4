//! Qwen 3 (Qwen Team 2025): Llama with a norm on each head of the queries and keys.

use std::path::Path;

use serde_json::Value;

use super::keys::FamilyKeys;
use super::qwen2::{self, WindowConfig};
use super::{AttentionNames, Family, Names, decoder, parse};
use crate::architecture::Architecture;
use crate::error::Result;

const DEFAULTS: &str = r#"{"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "attention_bias": false, "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28}"#;

pub(crate) const FAMILY: Family = Family {
    model_type: "qwen3",
    keys: FamilyKeys { tables: &[&qwen2::KEYS, &decoder::KEYS], defaults: DEFAULTS },
    read,
    names: Names {
        attention: AttentionNames {
            query_norm: Some("self_attn.q_norm"),
            key_norm: Some("self_attn.k_norm"),
            ..decoder::ATTENTION_NAMES
        },
        ..decoder::NAMES
    },
};

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let window = parse::<WindowConfig>(path, config)?.window();
    decoder::read(FAMILY.model_type, path, config, &window)
}
