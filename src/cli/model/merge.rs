//! `secateur model merge`: an adapter and its base become one model directory.

use std::path::PathBuf;

use clap::Args;
use secateur::encoders::write_merged;

use crate::cli::encoder::{base_directory, model_directory};
use crate::cli::failure::Result;

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur model merge run/model --out merged")]
pub struct Arguments {
    /// The adapter: a directory of PEFT's format, or OWNER/NAME of the hub.
    adapter: String,
    /// The model directory to write. It must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The model that the adapter goes with [default: the one its adapter_config.json names].
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let adapter = model_directory(&self.adapter)?;
        let base = base_directory(&adapter, self.base.as_deref(), &[])?;
        write_merged(&adapter, base.as_deref(), &self.out)?;
        Ok(format!("{}: {} merged into its base\n", self.out.display(), self.adapter))
    }
}
