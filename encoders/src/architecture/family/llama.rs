//! Llama (Touvron et al. 2023; Llama Team 2024).

use super::keys::FamilyKeys;
use super::{Family, decoder};
use crate::keys::Keys;

const KEYS: Keys = Keys {
    read: &["hidden_act"],
    harmless: &[(
        "no layer of Llama has a window",
        &["sliding_window", "use_sliding_window", "max_window_layers"],
    )],
    only: &[],
};

const DEFAULTS: &str = r#"{"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "attention_bias": false, "mlp_bias": false}"#;

pub(crate) const FAMILY: Family = Family {
    model_type: "llama",
    keys: FamilyKeys { tables: &[&KEYS, &decoder::KEYS], defaults: DEFAULTS },
    read: |path, config| decoder::read(FAMILY.model_type, path, config, &decoder::NO_WINDOW),
    names: decoder::NAMES,
};
