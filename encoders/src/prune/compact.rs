//! Models without some neurons of their MLPs: as zeros, then without the weights.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::directory::{ModelDirectory, kept};
use crate::architecture::{Layout, MASK_FILE, MaskedMlp, NeuronAxis, NeuronMask};
use crate::error::{Error, Result};
use crate::loaded::Loaded;
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
        self.write_narrowed(mask, Masked::Zero, out)
    }

    /// Writes the model without the weights of masked neurons to the new directory `out`, in our own layout with a
    /// width for each layer. Its embeddings equal those of the masked model up to the rounding of sums.
    ///
    /// # Errors
    ///
    /// As [`ModelDirectory::write_masked`].
    pub fn write_compacted(&self, mask: &NeuronMask, out: impl AsRef<Path>) -> Result<()> {
        let out = out.as_ref();
        self.write_narrowed(mask, Masked::Remove, out)
    }

    fn write_narrowed(&self, mask: &NeuronMask, masked: Masked, out: &Path) -> Result<()> {
        let Loaded { files, config_path, config, tensors, architecture, .. } = &self.loaded;
        let tensors = &**tensors;
        mask.check(&self.path().join(MASK_FILE), architecture)?;
        if tensors.is_quantized() {
            return Err(Error::InvalidField {
                path: config_path.clone(),
                field: "quantization_config".to_owned(),
                found: "that of a quantized model".to_owned(),
                expected: "none: narrow the model that it was made from, then quantize".to_owned(),
            });
        }
        let mut config = config.clone();
        config["vocab_size"] = architecture.vocab_size.into();
        let remaining = match masked {
            Masked::Zero => architecture.remaining(),
            Masked::Remove => mask.remaining(architecture),
        };
        remaining.write_to(&mut config, Layout::Secateur);

        // By tensor name without prefix: which neurons are removed, and along which axis.
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
        let new = kept(tensors, &architecture.keep(&remaining)).map(|info| {
            let Some((mlp, axis)) = narrowed.get(architecture.bare_name(info.name)).copied() else {
                return NewTensor::of(tensors, info);
            };
            let TensorInfo { name, dtype, shape: from } = info;
            let shape = match masked {
                Masked::Zero => from.clone(),
                Masked::Remove => narrowed_shape(&from, axis, mlp),
            };
            NewTensor {
                name: name.to_owned(),
                dtype,
                shape,
                elements: Elements::Computed(Box::new(move || {
                    let values = tensors.values(name, &from)?;
                    Ok(Cow::Owned(narrow(values.into_owned(), &from, axis, mlp, masked)))
                })),
            }
        });
        let mask = json!(mask);
        let others: &[_] = if masked == Masked::Zero { &[(MASK_FILE, &mask)] } else { &[] };
        write_directory(files, &config, new.collect(), others, out)
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
