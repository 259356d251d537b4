//! Qwen 1.5, 2 and 2.5 (Qwen Team 2024): Llama with biases on queries, keys and values; upper layers may have a window.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::decoder::{self, Window};
use super::keys::FamilyKeys;
use super::{Family, parse};
use crate::architecture::{Architecture, Biases};
use crate::error::Result;
use crate::keys::Keys;

pub(super) const KEYS: Keys = Keys {
    read: &["sliding_window", "use_sliding_window", "max_window_layers", "hidden_act"],
    harmless: &[],
    only: &[],
};

const DEFAULTS: &str = r#"{"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28}"#;

pub(crate) const FAMILY: Family = Family {
    model_type: "qwen2",
    keys: FamilyKeys { tables: &[&KEYS, &decoder::KEYS], defaults: DEFAULTS },
    read,
    names: decoder::NAMES,
};

#[derive(Deserialize)]
pub(super) struct WindowConfig {
    sliding_window: Option<usize>,
    /// Public files name a window and turn it off here.
    use_sliding_window: bool,
    max_window_layers: usize,
}

impl WindowConfig {
    /// The window of layers `max_window_layers` and up.
    pub(super) fn window(self) -> Window<impl Fn(usize) -> bool> {
        Window {
            tokens: self.sliding_window.filter(|_| self.use_sliding_window),
            in_layer: move |layer| layer >= self.max_window_layers,
        }
    }
}

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let window = parse::<WindowConfig>(path, config)?.window();
    let architecture = decoder::read(FAMILY.model_type, path, config, &window)?;
    let biases = Biases { query_key_value: true, attention_output: false, mlp: false };
    Ok(Architecture { biases, ..architecture })
}
