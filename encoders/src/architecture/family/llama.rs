//! Llama (Touvron et al. 2023; Llama Team 2024).

use super::keys::FamilyKeys;
use super::{Family, decoder};
use crate::keys::Keys;

const KEYS: FamilyKeys = FamilyKeys {
    keys: Keys {
        read: &[
            "num_key_value_heads",
            "head_dim",
            "hidden_act",
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
        harmless: &[(
            "no layer of Llama has a window",
            &["sliding_window", "use_sliding_window", "max_window_layers"],
        )],
        only: &[],
    },
    defaults: r#"{"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "attention_bias": false, "mlp_bias": false}"#,
};

pub(crate) const FAMILY: Family = Family {
    model_type: "llama",
    keys: KEYS,
    read: |path, config| decoder::read(FAMILY.model_type, path, config, &decoder::NO_WINDOW),
    names: decoder::NAMES,
};
