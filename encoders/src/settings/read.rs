//! The settings that the files of a model directory have.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{EncoderSettings, LEGACY_MODES, Purpose, Similarity};
use crate::after_pooling::AfterPooling;
use crate::architecture::{Architecture, Positions, unheeded_part};
use crate::error::{Error, Result};
use crate::json::of_value;
use crate::keys::check;
use crate::notice::Notice;
use crate::pooling::{Pooling, Poolings};
use crate::sentence_keys::{MODEL, MODULE, NORMALIZE, POOLING, TRANSFORMER};
use crate::weights::model_files::{
    MODULES_FILE, ModelFiles, Module, PROMPTS_FILE, TRANSFORMER_FILES, is_below,
};
/// The settings of a directory, and what they rest on.
pub(crate) struct Read {
    pub(crate) settings: EncoderSettings,
    /// The file that each setting comes from, by its name in [`EncoderSettings`].
    pub(crate) sources: BTreeMap<&'static str, String>,
    /// What was assumed.
    pub(crate) notices: Vec<Notice>,
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
    dense_weight: Option<f64>,
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

impl Read {
    /// Reads the settings of a model directory. Without `modules.json` a bidirectional model pools the mean over its
    /// tokens, and a causal model the last token. Vectors are then scaled to length 1. A notice says so.
    ///
    /// # Errors
    ///
    /// A file that is not JSON, a setting that is not known, a module or a pooling mode that is not known.
    pub(crate) fn of(files: &ModelFiles, architecture: &Architecture, purpose: Purpose) -> Result<Read> {
        let mut read = Read {
            settings: EncoderSettings::plain(architecture.attention.causal, DEFAULT_MAX_LENGTH),
            sources: BTreeMap::new(),
            notices: Vec::new(),
        };
        read.read_transformer(files, architecture, purpose)?;
        read.read_model(files, purpose)?;
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

    fn read_model(&mut self, files: &ModelFiles, purpose: Purpose) -> Result<()> {
        let Some(value) = Read::object(files, PROMPTS_FILE, &MODEL)? else { return Ok(()) };
        let path = files.path(PROMPTS_FILE);
        let config: PromptConfig = of_value(&path, value)?;
        let prompts = config.prompts.unwrap_or_default();
        let prompt = |name: &str| prompts.get(name).cloned().flatten();
        if purpose == Purpose::Score {
            // `predict` puts the default prompt before the first text of a pair, and no other.
            if let Some(prompt) = config.default_prompt_name.and_then(|name| prompt(&name)) {
                self.settings.query_prompt = prompt;
                self.from("query_prompt", PROMPTS_FILE);
            }
            return Ok(());
        }
        // `encode_query` and `encode_document` take these two, be they empty or absent, and no other.
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
        if let Some(weight) = config.dense_weight {
            // JSON has no NaN and no infinity.
            if weight < 0.0 {
                return Err(Error::InvalidField {
                    path,
                    field: "dense_weight".to_owned(),
                    found: weight.to_string(),
                    expected: "a number, at least 0".to_owned(),
                });
            }
            self.settings.dense_weight = Some(weight);
            self.from("dense_weight", PROMPTS_FILE);
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
        if purpose == Purpose::Encode
            && self.settings.similarity.is_none()
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
