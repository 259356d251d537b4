//! Models in the shapes that other programs read.
//!
//! The classes of transformers give all layers of a model one shape: an attention, and an MLP of one width. A pruned
//! model has others. It is written for them where its layers are alike, or where it may be filled up with zeros. A
//! sub-layer of zeros adds nothing to the hidden states, and a neuron of zeros nothing to its MLP. For vLLM it is
//! written as it is: `nemotron-nas` says for each layer what it has.

mod config;
mod fill;
mod shape;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumString, VariantNames};

use crate::architecture::class;
use crate::error::{Error, Result};
use crate::loaded::{Weights, merged};
use crate::settings::{Purpose, Read};
use crate::tokenize::Tokenizer;
use crate::weights::model_files::{ModelFiles, PROMPTS_FILE};
use crate::weights::write::write_directory;
use secateur_files::UnknownName;
use shape::Shape;

/// For whom [`write_exported`] writes a model.
///
/// ```
/// use secateur_encoders::ExportFormat;
/// assert_eq!("nemotron-nas".parse(), Ok(ExportFormat::NemotronNas));
/// assert!("gguf".parse::<ExportFormat>().unwrap_err().to_string().contains("transformers, "));
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ExportFormat {
    /// The model's own class in transformers: all layers alike.
    Transformers,
    /// The same, with the files of sentence-transformers that say pooling, prompts and lengths.
    SentenceTransformers,
    /// A Llama, Mistral or Qwen2 for vLLM's DeciLMForCausalLM: each layer says what it has.
    NemotronNas,
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::of::<ExportFormat>("a format to export to", found)
}

/// How [`write_exported`] reads and writes a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Whether layers that differ are filled up with zeros until they are alike. [`ExportFormat::NemotronNas`] fills
    /// what it has to without being asked.
    pub pad: bool,
    /// The directory of an adapter's base, where the adapter's configuration does not name one that is there.
    pub base: Option<PathBuf>,
    /// Settings to read as if the files did not have them.
    pub ignore_settings: Vec<String>,
}

/// What [`write_exported`] wrote, beside what the model had. Layers have the model's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Layers that were written.
    pub layers: usize,
    /// Layers that were left out because nothing of them remains: the others have lower numbers than in the model.
    pub left_out: Vec<usize>,
    /// Layers with an attention of zeros in the place of a dropped one.
    pub zero_attentions: Vec<usize>,
    /// Layers with an MLP of zeros in the place of a dropped one.
    pub zero_mlps: Vec<usize>,
    /// Neurons of zeros that MLPs got, dropped ones apart.
    pub zero_neurons: usize,
    /// Whether norms took the place of those of dropped sub-layers: see [`write_exported`].
    pub moved_norms: bool,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exported { layers, left_out, zero_attentions, zero_mlps, zero_neurons, moved_norms } = self;
        write!(f, "layers: {layers}")?;
        if !left_out.is_empty() {
            write!(f, "; nothing remained of {}, so numbers after it are lower", numbered(left_out))?;
        }
        for (what, of) in [("attention", zero_attentions), ("MLP", zero_mlps)] {
            if !of.is_empty() {
                write!(f, "\n{what} of zeros in {}", numbered(of))?;
            }
        }
        if *zero_neurons > 0 {
            write!(f, "\nneurons of zeros in MLPs: {zero_neurons}")?;
        }
        if *moved_norms {
            write!(f, "\nnorms were moved: vectors are those of the model up to rounding")?;
        }
        Ok(())
    }
}

/// "layer 3" or "layers 0, 2".
fn numbered(layers: &[usize]) -> String {
    let numbers: Vec<String> = layers.iter().map(usize::to_string).collect();
    format!("layer{} {}", if layers.len() == 1 { "" } else { "s" }, numbers.join(", "))
}

/// Writes a model to the new directory `out` as other programs read it. [`Encoder::load`](crate::Encoder::load) reads
/// it, too. An adapter is merged first. Weights keep their element types, and one tensor at a time is in memory.
///
/// A layer of which nothing remains is left out by the first two formats. Zeros that are filled in change no hidden
/// state. An attention whose projections are zero adds nothing, nor does such an MLP, nor a neuron to its MLP. In a
/// model like BERT each sub-layer ends with a norm, which a dropped one takes along. The norm before it is put in its
/// place, and one that only scales in the place of that. A norm of what is normal already changes it by rounding and by
/// eps alone, so hidden states are the model's up to that.
///
/// [`ExportFormat::NemotronNas`] writes widths that are multiples of 256, because that is how readers round
/// `ffn_mult`. It writes an attention of zeros before the first MLP where the model has none there, because vLLM's
/// reader fails without. The tokenizer is written as it is in force, since a class of its family may have overruled its
/// files. Beside config.json lies configuration_decilm.py, the class that readers make of it: neither transformers nor
/// vLLM has one.
///
/// # Errors
///
/// As loading the model. It is quantized; [`Error::NotExportable`] if the format has no place for it; `out` exists or
/// cannot be written.
pub fn write_exported(
    model: impl AsRef<Path>,
    format: ExportFormat,
    options: &ExportOptions,
    out: impl AsRef<Path>,
) -> Result<Exported> {
    let ExportOptions { pad, base, ignore_settings } = options;
    let files = ModelFiles::locate(model.as_ref(), base.as_deref(), ignore_settings)?;
    let Weights { files, config_path, config, checkpoint, adapter, architecture } = Weights::of_files(files)?;
    let tensors = merged(checkpoint, adapter, &architecture)?;
    let refused = |why: &str, advice: &str| Error::NotExportable {
        path: model.as_ref().to_owned(),
        format: format.to_string(),
        why: why.to_owned(),
        advice: advice.to_owned(),
    };
    if tensors.is_quantized() {
        return Err(refused("its weights are quantized", "export the model that it was made from"));
    }
    let is_cross_encoder = class(&config).is_some_and(|class| class.ends_with("ForSequenceClassification"));
    if is_cross_encoder && format != ExportFormat::Transformers {
        return Err(refused(
            "a cross-encoder gives scores, and this format is for vectors",
            "export it to transformers",
        ));
    }
    let source = config::ModelConfig { path: &config_path, config: &config, architecture: &architecture };
    let whole = source.whole()?;
    let shape = match format {
        ExportFormat::NemotronNas => Shape::of_blocks(&architecture, &whole),
        ExportFormat::Transformers | ExportFormat::SentenceTransformers => {
            Shape::alike(&architecture, &whole, *pad)
        }
    };
    let shape = shape.map_err(|refusal| refused(&refusal.why, refusal.advice))?;
    let new_config = match format {
        ExportFormat::NemotronNas => source.of_blocks(&shape, fill::has_head(&*tensors)),
        ExportFormat::Transformers | ExportFormat::SentenceTransformers => source.alike(&shape)?,
    };
    if source.read(&new_config)? != shape.architecture {
        return Err(refused(
            "its config.json cannot say what each of its layers is",
            "keep the layers whose attention differs from that of the others",
        ));
    }
    let mut others: Vec<(&str, Value)> = Vec::new();
    if format != ExportFormat::Transformers {
        let settings = Read::of(&files, &architecture, Purpose::Encode)?.settings;
        if format == ExportFormat::NemotronNas {
            others.push((config::CLASS_FILE, config::CLASS.into()));
            // Another family has other classes of tokenizers.
            let reading = settings.reading(architecture.vocab_size);
            let beside = files.tokenizer().json("tokenizer_config.json")?.unwrap_or_default();
            others.extend(Tokenizer::load(&files, &config, reading)?.files(beside)?);
        }
        // Modules behind the pooling keep their own files, which are copied.
        if settings.modules.is_empty() {
            let mut written = settings.files(architecture.hidden_size);
            if let Some(own) = files.json::<Value>(PROMPTS_FILE)?
                && let Some((_, new)) = written.iter_mut().find(|(name, _)| *name == PROMPTS_FILE)
            {
                keep_named_prompts(&own, new);
            }
            others.extend(written);
        }
    }
    let new = fill::tensors(&*tensors, &architecture, &shape, format)?;
    let others: Vec<(&str, &Value)> = others.iter().map(|(name, value)| (*name, value)).collect();
    write_directory(&files, &new_config, new, &others, out.as_ref())?;
    Ok(shape.told(&architecture))
}

/// Keeps the prompts that are neither queries' nor documents': sentence-transformers asks for them by name.
fn keep_named_prompts(own: &Value, new: &mut Value) {
    for (name, prompt) in own["prompts"].as_object().into_iter().flatten() {
        if new["prompts"].get(name.as_str()).is_none() {
            new["prompts"][name.as_str()] = prompt.clone();
        }
    }
    if let Some(name) = own["default_prompt_name"].as_str().filter(|name| new["prompts"].get(name).is_some())
    {
        new["default_prompt_name"] = name.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompts_of_other_names_stay() {
        let mut new = json!({"prompts": {"query": "q: ", "document": ""}, "default_prompt_name": null});
        let own = json!({"prompts": {"query": "other", "s2p": "find: "}, "default_prompt_name": "s2p"});
        keep_named_prompts(&own, &mut new);
        assert_eq!(
            new,
            json!({"prompts": {"query": "q: ", "document": "", "s2p": "find: "}, "default_prompt_name": "s2p"})
        );
        keep_named_prompts(&json!({"default_prompt_name": "absent"}), &mut new);
        assert_eq!(new["default_prompt_name"], "s2p");
    }
}
