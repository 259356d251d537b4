//! The keys of config.json: those of all families, and what each family's transformers class takes where one is absent.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Family, int8};
use crate::error::Result;
use crate::keys::{Keys, check};

/// What all families have.
pub(crate) const COMMON: Keys = Keys {
    read: &[
        "model_type",
        "architectures",
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "tie_word_embeddings",
        "initializer_range",
        "tokenizer_class",
        "quantization_config",
        "matryoshka_dimensions",
        "sentence_transformers",
        "sbert_ce_default_activation_function",
        // What pruning leaves: ours, and LLM-Drop's.
        "secateur",
        "drop_attn_list",
        "drop_mlp_list",
    ],
    harmless: &[
        (
            "it says where the file comes from",
            &[
                "_name_or_path",
                "name_or_path",
                "transformers_version",
                "adapted_from",
                "unsloth_version",
                "unsloth_fixed",
                "model_name",
                "_commit_hash",
                "license",
                "language",
                "_from_model_config",
            ],
        ),
        ("tensors have their types in their file", &["torch_dtype", "dtype", "_pre_quantization_dtype"]),
        (
            "it is about training",
            &[
                "attention_dropout",
                "attention_probs_dropout_prob",
                "hidden_dropout_prob",
                "hidden_dropout",
                "classifier_dropout",
                "classifier_dropout_prob",
                "embedding_dropout",
                "embd_pdrop",
                "attn_pdrop",
                "resid_pdrop",
                "resid_dropout",
                "mlp_dropout",
                "dropout",
                "gradient_checkpointing",
                "initializer_cutoff_factor",
                "initializer_factor",
                "pretraining_tp",
                "label_smoothing",
                "use_mtp",
            ],
        ),
        (
            "it says how something is computed, not what",
            &[
                "use_cache",
                "_attn_implementation",
                "_attn_implementation_autoset",
                "_attn_implementation_internal",
                "attn_implementation",
                "chunk_size_feed_forward",
                "reference_compile",
                "deterministic_flash_attn",
                "repad_logits_with_grad",
                "low_memory",
                "cache_implementation",
                "cache_config",
                "compile_config",
                "disable_compile",
                "continuous_batching_config",
                "use_bfloat16",
                "torchscript",
                "use_flash_attention_2",
                "_flash_attn_2_enabled",
                "prefill_chunk_size",
                "max_cache_len",
            ],
        ),
        (
            "it says what Python gives back",
            &[
                "output_attentions",
                "output_hidden_states",
                "output_past",
                "return_dict",
                "use_return_dict",
                "return_dict_in_generate",
                "output_scores",
                "output_logits",
            ],
        ),
        (
            "it is about heads that an encoder does not have; a cross-encoder's has the shape of its tensors",
            &[
                "id2label",
                "label2id",
                "num_labels",
                "_num_labels",
                "problem_type",
                "finetuning_task",
                "pooler_fc_size",
                "pooler_num_attention_heads",
                "pooler_num_fc_layers",
                "pooler_size_per_head",
                "pooler_type",
                "sparse_prediction",
                "sparse_pred_ignore_index",
                "decoder_bias",
                "final_logit_softcapping",
                "summary_type",
                "summary_use_proj",
                "summary_activation",
                "summary_proj_to_labels",
                "summary_first_dropout",
                "add_pooling_layer",
                "tie_encoder_decoder",
            ],
        ),
        (
            "the tokenizer's files say which tokens there are",
            &[
                "bos_token_id",
                "eos_token_id",
                "pad_token_id",
                "sep_token_id",
                "cls_token_id",
                "mask_token_id",
                "unk_token_id",
                "decoder_start_token_id",
                "prefix",
                "eos_token",
                "bos_token",
                "pad_token",
            ],
        ),
        (
            "there is no encoder whose states could be attended to",
            &["add_cross_attention", "cross_attention_hidden_size"],
        ),
        (
            "it is about generating text",
            &[
                "max_length",
                "min_length",
                "do_sample",
                "early_stopping",
                "num_beams",
                "num_beam_groups",
                "diversity_penalty",
                "temperature",
                "top_k",
                "top_p",
                "top_h",
                "min_p",
                "typical_p",
                "repetition_penalty",
                "length_penalty",
                "no_repeat_ngram_size",
                "encoder_no_repeat_ngram_size",
                "encoder_repetition_penalty",
                "bad_words_ids",
                "force_words_ids",
                "num_return_sequences",
                "forced_bos_token_id",
                "forced_eos_token_id",
                "remove_invalid_values",
                "exponential_decay_length_penalty",
                "suppress_tokens",
                "begin_suppress_tokens",
                "task_specific_params",
                "max_new_tokens",
                "min_new_tokens",
                "max_time",
                "penalty_alpha",
                "epsilon_cutoff",
                "eta_cutoff",
                "renormalize_logits",
                "constraints",
                "sequence_bias",
                "guidance_scale",
                "stop_strings",
                "dola_layers",
                "token_healing",
                "watermarking_config",
                "is_assistant",
                "num_assistant_tokens",
                "num_assistant_tokens_schedule",
                "assistant_confidence_threshold",
                "assistant_early_exit",
                "assistant_ensemble_weight",
                "assistant_lookbehind",
                "target_lookbehind",
                "prompt_lookup_num_tokens",
                "max_matching_ngram_size",
                "speculation_type",
            ],
        ),
        ("vectors are cut where that is asked for", &["is_matryoshka"]),
        (
            "transformers reads hidden_size and max_position_embeddings",
            &["emb_size", "embedding_size", "model_max_length"],
        ),
    ],
    only: &[
        (
            "auto_map",
            "{}",
            "it names Python code of the model's own, which is not run; transformers runs it only with trust_remote_code, \
             and without computes what --ignore-setting auto_map does",
        ),
        ("custom_pipelines", "{}", "it names Python code of the model's own, which is not run"),
        ("pruned_heads", "{}", "heads were taken out of layers"),
        ("is_encoder_decoder", "false", "the model has a decoder of its own"),
        ("is_heterogeneous", "false", "layers have configurations of their own"),
        ("per_layer_config", "{}", "layers have configurations of their own"),
        ("use_bidirectional_attention", "false", "tokens see those after them"),
        (
            "position_embedding_type",
            "\"absolute\", \"rope\", \"rotary\"",
            "positions are learned in another way",
        ),
        ("use_mrope", "false", "positions have several axes"),
        ("rope_interleaved", "false", "other pairs of columns are rotated"),
        ("attn_bias", "", "attention scores have a bias"),
        ("num_experts", "0, 1", "MLPs are mixtures of experts"),
        ("residual_dropout", "0", "hidden states are dropped"),
        ("directionality", "\"bidi\"", "the model reads in one direction"),
    ],
};

/// Keys of a family beside those of all.
pub(crate) struct FamilyKeys {
    /// The first that knows a key counts.
    pub(crate) tables: &'static [&'static Keys],
    /// What transformers takes where a key is absent: a JSON object.
    pub(crate) defaults: &'static str,
}

impl FamilyKeys {
    /// The tables of the family, and that of all.
    pub(crate) fn with_common(&self) -> impl Iterator<Item = &'static Keys> {
        self.tables.iter().copied().chain([&COMMON])
    }
}

/// Of a config.json with LLM-Drop's lists.
const LLM_DROP: Keys = Keys {
    read: &[],
    harmless: &[("LLM-Drop's own programs do what its lists say, and nothing else", &["auto_map"])],
    only: &[],
};

/// Of a config.json that names Python code, but not for what is loaded here.
const CODE_FOR_OTHERS: Keys = Keys {
    read: &[],
    harmless: &[("it names Python code of classes that are not loaded", &["auto_map"])],
    only: &[],
};

/// Whether `auto_map` has no class that makes vectors or scores.
fn is_for_others(auto_map: &Value) -> bool {
    const LOADED: [&str; 3] = ["AutoConfig", "AutoModel", "AutoModelForSequenceClassification"];
    auto_map
        .as_object()
        .is_some_and(|map| LOADED.iter().all(|class| map.get(*class).is_none_or(Value::is_null)))
}

/// Refuses a config.json with a setting that would be passed over.
pub(crate) fn check_config(path: &Path, family: &Family, config: &Value) -> Result<()> {
    let empty = Map::new();
    let object = config.as_object().unwrap_or(&empty);
    let is_llm_drop = ["drop_mlp_list", "drop_attn_list"].iter().any(|list| object.contains_key(*list));
    let first = match object.get("auto_map") {
        Some(_) if is_llm_drop => Some(&LLM_DROP),
        Some(auto_map) if is_for_others(auto_map) => Some(&CODE_FOR_OTHERS),
        _ => None,
    };
    check(path, "", object, &first.into_iter().chain(family.keys.with_common()).collect::<Vec<_>>())?;
    if let Some(quantization) = config.get("quantization_config").and_then(Value::as_object) {
        match int8::is_in(config) {
            true => int8::check(path, quantization)?,
            false => check(path, "quantization_config", quantization, &[&QUANTIZATION])?,
        }
    }
    if let Some(rerank) = config.get("sentence_transformers").and_then(Value::as_object) {
        check(path, "sentence_transformers", rerank, &[&SENTENCE_TRANSFORMERS])?;
    }
    Ok(())
}

/// The object with what transformers takes for keys that are absent.
pub(crate) fn with_defaults(family: &Family, config: &Value) -> Value {
    let mut whole = config.clone();
    let defaults: Map<String, Value> =
        serde_json::from_str(family.keys.defaults).expect("a family's defaults are a JSON object");
    if let Some(object) = whole.as_object_mut() {
        for (key, value) in defaults {
            object.entry(key).or_insert(value);
        }
    }
    whole
}

/// `quantization_config`, of bitsandbytes.
pub(crate) const QUANTIZATION: Keys = Keys {
    read: &[],
    harmless: &[
        (
            "the tensors say how they are stored",
            &[
                "load_in_4bit",
                "load_in_8bit",
                "_load_in_4bit",
                "_load_in_8bit",
                "bnb_4bit_quant_type",
                "bnb_4bit_use_double_quant",
                "bnb_4bit_quant_storage",
                "llm_int8_skip_modules",
            ],
        ),
        (
            "matrices are dequantized and multiplied in f32",
            &[
                "bnb_4bit_compute_dtype",
                "llm_int8_threshold",
                "llm_int8_has_fp16_weight",
                "llm_int8_enable_fp32_cpu_offload",
            ],
        ),
    ],
    only: &[("quant_method", "\"bitsandbytes\"", "weights are stored in a way that is not read")],
};

/// `sentence_transformers`, of a cross-encoder.
const SENTENCE_TRANSFORMERS: Keys = Keys {
    read: &[],
    harmless: &[("it says where the file comes from", &["version"])],
    only: &[("activation_fn", RISING, "scores are not ranked as logits are")],
};

/// Functions that rank scores as the logits are ranked.
pub(crate) const RISING: &str = r#""torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Tanh", "torch.nn.Sigmoid", "torch.nn.Identity""#;

/// The settings of a config.json that are read: their names, their values, and whether the file has them.
pub(crate) fn config_settings(config: &Value) -> Vec<(String, Value, bool)> {
    let Some(family) = super::find(config) else { return Vec::new() };
    let whole = with_defaults(family, config);
    let read = |key: &str| family.keys.with_common().any(|keys| keys.read.contains(&key));
    whole
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| read(key) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone(), config.get(key).is_some()))
        .collect()
}
