//! What training has made, as a directory that loads: an adapter as PEFT writes it, or a whole model.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use safetensors::Dtype;
use serde_json::{Value, json};

use super::lora::{A, B, Lora};
use crate::architecture::{MASK_FILE, NeuronMask};
use crate::compute::tape::Parameter;
use crate::error::Result;
use crate::loaded::Loaded;
use crate::weights::write::{Elements, NewTensor, write_adapter, write_directory};

/// What training has made of a model.
pub(super) struct Trained<'a> {
    /// The directory that training began with.
    pub(super) directory: &'a Path,
    /// What was read from it.
    pub(super) loaded: &'a Loaded,
    pub(super) parameters: &'a [Parameter<Cow<'a, [f32]>>],
    /// Files about pooling and prompts, by name, where they differ from the directory's.
    pub(super) encoding: Vec<(&'static str, Value)>,
}

impl Trained<'_> {
    /// A PEFT adapter.
    pub(super) fn write_lora(&self, lora: &Lora, out: &Path) -> Result<()> {
        let modules: BTreeSet<&str> = self
            .parameters
            .iter()
            .filter_map(|parameter| parameter.name.strip_suffix(A).or(parameter.name.strip_suffix(B)))
            .collect();
        // An adapter is looked for by the base's path, so it must hold wherever the adapter is read from.
        let base = fs::canonicalize(self.directory).unwrap_or_else(|_| self.directory.to_owned());
        let config = json!({
            "peft_type": "LORA",
            "task_type": "FEATURE_EXTRACTION",
            "base_model_name_or_path": base,
            "r": lora.rank,
            "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout,
            "bias": "none",
            "inference_mode": true,
            "target_modules": modules,
        });
        let tensors = self.parameters.iter().map(|parameter| NewTensor {
            name: format!("base_model.model.{}", parameter.name),
            dtype: Dtype::F32,
            shape: parameter.shape.clone(),
            elements: Elements::Computed(Box::new(|| Ok((&parameter.values[..]).into()))),
        });
        let others: Vec<(&str, &Value)> = self.encoding.iter().map(|(name, value)| (*name, value)).collect();
        write_adapter(&self.loaded.files, &config, tensors.collect(), &others, out)
    }

    /// The whole model, in the element types of the one it began with.
    pub(super) fn write_model(&self, out: &Path) -> Result<()> {
        let trained: HashMap<&str, &[f32]> =
            self.parameters.iter().map(|parameter| (&parameter.name[..], &parameter.values[..])).collect();
        let architecture = &self.loaded.architecture;
        let source = &*self.loaded.tensors;
        let tensors = source.list().into_iter().map(|info| {
            let Some(values) = trained.get(architecture.bare_name(info.name)).copied() else {
                return NewTensor::of(source, info);
            };
            NewTensor {
                name: info.name.to_owned(),
                dtype: info.dtype,
                shape: info.shape,
                elements: Elements::Computed(Box::new(move || Ok(values.into()))),
            }
        });
        // A masked model stays one, so that it can be compacted.
        let mask = NeuronMask::read_in(self.directory, architecture)?.map(|mask| json!(mask));
        let mut others: Vec<(&str, &Value)> =
            self.encoding.iter().map(|(name, value)| (*name, value)).collect();
        others.extend(mask.iter().map(|mask| (MASK_FILE, mask)));
        write_directory(&self.loaded.files, &self.loaded.config, tensors.collect(), &others, out)
    }
}
