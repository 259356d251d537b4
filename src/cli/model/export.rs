//! `secateur model export`: a model directory that other programs read.

use std::path::PathBuf;

use clap::Args;
use secateur::encoders::{ExportFormat, ExportOptions, write_exported};

use crate::cli::encoder::{base_directory, model_directory};
use crate::cli::failure::Result;

#[derive(Args)]
#[command(after_help = "\
Examples:
  secateur model export small --to sentence-transformers --pad --out stock
  secateur model export small-mistral --to nemotron-nas --out for-vllm")]
pub struct Arguments {
    /// A model directory, that of an adapter, which is merged first, or OWNER/NAME of the hub.
    model: String,
    /// Who is to read it.
    #[arg(long, value_name = "FORMAT")]
    to: ExportFormat,
    /// The model directory to write. It must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Fill layers up with zeros until all are alike: for transformers and sentence-transformers.
    #[arg(long)]
    pad: bool,
    /// The model that an adapter goes with [default: the one its adapter_config.json names].
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Read the model's files as if they did not have this setting: KEY, or OUTER.KEY.
    #[arg(long, value_name = "KEY")]
    ignore_setting: Vec<String>,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let model = model_directory(&self.model)?;
        let options = ExportOptions {
            pad: self.pad,
            base: base_directory(&model, self.base.as_deref(), &self.ignore_setting)?,
            ignore_settings: self.ignore_setting,
        };
        let exported = write_exported(&model, self.to, &options, &self.out)?;
        let out = self.out.display();
        let mut said = format!("{out}: {} for {}\n{exported}\n", self.model, self.to);
        if self.to == ExportFormat::NemotronNas {
            said += &format!("next: vllm serve {out} --runner pooling --trust-remote-code\n");
        }
        Ok(said)
    }
}
