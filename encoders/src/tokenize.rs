//! From text to token ids, as the model was trained.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use tokenizers::{Encoding, Tokenizer as HuggingFace, TruncationParams};

use crate::error::{Error, Result};

/// The tokenizer of a model directory.
pub(crate) struct Tokenizer {
    path: PathBuf,
    inner: HuggingFace,
    vocab_size: usize,
    lower_case: bool,
}

impl Tokenizer {
    /// Loads `tokenizer.json`. Texts will be cut to `max_length` tokens, special tokens included; ids must be below
    /// `vocab_size`.
    pub(crate) fn load(
        directory: &Path,
        max_length: usize,
        vocab_size: usize,
        lower_case: bool,
    ) -> Result<Tokenizer> {
        let path = directory.join("tokenizer.json");
        if !path.exists() {
            return Err(Error::MissingFile {
                directory: directory.to_owned(),
                file: "tokenizer.json",
                advice: "fetch it from the model's repository, or write it with transformers' save_pretrained",
            });
        }
        let failed = |source| Error::Tokenizer { path: path.clone(), source };
        let mut inner = HuggingFace::from_file(&path).map_err(failed)?;
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        inner.with_truncation(Some(truncation)).map_err(failed)?;
        // Padding is none of the tokenizer's business here: texts lie one after the other.
        inner.with_padding(None);
        Ok(Tokenizer { path, inner, vocab_size, lower_case })
    }

    /// The ids of a text, special tokens included. At least one: a text without any token gets none from the tokenizer,
    /// which is refused.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.checked(self.inner.encode_fast(self.cased(text).as_ref(), true))
    }

    /// The ids of two texts in one sequence, joined by the special tokens that the model was trained with. Of the two,
    /// the longer is cut first.
    pub(crate) fn encode_pair(&self, first: &str, second: &str) -> Result<Vec<u32>> {
        let (first, second) = (self.cased(first), self.cased(second));
        self.checked(self.inner.encode_fast((first.as_ref(), second.as_ref()), true))
    }

    fn cased<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.lower_case { text.to_lowercase().into() } else { text.into() }
    }

    fn checked(&self, encoding: tokenizers::Result<Encoding>) -> Result<Vec<u32>> {
        let encoding = encoding.map_err(|source| Error::Tokenizer { path: self.path.clone(), source })?;
        let ids = encoding.get_ids().to_vec();
        if ids.is_empty() {
            return Err(Error::NoTokens { path: self.path.clone() });
        }
        match ids.iter().find(|id| **id as usize >= self.vocab_size) {
            Some(id) => Err(Error::TokenOutOfVocabulary {
                path: self.path.clone(),
                id: *id,
                vocab_size: self.vocab_size,
            }),
            None => Ok(ids),
        }
    }

    /// How many tokens at the beginning of a text are those of `prompt`, the special tokens before it included.
    pub(crate) fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        if prompt.is_empty() {
            return Ok(0);
        }
        let with_text = self.encode(prompt)?;
        // The special tokens that end a text stand after the prompt only because nothing follows it here.
        let bare = self
            .inner
            .encode_fast("", true)
            .map_err(|source| Error::Tokenizer { path: self.path.clone(), source })?;
        let trailing = with_text
            .iter()
            .rev()
            .zip(bare.get_ids().iter().rev())
            .take(bare.len().div_ceil(2))
            .take_while(|(a, b)| a == b)
            .count();
        Ok(with_text.len() - trailing)
    }
}
