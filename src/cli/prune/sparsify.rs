//! `secateur prune sparsify`: two of every four weights zero, to compare with.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secateur::prune::SparseMethod;
use secateur::{Encoder, LoadOptions};

use super::calibration::{Format, passages, positive};
use super::open_model;
use crate::cli::failure::Result;
use crate::cli::progress::Progress;

#[derive(Args)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// How weights are chosen.
    #[arg(long, value_enum)]
    method: Method,
    /// Texts that the model reads: a file of one text a line, JSON lines with `text`, a BEIR folder, or the name of a
    /// downloaded data set.
    #[arg(long, value_name = "TEXTS")]
    calibration: PathBuf,
    /// Each text as the encoder reads it, or packed blocks, as language models are calibrated.
    #[arg(long, value_enum, default_value_t = Format::Texts)]
    format: Format,
    /// The most texts (or blocks, if they are packed) that are read.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = positive)]
    blocks: usize,
    /// Tokens of a block; 2,048, or as many as the model takes, unless given.
    #[arg(long, value_name = "T", value_parser = positive)]
    block_length: Option<usize>,
    /// The model directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    /// By size times the norm of what they read (Sun et al. 2024).
    Wanda,
    /// By the loss that remains when the others make up for them (Frantar & Alistarh 2023).
    Sparsegpt,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let (path, model) = open_model(&self.model, &self.out)?;
        let method = match self.method {
            Method::Wanda => SparseMethod::Wanda,
            Method::Sparsegpt => SparseMethod::SparseGpt,
        };
        let calibration = self.format.calibration(self.blocks, self.block_length);
        let layers = model.architecture().layers.len() as u64;
        let progress = Progress::start("sparsifying", "layers", || Ok::<_, secateur::Error>(layers))?;
        let encoder = Encoder::load(&path, &LoadOptions::default())?;
        let texts = passages(&self.calibration)?;
        model.write_sparse(&encoder, texts, &calibration, method, &self.out, |done| progress.set(done))?;
        progress.finish();
        Ok(format!(
            "{}: {} with 2 of every 4 weights of its linear layers zero\n\
             The files are as large as before, and dense products take as long.\n",
            self.out.display(),
            model.name(),
        ))
    }
}
