//! tokenizer.json, read in one pass.
//!
//! The library finds out what kind of model it has by copying the vocabulary twice into trees of JSON values. Here the
//! kind is read first, and the model then directly. The rest follows the library's `TokenizerImpl::deserialize`.

use serde::Deserialize;
use serde_json::value::RawValue;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    Tokenizer,
};

#[derive(Deserialize)]
struct Parts<'a> {
    version: Option<String>,
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    #[serde(borrow)]
    model: &'a RawValue,
}

#[derive(Deserialize)]
struct Added {
    #[serde(flatten)]
    token: AddedToken,
}

#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

/// The tokenizer of a tokenizer.json, without its padding and truncation.
///
/// # Errors
///
/// Those of the library.
pub(super) fn tokenizer(json: &[u8]) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = match in_one_pass(json) {
        Some(tokenizer) => tokenizer,
        // Old spellings, and what is wrong: the library knows better.
        None => Tokenizer::from_bytes(json)?,
    };
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None)?;
    Ok(tokenizer)
}

fn in_one_pass(json: &[u8]) -> Option<Tokenizer> {
    let parts: Parts<'_> = serde_json::from_slice(json).ok()?;
    if parts.version.is_some_and(|version| version != "1.0") {
        return None;
    }
    let model = parts.model.get();
    let Kind { r#type } = serde_json::from_str(model).ok()?;
    let model: ModelWrapper = match r#type.as_str() {
        "WordPiece" => serde_json::from_str::<WordPiece>(model).ok()?.into(),
        "WordLevel" => serde_json::from_str::<WordLevel>(model).ok()?.into(),
        "BPE" => serde_json::from_str::<BPE>(model).ok()?.into(),
        "Unigram" => serde_json::from_str::<Unigram>(model).ok()?.into(),
        _ => return None,
    };
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(parts.normalizer).ok()?;
    tokenizer.with_pre_tokenizer(parts.pre_tokenizer);
    tokenizer.with_post_processor(parts.post_processor);
    tokenizer.with_decoder(parts.decoder);
    tokenizer.add_tokens(parts.added_tokens.into_iter().map(|added| added.token)).ok()?;
    Some(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tokenizer of the fixtures, and one without a vocabulary of each kind of model: what the library reads.
    #[test]
    fn equals_the_library() {
        let mut count = 0;
        let mut open = vec![secateur_testkit::workspace_root().join("tests/fixtures")];
        open.extend([secateur_testkit::workspace_root().join("encoders/default")]);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.file_name().is_some_and(|name| name == "tokenizer.json") {
                    let json = std::fs::read(&path).unwrap();
                    let fast = in_one_pass(&json).unwrap_or_else(|| panic!("{}", path.display()));
                    assert_eq!(fast.to_string(false).unwrap(), expected(&json), "{}", path.display());
                    count += 1;
                }
            }
        }
        assert!(count >= 2, "{count} tokenizers");
        for model in [
            r#"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]],"unk_token":"a","byte_fallback":true}"#,
            r#"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"],"continuing_subword_prefix":"","end_of_word_suffix":"</w>","fuse_unk":true,"dropout":null,"ignore_merges":true}"#,
            r#"{"type":"WordLevel","vocab":{"a":0,"[UNK]":1},"unk_token":"[UNK]"}"#,
            r#"{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["a",-1.5]],"byte_fallback":false}"#,
            r###"{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":7,"vocab":{"[UNK]":0,"a":1}}"###,
        ] {
            let token = |id: u32, content: &str, special: bool| {
                serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": true,
                    "rstrip": false, "normalized": !special, "special": special})
            };
            let json = format!(
                r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{},{}],
                "normalizer":{{"type":"Lowercase"}},"pre_tokenizer":{{"type":"Whitespace"}},"post_processor":null,
                "decoder":null,"model":{model}}}"#,
                token(3, "<s>", true),
                token(4, "New", false),
            );
            let fast = in_one_pass(json.as_bytes()).unwrap_or_else(|| panic!("{model}"));
            assert_eq!(fast.to_string(false).unwrap(), expected(json.as_bytes()), "{model}");
        }
    }

    fn expected(json: &[u8]) -> String {
        let mut tokenizer = Tokenizer::from_bytes(json).unwrap();
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).unwrap();
        tokenizer.to_string(false).unwrap()
    }

    /// What is wrong gets the library's message.
    #[test]
    fn what_is_wrong_is_left_to_the_library() {
        for json in ["", "{}", r#"{"version":"2.0","model":{"type":"WordLevel","vocab":{},"unk_token":""}}"#]
        {
            let message = tokenizer(json.as_bytes()).unwrap_err().to_string();
            assert_eq!(message, Tokenizer::from_bytes(json).unwrap_err().to_string());
        }
    }
}
