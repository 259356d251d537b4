//! Which encoder a command uses: from the command line, or from what a database says of itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use secateur::{
    DEFAULT_ENCODER, Database, Device, Encoder, LoadOptions, Metric, Pooling, Precision, Quantization,
    default_encoder, default_encoder_version, write_default_encoder,
};

use super::failure::{Code, Failure, Result};
use super::inputs::cache;
use crate::download::{Fetcher, HubConfig, resolve_model};

/// The notes of a database that say how to load its encoder again.
mod note {
    pub const REFERENCE: &str = "encoder";
    pub const MAX_LENGTH: &str = "max_length";
    pub const POOLING: &str = "pooling";
    pub const QUERY_PROMPT: &str = "query_prompt";
    pub const PASSAGE_PROMPT: &str = "passage_prompt";
    pub const TRUNCATE_DIM: &str = "truncate_dim";
    pub const PRECISION: &str = "precision";
    pub const BASE: &str = "base";
    pub const QUANTIZE: &str = "quantize";
}

/// An encoder and what differs from what its directory says.
#[derive(Args, Clone, Default)]
pub struct EncoderArguments {
    /// A model directory, OWNER/NAME of the Hugging Face hub, or `default`, the encoder in the box.
    #[arg(long, value_name = "MODEL")]
    pub encoder: Option<String>,
    /// Cut texts to this many tokens, special tokens included.
    #[arg(long, value_name = "TOKENS", requires = "encoder")]
    pub max_length: Option<usize>,
    /// How token vectors become one: cls, mean, weighted-mean or last-token.
    #[arg(long, requires = "encoder")]
    pub pooling: Option<Pooling>,
    /// Text to put before every query.
    #[arg(long, value_name = "TEXT", requires = "encoder")]
    pub query_prompt: Option<String>,
    /// Text to put before every passage.
    #[arg(long, value_name = "TEXT", requires = "encoder")]
    pub passage_prompt: Option<String>,
    /// Cut vectors to this many numbers; only for models that were trained for it.
    #[arg(long, value_name = "DIM", requires = "encoder")]
    pub truncate_dim: Option<usize>,
    /// The model that an adapter is merged into; the one its adapter_config.json names unless given.
    #[arg(long, value_name = "MODEL", requires = "encoder")]
    pub base: Option<String>,
    /// How precisely linear layers are multiplied: f32, or bf16, which is fast on GPUs and on processors with bf16
    /// products. Vectors of the two do not mix in one database.
    #[arg(long, default_value_t, hide_default_value = true, requires = "encoder")]
    pub precision: Precision,
    /// Where to compute: cpu, cuda or cuda:N. A GPU needs a build with `--features cuda`.
    #[arg(long, default_value_t, hide_default_value = true)]
    pub device: Device,
    /// Tokens computed together, by each thread on a CPU. Bounds the memory of the activations; changes no vector.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_tokens: Option<u32>,
    /// Keep linear layers in fewer bits: nf4 (4-bit NormalFloat with double quantization, as bitsandbytes).
    #[arg(long, value_name = "NF4", requires = "encoder")]
    pub quantize: Option<Quantization>,
}

impl EncoderArguments {
    /// Loads the encoder, if one is named.
    pub fn load(&self) -> Result<Option<Arc<Encoder>>> {
        let Some(reference) = &self.encoder else { return Ok(None) };
        let options = LoadOptions {
            name: (reference == DEFAULT_ENCODER || !Path::new(reference).exists()).then(|| reference.clone()),
            pooling: self.pooling,
            max_length: self.max_length,
            query_prompt: self.query_prompt.clone(),
            passage_prompt: self.passage_prompt.clone(),
            truncate_dim: self.truncate_dim,
            base: self.base.as_deref().map(model_directory).transpose()?,
            precision: self.precision,
            device: self.device,
            batch_tokens: self.batch_tokens.map(|tokens| tokens as usize),
            quantize: self.quantize,
        };
        let encoder = match reference == DEFAULT_ENCODER {
            true => default_encoder(&options)?,
            false => Encoder::load(&model_directory(reference)?, &options)?,
        };
        Ok(Some(Arc::new(encoder)))
    }

    /// What a database has to remember so that [`open_database`] can load the encoder again.
    pub fn notes(&self) -> Vec<(String, String)> {
        let absolute = |reference: &String| match Path::new(reference).canonicalize() {
            Ok(path) if reference != DEFAULT_ENCODER => path.display().to_string(),
            _ => reference.clone(),
        };
        [
            (note::REFERENCE, self.encoder.as_ref().map(absolute)),
            (note::MAX_LENGTH, self.max_length.map(|length| length.to_string())),
            (note::POOLING, self.pooling.map(|pooling| pooling.to_string())),
            (note::QUERY_PROMPT, self.query_prompt.clone()),
            (note::PASSAGE_PROMPT, self.passage_prompt.clone()),
            (note::TRUNCATE_DIM, self.truncate_dim.map(|dim| dim.to_string())),
            (note::PRECISION, Some(self.precision.to_string())),
            (note::BASE, self.base.as_ref().map(absolute)),
            (note::QUANTIZE, self.quantize.map(|quantization| quantization.to_string())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }

    /// These arguments, and the database's notes where they say nothing.
    fn or_notes(&self, database: &Database) -> EncoderArguments {
        let text =
            |given: &Option<String>, key| given.clone().or_else(|| database.note(key).map(str::to_owned));
        EncoderArguments {
            encoder: text(&self.encoder, note::REFERENCE),
            max_length: self.max_length.or_else(|| database.note(note::MAX_LENGTH)?.parse().ok()),
            pooling: self.pooling.or_else(|| database.note(note::POOLING)?.parse().ok()),
            query_prompt: text(&self.query_prompt, note::QUERY_PROMPT),
            passage_prompt: text(&self.passage_prompt, note::PASSAGE_PROMPT),
            truncate_dim: self.truncate_dim.or_else(|| database.note(note::TRUNCATE_DIM)?.parse().ok()),
            // A base goes with its adapter: the noted one does not with another encoder.
            base: match self.encoder {
                Some(_) => self.base.clone(),
                None => text(&self.base, note::BASE),
            },
            precision: match self.encoder {
                Some(_) => self.precision,
                None => database.note(note::PRECISION).and_then(|name| name.parse().ok()).unwrap_or_default(),
            },
            device: self.device,
            batch_tokens: self.batch_tokens,
            quantize: self.quantize.or_else(|| database.note(note::QUANTIZE)?.parse().ok()),
        }
    }
}

/// How an encoder's vectors are compared, as its authors say it.
pub fn metric_of(encoder: &Encoder) -> Metric {
    secateur::measure::metric_of(encoder.settings().similarity)
}

/// Opens a database with its encoder, if the command needs one: the one given, or the one its vectors were made with, those of
/// the generation that is named or in use.
pub fn open_database(
    path: &Path,
    generation: Option<&str>,
    arguments: &EncoderArguments,
    needs_encoder: bool,
) -> Result<Database> {
    let open = |encoder| match generation {
        Some(name) => Database::open_generation(path, name, encoder),
        None => Database::open(path, encoder),
    };
    let database = open(None)?;
    if database.dim().is_none() && arguments.encoder.is_none() || !needs_encoder {
        return Ok(database);
    }
    let encoder = arguments.or_notes(&database).load().map_err(|failure| match &arguments.encoder {
        Some(_) => failure,
        None => Failure {
            message: format!(
                "the encoder that {} was made with does not load: {}; \
                 say where it is with --encoder, or search by words with --mode bm25",
                path.display(),
                failure.message
            ),
            ..failure
        },
    })?;
    Ok(open(encoder)?)
}

/// The model directory that a reference stands for, downloaded or unpacked if need be.
pub fn model_directory(reference: &str) -> Result<PathBuf> {
    if reference == DEFAULT_ENCODER {
        let directory =
            cache()?.join("models").join(format!("{DEFAULT_ENCODER}-{}", default_encoder_version()));
        write_default_encoder(&directory)?;
        return Ok(directory);
    }
    let path = PathBuf::from(reference);
    if path.exists() {
        return Ok(path);
    }
    // A path that is not there is more likely a slip than a model of the hub.
    if reference.starts_with(['.', '/', '~']) || reference.matches('/').count() != 1 {
        let message =
            format!("there is no model directory {reference}; give a directory, or OWNER/NAME of the hub");
        return Err(Failure::new(Code::Input, message));
    }
    let config = HubConfig::from_env(|name| std::env::var(name).ok())?;
    let bar = indicatif::ProgressBar::no_length();
    let directory = resolve_model(reference, &config, &Fetcher::default(), &mut |file, progress| {
        bar.set_message(file.to_owned());
        super::progress::show_download(&bar, progress);
    })?;
    bar.finish_and_clear();
    Ok(directory)
}

/// The directory of a model of the hub, if all of it is in the cache.
pub fn cached_model(id: &str) -> Option<PathBuf> {
    let config = HubConfig::from_env(|name| std::env::var(name).ok()).ok()?;
    let offline = HubConfig { offline: true, ..config };
    resolve_model(id, &offline, &Fetcher::default(), &mut |_, _| ()).ok()
}
