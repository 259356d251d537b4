//! A vocabulary learned from texts: byte pairs of lower-cased text.

use std::path::Path;
use std::str::FromStr;

use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use crate::error::{Error, Result};

/// Closes each text; what a causal model's vector is taken from.
const END: &str = "<eos>";

/// Learns `vocab_size` tokens and gives the tokenizer.json; `config` is where the number is from.
pub(super) fn learn(
    texts: &mut (dyn Iterator<Item = Result<String>> + Send),
    vocab_size: usize,
    config: &Path,
) -> Result<Value> {
    let alphabet = ByteLevel::alphabet();
    if vocab_size <= alphabet.len() {
        return Err(Error::InvalidField {
            path: config.to_owned(),
            field: "vocab_size".to_owned(),
            found: vocab_size.to_string(),
            expected: format!("more than {}, for every byte and {END}", alphabet.len()),
        });
    }
    let end = AddedToken::from(END, true);
    let trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(vec![end])
        .initial_alphabet(alphabet.into_iter().collect())
        .build();
    let failed = |source| Error::Tokenizer { path: config.with_file_name("tokenizer.json"), source };
    let mut tokenizer = Tokenizer::from_str(&untrained().to_string()).map_err(failed)?;
    let (mut fault, mut num_texts) = (None, 0);
    let texts = texts.map_while(|text| {
        num_texts += 1;
        text.map_err(|error| fault = Some(error)).ok()
    });
    tokenizer.train(&mut TrainerWrapper::BpeTrainer(trainer), texts).map_err(failed)?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    if num_texts == 0 {
        return Err(Error::NoTexts);
    }
    let text = tokenizer.to_string(false).map_err(failed)?;
    let mut tokenizer: Value = serde_json::from_str(&text).expect("a tokenizer is written as JSON");
    let id = tokenizer["model"]["vocab"][END].clone();
    tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": END, "type_id": 0}}],
        "pair": [
            {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": END, "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": END, "type_id": 0}},
        ],
        "special_tokens": {END: {"id": END, "ids": [id], "tokens": [END]}},
    });
    Ok(tokenizer)
}

/// The tokenizer_config.json that goes with it.
pub(super) fn config(max_length: usize) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": END,
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": false,
    })
}

/// The tokenizer before training. A space is put before each text, so that its first word gets the same token as
/// elsewhere.
fn untrained() -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {}, "merges": []},
    })
}
