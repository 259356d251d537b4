//! `secateur prune compact`: masked neurons are removed.

use std::path::PathBuf;

use clap::Args;
use secateur::prune::{ModelDirectory, NeuronMask};

use super::slim::table;
use crate::cli::encoder::model_directory;
use crate::cli::failure::Result;
use crate::cli::number::grouped;

#[derive(Args)]
pub struct Arguments {
    /// A directory that `prune slim` wrote, or with --mask any model.
    model: String,
    /// The mask; the model directory's own neuron_mask.json unless given.
    #[arg(long, value_name = "FILE.json")]
    mask: Option<PathBuf>,
    /// The model directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let model = ModelDirectory::open(&model_directory(&self.model)?)?;
        let mask = match &self.mask {
            Some(file) => {
                let mask = NeuronMask::read(file)?;
                mask.check(file, model.architecture())?;
                mask
            }
            None => model.mask()?.1,
        };
        model.write_compacted(&mask, &self.out)?;
        let compacted = ModelDirectory::open(&self.out)?;
        let [before, after] = [&model, &compacted].map(|model| model.architecture().parameters().total());
        Ok(format!(
            "{}: {} without its masked neurons\nparameters: {} before, {} after ({:.1} %)\n\n{}",
            self.out.display(),
            model.name(),
            grouped(before),
            grouped(after),
            100.0 * after as f64 / before as f64,
            table(&mask),
        ))
    }
}
