//! Qwen 3 (Qwen Team 2025): Llama with a norm on each head of the queries and keys.

use std::path::Path;

use serde_json::Value;

use super::qwen2::WindowConfig;
use super::{AttentionNames, Family, Names, decoder, parse};
use crate::architecture::Architecture;
use crate::error::Result;

pub(crate) const FAMILY: Family = Family {
    model_type: "qwen3",
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
