//! How a model that is named without `--encoder` is loaded.

use std::path::Path;

use clap::Args;
use secateur::LoadOptions;
use secateur::encode::{Device, Precision, Quantization};

use super::encoder::{base_directory, kept_models, model_directory};
use super::failure::Result;

/// What differs from what a model's directory says.
#[derive(Args, Clone)]
#[command(next_help_heading = "How the model is loaded")]
pub struct ModelOptions {
    /// Cut what the model reads to this many tokens, special tokens included.
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,
    /// The model that an adapter is merged into [default: the one its adapter_config.json names].
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// How precisely linear layers are multiplied.
    /// [default: f32 on a CPU, and bf16 on a GPU, which can nothing else].
    #[arg(long)]
    precision: Option<Precision>,
    /// Where to compute: cpu, cuda:N for the GPU of that number, cuda:all for all GPUs, or auto for a GPU if there is
    /// one.
    #[arg(long, default_value_t)]
    device: Device,
    /// Tokens computed together, by each thread on a CPU: more need more memory and change no score.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    batch_tokens: Option<u32>,
    /// Keep linear layers in fewer bits.
    #[arg(long)]
    quantize: Option<Quantization>,
    /// Read the model's files as if they did not have this setting: KEY, or OUTER.KEY.
    #[arg(long, value_name = "KEY")]
    ignore_setting: Vec<String>,
    /// Refuse a model whose files leave open how texts are encoded, instead of assuming something.
    #[arg(long)]
    strict: bool,
}

impl ModelOptions {
    /// The options for a model that is given as a directory or as OWNER/NAME of the hub.
    pub fn load_options(&self, reference: &str) -> Result<LoadOptions> {
        Ok(LoadOptions {
            name: (!Path::new(reference).exists()).then(|| reference.to_owned()),
            max_length: self.max_length,
            base: base_directory(&model_directory(reference)?, self.base.as_deref(), &self.ignore_setting)?,
            precision: self.precision,
            device: self.device,
            batch_tokens: self.batch_tokens.map(|tokens| tokens as usize),
            quantize: self.quantize,
            ignore_settings: self.ignore_setting.clone(),
            strict: self.strict,
            cache: kept_models(),
            ..LoadOptions::default()
        })
    }
}
