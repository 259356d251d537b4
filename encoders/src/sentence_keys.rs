//! The keys of sentence-transformers' files.

use crate::architecture::RISING;
use crate::keys::Keys;

/// modules.json, of each entry.
pub(crate) const MODULE: Keys = Keys {
    read: &["path", "type"],
    harmless: &[("the order of the list is that of the modules", &["idx", "name"])],
    only: &[("kwargs", "[]", "the module is called with options")],
};

/// sentence_bert_config.json, and what it was called for other families.
pub(crate) const TRANSFORMER: Keys = Keys {
    read: &[
        "max_seq_length",
        "do_lower_case",
        "query_length",
        "document_length",
        "transformer_task",
        "modality_config",
    ],
    harmless: &[
        ("it says how something is computed, not what", &["unpad_inputs", "backend"]),
        ("it says where the file comes from", &["model_name_or_path", "__version__"]),
    ],
    only: &[
        (
            "module_output_name",
            r#""token_embeddings", "scores""#,
            "hidden states are handed on in another way",
        ),
        ("processing_kwargs", "{}", "texts are tokenized with options"),
        ("query_expansion", "{}", "queries are filled up with masks"),
        ("model_args", "{}", "the model is loaded with options"),
        ("model_kwargs", "{}", "the model is loaded with options"),
        ("tokenizer_args", "{}", "the tokenizer is loaded with options"),
        ("processor_kwargs", "{}", "the tokenizer is loaded with options"),
        ("config_args", "{}", "config.json is read with options"),
        ("config_kwargs", "{}", "config.json is read with options"),
        ("tokenizer_name_or_path", "", "the tokenizer is that of another model"),
    ],
};

/// config_sentence_transformers.json
pub(crate) const MODEL: Keys = Keys {
    read: &["prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim", "dense_weight"],
    harmless: &[
        (
            "it says where the file comes from",
            &["__version__", "pytorch", "sentence_transformers", "transformers", "requirements"],
        ),
        ("models are computed in f32", &["keep_in_fp32_modules"]),
    ],
    only: &[
        ("model_type", r#""SentenceTransformer", "CrossEncoder""#, "the model is of another kind"),
        ("activation_fn", RISING, "scores are not ranked as logits are"),
    ],
};

/// The config.json of a Pooling.
pub(crate) const POOLING: Keys = Keys {
    read: &[
        "pooling_mode",
        "include_prompt",
        "pooling_mode_cls_token",
        "pooling_mode_max_tokens",
        "pooling_mode_mean_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens",
        "pooling_mode_lasttoken",
    ],
    harmless: &[(
        "hidden states have the width of config.json",
        &["embedding_dimension", "word_embedding_dimension"],
    )],
    only: &[],
};

const SENTENCE: &str = r#""sentence_embedding""#;
const ELSEWHERE: &str = "it works on something else than the pooled vector";

/// The config.json of a Dense.
pub(crate) const DENSE: Keys = Keys {
    read: &["in_features", "out_features", "bias", "activation_function", "use_residual"],
    harmless: &[("the file of its weights has them", &["init_weight", "init_bias"])],
    only: &[("module_input_name", SENTENCE, ELSEWHERE), ("module_output_name", SENTENCE, ELSEWHERE)],
};

/// The config.json of a LayerNorm.
pub(crate) const LAYER_NORM: Keys = Keys { read: &["dimension"], harmless: &[], only: &[] };

/// The config.json of a Normalize.
pub(crate) const NORMALIZE: Keys = Keys {
    read: &[],
    harmless: &[],
    only: &[("module_input_name", SENTENCE, ELSEWHERE), ("module_output_name", SENTENCE, ELSEWHERE)],
};
