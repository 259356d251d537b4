//! The keys of adapter_config.json.

use crate::keys::Keys;

pub(crate) const KEYS: Keys = Keys {
    read: &[
        "peft_type",
        "base_model_name_or_path",
        "revision",
        "r",
        "lora_alpha",
        "use_rslora",
        "use_dora",
        "rank_pattern",
        "alpha_pattern",
        "init_lora_weights",
        "trainable_token_indices",
    ],
    harmless: &[
        (
            "the adapter's file has the tensors that it says",
            &[
                "target_modules",
                "exclude_modules",
                "layers_to_transform",
                "layers_pattern",
                "modules_to_save",
                "bias",
                "modules_to_tie",
            ],
        ),
        (
            "it is about training",
            &[
                "lora_dropout",
                "inference_mode",
                "task_type",
                "eva_config",
                "lora_ga_config",
                "corda_config",
                "runtime_config",
                "ensure_weight_tying",
                "velora_config",
                "qalora_group_size",
            ],
        ),
        ("it says where the file comes from", &["auto_mapping", "peft_version"]),
        ("no family here stores its weights transposed, and PEFT turns it off for them", &["fan_in_fan_out"]),
        ("it is a module of Megatron, which no model here has", &["megatron_core"]),
    ],
    only: &[
        ("layer_replication", "[]", "layers are repeated"),
        ("lora_bias", "false", "the additions have biases"),
        ("loftq_config", "{}", "the base is quantized when the adapter is loaded"),
        ("megatron_config", "{}", "the model is one of Megatron"),
        ("alora_invocation_tokens", "[]", "the adapter begins in the midst of a text"),
        ("arrow_config", "{}", "several adapters are mixed"),
        ("target_parameters", "[]", "parameters beside linear layers are adapted"),
        ("use_qalora", "false", "inputs are pooled before they are adapted"),
        ("use_bdlora", "{}, false", "additions are block diagonal"),
        ("kasa_config", "{}", "additions have singular values of their own"),
        ("monteclora_config", "{}", "additions are drawn at random"),
    ],
};
