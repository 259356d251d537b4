//! Models without some neurons of their MLPs: as zeros, then without the weights.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::directory::ModelDirectory;
use super::width::{MaskedMlp, NeuronMask};
use crate::architecture::{Architecture, NeuronAxis, pruned};
use crate::error::{Error, Result};
use crate::json;
use crate::loaded::Loaded;
use crate::merge::merged;
use crate::weights::checkpoint::StoredTensor;
use crate::weights::quantized::stored;
use crate::weights::write::{Elements, NewTensor, write_directory};

/// The file of a masked model's directory that holds its [`NeuronMask`].
pub(crate) const MASK_FILE: &str = "neuron_mask.json";

/// What becomes of the weights of a masked neuron.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Masked {
    Zero,
    Remove,
}

/// The mask in a model's directory, where there is one.
pub(crate) fn mask_in(directory: &Path, architecture: &Architecture) -> Result<Option<NeuronMask>> {
    let path = directory.join(MASK_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let mask = NeuronMask::read(&path)?;
    mask.check(&path, architecture)?;
    Ok(Some(mask))
}

impl ModelDirectory {
    /// The mask that [`ModelDirectory::write_masked`] left in a directory, and its file.
    ///
    /// # Errors
    ///
    /// There is none, it is damaged, or it is not of this model.
    pub fn mask(&self) -> Result<(PathBuf, NeuronMask)> {
        let path = self.path().join(MASK_FILE);
        match mask_in(self.path(), self.architecture())? {
            Some(mask) => Ok((path, mask)),
            None => Err(Error::MissingFile {
                directory: self.path().to_owned(),
                file: MASK_FILE,
                advice: "mask neurons first with `secateur prune slim`, or name a mask",
            }),
        }
    }

    /// Writes the model with the weights of masked neurons zero (rows of the MLP's first layers and their biases, columns
    /// of its output layer) to the new directory `out`, the mask beside it. Shapes stay, so any program that reads the
    /// model reads this one; what is trained further has to keep the mask.
    ///
    /// # Errors
    ///
    /// The mask is not of this model, the model is quantized, `out` exists or cannot be written.
    pub fn write_masked(&self, mask: &NeuronMask, out: &Path) -> Result<()> {
        self.write_narrowed(mask, Masked::Zero, out)
    }

    /// Writes the model without the weights of masked neurons to the new directory `out`, in our own layout with a width for
    /// each layer. Its embeddings are those of the masked model but for the rounding of sums.
    ///
    /// # Errors
    ///
    /// As [`ModelDirectory::write_masked`].
    pub fn write_compacted(&self, mask: &NeuronMask, out: &Path) -> Result<()> {
        self.write_narrowed(mask, Masked::Remove, out)
    }

    fn write_narrowed(&self, mask: &NeuronMask, masked: Masked, out: &Path) -> Result<()> {
        let Loaded { files, checkpoint, architecture, .. } = &self.loaded;
        mask.check(&self.path().join(MASK_FILE), architecture)?;
        let path = files.config()?;
        if stored::is_quantized(checkpoint) {
            return Err(Error::InvalidField {
                path,
                field: "quantization_config".to_owned(),
                found: "that of a quantized model".to_owned(),
                expected: "none: narrow the model that it was made from, then quantize".to_owned(),
            });
        }
        let mut config: Value = json::read(&path)?;
        config["vocab_size"] = architecture.vocab_size.into();
        let left = match masked {
            Masked::Zero => architecture.clone(),
            Masked::Remove => mask.applied_to(architecture),
        };
        pruned::describe(&mut config, &left.layers);

        // By name without prefix: which neurons, and where they are in the tensor.
        let narrowed: BTreeMap<String, (&MaskedMlp, NeuronAxis)> = mask
            .layers
            .iter()
            .enumerate()
            .filter_map(|(layer, mlp)| Some((layer, mlp.as_ref().filter(|mlp| !mlp.masked.is_empty())?)))
            .flat_map(|(layer, mlp)| {
                let tensors = architecture.mlp_tensors(layer).into_iter();
                tensors.map(move |(name, axis)| (name, (mlp, axis)))
            })
            .collect();
        let gone = left.dropped_modules();
        let stays = |tensor: &StoredTensor<'_>| {
            let bare = architecture.bare_name(tensor.name);
            !gone.iter().any(|module| bare.starts_with(module))
        };
        let tensors = checkpoint.iter().filter(stays).map(|stored| {
            let Some((mlp, axis)) = narrowed.get(architecture.bare_name(stored.name)).copied() else {
                return merged(checkpoint, architecture, stored);
            };
            let (name, from) = (stored.name, stored.shape.to_vec());
            let shape = match masked {
                Masked::Zero => from.clone(),
                Masked::Remove => narrowed_shape(&from, axis, mlp),
            };
            NewTensor {
                name: name.to_owned(),
                dtype: stored.dtype,
                shape,
                elements: Elements::Computed(Box::new(move || {
                    let values = checkpoint.merged(name, &from)?;
                    Ok(Cow::Owned(narrow(values.into_owned(), &from, axis, mlp, masked)))
                })),
            }
        });
        let mask = json!(mask);
        let others: &[_] = if masked == Masked::Zero { &[(MASK_FILE, &mask)] } else { &[] };
        write_directory(files, &config, tensors.collect(), others, out)
    }
}

fn narrowed_shape(shape: &[usize], axis: NeuronAxis, mlp: &MaskedMlp) -> Vec<usize> {
    let width = mlp.width - mlp.masked.len();
    match (axis, shape) {
        (NeuronAxis::Rows { parts }, [_, rest @ ..]) => [&[parts * width], rest].concat(),
        (NeuronAxis::Columns, [rows, ..]) => vec![*rows, width],
        (_, []) => Vec::new(),
    }
}

/// `values` (shape) with the masked neurons zero or gone.
fn narrow(values: Vec<f32>, shape: &[usize], axis: NeuronAxis, mlp: &MaskedMlp, masked: Masked) -> Vec<f32> {
    // Numbers that a neuron has in a row, and how many neurons a repetition of the pattern has.
    let run = match axis {
        NeuronAxis::Rows { .. } => shape[1..].iter().product(),
        NeuronAxis::Columns => 1,
    };
    let mut goes = vec![false; mlp.width];
    mlp.masked.iter().for_each(|neuron| goes[*neuron] = true);
    let neurons = values.chunks_exact(run).zip(goes.iter().cycle());
    match masked {
        Masked::Zero => {
            neurons.flat_map(|(run, goes)| run.iter().map(move |x| if *goes { 0.0 } else { *x })).collect()
        }
        Masked::Remove => neurons.filter(|(_, goes)| !**goes).flat_map(|(run, _)| run).copied().collect(),
    }
}
