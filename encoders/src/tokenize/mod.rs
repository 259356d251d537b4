//! From text to token ids, as the model was trained.

mod added;
mod build;
mod class;
mod config;
mod files;
mod keys;
mod packed;
mod ranges;
mod read;
mod sentencepiece;
mod special_tokens;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{
    Encoding, NormalizerWrapper, PostProcessor, Tokenizer as HuggingFace, TruncationDirection,
    TruncationParams,
};

use crate::error::{Error, Result};
use crate::json;
use crate::keys::DEFAULT_OF_TRANSFORMERS as DEFAULT;
use crate::weights::model_files::ModelFiles;
use added::AddedTokens;
use class::Class;
use config::Config;
#[cfg(test)]
pub(crate) use keys::KEYS;
pub(crate) use packed::Packer;
use read::{Model, TokenizerFile};
pub use special_tokens::SpecialTokens;

/// The tokenizer of a model directory.
pub(crate) struct Tokenizer {
    path: PathBuf,
    inner: HuggingFace,
    vocab_size: usize,
    max_length: usize,
    affixes: Affixes,
    /// Whether the beginning of a long text is cut off instead of its end.
    truncate_left: bool,
    config: Config,
    class: Class,
    /// Texts that were cut so far.
    num_cut: AtomicUsize,
    /// The same without truncation, from when it is first needed.
    whole: OnceLock<HuggingFace>,
}

/// How texts are read.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    /// The most tokens of any text, special tokens included; longer ones are cut.
    pub(crate) max_length: usize,
    /// The most of those texts that may have the fewest.
    pub(crate) shortest: usize,
    /// Whether texts are lower-cased first.
    pub(crate) lower_case: bool,
    /// Ids must be below this.
    pub(crate) vocab_size: usize,
}

/// The special tokens around every text.
struct Affixes {
    before: Vec<u32>,
    after: Vec<u32>,
}

impl Tokenizer {
    /// Loads `tokenizer.json`, or what came before it, and `tokenizer_config.json` if there is one. `model` is the
    /// config.json.
    pub(crate) fn load(
        files: &ModelFiles,
        model: &Value,
        Reading { max_length, shortest, lower_case, vocab_size }: Reading,
    ) -> Result<Tokenizer> {
        let files = &files.tokenizer();
        let mut config = Config::read(files)?;
        let path = files.path("tokenizer.json");
        let json = files.read("tokenizer.json")?;
        let class = Class::of(&config, model, json.as_deref());
        if !class.heeds_ends(&config, json.is_some()) {
            (config.add_bos, config.add_eos) = (None, None);
        }
        let failed = |source| Error::Tokenizer { path: path.clone(), source };
        let (mut parts, is_made) = match &json {
            Some(bytes) => {
                json::refuse_pointer(&path, bytes)?;
                let mut parts = read::parts(json::without_mark(bytes)).map_err(failed)?;
                let is_made = class.overrule(&mut parts, &config);
                (parts, is_made)
            }
            None => {
                let built = build::build(files, class, &config)?;
                let bytes = serde_json::to_vec(&built).expect("a JSON value can be written");
                (read::parts(&bytes).map_err(failed)?, false)
            }
        };
        refuse_chance(&path, &parts)?;
        let truncate_left = config.truncate_left.unwrap_or(parts.truncates_left);
        let of_file = std::mem::take(&mut parts.added_tokens);
        let mut inner = parts.tokenizer().map_err(failed)?;
        let added = AddedTokens { config: &config, class, of_file, is_made, vocab_size };
        added.add_to(&mut inner).map_err(failed)??;
        if is_made && let Some(around) = class.around(&config, |token| inner.token_to_id(token)) {
            inner.with_post_processor(Some(around));
        }
        inner.set_encode_special_tokens(config.split_special);
        if lower_case {
            lower_case_first(&mut inner).map_err(failed)?;
        }
        let affixes = Affixes::find(&inner, &config, class).map_err(failed)??;
        let num_special = affixes.before.len() + affixes.after.len();
        if shortest <= num_special {
            return Err(too_short(&path, shortest, num_special));
        }
        let direction = if truncate_left { TruncationDirection::Left } else { TruncationDirection::Right };
        let truncation = TruncationParams { max_length, direction, ..TruncationParams::default() };
        inner.with_truncation(Some(truncation)).map_err(failed)?;
        let num_cut = AtomicUsize::new(0);
        Ok(Tokenizer {
            path,
            inner,
            vocab_size,
            max_length,
            affixes,
            truncate_left,
            config,
            class,
            num_cut,
            whole: OnceLock::new(),
        })
    }

    /// The special tokens before and after every text.
    pub(crate) fn around(&self) -> [Vec<String>; 2] {
        let spelled = |ids: &[u32]| -> Vec<String> {
            ids.iter().map(|id| self.inner.id_to_token(*id).unwrap_or_else(|| format!("#{id}"))).collect()
        };
        [spelled(&self.affixes.before), spelled(&self.affixes.after)]
    }

    /// What decides about the tokens of a text, and where each comes from.
    pub(crate) fn settings(&self) -> Vec<(&'static str, Value, &'static str)> {
        let (config, class) = (&self.config, self.class);
        let file = "tokenizer_config.json";
        let mut list = vec![(
            "tokenizer",
            format!("{class:?}").into(),
            if config.class.is_some() { file } else { "config.json" },
        )];
        let mut add = |name, given: Option<bool>, usual: Option<bool>| {
            if let Some(value) = given.or(usual) {
                list.push((name, value.into(), if given.is_some() { file } else { DEFAULT }));
            }
        };
        let is_bert = class == Class::Bert;
        add("do_lower_case", config.lower_case.filter(|_| is_bert), is_bert.then_some(true));
        add("strip_accents", config.strip_accents.filter(|_| is_bert), None);
        add("tokenize_chinese_chars", config.split_chinese.filter(|_| is_bert), is_bert.then_some(true));
        add("add_prefix_space", config.prefix_space.filter(|_| !is_bert && class != Class::Backend), None);
        add("add_bos_token", config.add_bos, None);
        add("add_eos_token", config.add_eos, None);
        add("split_special_tokens", Some(config.split_special).filter(|split| *split), None);
        if self.truncate_left {
            let from = if config.truncate_left.is_some() { file } else { "tokenizer.json" };
            list.push(("truncation_side", "left".into(), from));
        }
        list
    }

    /// Where Python puts padding, by tokenizer_config.json. Here texts are not padded.
    pub(crate) fn padding_side(&self) -> Option<&str> {
        self.config.padding_side.as_deref()
    }

    /// The ids of a text, special tokens included. A long text is cut; the special tokens stay. There is at least one
    /// id: an empty text is refused if the model has no special tokens.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_to(text, self.max_length)
    }

    /// The same with at most `max_length` ids, where that is fewer.
    pub(crate) fn encode_to(&self, text: &str, max_length: usize) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|source| self.failed(source))?;
        let mut body = encoding.get_ids();
        let Affixes { before, after } = &self.affixes;
        let room = self.room(max_length);
        if let Some(excess) = body.len().checked_sub(room) {
            let is_cut = excess > 0 || !encoding.get_overflowing().is_empty();
            self.num_cut.fetch_add(usize::from(is_cut), Ordering::Relaxed);
            body = if self.truncate_left { &body[excess..] } else { &body[..room] };
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
        let encoding = self.inner.encode_fast((first, second), true);
        let encoding = encoding.map_err(|source| self.failed(source))?;
        let mut types = encoding.get_type_ids().to_vec();
        // Python leaves the types out where the class does not give them, and the model takes 0.
        if !self.class.gives_types(&self.config) {
            types.fill(0);
        }
        Ok((self.checked(encoding.get_ids().to_vec())?, types))
    }

    /// How many tokens at the beginning of a text belong to `prompt`, the special tokens before it included.
    pub(crate) fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        if prompt.is_empty() {
            return Ok(0);
        }
        Ok(self.beginning(prompt)?.len())
    }

    /// The ids that texts with this prompt before them begin with, special tokens included. The last of them may be
    /// others where a text goes on without a space.
    pub(crate) fn beginning(&self, prompt: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode(prompt)?;
        ids.truncate(ids.len() - self.affixes.after.len());
        Ok(ids)
    }

    /// How many texts were cut so far.
    pub(crate) fn num_cut(&self) -> usize {
        self.num_cut.load(Ordering::Relaxed)
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

/// Refuses a tokenizer that cuts texts into pieces at random.
fn refuse_chance(path: &Path, parts: &TokenizerFile) -> Result<()> {
    match &parts.model {
        Model::Whole(ModelWrapper::BPE(BPE { dropout: Some(dropout), .. })) if *dropout > 0.0 => {
            Err(Error::InvalidField {
                path: path.to_owned(),
                field: "model.dropout".to_owned(),
                found: dropout.to_string(),
                expected: "null: texts would be cut into pieces at random; write null into the file"
                    .to_owned(),
            })
        }
        _ => Ok(()),
    }
}

/// As `do_lower_case` of sentence-transformers: before all else that is done with a text.
fn lower_case_first(inner: &mut HuggingFace) -> tokenizers::Result<()> {
    let mut steps = vec![NormalizerWrapper::from(Lowercase)];
    steps.extend(inner.get_normalizer().cloned());
    inner.with_normalizer(Some(Sequence::new(steps)))?;
    Ok(())
}

impl Affixes {
    /// The special tokens that tokenizer.json puts around a text, changed as tokenizer_config.json asks.
    /// `add_bos_token` and `add_eos_token` overrule tokenizer.json, as in Python, where the tokenizer is rebuilt from
    /// them. If they are absent, they change nothing. The outer error is the library's.
    fn find(inner: &HuggingFace, config: &Config, class: Class) -> tokenizers::Result<Result<Affixes>> {
        let probe: Encoding = inner.encode_fast("a", true)?;
        let (ids, special) = (probe.get_ids(), probe.get_special_tokens_mask());
        let first = special.iter().position(|special| *special == 0).unwrap_or(ids.len());
        let last = special.iter().rposition(|special| *special == 0).map_or(ids.len(), |last| last + 1);
        let mut affixes = Affixes { before: ids[..first].to_vec(), after: ids[last..].to_vec() };

        let id_of = |field: &str, token: Option<&str>| {
            let id = token.and_then(|token| inner.token_to_id(token));
            id.ok_or_else(|| {
                let found = token.map_or_else(|| "absent".to_owned(), |token| format!("{token:?}"));
                config.invalid(field, found, "a token of tokenizer.json")
            })
        };
        match (config.add_bos, class.token(config, "bos_token")) {
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
        match (config.add_eos, class.token(config, "eos_token")) {
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
