//! Low-rank adaptation (Hu et al. 2021): which linear layers it is added to, and how it begins.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::compute::tape::{AdapterShape, Parameter};
use crate::error::{Error, Result};
use crate::load_options::LoadOptions;
use crate::random::named;

/// Low-rank additions to linear layers, as PEFT's `LoraConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// r
    pub rank: usize,
    /// B A is multiplied by alpha / r.
    pub alpha: f64,
    /// The share of a layer's inputs that A does not see while training.
    pub dropout: f64,
    /// The ends of the names of the layers, such as `q_proj` or `attention.output.dense`; all linear layers of
    /// attentions and MLPs where there are none.
    pub targets: Vec<String>,
}

impl Default for Lora {
    fn default() -> Lora {
        Lora { rank: 32, alpha: 64.0, dropout: 0.1, targets: Vec::new() }
    }
}

/// The end of the names of A, of shape (r, in).
pub(super) const A: &str = ".lora_A.weight";
/// The end of the names of B, of shape (out, r).
pub(super) const B: &str = ".lora_B.weight";

impl Lora {
    /// What is the same for all additions.
    pub(crate) fn shape(&self) -> AdapterShape {
        let Lora { rank, alpha, dropout, .. } = *self;
        AdapterShape { rank, scale: (alpha / rank as f64) as f32, dropout: dropout as f32 }
    }

    /// Refuses a model without the layers that are to be adapted. It reads configurations alone.
    ///
    /// # Errors
    ///
    /// The directory holds no model, or says what is not known; it has no linear layers, or none of a target's name.
    pub fn check(&self, directory: impl AsRef<Path>, options: &LoadOptions) -> Result<()> {
        let directory = directory.as_ref();
        let files = options.locate(directory)?;
        let architecture = Architecture::from_config(&files.config_path(), &files.config()?)?;
        self.check_layers(directory, &architecture)
    }

    /// [`Lora::check`] of an architecture that was read.
    pub(crate) fn check_layers(&self, directory: &Path, architecture: &Architecture) -> Result<()> {
        match self.adapted(architecture)?.is_empty() {
            true => Err(Error::NothingToAdapt { path: directory.to_owned() }),
            false => Ok(()),
        }
    }

    /// The linear layers that are adapted, each by its name and (out, in).
    fn adapted(&self, architecture: &Architecture) -> Result<Vec<(String, [usize; 2])>> {
        let modules: Vec<(String, [usize; 2])> = (0..architecture.layers.len())
            .flat_map(|layer| architecture.layer_matrices(layer))
            .map(|(tensor, _)| {
                let name = tensor.name.strip_suffix(".weight").unwrap_or(&tensor.name);
                (name.to_owned(), [tensor.shape[0], tensor.shape[1]])
            })
            .collect();
        let is = |module: &str, target: &String| {
            module.strip_suffix(target.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if let Some(target) =
            self.targets.iter().find(|target| !modules.iter().any(|(module, _)| is(module, target)))
            && !modules.is_empty()
        {
            return Err(Error::NoSuchTarget {
                target: target.clone(),
                known: modules.iter().take(8).map(|(module, _)| module.clone()).collect(),
            });
        }
        let adapted = modules.into_iter().filter(|(module, _)| {
            self.targets.is_empty() || self.targets.iter().any(|target| is(module, target))
        });
        Ok(adapted.collect())
    }

    /// A, uniform within 1 / sqrt(in) (what PEFT's Kaiming initialization comes to), and B, zero, of every layer that
    /// is adapted.
    pub(crate) fn parameters(&self, architecture: &Architecture, seed: u64) -> Result<Vec<Parameter>> {
        let parameters = self.adapted(architecture)?.into_iter().flat_map(|(module, [rows, columns])| {
            let mut random = named(seed, &module);
            let bound = 1.0 / (columns as f64).sqrt();
            let a = (0..self.rank * columns).map(|_| ((2.0 * random.unit() - 1.0) * bound) as f32).collect();
            let parameter = |end, shape, values| Parameter {
                name: format!("{module}{end}"),
                shape,
                values,
                decays: true,
            };
            [
                parameter(A, vec![self.rank, columns], a),
                parameter(B, vec![rows, self.rank], vec![0.0; rows * self.rank]),
            ]
        });
        Ok(parameters.collect())
    }
}
