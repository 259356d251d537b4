//! New models: random weights for a config.json, and a vocabulary learned from texts.

mod initialization;
mod vocabulary;

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::{Value, json};

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::json as json_file;
use crate::pooling::Pooling;
use crate::settings::{EncoderSettings, Similarity};
use crate::weights::model_files::ModelFiles;
use crate::weights::write::{Elements, NewTensor, write_directory};
use initialization::{Initializations, Smaller};

/// How a new model reads texts, and what its weights depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewModelOptions {
    /// How token vectors become one. Unless given: the last token for a causal model, the mean for others.
    pub pooling: Option<Pooling>,
    /// The most tokens of a text; further tokens are cut off. Unless given: as many as the configuration allows, at
    /// most 512.
    pub max_length: Option<usize>,
    /// Decides the weights.
    pub seed: u64,
    /// A smaller model of the same family to grow from. Its tensors are copied. Sub-layers that it does not have
    /// begin with output matrices of zero, so they add nothing at first. There is a second use. A decoder that pools
    /// the last token can grow from a model without layers that pools the mean of its embeddings. Then the first
    /// attention begins as an average of the embeddings.
    pub grow: Option<PathBuf>,
    /// Store numbers in 16 bits (f16) and not in 32. Training keeps to that, too.
    pub half: bool,
}

/// Writes a new model to the directory `out`: `config` is a config.json of any family that loads.
///
/// Weights begin as in transformers. Matrices and embeddings are normal with the configuration's `initializer_range`
/// (0.02 if it has none), biases are zero, and norms change nothing.
///
/// With `texts` a vocabulary of the configuration's size is learned from them: lower-cased byte pairs (Sennrich et
/// al. 2016), each text closed by `<eos>`. Without texts the tokenizer is that of the model to grow from, or the one
/// beside the config.json.
///
/// ```
/// use secateur_encoders::{NewModelOptions, Encoder, LoadOptions, TextKind, create_model};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let config = folder.path().join("config.json");
/// std::fs::write(&config, r#"{"model_type": "qwen3", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64,
///     "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
///     "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true}"#)?;
/// let texts = ["Roses are pruned in late winter.", "Rye is a grass, roses are not."];
/// let options = NewModelOptions { seed: 1, ..NewModelOptions::default() };
/// let out = folder.path().join("new");
/// create_model(&config, Some(&mut texts.into_iter().map(|text| Ok(text.to_owned()))), &options, &out)?;
/// let encoder = Encoder::load(&out, &LoadOptions::default())?;
/// assert_eq!(encoder.encode(&["Roses"], TextKind::Query)?.len(), 32);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `config` describes no model that loads. The model to grow from has another width or other tensor names, or is a
/// mean of embeddings that the first attention cannot compute. A text is an error. There is no text, or neither texts
/// nor a tokenizer. The vocabulary has no room for the 256 bytes. `out` exists or cannot be written.
pub fn create_model(
    config: &Path,
    texts: Option<&mut (dyn Iterator<Item = Result<String>> + Send)>,
    options: &NewModelOptions,
    out: &Path,
) -> Result<()> {
    let value: Value = json_file::read(config)?;
    let architecture = Architecture::from_config(config, &value)?;
    let beside = config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = options.grow.as_deref().unwrap_or(beside);
    let files = ModelFiles::locate(folder, None, &[])?;
    let most = architecture.max_tokens().unwrap_or(usize::MAX);
    let causal = architecture.attention.causal;
    let mut settings =
        EncoderSettings::plain(causal, options.max_length.unwrap_or(DEFAULT_MAX_LENGTH.min(most)));
    settings.similarity = Some(Similarity::Cosine);
    let pooling = options.pooling.unwrap_or(if causal { Pooling::LastToken } else { Pooling::Mean });
    settings.pooling = pooling.into();
    if !(1..=most).contains(&settings.max_length) {
        return Err(Error::InvalidSetting {
            setting: "max_length",
            found: settings.max_length as f64,
            expected: "1 to the configuration's max_position_embeddings",
        });
    }
    let mut others = settings.files(architecture.hidden_size);
    match texts {
        Some(texts) => {
            others.push(("tokenizer.json", vocabulary::learn(texts, architecture.vocab_size, config)?));
            others.push(("tokenizer_config.json", vocabulary::config(settings.max_length)));
        }
        None if files.has_tokenizer() => {}
        None => {
            return Err(Error::MissingFile {
                directory: folder.to_owned(),
                file: "tokenizer.json",
                advice: "put one beside config.json, or name texts to learn a vocabulary from",
            });
        }
    }
    let others: Vec<(&str, &Value)> = others.iter().map(|(name, value)| (*name, value)).collect();
    let (dtype, torch_dtype) = if options.half { (Dtype::F16, "float16") } else { (Dtype::F32, "float32") };
    let deviation = value["initializer_range"].as_f64().unwrap_or(DEFAULT_RANGE);
    let smaller = options.grow.as_deref().map(|folder| Smaller::open(folder, &files)).transpose()?;
    let initializations =
        &Initializations::new(&architecture, config, pooling, smaller, deviation, options.seed)?;
    let tensors = architecture.tensors().into_iter().map(|tensor| NewTensor {
        name: tensor.name.clone(),
        dtype,
        shape: tensor.shape.clone(),
        elements: Elements::Computed(Box::new(move || initializations.values(&tensor))),
    });
    let mut value = value;
    value["torch_dtype"] = json!(torch_dtype);
    write_directory(&files, &value, tensors.collect(), &others, out)
}

/// Unless the caller says otherwise: most passages are shorter, and attention grows with the square.
const DEFAULT_MAX_LENGTH: usize = 512;

/// What most families of transformers have for `initializer_range`.
const DEFAULT_RANGE: f64 = 0.02;
