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
    Tokenizer, TruncationDirection,
};

/// What a tokenizer.json says, without its padding. A class may change it before the tokenizer is put together.
pub(super) struct TokenizerFile {
    pub(super) model: Model,
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) pre_tokenizer: Option<PreTokenizerWrapper>,
    pub(super) post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    /// With their ids, in the order of the file.
    pub(super) added_tokens: Vec<(u32, AddedToken)>,
    /// Whether its truncation cuts off the beginning of a text.
    pub(super) truncates_left: bool,
}

/// The model of a tokenizer. One of unigrams takes long to be made, so what may be changed is changed before.
#[expect(clippy::large_enum_variant, reason = "there is one, while a tokenizer is built")]
pub(super) enum Model {
    Whole(ModelWrapper),
    Unigram(Unigrams),
}

#[derive(Deserialize)]
pub(super) struct Unigrams {
    vocab: Vec<(String, f64)>,
    pub(super) unk_id: Option<usize>,
    #[serde(default)]
    pub(super) byte_fallback: bool,
}

#[derive(Deserialize)]
struct File<'a> {
    version: Option<String>,
    #[serde(default)]
    added_tokens: Vec<Added>,
    truncation: Option<Truncation>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    #[serde(borrow)]
    model: &'a RawValue,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

#[derive(Deserialize)]
struct Truncation {
    direction: Option<String>,
}

#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

/// The parts of a tokenizer.json.
///
/// # Errors
///
/// Those of the library.
pub(super) fn parts(json: &[u8]) -> tokenizers::Result<TokenizerFile> {
    // Old spellings, and what is wrong: the library knows better.
    in_one_pass(json).map_or_else(|| by_the_library(json), Ok)
}

fn in_one_pass(json: &[u8]) -> Option<TokenizerFile> {
    let file: File<'_> = serde_json::from_slice(json).ok()?;
    if file.version.is_some_and(|version| version != "1.0") {
        return None;
    }
    let model = file.model.get();
    let Kind { r#type } = serde_json::from_str(model).ok()?;
    let model = match r#type.as_str() {
        "WordPiece" => Model::Whole(serde_json::from_str::<WordPiece>(model).ok()?.into()),
        "WordLevel" => Model::Whole(serde_json::from_str::<WordLevel>(model).ok()?.into()),
        "BPE" => Model::Whole(serde_json::from_str::<BPE>(model).ok()?.into()),
        "Unigram" => Model::Unigram(serde_json::from_str(model).ok()?),
        _ => return None,
    };
    let direction = file.truncation.and_then(|truncation| truncation.direction);
    Some(TokenizerFile {
        model,
        normalizer: file.normalizer,
        pre_tokenizer: file.pre_tokenizer,
        post_processor: file.post_processor,
        decoder: file.decoder,
        added_tokens: file.added_tokens.into_iter().map(|added| (added.id, added.token)).collect(),
        truncates_left: direction.as_deref() == Some("Left"),
    })
}

fn by_the_library(json: &[u8]) -> tokenizers::Result<TokenizerFile> {
    let tokenizer = Tokenizer::from_bytes(json)?;
    let mut added_tokens: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
    added_tokens.sort_by_key(|(id, _)| *id);
    let truncation = tokenizer.get_truncation();
    Ok(TokenizerFile {
        model: Model::Whole(tokenizer.get_model().clone()),
        normalizer: tokenizer.get_normalizer().cloned(),
        pre_tokenizer: tokenizer.get_pre_tokenizer().cloned(),
        post_processor: tokenizer.get_post_processor().cloned(),
        decoder: tokenizer.get_decoder().cloned(),
        added_tokens,
        truncates_left: truncation.is_some_and(|params| params.direction == TruncationDirection::Left),
    })
}

impl TokenizerFile {
    /// The tokenizer of these parts, without the added tokens.
    pub(super) fn tokenizer(self) -> tokenizers::Result<Tokenizer> {
        let model = match self.model {
            Model::Whole(model) => model,
            Model::Unigram(Unigrams { vocab, unk_id, byte_fallback }) => {
                Unigram::from(vocab, unk_id, byte_fallback)?.into()
            }
        };
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_normalizer(self.normalizer)?;
        tokenizer.with_pre_tokenizer(self.pre_tokenizer);
        tokenizer.with_post_processor(self.post_processor);
        tokenizer.with_decoder(self.decoder);
        Ok(tokenizer)
    }
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
                    assert_eq!(whole(fast), expected(&json), "{}", path.display());
                    count += 1;
                }
            }
        }
        assert!(count > 0, "the encoder in the box has one");
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
            assert_eq!(whole(fast), expected(json.as_bytes()), "{model}");
            assert_eq!(whole(by_the_library(json.as_bytes()).unwrap()), expected(json.as_bytes()), "{model}");
        }
    }

    fn whole(mut parts: TokenizerFile) -> String {
        let added = std::mem::take(&mut parts.added_tokens);
        let mut tokenizer = parts.tokenizer().unwrap();
        tokenizer.add_tokens(added.into_iter().map(|(_, token)| token)).unwrap();
        tokenizer.to_string(false).unwrap()
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
            let message = parts(json.as_bytes()).err().unwrap().to_string();
            assert_eq!(message, Tokenizer::from_bytes(json).unwrap_err().to_string());
        }
    }
}
