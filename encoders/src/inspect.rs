//! What a model is, without encoding anything: sizes, costs, settings, files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::after_pooling::Finish;
pub use crate::architecture::LanguageModelHead;
use crate::architecture::known_models::Backbone;
use crate::architecture::{Architecture, Flop, Parameters, Remaining, Storage, SubLayer, class};
use crate::error::{Error, Result};
use crate::fingerprint::{Fingerprint, FingerprintInput};
use crate::in_force;
pub use crate::in_force::InForce;
use crate::json;
use crate::notice::Notice;
use crate::prune::Variant;
use crate::settings::{EncoderSettings, Purpose, Read};
pub use crate::tokenize::SpecialTokens;
use crate::tokenize::Tokenizer;
use crate::weights::adapter::Adapter;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::model_files::ModelFiles;
use crate::weights::quantized::int8;
use crate::weights::tensors::Tensors;

/// What a model is.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The model's directory or file, or its name among the known models.
    pub name: String,
    /// `model_type` of its config.json.
    pub family: &'static str,
    /// The class that config.json names, such as `MistralForCausalLM`.
    pub class: Option<String>,
    /// Whether a token sees only those before it.
    pub causal: bool,
    /// D
    pub hidden_size: usize,
    /// Heads of each attention.
    pub num_heads: usize,
    /// Attention heads of keys and values.
    pub num_key_value_heads: usize,
    /// Columns of a head.
    pub head_dim: usize,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// The longest text its positions allow.
    pub max_tokens: Option<usize>,
    /// What each layer keeps.
    pub layers: Vec<Layer>,
    /// Without the language-model head.
    pub parameters: Parameters,
    /// Their sum.
    pub total_parameters: usize,
    /// The head, which an encoder does not use.
    pub language_model_head: LanguageModelHead,
    /// What a token costs.
    pub flop_per_token: Flop,
    /// What the weights take.
    pub sizes: Vec<Size>,
    /// How texts become vectors; `None` where only the configuration is known.
    pub settings: Option<EncoderSettings>,
    /// Every setting in force, with where it comes from; empty where only the configuration is known.
    pub in_force: Vec<InForce>,
    /// What the files do not say, and what is assumed in its place.
    pub notices: Vec<Notice>,
    /// `None` without a tokenizer.
    pub special_tokens: Option<SpecialTokens>,
    /// `None` without weights.
    pub weights: Option<Weights>,
    /// In hexadecimal digits; `None` where a file that shapes vectors is missing, or where the numbers above are
    /// those of a part of the model.
    pub fingerprint: Option<String>,
}

/// What a layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Whether it has an attention.
    pub attention: bool,
    /// How far a token sees to each side, if not over the whole text.
    pub window: Option<usize>,
    /// The width of its MLP; `None` if that is dropped.
    pub intermediate_size: Option<usize>,
}

/// What the weights take, embeddings and head included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// How the linear layers are stored; all else is in f32.
    pub linear_layers: Storage,
    /// Without the language-model head.
    pub bytes: usize,
    /// With it, if it is a matrix of its own.
    pub bytes_with_head: usize,
}

/// Weights on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Weights {
    /// Paths and bytes.
    pub files: Vec<(PathBuf, usize)>,
    /// Tensors by element type, as safetensors spells it.
    pub dtypes: BTreeMap<String, usize>,
    /// Parameters in all tensors; of a quantized matrix those that it stands for.
    pub parameters: usize,
    /// Tensors that the architecture does not use, such as heads and the tensors of dropped sub-layers.
    pub unused: Vec<String>,
    /// Tensors that it asks for and that are not there.
    pub missing: Vec<String>,
}

/// What to inspect a model with.
#[derive(Clone, Debug, Default)]
pub struct InspectOptions {
    /// The directory of the base model of an adapter. Unless given, the adapter's configuration names it.
    pub base: Option<PathBuf>,
    /// Counts and costs are those of the model without so many sub-layers. Importance plays no part: those at the end
    /// go.
    pub without: Variant,
    /// The share of the neurons of the remaining MLPs that stays; all of them unless given.
    pub width: Option<f64>,
    /// The length in tokens of the text whose cost is counted. Unless given: the model's maximum, at most 512.
    pub length: Option<usize>,
    /// A size beside that in 16 bits.
    pub storage: Option<Storage>,
    /// Settings of the model's files that are read as if they were not there.
    pub ignore_settings: Vec<String>,
}

impl InspectOptions {
    /// Whether the numbers are those of a part of the model.
    fn leaves_out(&self) -> bool {
        !self.without.is_full() || self.width.is_some_and(|width| width != 1.0)
    }

    /// What is left of a model.
    fn remaining(&self, architecture: &Architecture) -> Result<Remaining> {
        let Variant { last_blocks, blocks, mlp, attention } = self.without;
        let mut remaining = architecture.remaining();
        remaining.drop_last(SubLayer::Block, last_blocks + blocks)?;
        remaining.drop_last(SubLayer::Attention, attention)?;
        remaining.drop_last(SubLayer::Mlp, mlp)?;
        remaining.narrow(self.width.unwrap_or(1.0))?;
        Ok(remaining)
    }
}

impl Inspection {
    /// Inspects a model directory, that of an adapter, or a config.json alone. Weights and tokenizer may be absent.
    ///
    /// # Errors
    ///
    /// A file that is there is damaged or says what is not known; more is left out than there is.
    pub fn of_path(path: &Path, options: &InspectOptions) -> Result<Inspection> {
        let name = path.display().to_string();
        if path.is_file() {
            return Inspection::of_config(name, path, &json::read(path)?, options);
        }
        let files = ModelFiles::locate(path, options.base.as_deref(), &options.ignore_settings)?;
        let (config_path, config) = (files.config_path(), files.config()?);
        let mut architecture = Architecture::from_config(&config_path, &config)?;
        let mut head = LanguageModelHead::read(&config, &architecture);
        let is_scoring = class(&config).is_some_and(|class| class.ends_with("ForSequenceClassification"));
        let purpose = if is_scoring { Purpose::Score } else { Purpose::Encode };
        let Read { settings, sources, notices } = Read::of(&files, &architecture, purpose)?;
        let (mut checkpoint, mut adapter) = (None, None);
        if files.has_weights() {
            let opened = Checkpoint::new(files.shards()?);
            let opened_adapter = files
                .adapter()
                .map(|adapter| Adapter::open_without(adapter, &mut architecture, files.ignored()));
            adapter = opened_adapter.transpose()?;
            if !opened.contains("lm_head.weight") && head != LanguageModelHead::Tied {
                head = LanguageModelHead::None;
            }
            checkpoint = Some(opened);
        }
        let tokenizer = match files.tokenizer().has_tokenizer() {
            true => Some(Tokenizer::load(&files, &config, settings.reading(architecture.vocab_size))?),
            false => None,
        };
        let fingerprint = match (&checkpoint, &tokenizer) {
            (Some(checkpoint), Some(_)) if !options.leaves_out() => {
                let finish = &Finish::load(&files, &settings.modules)?;
                let (stored, adapter) = (checkpoint.shards(), adapter.as_ref());
                let (files, settings) = (&files, &settings);
                let parts = FingerprintInput { files, settings, stored, adapter, finish, quantization: None };
                Some(Fingerprint::of(&parts)?.to_string())
            }
            _ => None,
        };
        let weights = checkpoint.map(|checkpoint| Weights::of(&checkpoint, &architecture));
        let mut inspection = Inspection::new(name, &config, &architecture, head, options)?;
        inspection.special_tokens = tokenizer.as_ref().map(SpecialTokens::of);
        inspection.in_force = in_force::all(&files, &config, &settings, &sources, tokenizer.as_ref())?;
        inspection.notices = notices;
        inspection.settings = Some(settings);
        inspection.weights = weights;
        inspection.fingerprint = fingerprint;
        Ok(inspection)
    }

    /// Inspects a backbone of the [known models](crate::architecture::known_models).
    ///
    /// ```
    /// use secateur_encoders::{known_models, inspect::{InspectOptions, Inspection}};
    /// let mistral = known_models::find("mistral-7b").unwrap();
    /// let inspection = Inspection::of_backbone(mistral, &InspectOptions::default())?;
    /// assert_eq!(inspection.total_parameters, 7_110_660_096);
    /// assert_eq!(inspection.total_with_head(), 7_241_732_096);
    /// # Ok::<(), secateur_encoders::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// More is left out than there is.
    pub fn of_backbone(backbone: &Backbone, options: &InspectOptions) -> Result<Inspection> {
        let path = Path::new(backbone.name());
        Inspection::of_config(backbone.name().to_owned(), path, backbone.config(), options)
    }

    /// Parameters, the language-model head included.
    pub fn total_with_head(&self) -> usize {
        self.total_parameters + self.language_model_head.parameters()
    }

    fn of_config(name: String, path: &Path, config: &Value, options: &InspectOptions) -> Result<Inspection> {
        let architecture = Architecture::from_config(path, config)?;
        let head = LanguageModelHead::read(config, &architecture);
        Inspection::new(name, config, &architecture, head, options)
    }

    fn new(
        name: String,
        config: &Value,
        architecture: &Architecture,
        head: LanguageModelHead,
        options: &InspectOptions,
    ) -> Result<Inspection> {
        let architecture = architecture.keep(&options.remaining(architecture)?);
        let max_tokens = architecture.max_tokens();
        let length = options.length.unwrap_or_else(|| max_tokens.unwrap_or(USUAL_LENGTH).min(USUAL_LENGTH));
        if length == 0 || max_tokens.is_some_and(|max_tokens| length > max_tokens) {
            return Err(Error::InvalidOption {
                path: PathBuf::from(name),
                option: "length",
                found: length,
                expected: format!("1 to {}, the model's positions", max_tokens.unwrap_or(usize::MAX)),
            });
        }
        let parameters = architecture.parameters();
        let sizes = std::iter::once(Storage::Half).chain(options.storage).map(|linear_layers| {
            let bytes = architecture.stored_bytes(linear_layers);
            Size { linear_layers, bytes, bytes_with_head: bytes + 4 * head.parameters() }
        });
        let shape = architecture.attention;
        Ok(Inspection {
            name,
            family: architecture.family,
            class: class(config).map(str::to_owned),
            causal: shape.causal,
            hidden_size: architecture.hidden_size,
            num_heads: shape.num_heads,
            num_key_value_heads: shape.num_key_value_heads,
            head_dim: shape.head_dim,
            vocab_size: architecture.vocab_size,
            max_tokens,
            layers: layers(&architecture),
            parameters,
            total_parameters: parameters.total(),
            language_model_head: head,
            flop_per_token: architecture.flop_per_token(length),
            sizes: sizes.collect(),
            settings: None,
            in_force: Vec::new(),
            notices: Vec::new(),
            special_tokens: None,
            weights: None,
            fingerprint: None,
        })
    }
}

/// The length of the texts that retrievers are mostly trained and timed on.
const USUAL_LENGTH: usize = 512;

fn layers(architecture: &Architecture) -> Vec<Layer> {
    let layers = architecture.layers.iter().map(|layer| Layer {
        attention: layer.attention.is_some(),
        window: layer.attention.as_ref().and_then(|attention| attention.window),
        intermediate_size: layer.intermediate_size,
    });
    layers.collect()
}

impl Weights {
    fn of(checkpoint: &Checkpoint, architecture: &Architecture) -> Weights {
        let tensors = architecture.tensors();
        let wanted: BTreeMap<&str, usize> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.elements())).collect();
        let mut missing: BTreeSet<&str> = wanted.keys().copied().collect();
        let mut weights = Weights {
            files: checkpoint.files().map(|(path, bytes)| (path.to_owned(), bytes)).collect(),
            dtypes: BTreeMap::new(),
            parameters: 0,
            unused: Vec::new(),
            missing: Vec::new(),
        };
        for tensor in checkpoint.iter() {
            let bare = architecture.bare_name(tensor.name);
            missing.remove(bare);
            *weights.dtypes.entry(tensor.dtype()).or_default() += 1;
            // Beside the codes of a quantized X.weight lie its scales, as X.weight_scale, or X.weight.absmax and so on.
            let before = |end| &bare[..end + ".weight".len()];
            let owner = int8::matrix_of(bare).or_else(|| bare.find(".weight.").map(before));
            if owner.is_some_and(|owner| wanted.contains_key(owner)) {
                continue;
            }
            weights.parameters += match wanted.get(bare) {
                Some(elements) => *elements,
                None => {
                    weights.unused.push(tensor.name.to_owned());
                    tensor.shape.iter().product::<usize>()
                }
            };
        }
        weights.missing = missing.into_iter().map(str::to_owned).collect();
        weights
    }
}
