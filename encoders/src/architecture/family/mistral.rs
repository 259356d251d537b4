//! Mistral (Jiang et al. 2023): Llama with a window in every layer, where `sliding_window` is a number.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::decoder::{self, Window};
use super::keys::FamilyKeys;
use super::{Family, parse};
use crate::architecture::Architecture;
use crate::error::Result;
use crate::keys::Keys;

const KEYS: Keys = Keys {
    read: &["sliding_window", "hidden_act"],
    harmless: &[("a window is said by sliding_window alone", &["use_sliding_window", "max_window_layers"])],
    only: &[],
};

const DEFAULTS: &str = r#"{"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "sliding_window": 4096}"#;

pub(crate) const FAMILY: Family = Family {
    model_type: "mistral",
    keys: FamilyKeys { tables: &[&KEYS, &decoder::KEYS], defaults: DEFAULTS },
    read,
    names: decoder::NAMES,
};

#[derive(Deserialize)]
struct Config {
    sliding_window: Option<usize>,
}

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let Config { sliding_window } = parse(path, config)?;
    // transformers has one mask for all layers of this family, whatever their types are.
    let mut config = config.clone();
    if let Some(object) = config.as_object_mut() {
        object.shift_remove("layer_types");
    }
    decoder::read(FAMILY.model_type, path, &config, &Window { tokens: sliding_window, in_layer: |_| true })
}
