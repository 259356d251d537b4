//! A model with two of every four weights zero, to compare with.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use secateur_encoders::Encoder;
use secateur_encoders::prune::{Calibration, CalibrationFormat, SparseMethod};
use serde::{Deserialize, Serialize};

use super::{ReadingOptions, open_model, passages};
use crate::error::Result;
use crate::options::positive;
use crate::progress::Progress;

/// How weights are chosen. The options of `secateur prune sparsify` are these.
#[derive(clap::Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SparsifyOptions {
    /// How weights are chosen.
    #[arg(long, value_enum)]
    pub method: SparseMethod,
    /// Texts that the model reads: a file of one text a line, JSON lines with `text`, or a data set.
    #[arg(long, value_name = "TEXTS")]
    pub calibration: PathBuf,
    /// The most texts (or blocks, if they are packed) that are read.
    #[arg(long, alias = "blocks", value_name = "N", default_value = "128", value_parser = positive)]
    pub calibration_blocks: NonZeroUsize,
    /// Tokens of a block [default: 2,048, or as many as the model takes].
    #[arg(long, value_name = "T", value_parser = positive)]
    pub block_length: Option<NonZeroUsize>,
    /// How texts become sequences.
    #[arg(long, alias = "format", value_enum, default_value_t = CalibrationFormat::Texts)]
    pub calibration_format: CalibrationFormat,
    /// How the model's files are read.
    #[command(flatten)]
    #[serde(flatten)]
    pub reading: ReadingOptions,
}

impl SparsifyOptions {
    /// Writes the model of a directory with two of every four weights of its linear layers zero to the new directory
    /// `out`. Returns what the model is called.
    ///
    /// # Errors
    ///
    /// `out` exists; the texts have a fault or are too few; a layer's inputs are no multiple of four.
    pub fn run(
        &self,
        model: impl AsRef<Path>,
        out: impl AsRef<Path>,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<String> {
        let model = model.as_ref();
        let out = out.as_ref();
        let opened = open_model(model, &self.reading, out)?;
        let calibration = Calibration {
            format: self.calibration_format,
            max_sequences: self.calibration_blocks.get(),
            block_length: self.block_length.map(NonZeroUsize::get),
        };
        let layers = opened.architecture().layers.len() as u64;
        on(Progress::Begins { what: "sparsifying", unit: "layer", total: &|| Some(layers) });
        let encoder = Encoder::load(model, &self.reading.load_options())?;
        let texts = passages(&self.calibration)?;
        let done = |done| on(Progress::Done(done));
        opened.write_sparse(&encoder, texts, &calibration, self.method, out, done)?;
        Ok(opened.name())
    }
}
