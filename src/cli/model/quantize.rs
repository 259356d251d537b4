//! `secateur model quantize`: a model directory with its linear layers in 8 or 4 bits.

use std::path::PathBuf;

use clap::Args;
use secateur::encoders::{QuantizedFormat, write_quantized};

use crate::cli::encoder::{base_directory, model_directory};
use crate::cli::failure::Result;

#[derive(Args)]
#[command(after_help = "\
Examples:
  secateur model quantize .models/all-MiniLM-L6-v2 --format int8 --out minilm-int8
  secateur model quantize .models/all-MiniLM-L6-v2 --out minilm-nf4")]
pub struct Arguments {
    /// A model directory, that of an adapter, which is merged first, or OWNER/NAME of the hub.
    model: String,
    /// The model directory to write. It must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The model that an adapter goes with [default: the one its adapter_config.json names].
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// How linear layers are stored.
    #[arg(long, default_value_t)]
    format: QuantizedFormat,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let model = model_directory(&self.model)?;
        let base = base_directory(&model, self.base.as_deref(), &[])?;
        write_quantized(&model, base.as_deref(), self.format, &self.out)?;
        Ok(format!("{}: {} in {}\n", self.out.display(), self.model, self.format))
    }
}
