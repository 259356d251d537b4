//! A model without its masked neurons.

use std::path::Path;

use secateur_encoders::prune::{ModelDirectory, NeuronMask};

use super::ReadingOptions;
use crate::error::Result;

/// What was narrowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Narrowed {
    /// What the model is called that neurons were taken from.
    pub model: String,
    /// The neurons.
    pub mask: NeuronMask,
    /// Parameters before and after.
    pub parameters: [usize; 2],
}

/// Writes the model of a directory without its masked neurons to the new directory `out`. The mask is a file of
/// [`SlimOptions::run`](super::SlimOptions::run); the model directory's own neuron_mask.json unless given.
///
/// # Errors
///
/// The mask is missing or another model's; `out` exists or cannot be written.
pub fn narrow(
    model: impl AsRef<Path>,
    mask: Option<&Path>,
    reading: &ReadingOptions,
    out: impl AsRef<Path>,
) -> Result<Narrowed> {
    let model = model.as_ref();
    let out = out.as_ref();
    let model = ModelDirectory::open_with(model, &reading.load_options())?;
    let mask = match mask {
        Some(file) => {
            let mask = NeuronMask::read(file)?;
            mask.check(file, model.architecture())?;
            mask
        }
        None => model.mask()?.1,
    };
    model.write_narrowed(&mask, out)?;
    let narrowed = ModelDirectory::open(out)?;
    let parameters = [&model, &narrowed].map(|model| model.architecture().parameters().total());
    Ok(Narrowed { model: model.name(), mask, parameters })
}
