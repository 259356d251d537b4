//! How a model directory wants texts to be encoded: pooling, prompts, maximum length, normalization.
//!
//! The files come from sentence-transformers: `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`,
//! `config_sentence_transformers.json`. A plain Hugging Face directory has none of them. Where two files state one
//! thing, the one counts that counts in sentence-transformers 6.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strum::Display;

use crate::after_pooling::AfterPooling;
use crate::architecture::{Architecture, Positions, unheeded_part};
use crate::error::{Error, Result};
use crate::json::of_value;
use crate::keys::check;
use crate::notice::Notice;
use crate::pooling::{Pooling, Poolings};
use crate::sentence_keys::{MODEL, MODULE, NORMALIZE, POOLING, TRANSFORMER};
use crate::text_kind::TextKind;
use crate::tokenize::{Reading, Tokenizer};
use crate::weights::model_files::{ModelFiles, Module, is_below};

/// How texts are encoded with a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Which hidden states make the vector.
    pub pooling: Poolings,
    /// What is done with the vector then, before it is cut or scaled.
    pub modules: Vec<AfterPooling>,
    /// Numbers of a vector beyond this many are cut off, before it is scaled (Matryoshka models).
    pub truncate_dim: Option<usize>,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Tokens of a text beyond this number, special tokens included, are cut off.
    pub max_length: usize,
    /// The same for queries, where they have a length of their own.
    pub query_length: Option<usize>,
    /// The same for passages.
    pub passage_length: Option<usize>,
    /// Put before every query.
    pub query_prompt: String,
    /// Put before every passage.
    pub passage_prompt: String,
    /// Whether the prompt's tokens count in the pooling.
    pub pool_prompt: bool,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub lower_case: bool,
    /// How the model's authors compare vectors, where they say so.
    pub similarity: Option<Similarity>,
}

/// What a directory is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Vectors of texts.
    Encode,
    /// Scores of pairs.
    Score,
}

/// The settings of a directory, and what they rest on.
pub(crate) struct Read {
    pub(crate) settings: Settings,
    /// The file that each setting comes from, by its name in [`Settings`].
    pub(crate) sources: BTreeMap<&'static str, String>,
    /// What was assumed.
    pub(crate) notices: Vec<Notice>,
}

/// How a model's authors compare vectors: `similarity_fn_name` of sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Similarity {
    /// The cosine of the angle between two vectors.
    Cosine,
    /// Their inner product.
    Dot,
    /// The length of their difference, negative.
    Euclidean,
    /// The sum of the differences of their numbers, negative.
    Manhattan,
}

/// 1_Pooling/config.json
#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default = "yes")]
    include_prompt: bool,
    #[serde(flatten)]
    modes: Map<String, Value>,
}

fn yes() -> bool {
    true
}

/// sentence_bert_config.json
#[derive(Default, Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
    query_length: Option<usize>,
    document_length: Option<usize>,
    transformer_task: Option<String>,
    modality_config: Option<Map<String, Value>>,
}

/// config_sentence_transformers.json
#[derive(Default, Deserialize)]
struct PromptConfig {
    prompts: Option<BTreeMap<String, Option<String>>>,
    default_prompt_name: Option<String>,
    similarity_fn_name: Option<String>,
    truncate_dim: Option<usize>,
}

/// tokenizer_config.json
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    /// A float where there is no limit: Python writes 1e30 then.
    #[serde(alias = "max_len")]
    model_max_length: Option<f64>,
}

/// Where neither the tokenizer nor the model sets a limit.
const DEFAULT_MAX_LENGTH: usize = 512;

/// What sentence_bert_config.json has been called, in the order in which they are looked for.
const TRANSFORMER_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

const PROMPTS_FILE: &str = "config_sentence_transformers.json";
const MODULES_FILE: &str = "modules.json";

impl Settings {
    /// Those of a bidirectional or a causal model of which nothing is said.
    pub(crate) fn plain(causal: bool, max_length: usize) -> Settings {
        Settings {
            pooling: if causal { Pooling::LastToken } else { Pooling::Mean }.into(),
            modules: Vec::new(),
            truncate_dim: None,
            normalize: true,
            max_length,
            query_length: None,
            passage_length: None,
            query_prompt: String::new(),
            passage_prompt: String::new(),
            pool_prompt: true,
            lower_case: false,
            similarity: None,
        }
    }

    /// The most tokens of a text of this kind.
    pub(crate) fn length_of(&self, kind: TextKind) -> usize {
        let own = match kind {
            TextKind::Query => self.query_length,
            TextKind::Passage => self.passage_length,
        };
        own.unwrap_or(self.max_length)
    }

    /// How the tokenizer of a model with so many rows in its embedding table reads texts.
    pub(crate) fn reading(&self, vocab_size: usize) -> Reading {
        let lengths = [TextKind::Query, TextKind::Passage].map(|kind| self.length_of(kind));
        Reading {
            max_length: self.longest(),
            shortest: lengths.into_iter().fold(self.max_length, usize::min),
            lower_case: self.lower_case,
            vocab_size,
        }
    }

    /// The most tokens of any text.
    pub(crate) fn longest(&self) -> usize {
        self.length_of(TextKind::Query).max(self.length_of(TextKind::Passage)).max(self.max_length)
    }

    /// Numbers of a vector before it is cut.
    pub(crate) fn whole_dim(&self, hidden_size: usize) -> usize {
        let pooled = self.pooling.iter().len() * hidden_size;
        self.modules.iter().fold(pooled, |dim, module| module.outputs(dim))
    }

    /// Numbers of a vector.
    pub(crate) fn dim(&self, hidden_size: usize) -> usize {
        let whole = self.whole_dim(hidden_size);
        self.truncate_dim.map_or(whole, |dim| dim.min(whole))
    }

    /// Tokens at the beginning of a query and of a passage that pooling leaves out, by the tokenizers of the two.
    pub(crate) fn skipped_tokens(&self, [queries, passages]: [&Tokenizer; 2]) -> Result<[usize; 2]> {
        if self.pool_prompt {
            return Ok([0, 0]);
        }
        Ok([queries.prompt_tokens(&self.query_prompt)?, passages.prompt_tokens(&self.passage_prompt)?])
    }

    /// The pooling of a model in training. Gradients go back through it, so it is a sum of tokens, and nothing but a
    /// scaling comes after it. `directory` is the model's.
    pub(crate) fn trained_pooling(&self, directory: &Path, architecture: &Architecture) -> Result<Pooling> {
        let refused = |found: String, expected: &str| Error::InvalidField {
            path: directory.to_owned(),
            field: "what is to be trained".to_owned(),
            found,
            expected: expected.to_owned(),
        };
        let pooling = self.pooling.single().filter(|pooling| *pooling != Pooling::Max);
        let pooling = pooling.ok_or_else(|| {
            refused(format!("a model that pools {}", self.pooling), "one pooling, other than max; name it")
        })?;
        if !self.modules.is_empty() {
            return Err(refused("a model with modules behind its pooling".to_owned(), "a Normalize alone"));
        }
        if let Some(same) = architecture.angles_same_until().filter(|same| self.longest() > *same) {
            let expected =
                format!("at most {same}, for longer texts have other rotary angles: give a maximum length");
            return Err(refused(format!("texts of {} tokens", self.longest()), &expected));
        }
        Ok(pooling)
    }

    /// The files that say this, by name, as sentence-transformers writes them. A model with modules behind its pooling
    /// keeps its own files.
    pub(crate) fn files(&self, hidden_size: usize) -> Vec<(&'static str, Value)> {
        let module = |number: usize, name: &str, path: &str| {
            json!({"idx": number, "name": number.to_string(), "path": path,
                "type": format!("sentence_transformers.models.{name}")})
        };
        let mut modules = vec![module(0, "Transformer", ""), module(1, "Pooling", "1_Pooling")];
        if self.normalize {
            modules.push(module(2, "Normalize", "2_Normalize"));
        }
        let mut pooling =
            json!({"word_embedding_dimension": hidden_size, "include_prompt": self.pool_prompt});
        for (name, mode) in LEGACY_MODES {
            let is_usual = !matches!(mode, Pooling::Max | Pooling::MeanSqrtLen);
            let is_on = self.pooling.iter().any(|pooling| pooling == mode);
            if is_usual || is_on {
                pooling[format!("pooling_mode_{name}")] = is_on.into();
            }
        }
        let mut sentence = json!({"max_seq_length": self.max_length, "do_lower_case": self.lower_case});
        for (key, length) in [("query_length", self.query_length), ("document_length", self.passage_length)] {
            if let Some(length) = length {
                sentence[key] = length.into();
            }
        }
        vec![
            (MODULES_FILE, modules.into()),
            ("1_Pooling/config.json", pooling),
            (TRANSFORMER_FILES[0], sentence),
            (
                PROMPTS_FILE,
                json!({
                    "prompts": {"query": self.query_prompt, "document": self.passage_prompt},
                    "default_prompt_name": null,
                    "similarity_fn_name": self.similarity,
                }),
            ),
        ]
    }
}

/// The keys `pooling_mode_...` in the order in which their vectors stand.
const LEGACY_MODES: [(&str, Pooling); 6] = [
    ("cls_token", Pooling::Cls),
    ("max_tokens", Pooling::Max),
    ("mean_tokens", Pooling::Mean),
    ("mean_sqrt_len_tokens", Pooling::MeanSqrtLen),
    ("weightedmean_tokens", Pooling::WeightedMean),
    ("lasttoken", Pooling::LastToken),
];

impl Read {
    /// Reads the settings of a model directory. Without `modules.json` a bidirectional model pools the mean over its
    /// tokens, and a causal model the last token. Vectors are then scaled to length 1. A notice says so.
    ///
    /// # Errors
    ///
    /// A file that is not JSON, a setting that is not known, a module or a pooling mode that is not known.
    pub(crate) fn of(files: &ModelFiles, architecture: &Architecture, purpose: Purpose) -> Result<Read> {
        let mut read = Read {
            settings: Settings::plain(architecture.attention.causal, DEFAULT_MAX_LENGTH),
            sources: BTreeMap::new(),
            notices: Vec::new(),
        };
        read.read_transformer(files, architecture, purpose)?;
        read.read_model(files)?;
        read.read_modules(files, architecture, purpose)?;
        let config = files.config()?;
        if let Some(part) = unheeded_part(&config) {
            let text = format!(
                "partial_rotary_factor is {part}, which transformers does not heed in models of this family: whole heads \
                 are rotated"
            );
            read.notices.push(Notice::new(files.config_path(), text));
        }
        Ok(read)
    }

    fn from(&mut self, setting: &'static str, file: impl Into<String>) {
        self.sources.insert(setting, file.into());
    }

    /// An object of a file, checked for settings that would be passed over.
    fn object(files: &ModelFiles, file: &str, keys: &crate::keys::Keys) -> Result<Option<Value>> {
        let Some(object) = files.json::<Map<String, Value>>(file)? else { return Ok(None) };
        check(&files.path(file), "", &object, &[keys])?;
        Ok(Some(Value::Object(object)))
    }

    fn read_transformer(
        &mut self,
        files: &ModelFiles,
        architecture: &Architecture,
        purpose: Purpose,
    ) -> Result<()> {
        let file =
            TRANSFORMER_FILES.into_iter().find(|file| files.contains(file)).unwrap_or(TRANSFORMER_FILES[0]);
        let path = files.path(file);
        let sentence: SentenceConfig = match Read::object(files, file, &TRANSFORMER)? {
            Some(value) => of_value(&path, value)?,
            None => SentenceConfig::default(),
        };
        let invalid = |field: &str, found: String, expected: String| Error::InvalidField {
            path: path.clone(),
            field: field.to_owned(),
            found,
            expected,
        };
        let (task, output) = match purpose {
            Purpose::Encode => ("feature-extraction", "last_hidden_state"),
            Purpose::Score => ("sequence-classification", "logits"),
        };
        if let Some(found) = sentence.transformer_task.filter(|found| found != task) {
            return Err(invalid("transformer_task", format!("{found:?}"), format!("{task:?}")));
        }
        if let Some(found) = sentence.modality_config {
            let text = json!({"method": "forward", "method_output_name": output});
            if found.get("text") != Some(&text) || found.contains_key("message") {
                let found = Value::Object(found).to_string();
                return Err(invalid(
                    "modality_config",
                    found,
                    format!("{}, texts as they are", json!({"text": text})),
                ));
            }
        }
        let tokenizer_file = "tokenizer_config.json";
        let tokenizer: TokenizerConfig = files.tokenizer().json(tokenizer_file)?.unwrap_or_default();
        let by_tokenizer =
            tokenizer.model_max_length.filter(|length| *length < 1e9).map(|length| length as usize);
        let positions = architecture.max_tokens();
        // sentence-transformers puts max_seq_length in the place of the tokenizer's length. It takes the positions only
        // where that is absent. A table has no more positions than rows.
        let (max_length, from) = match (sentence.max_seq_length, by_tokenizer, positions) {
            (Some(length), _, Some(positions))
                if matches!(architecture.positions, Positions::Learned { .. }) =>
            {
                (length.min(positions), if length <= positions { file } else { "config.json" })
            }
            (Some(length), ..) => (length, file),
            (None, Some(length), Some(positions)) if length > positions => (positions, "config.json"),
            (None, Some(length), _) => (length, tokenizer_file),
            (None, None, Some(positions)) => (positions, "config.json"),
            (None, None, None) => (DEFAULT_MAX_LENGTH, "assumed"),
        };
        for (field, length) in [
            ("max_seq_length", Some(max_length)),
            ("query_length", sentence.query_length),
            ("document_length", sentence.document_length),
        ] {
            if length == Some(0) {
                return Err(invalid(field, "0".to_owned(), "at least 1".to_owned()));
            }
        }
        let cut = |length: usize| match architecture.positions {
            Positions::Learned { .. } => length.min(positions.unwrap_or(length)),
            Positions::Rotary { .. } => length,
        };
        self.settings.max_length = max_length;
        self.from("max_length", from);
        for (setting, slot, length) in [
            ("query_length", &mut self.settings.query_length, sentence.query_length),
            ("passage_length", &mut self.settings.passage_length, sentence.document_length),
        ] {
            if let Some(length) = length {
                *slot = Some(cut(length));
                self.sources.insert(setting, file.to_owned());
            }
        }
        if let Some(lower_case) = sentence.do_lower_case {
            self.settings.lower_case = lower_case;
            self.from("lower_case", file);
        }
        Ok(())
    }

    fn read_model(&mut self, files: &ModelFiles) -> Result<()> {
        let Some(value) = Read::object(files, PROMPTS_FILE, &MODEL)? else { return Ok(()) };
        let path = files.path(PROMPTS_FILE);
        let config: PromptConfig = of_value(&path, value)?;
        let prompts = config.prompts.unwrap_or_default();
        // `encode_query` and `encode_document` take these two, be they empty or absent, and no other.
        let prompt = |name: &str| prompts.get(name).cloned().flatten();
        for (setting, slot, name) in [
            ("query_prompt", &mut self.settings.query_prompt, "query"),
            ("passage_prompt", &mut self.settings.passage_prompt, "document"),
        ] {
            if let Some(prompt) = prompt(name) {
                *slot = prompt;
                self.sources.insert(setting, PROMPTS_FILE.to_owned());
            }
        }
        let is_silent = |name: &str| prompt(name).unwrap_or_default().is_empty();
        if is_silent("document") {
            let unheeded = ["passage", "corpus"].into_iter().find(|name| !is_silent(name));
            if let Some(name) = unheeded {
                let text = format!(
                    "prompts.{name} is {:?}, but sentence-transformers puts prompts.document before documents, which is \
                     empty: nothing is put before them; say --passage-prompt to put something",
                    prompt(name).unwrap_or_default()
                );
                self.notices.push(Notice::new(&path, text));
            }
        }
        if let Some(name) =
            config.default_prompt_name.filter(|name| !["query", "document"].contains(&name.as_str()))
            && !is_silent(&name)
        {
            let text = format!(
                "default_prompt_name is {name:?}, which sentence-transformers puts before texts that are neither queries \
                 nor documents: nothing is put before these; say --query-prompt or --passage-prompt to put something"
            );
            self.notices.push(Notice::new(&path, text));
        }
        if let Some(name) = config.similarity_fn_name {
            self.from("similarity", PROMPTS_FILE);
            self.settings.similarity = serde_json::from_value(Value::String(name.clone())).ok();
            if matches!(self.settings.similarity, None | Some(Similarity::Manhattan)) {
                let text = format!(
                    "similarity_fn_name is {name:?}, by which nothing is searched here: cosine is assumed"
                );
                self.notices.push(Notice::new(&path, text));
            }
        }
        if let Some(dim) = config.truncate_dim {
            self.settings.truncate_dim = Some(dim);
            self.from("truncate_dim", PROMPTS_FILE);
        }
        Ok(())
    }

    fn read_modules(
        &mut self,
        files: &ModelFiles,
        architecture: &Architecture,
        purpose: Purpose,
    ) -> Result<()> {
        let Some(entries) = files.json::<Vec<Value>>(MODULES_FILE)? else {
            if purpose == Purpose::Encode {
                self.from("pooling", "assumed");
                self.from("normalize", "assumed");
                let text = format!(
                    "is not there, so nothing says how token vectors become one: {} pooling and vectors of length 1 are \
                     assumed; say --pooling, or fetch the files of sentence-transformers",
                    self.settings.pooling
                );
                self.notices.push(Notice::new(files.path(MODULES_FILE), text));
            }
            return Ok(());
        };
        let path = files.path(MODULES_FILE);
        let mut modules = Vec::new();
        for (number, entry) in entries.into_iter().enumerate() {
            if let Some(object) = entry.as_object() {
                check(&path, &number.to_string(), object, &[&MODULE])?;
            }
            modules.push(of_value::<Module>(&path, entry)?);
        }
        self.settings.normalize = false;
        self.from("normalize", MODULES_FILE);
        let unknown = |module: &Module, expected: &str| Error::InvalidField {
            path: path.clone(),
            field: "type".to_owned(),
            found: format!("{:?} at {:?}", module.r#type, module.path),
            expected: expected.to_owned(),
        };
        let mut pooled = false;
        for (number, module) in modules.iter().enumerate() {
            let transformer_folder = files.transformer_folder().unwrap_or_default();
            let hidden_size = architecture.hidden_size;
            if !is_below(module.folder()) {
                return Err(unknown(module, "a folder of the model's own directory"));
            }
            match module.name() {
                _ if module.is_transformer() => {
                    if number != 0 || module.folder() != transformer_folder {
                        return Err(unknown(
                            module,
                            "one transformer, as the first module, in a folder of its own or none",
                        ));
                    }
                }
                // What it drops it drops in training.
                "Dropout" => {}
                "Pooling" if !pooled && purpose == Purpose::Encode => {
                    self.read_pooling(files, module)?;
                    pooled = true;
                }
                "Normalize" if pooled => {
                    Read::object(files, &format!("{}/config.json", module.folder()), &NORMALIZE)?;
                    if self.settings.normalize {
                        self.settings.modules.push(AfterPooling::Normalize);
                    }
                    self.settings.normalize = true;
                }
                "Dense" | "LayerNorm" if pooled => {
                    if self.settings.normalize {
                        self.settings.modules.push(AfterPooling::Normalize);
                        self.settings.normalize = false;
                    }
                    let dim = self.settings.whole_dim(hidden_size);
                    let read = AfterPooling::read(files, module, dim)?;
                    self.settings.modules.push(read);
                    self.from("modules", MODULES_FILE);
                }
                _ => {
                    let expected =
                        "a Transformer, then a Pooling, then any of Dense, LayerNorm, Dropout and Normalize";
                    return Err(unknown(module, expected));
                }
            }
        }
        if !pooled && purpose == Purpose::Encode {
            self.from("pooling", "assumed");
            let text = format!("names no Pooling: {} pooling is assumed", self.settings.pooling);
            self.notices.push(Notice::new(&path, text));
        }
        if self.settings.similarity.is_none()
            && !self.settings.normalize
            && !self.sources.contains_key("similarity")
        {
            let text = "says no similarity_fn_name, and vectors have lengths of their own: cosine is assumed";
            self.notices.push(Notice::new(files.path(PROMPTS_FILE), text));
        }
        Ok(())
    }

    fn read_pooling(&mut self, files: &ModelFiles, module: &Module) -> Result<()> {
        let file = format!("{}/config.json", module.folder());
        let path = files.path(&file);
        let object: Map<String, Value> = files.required_json(&file)?;
        check(&path, "", &object, &[&POOLING])?;
        let PoolingConfig { include_prompt, modes } = of_value(&path, Value::Object(object))?;
        let is_on = |key: &str| modes.get(&format!("pooling_mode_{key}")) == Some(&Value::Bool(true));
        let named = |name: &str| match name {
            "cls" => Some(Pooling::Cls),
            "max" => Some(Pooling::Max),
            "mean" => Some(Pooling::Mean),
            "mean_sqrt_len_tokens" => Some(Pooling::MeanSqrtLen),
            "weightedmean" => Some(Pooling::WeightedMean),
            "lasttoken" => Some(Pooling::LastToken),
            _ => None,
        };
        // Newer versions write one `pooling_mode`, a name or several in their order. Then they do not read the others.
        let found = modes.get("pooling_mode");
        let poolings = match found {
            Some(Value::String(name)) => named(name).map(|pooling| vec![pooling]),
            Some(Value::Array(names)) => names.iter().map(|name| named(name.as_str()?)).collect(),
            Some(_) => None,
            None => {
                let on: Vec<Pooling> =
                    LEGACY_MODES.iter().filter(|(key, _)| is_on(key)).map(|(_, pooling)| *pooling).collect();
                Some(if on.is_empty() { vec![Pooling::Mean] } else { on })
            }
        };
        self.settings.pooling = poolings.and_then(Poolings::new).ok_or_else(|| Error::InvalidField {
            path,
            field: "pooling_mode".to_owned(),
            found: found.map(Value::to_string).unwrap_or_default(),
            expected: "cls, max, mean, mean_sqrt_len_tokens, weightedmean or lasttoken, or a list of them"
                .to_owned(),
        })?;
        self.settings.pool_prompt = include_prompt;
        self.from("pooling", file.clone());
        self.from("pool_prompt", file);
        Ok(())
    }
}
