//! Which cross-encoder a command uses.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur::{CrossEncoder, Device, LoadOptions, Precision, Quantization};

use super::encoder::model_directory;
use super::failure::{Code, Failure, Result};

/// A cross-encoder and what differs from what its directory says.
#[derive(Args)]
pub struct CrossEncoderArguments {
    /// A cross-encoder: a model directory, or OWNER/NAME of the Hugging Face hub, such as BAAI/bge-reranker-base.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// Cut pairs to this many tokens, special tokens included.
    #[arg(long, value_name = "TOKENS")]
    pub max_length: Option<usize>,
    /// The model that an adapter is merged into; the one its adapter_config.json names unless given.
    #[arg(long, value_name = "MODEL")]
    pub base: Option<String>,
    /// How precisely linear layers are multiplied: f32 or bf16.
    #[arg(long, default_value_t, hide_default_value = true)]
    pub precision: Precision,
    /// Where to compute: cpu, cuda or cuda:N. A GPU needs a build with `--features cuda`.
    #[arg(long, default_value_t, hide_default_value = true)]
    pub device: Device,
    /// Tokens computed together, by each thread on a CPU. Bounds the memory of the activations; changes no score.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_tokens: Option<u32>,
    /// Keep linear layers in fewer bits: nf4.
    #[arg(long, value_name = "NF4")]
    pub quantize: Option<Quantization>,
}

impl CrossEncoderArguments {
    /// Loads it.
    pub fn load(&self) -> Result<CrossEncoder> {
        let options = LoadOptions {
            name: (!Path::new(&self.model).exists()).then(|| self.model.clone()),
            max_length: self.max_length,
            base: self.base.as_deref().map(model_directory).transpose()?,
            precision: self.precision,
            device: self.device,
            batch_tokens: self.batch_tokens.map(|tokens| tokens as usize),
            quantize: self.quantize,
            ..LoadOptions::default()
        };
        let directory: PathBuf = model_directory(&self.model)?;
        if !CrossEncoder::is_in(&directory, &options)? {
            let message = format!(
                "{} is no cross-encoder: its config.json names no class ...ForSequenceClassification; \
                 an encoder ranks with `secateur eval --run`",
                directory.display()
            );
            return Err(Failure::new(Code::Input, message));
        }
        Ok(CrossEncoder::load(&directory, &options)?)
    }
}
