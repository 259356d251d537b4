//! A model in training: steps, vectors on the way, and what it has become.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::gates::Gates;
use super::lora::{self, Lora};
use super::optimizer::Moments;
use super::settings::{TrainSettings, Trained};
use super::step::Watch;
use crate::architecture::{Architecture, NeuronAxis, NeuronMask};
use crate::compute::cpu::{Cpu, Pool, Products};
use crate::compute::tape::{Gradients, Parameter, Sizes, Tape, sizes};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::load_options::LoadOptions;
use crate::loaded::{Loaded, name_of};
use crate::model::{AdapterShape, Transformer};
use crate::prune::NeuronScores;
use crate::settings::Settings;
use crate::tokenize::Tokenizer;
use crate::weights::tensors::Tensors;

/// A model in training, on the CPU.
///
/// ```no_run
/// use secateur_encoders::train::{Example, Lora, TrainSettings, Trained, Trainer};
/// let settings = TrainSettings::new(Trained::Lora(Lora::default()), 100);
/// let mut trainer = Trainer::load("models/all-MiniLM-L6-v2".as_ref(), settings)?;
/// let example = |query: &str, answer: &str| Example {
///     query: query.to_owned(),
///     passages: vec![answer.to_owned()],
///     scores: None,
/// };
/// let batch = [example("When are roses pruned?", "In late winter."), example("Is rye a grass?", "It is.")];
/// let report = trainer.step(&[&batch])?;
/// println!("{} {}", report.step, report.loss);
/// trainer.write("roses".as_ref())?;
/// # Ok::<(), secateur_encoders::Error>(())
/// ```
pub struct Trainer {
    pub(super) directory: PathBuf,
    pub(super) settings: TrainSettings,
    pub(super) loaded: Loaded,
    pub(super) fingerprint: Fingerprint,
    /// Whether texts are encoded as the directory says, or as the caller does.
    pub(super) as_directory: bool,
    /// Of queries and of passages, which may be cut to different lengths.
    pub(super) tokenizers: [Tokenizer; 2],
    /// Tokens at the beginning of a query and of a passage that a mean leaves out.
    pub(super) skipped: [usize; 2],
    pub(super) model: Transformer<Tape>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) sizes: Sizes,
    pub(super) moments: Moments,
    pub(super) gradients: Gradients,
    pub(super) teacher: Option<Encoder>,
    /// Operations that are free for use, with their working memory.
    pub(super) free: Mutex<Vec<Cpu>>,
    /// Of all of them: what one part of a batch gives back another takes.
    pub(super) pool: Arc<Pool>,
    /// Gradients of parts of a batch, zero, for their memory.
    pub(super) spare: Mutex<Vec<Gradients>>,
    pub(super) watch: Watch,
}

impl Trainer {
    /// Loads a model to be trained.
    ///
    /// # Errors
    ///
    /// As loading an encoder; a setting is out of its range; the directory is an adapter's, which has to be merged first; all
    /// of a quantized model is to be trained; no layer has the name of a target.
    pub fn load(directory: &Path, settings: TrainSettings) -> Result<Trainer> {
        Trainer::load_with(directory, settings, &LoadOptions::default())
    }

    /// The same, where the directory's word on pooling, prompts and quantization is not the last.
    ///
    /// # Errors
    ///
    /// As [`Trainer::load`].
    pub fn load_with(directory: &Path, settings: TrainSettings, options: &LoadOptions) -> Result<Trainer> {
        settings.check()?;
        let loaded = Loaded::open(directory, options)?;
        let Loaded { files, settings: encoding, tensors, architecture, fingerprint, .. } = &loaded;
        let fingerprint = *fingerprint;
        if files.adapter().is_some() {
            return Err(Error::AdapterToTrain { path: directory.to_owned() });
        }
        let tokenizer = |limit: Option<usize>| {
            let length = limit.unwrap_or(encoding.max_length).min(encoding.max_length);
            Tokenizer::load(&files.tokenizer(), length, architecture.vocab_size, encoding.lower_case)
        };
        let tokenizers = [tokenizer(settings.query_max_length)?, tokenizer(settings.passage_max_length)?];
        let skipped = encoding.skipped_tokens([&tokenizers[0], &tokenizers[1]])?;
        let products = if settings.bf16_weights { Products::Halves } else { Products::F32 };
        let ops = Tape::forward_only(Cpu::serial().with_products(products));
        let mut model = Transformer::load(&ops, architecture.clone(), &**tensors)?;
        let mut parameters = match &settings.trained {
            Trained::Lora(lora) => {
                let parameters = lora.parameters(architecture, settings.seed)?;
                let Lora { rank, dropout, .. } = *lora;
                let shape = AdapterShape { rank, scale: lora.scale(), dropout: dropout as f32 };
                model.train_adapters(&parameters, shape);
                parameters
            }
            Trained::Full => {
                let parameters = all_tensors(directory, &**tensors, architecture)?;
                model.train_all(&parameters);
                parameters
            }
            Trained::Gates(_) => {
                model.train_gates();
                Gates::parameters(architecture)
            }
        };
        // A masked model stays masked: its zeros get no gradient where the mask multiplies the neurons.
        if !matches!(settings.trained, Trained::Gates(_))
            && let Some(mask) = NeuronMask::read_in(directory, architecture)?
        {
            keep_masked(&mut parameters, &mask, architecture);
            model.mask_neurons(mask.factors());
        }
        let sizes = sizes(&parameters);
        let mut trainer = Trainer {
            directory: directory.to_owned(),
            as_directory: *encoding == Settings::read(files, architecture)?,
            fingerprint,
            tokenizers,
            skipped,
            model,
            moments: Moments::new(&parameters),
            gradients: Gradients::new(&sizes),
            sizes,
            parameters,
            settings,
            loaded,
            teacher: None,
            free: Mutex::default(),
            pool: Arc::default(),
            spare: Mutex::default(),
            watch: Watch::default(),
        };
        trainer.refresh();
        Ok(trainer)
    }

    /// Distils from an encoder, too: for every query its cosines with all passages of the batch are the teacher's scores, in
    /// place of those that the examples bring; its vectors are what alignment compares with. The teacher reads as much of a text
    /// as it was loaded for, with its own prompts.
    ///
    /// # Errors
    ///
    /// Vectors are to be aligned that are not as long as the teacher's.
    pub fn with_teacher(self, teacher: Encoder) -> Result<Trainer> {
        let (dim, expected) = (self.architecture().hidden_size, teacher.dim());
        if self.settings.loss.alignment_weight > 0.0 && dim != expected {
            return Err(Error::TeacherDimension {
                model: name_of(&self.directory),
                dim,
                teacher: teacher.name().to_owned(),
                expected,
            });
        }
        Ok(Trainer { teacher: Some(teacher), ..self })
    }

    /// What it was told.
    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// What is put before every query.
    pub fn query_prompt(&self) -> &str {
        &self.loaded.settings.query_prompt
    }

    /// Whether it is gates that are trained.
    pub fn trains_gates(&self) -> bool {
        matches!(self.settings.trained, Trained::Gates(_))
    }

    /// The steps that were taken.
    pub fn num_steps(&self) -> usize {
        self.moments.steps
    }

    /// Numbers that are trained.
    pub fn num_trained(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.values.len()).sum()
    }

    /// What the model looks like.
    pub fn architecture(&self) -> &Architecture {
        self.model.architecture()
    }

    /// The model's layers take over what the parameters have become.
    pub(super) fn refresh(&mut self) {
        self.model.refresh(&self.parameters);
    }

    /// The gates as scores of the neurons they stand before.
    ///
    /// # Panics
    ///
    /// If it is not gates that are trained.
    pub fn neuron_scores(&self) -> NeuronScores {
        assert!(self.trains_gates(), "gates are trained");
        let mut gates = self.parameters.iter();
        let layers = self.architecture().layers.iter().map(|layer| {
            layer.intermediate_size?;
            gates.next().map(|gates| gates.values.iter().map(|z| f64::from(*z)).collect())
        });
        NeuronScores {
            layers: layers.collect(),
            model: name_of(&self.directory),
            fingerprint: self.fingerprint,
        }
    }
}

/// What low-rank additions would give to masked neurons, which get no gradient, begins and stays at zero: that what they
/// are merged into stays masked, too. B is zero already; A of the output layers is not.
fn keep_masked(parameters: &mut [Parameter], mask: &NeuronMask, architecture: &Architecture) {
    for (layer, mlp) in mask.layers.iter().enumerate() {
        let Some(mlp) = mlp else { continue };
        for (tensor, _) in
            architecture.mlp_tensors(layer).iter().filter(|(_, axis)| *axis == NeuronAxis::Columns)
        {
            let name = tensor.strip_suffix(".weight").unwrap_or(tensor).to_owned() + lora::A;
            let Some(parameter) = parameters.iter_mut().find(|parameter| parameter.name == name) else {
                continue;
            };
            for row in parameter.values.chunks_exact_mut(mlp.width) {
                mlp.masked.iter().for_each(|neuron| row[*neuron] = 0.0);
            }
        }
    }
}

/// Every tensor of the transformer as a parameter, in f32.
fn all_tensors(
    directory: &Path,
    source: &dyn Tensors,
    architecture: &Architecture,
) -> Result<Vec<Parameter>> {
    if source.is_quantized() {
        return Err(Error::QuantizedToTrain { path: directory.to_owned() });
    }
    let list = source.list();
    let stored: HashMap<&str, &str> =
        list.iter().map(|tensor| (architecture.bare_name(tensor.name), tensor.name)).collect();
    let tensors = architecture.tensors().into_iter().map(|tensor| {
        let name = stored.get(tensor.name.as_str()).copied().unwrap_or(&tensor.name);
        let values = source.values(name, &tensor.shape)?.into_owned();
        let decays = tensor.shape.len() > 1;
        Ok(Parameter { name: tensor.name, shape: tensor.shape, values, decays })
    });
    tensors.collect()
}
