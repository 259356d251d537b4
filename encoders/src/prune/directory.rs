//! A model directory with parts taken out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::drops::Drops;
use crate::architecture::{Architecture, pruned};
use crate::encoder::LoadOptions;
use crate::error::{Error, Result};
use crate::json;
use crate::loaded::{Loaded, name_of};
use crate::merge::merged;
use crate::weights::fingerprint::Fingerprint;
use crate::weights::write::{NewTensor, write_directory};

/// How a directory says which sub-layers its model lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Layout {
    /// What this program and its library read.
    ///
    /// `secateur` in config.json: for each layer whether it has its attention, and the width of its MLP.
    #[default]
    Secateur,
    /// The lists of LLM-Drop, which this program reads too.
    ///
    /// `drop_attn_list` and `drop_mlp_list` in config.json, and reserved_layers.json, as LLM-Drop's loader reads them.
    LlmDrop,
}

/// A model directory, opened; the weights stay where they are until they are read.
///
/// Weights are written in the element types they have, one tensor at a time. Tensors that are not the transformer's, such
/// as a language-model head, stay. A LoRA adapter is merged into its base.
pub struct ModelDirectory {
    directory: PathBuf,
    pub(super) loaded: Loaded,
    fingerprint: Fingerprint,
}

impl ModelDirectory {
    /// Opens a directory that [`Encoder::load`](crate::Encoder::load) loads.
    ///
    /// # Errors
    ///
    /// As loading it, except for tensors that are missing or wrong.
    pub fn open(directory: &Path) -> Result<ModelDirectory> {
        let loaded = Loaded::open(directory, &LoadOptions::default())?;
        loaded.checkpoint.check_adapter(&loaded.architecture)?;
        let fingerprint = Fingerprint::of(&loaded.files, &loaded.checkpoint, &loaded.settings)?;
        Ok(ModelDirectory { directory: directory.to_owned(), loaded, fingerprint })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// What an encoder that is loaded from it is called.
    pub fn name(&self) -> String {
        name_of(&self.directory)
    }

    /// What the model looks like.
    pub fn architecture(&self) -> &Architecture {
        &self.loaded.architecture
    }

    /// The fingerprint of an encoder that is loaded from it as it is.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Writes the model without `drops` to the new directory `out`. The dropped weights are not in it; those of sub-layers
    /// that were dropped before, which LLM-Drop leaves in its files, neither. Layers keep their numbers.
    ///
    /// # Errors
    ///
    /// `out` exists or cannot be written; [`Error::NotLlmDrop`] if LLM-Drop's layout cannot express the model.
    ///
    /// # Panics
    ///
    /// If a layer is not one of the model's.
    pub fn write_dropped(&self, drops: &Drops, layout: Layout, out: &Path) -> Result<()> {
        let left = drops.applied_to(self.architecture());
        let path = self.loaded.files.config()?;
        let mut config: Value = json::read(&path)?;
        config["vocab_size"] = left.vocab_size.into();
        match layout {
            Layout::Secateur => pruned::describe(&mut config, &left.layers),
            Layout::LlmDrop => pruned::describe_for_llm_drop(&mut config, &left.layers),
        }
        if Architecture::from_config(&path, &config)? != left {
            return Err(Error::NotLlmDrop { path: out.to_owned() });
        }
        let reserved = json!(reserved_layers(&left));
        let others: &[_] =
            if layout == Layout::LlmDrop { &[("reserved_layers.json", &reserved)] } else { &[] };
        write_directory(&self.loaded.files, &config, self.kept_tensors(&left), others, out)
    }

    /// The tensors of all that `left` has, and of all that is not the transformer's.
    fn kept_tensors(&self, left: &Architecture) -> Vec<NewTensor<'_>> {
        let gone = left.dropped_modules();
        let Loaded { checkpoint, architecture, .. } = &self.loaded;
        let stays = |name: &str| {
            let bare = architecture.bare_name(name);
            !gone.iter().any(|module| bare.starts_with(module))
        };
        let stored = checkpoint.iter().filter(|tensor| stays(tensor.name));
        stored.map(|tensor| merged(checkpoint, architecture, tensor)).collect()
    }
}

/// reserved_layers.json: the layers that keep their attention, then those that keep their MLP, counted on from L.
fn reserved_layers(architecture: &Architecture) -> Vec<usize> {
    let layers = || architecture.layers.iter().enumerate();
    let attention = layers().filter(|(_, layer)| layer.attention.is_some()).map(|(number, _)| number);
    let mlp = layers().filter(|(_, layer)| layer.intermediate_size.is_some());
    attention.chain(mlp.map(|(number, _)| architecture.layers.len() + number)).collect()
}
