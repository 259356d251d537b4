//! A model directory with parts taken out.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::architecture::{Architecture, Layout, Remaining};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::load_options::LoadOptions;
use crate::loaded::{Loaded, name_of};
use crate::prune_error::PruneError;
use crate::settings::Purpose;
use crate::weights::tensors::{TensorInfo, Tensors};
use crate::weights::write::{NewTensor, write_directory};

/// A model directory, opened; the weights stay where they are until they are read.
///
/// Weights keep their element types and are written one tensor at a time. Tensors that are no part of the
/// transformer, such as a language-model head, are kept. A LoRA adapter is merged into its base.
pub struct ModelDirectory {
    directory: PathBuf,
    pub(super) loaded: Loaded,
}

impl ModelDirectory {
    /// Opens a directory that [`Encoder::load`](crate::Encoder::load) loads.
    ///
    /// # Errors
    ///
    /// As loading it, except for tensors that are missing or wrong.
    pub fn open(directory: impl AsRef<Path>) -> Result<ModelDirectory> {
        ModelDirectory::open_with(directory, &LoadOptions::default())
    }

    /// [`ModelDirectory::open`] with options that overrule the directory. Settings that they ignore are in nothing that
    /// is written.
    ///
    /// # Errors
    ///
    /// As [`ModelDirectory::open`].
    pub fn open_with(directory: impl AsRef<Path>, options: &LoadOptions) -> Result<ModelDirectory> {
        let directory = directory.as_ref();
        let loaded = Loaded::open(directory, options, Purpose::Encode)?;
        // Not used here, but written along: what is written has to load.
        loaded.tokenizer()?;
        Ok(ModelDirectory { directory: directory.to_owned(), loaded })
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
        &self.loaded.fingerprint
    }

    /// Writes the layers of the model that remain to the new directory `out`. The weights of the others are not in
    /// it, nor are those of sub-layers that were dropped before, which LLM-Drop leaves in its files. Layers keep
    /// their numbers. Widths are those of the model: [`ModelDirectory::write_narrowed`] changes them.
    ///
    /// # Errors
    ///
    /// `out` exists or cannot be written; [`PruneError::NotLlmDrop`] if LLM-Drop's layout cannot express the model.
    ///
    /// # Panics
    ///
    /// If `remaining` has another number of layers.
    pub fn write_dropped(&self, remaining: &Remaining, layout: Layout, out: impl AsRef<Path>) -> Result<()> {
        let out = out.as_ref();
        let left = self.architecture().keep(remaining);
        let mut config = self.loaded.config.clone();
        config["vocab_size"] = left.vocab_size.into();
        left.remaining().write_to(&mut config, layout);
        if Architecture::from_config(&self.loaded.config_path, &config)? != left {
            return Err(PruneError::NotLlmDrop { path: out.to_owned() }.into());
        }
        let reserved = json!(left.remaining().reserved_layers());
        let others: &[_] =
            if layout == Layout::LlmDrop { &[("reserved_layers.json", &reserved)] } else { &[] };
        write_directory(&self.loaded.files, &config, self.kept_tensors(&left), others, out)
    }

    /// The tensors of what `left` keeps of the transformer, and every tensor outside of it.
    fn kept_tensors(&self, left: &Architecture) -> Vec<NewTensor<'_>> {
        let tensors = &*self.loaded.tensors;
        kept(tensors, left).map(|info| NewTensor::of(tensors, info)).collect()
    }
}

/// What a source has of all that `left` has, and of all that is not the transformer's.
pub(super) fn kept<'a>(
    tensors: &'a dyn Tensors,
    left: &Architecture,
) -> impl Iterator<Item = TensorInfo<'a>> + use<'a> {
    let (gone, left) = (left.dropped_modules(), left.clone());
    tensors.list().into_iter().filter(move |info| {
        let bare = left.bare_name(info.name);
        !gone.iter().any(|module| bare.starts_with(module))
    })
}
