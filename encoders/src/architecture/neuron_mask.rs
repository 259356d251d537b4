//! Which neurons of which MLP are masked.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Architecture, Remaining};
use crate::error::{Error, Result};
use crate::json;

/// The file of a masked model's directory that holds its [`NeuronMask`].
pub(crate) const MASK_FILE: &str = "neuron_mask.json";

/// The neurons that are taken out of a model.
///
/// The file `neuron_mask.json` of a masked model's directory is this as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeuronMask {
    /// For each layer the width of its MLP and the removed neurons, ascending. `None` if the MLP is dropped.
    pub layers: Vec<Option<MaskedMlp>>,
}

/// The neurons that are taken out of an MLP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskedMlp {
    /// All of its neurons.
    pub width: usize,
    /// The masked neurons, ascending.
    pub masked: Vec<usize>,
}

impl MaskedMlp {
    /// Neurons that stay, ascending.
    pub fn kept(&self) -> Vec<usize> {
        let mut masked = self.masked.iter().copied().peekable();
        (0..self.width).filter(|neuron| masked.next_if_eq(neuron).is_none()).collect()
    }
}

impl NeuronMask {
    /// Neurons that stay, by layer.
    pub fn widths(&self) -> Vec<Option<usize>> {
        self.layers.iter().map(|mlp| mlp.as_ref().map(|mlp| mlp.width - mlp.masked.len())).collect()
    }

    /// For each layer that has an MLP: 1 for every kept neuron and 0 for every masked one.
    pub(crate) fn factors(&self) -> Vec<Option<Vec<f32>>> {
        let of_mlp = |mlp: &MaskedMlp| {
            let mut factors = vec![1.0; mlp.width];
            mlp.masked.iter().for_each(|neuron| factors[*neuron] = 0.0);
            factors
        };
        self.layers.iter().map(|mlp| mlp.as_ref().map(of_mlp)).collect()
    }

    /// The share of the neurons that goes.
    pub fn sparsity(&self) -> f64 {
        let count = |of: fn(&MaskedMlp) -> usize| self.layers.iter().flatten().map(of).sum::<usize>();
        count(|mlp| mlp.masked.len()) as f64 / count(|mlp| mlp.width).max(1) as f64
    }

    /// Reads the file of a mask.
    ///
    /// # Errors
    ///
    /// The file is missing, or is not one of a mask.
    pub fn read(path: impl AsRef<Path>) -> Result<NeuronMask> {
        let path = path.as_ref();
        let mask: NeuronMask = json::read(path)?;
        let wrong = |mlp: &&MaskedMlp| {
            !mlp.masked.is_sorted_by(|a, b| a < b) || mlp.masked.last().is_some_and(|last| *last >= mlp.width)
        };
        match mask.layers.iter().flatten().find(wrong) {
            None => Ok(mask),
            Some(mlp) => Err(Error::InvalidField {
                path: path.to_owned(),
                field: "layers.masked".to_owned(),
                found: format!("{:?}", mlp.masked),
                expected: format!("ascending numbers below the width, {}", mlp.width),
            }),
        }
    }

    /// Refuses a mask whose layers or widths are not the model's, or that leaves an MLP without neurons. `path` is the
    /// mask's file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`]
    pub fn check(&self, path: &Path, architecture: &Architecture) -> Result<()> {
        let invalid = |field: &str, found: String, expected: String| Error::InvalidField {
            path: path.to_owned(),
            field: field.to_owned(),
            found,
            expected,
        };
        let of_model: Vec<Option<usize>> =
            architecture.layers.iter().map(|layer| layer.intermediate_size).collect();
        let of_mask: Vec<Option<usize>> =
            self.layers.iter().map(|mlp| mlp.as_ref().map(|mlp| mlp.width)).collect();
        if of_mask != of_model {
            let expected = format!("those of the model, {of_model:?}");
            return Err(invalid("layers.width", format!("{of_mask:?}"), expected));
        }
        match self.widths().iter().position(|width| *width == Some(0)) {
            None => Ok(()),
            Some(layer) => {
                let expected = "at least one neuron that stays; drop the MLP instead".to_owned();
                Err(invalid("layers.masked", format!("all of layer {layer}"), expected))
            }
        }
    }

    /// What is left of what remains of a model when the masked neurons are gone.
    pub fn within(&self, remaining: &Remaining) -> Remaining {
        let widths = remaining.intermediate_sizes.iter().zip(self.widths());
        Remaining {
            intermediate_sizes: widths.map(|(there, width)| there.and(width)).collect(),
            attention: remaining.attention.clone(),
        }
    }

    /// The mask in a model's directory, where there is one.
    pub(crate) fn read_in(directory: &Path, architecture: &Architecture) -> Result<Option<NeuronMask>> {
        let path = directory.join(MASK_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let mask = NeuronMask::read(&path)?;
        mask.check(&path, architecture)?;
        Ok(Some(mask))
    }
}
