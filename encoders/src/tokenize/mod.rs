//! From text to token ids, as the model was trained.

mod config;
mod packed;
mod read;
mod special_tokens;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use tokenizers::{Encoding, PostProcessor, Tokenizer as HuggingFace, TruncationDirection, TruncationParams};

use crate::error::{Error, Result};
use crate::weights::model_files::ModelFiles;
use config::Config;
pub(crate) use packed::Packer;
pub use special_tokens::SpecialTokens;

/// The tokenizer of a model directory.
pub(crate) struct Tokenizer {
    path: PathBuf,
    inner: HuggingFace,
    vocab_size: usize,
    lower_case: bool,
    max_length: usize,
    affixes: Affixes,
    config: Config,
}

/// The special tokens around every text.
struct Affixes {
    before: Vec<u32>,
    after: Vec<u32>,
}

impl Tokenizer {
    /// Loads `tokenizer.json`, and `tokenizer_config.json` if there is one. Texts will be cut to `max_length` tokens,
    /// special tokens included. Ids must be below `vocab_size`.
    pub(crate) fn load(
        files: &ModelFiles,
        max_length: usize,
        vocab_size: usize,
        lower_case: bool,
    ) -> Result<Tokenizer> {
        let path = files.path("tokenizer.json");
        let Some(bytes) = files.read("tokenizer.json")? else {
            return Err(Error::MissingFile {
                directory: files.directory(),
                file: "tokenizer.json",
                advice: "fetch it from the model's repository, or write it with transformers' save_pretrained",
            });
        };
        let config = Config::read(files)?;
        let failed = |source| Error::Tokenizer { path: path.clone(), source };
        // Without padding, which is none of the tokenizer's business here: texts lie one after the other.
        let mut inner = read::tokenizer(&bytes).map_err(failed)?;
        add_tokens(&mut inner, &config).map_err(failed)??;
        let affixes = Affixes::find(&inner, &config).map_err(failed)??;
        let num_special = affixes.before.len() + affixes.after.len();
        if max_length <= num_special {
            return Err(too_short(&path, max_length, num_special));
        }
        let direction =
            if config.truncate_left { TruncationDirection::Left } else { TruncationDirection::Right };
        let truncation = TruncationParams { max_length, direction, ..TruncationParams::default() };
        inner.with_truncation(Some(truncation)).map_err(failed)?;
        let tokenizer = Tokenizer { path, inner, vocab_size, lower_case, max_length, affixes, config };
        Ok(tokenizer)
    }

    /// The special tokens before and after every text.
    pub(crate) fn around(&self) -> [Vec<String>; 2] {
        let spelled = |ids: &[u32]| -> Vec<String> {
            ids.iter().map(|id| self.inner.id_to_token(*id).unwrap_or_else(|| format!("#{id}"))).collect()
        };
        [spelled(&self.affixes.before), spelled(&self.affixes.after)]
    }

    /// Where Python puts padding, by tokenizer_config.json. Here texts are not padded.
    pub(crate) fn padding_side(&self) -> Option<&str> {
        self.config.padding_side.as_deref()
    }

    /// The ids of a text, special tokens included. A long text is cut; the special tokens stay. There is at least one
    /// id: an empty text is refused if the model has no special tokens.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(self.cased(text).as_ref(), false);
        let encoding = encoding.map_err(|source| self.failed(source))?;
        let mut body = encoding.get_ids();
        let Affixes { before, after } = &self.affixes;
        let room = self.max_length - before.len() - after.len();
        if let Some(excess) = body.len().checked_sub(room) {
            body = if self.config.truncate_left { &body[excess..] } else { &body[..room] };
        }
        self.checked([before, body, after].concat())
    }

    /// The ids of two texts in one sequence, joined by the special tokens that the model was trained with, and the
    /// type of each token. Of the two texts, the longer is cut first.
    pub(crate) fn encode_pair(&self, first: &str, second: &str) -> Result<(Vec<u32>, Vec<u32>)> {
        let num_special = self.inner.get_post_processor().map_or(0, |post| post.added_tokens(true));
        if self.max_length <= num_special {
            return Err(too_short(&self.path, self.max_length, num_special));
        }
        let (first, second) = (self.cased(first), self.cased(second));
        let encoding = self.inner.encode_fast((first.as_ref(), second.as_ref()), true);
        let encoding = encoding.map_err(|source| self.failed(source))?;
        Ok((self.checked(encoding.get_ids().to_vec())?, encoding.get_type_ids().to_vec()))
    }

    /// How many tokens at the beginning of a text belong to `prompt`, the special tokens before it included.
    pub(crate) fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        if prompt.is_empty() {
            return Ok(0);
        }
        Ok(self.encode(prompt)?.len() - self.affixes.after.len())
    }

    fn cased<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.lower_case { text.to_lowercase().into() } else { text.into() }
    }

    fn failed(&self, source: tokenizers::Error) -> Error {
        Error::Tokenizer { path: self.path.clone(), source }
    }

    fn checked(&self, ids: Vec<u32>) -> Result<Vec<u32>> {
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
}

fn too_short(path: &Path, max_length: usize, num_special: usize) -> Error {
    Error::InvalidField {
        path: path.to_owned(),
        field: "the maximum length".to_owned(),
        found: max_length.to_string(),
        expected: format!("more than the {num_special} special tokens around a text"),
    }
}

/// Adds the tokens of tokenizer_config.json that tokenizer.json lacks. The outer error is the library's.
fn add_tokens(inner: &mut HuggingFace, config: &Config) -> tokenizers::Result<Result<()>> {
    let known = inner.get_added_tokens_decoder();
    for (id, token) in config.added_tokens.iter().filter(|(id, _)| !known.contains_key(*id)) {
        inner.add_tokens([token.clone()])?;
        let got = inner.token_to_id(&token.content);
        if got != Some(*id) {
            let got = got.map_or_else(|| "no id".to_owned(), |got| format!("id {got}"));
            return Ok(Err(config.invalid(
                &format!("added_tokens_decoder.{id}"),
                format!("{:?}", token.content),
                &format!("a token that tokenizer.json leaves that id to; it gives it {got}"),
            )));
        }
    }
    Ok(Ok(()))
}

impl Affixes {
    /// The special tokens that tokenizer.json puts around a text, changed as tokenizer_config.json asks.
    /// `add_bos_token` and `add_eos_token` overrule tokenizer.json, as in Python, where the tokenizer is rebuilt from
    /// them. If they are absent, they change nothing. The outer error is the library's.
    fn find(inner: &HuggingFace, config: &Config) -> tokenizers::Result<Result<Affixes>> {
        let probe: Encoding = inner.encode_fast("a", true)?;
        let (ids, special) = (probe.get_ids(), probe.get_special_tokens_mask());
        let first = special.iter().position(|special| *special == 0).unwrap_or(ids.len());
        let last = special.iter().rposition(|special| *special == 0).map_or(ids.len(), |last| last + 1);
        let mut affixes = Affixes { before: ids[..first].to_vec(), after: ids[last..].to_vec() };

        let id_of = |field: &str, token: &Option<String>| {
            let id = token.as_ref().and_then(|token| inner.token_to_id(token));
            id.ok_or_else(|| {
                let found = token.as_ref().map_or_else(|| "absent".to_owned(), |token| format!("{token:?}"));
                config.invalid(field, found, "a token of tokenizer.json")
            })
        };
        match (config.add_bos, &config.bos) {
            (Some(true), bos) => match id_of("bos_token", bos) {
                Ok(id) if affixes.before.first() != Some(&id) => affixes.before.insert(0, id),
                Ok(_) => {}
                Err(error) => return Ok(Err(error)),
            },
            (Some(false), Some(bos)) => {
                let id = inner.token_to_id(bos);
                affixes.before.retain(|before| Some(*before) != id);
            }
            _ => {}
        }
        match (config.add_eos, &config.eos) {
            (Some(true), eos) => match id_of("eos_token", eos) {
                Ok(id) if affixes.after.last() != Some(&id) => affixes.after.push(id),
                Ok(_) => {}
                Err(error) => return Ok(Err(error)),
            },
            (Some(false), Some(eos)) => {
                let id = inner.token_to_id(eos);
                affixes.after.retain(|after| Some(*after) != id);
            }
            _ => {}
        }
        Ok(Ok(affixes))
    }
}
