//! Models without some neurons of their MLPs: as zeros, then without the weights.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::directory::{ModelDirectory, kept};
use crate::architecture::{Layout, MASK_FILE, NeuronMask, Remaining};
use crate::error::{Error, Result};
use crate::loaded::Loaded;
use crate::weights::narrowed::{cuts, narrowed_shape, without, zeroed};
use crate::weights::tensors::TensorInfo;
use crate::weights::write::{Elements, NewTensor, write_directory};

/// What becomes of the weights of a masked neuron.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Masked {
    Zero,
    Remove,
}

impl ModelDirectory {
    /// The mask that [`ModelDirectory::write_masked`] left in a directory, and its file.
    ///
    /// # Errors
    ///
    /// There is no mask, it is damaged, or it belongs to another model.
    pub fn mask(&self) -> Result<(PathBuf, NeuronMask)> {
        let path = self.path().join(MASK_FILE);
        match NeuronMask::read_in(self.path(), self.architecture())? {
            Some(mask) => Ok((path, mask)),
            None => Err(Error::MissingFile {
                directory: self.path().to_owned(),
                file: MASK_FILE,
                advice: "mask neurons first with `secateur prune slim`, or name a mask",
            }),
        }
    }

    /// Writes the model to the new directory `out` with the weights of masked neurons zero, and the mask beside it.
    /// The weights are rows of the MLP's first layers, their biases, and columns of its output layer. Shapes stay, so
    /// any program that reads the model reads this one. Further training has to keep the mask.
    ///
    /// # Errors
    ///
    /// The mask is not of this model, the model is quantized, `out` exists or cannot be written.
    pub fn write_masked(&self, mask: &NeuronMask, out: impl AsRef<Path>) -> Result<()> {
        let out = out.as_ref();
        self.write_with(mask, Masked::Zero, out)
    }

    /// Writes the model without the weights of masked neurons to the new directory `out`, in our own layout with a
    /// width for each layer. Its embeddings equal those of the masked model up to the rounding of sums.
    ///
    /// # Errors
    ///
    /// As [`ModelDirectory::write_masked`].
    pub fn write_narrowed(&self, mask: &NeuronMask, out: impl AsRef<Path>) -> Result<()> {
        let out = out.as_ref();
        self.write_with(mask, Masked::Remove, out)
    }

    /// Writes what remains of the model to the new directory `out`, without the masked neurons of the MLPs that stay.
    /// It loads as what [`Encoder::load_pruned`](crate::Encoder::load_pruned) gives, up to the rounding of numbers that
    /// the files keep in 16 bits.
    ///
    /// # Errors
    ///
    /// As [`ModelDirectory::write_masked`].
    ///
    /// # Panics
    ///
    /// If `remaining` has another number of layers.
    pub fn write_pruned(
        &self,
        remaining: &Remaining,
        mask: &NeuronMask,
        out: impl AsRef<Path>,
    ) -> Result<()> {
        self.write_left(remaining, mask, Masked::Remove, out.as_ref())
    }

    fn write_with(&self, mask: &NeuronMask, masked: Masked, out: &Path) -> Result<()> {
        self.write_left(&self.architecture().remaining(), mask, masked, out)
    }

    fn write_left(&self, remaining: &Remaining, mask: &NeuronMask, masked: Masked, out: &Path) -> Result<()> {
        let Loaded { files, config, tensors, architecture, .. } = &self.loaded;
        let tensors = &**tensors;
        mask.check(&self.path().join(MASK_FILE), architecture)?;
        self.loaded.refuse_quantized()?;
        let mut config = config.clone();
        config["vocab_size"] = architecture.vocab_size.into();
        let remaining = match masked {
            Masked::Zero => remaining.clone(),
            Masked::Remove => mask.within(remaining),
        };
        let left = architecture.keep(&remaining);
        left.remaining().write_to(&mut config, Layout::Secateur);

        let cuts = cuts(mask, architecture);
        let new = kept(tensors, &left).map(|info| {
            let Some((mlp, axis)) = cuts.get(architecture.bare_name(info.name)) else {
                return NewTensor::of(tensors, info);
            };
            let TensorInfo { name, dtype, shape: from } = info;
            let shape = match masked {
                Masked::Zero => from.clone(),
                Masked::Remove => narrowed_shape(&from, *axis, mlp),
            };
            NewTensor {
                name: name.to_owned(),
                dtype,
                shape,
                elements: Elements::Computed(Box::new(move || {
                    let values = tensors.values(name, &from)?;
                    let change = if masked == Masked::Zero { zeroed } else { without };
                    Ok(Cow::Owned(change(&values, &from, *axis, mlp)))
                })),
            }
        });
        let mask = json!(mask);
        let others: &[_] = if masked == Masked::Zero { &[(MASK_FILE, &mask)] } else { &[] };
        write_directory(files, &config, new.collect(), others, out)
    }
}
