//! A model in training: steps, vectors on the way, and what it has become.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::device::Found;
use super::learner::{Learner, Learning};
use super::settings::{TrainSettings, Trained};
use super::slim::Slim;
use super::step::StepReport;
use super::teacher_vectors::TeacherVectors;
use super::teaching::Teaching;
use super::texts::{Example, Reader};
use super::{lora, write};
use crate::architecture::{Architecture, NeuronAxis, NeuronMask};
use crate::compute::backward::Backward;
use crate::compute::cpu::{Cpu, Factors, Products};
use crate::compute::cuda::Cuda;
use crate::compute::tape::{Parameter, Tape, sizes};
use crate::contrastive::engine::{Engine, MemoryUse};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::load_options::LoadOptions;
use crate::loaded::{Loaded, name_of};
use crate::model::Transformer;
use crate::notice::Notice;
use crate::prune::NeuronScores;
use crate::settings::{Purpose, Read};
use crate::text_kind::TextKind;
use crate::tokenize::{Reading, Tokenizer};
use crate::weights::tensors::Tensors;

/// A model in training, on the CPU or on a GPU.
///
/// ```no_run
/// use secateur_encoders::train::{Example, Lora, TrainSettings, Trained, Trainer};
/// let settings = TrainSettings::new(Trained::Lora(Lora::default()), 100);
/// let mut trainer = Trainer::load("models/all-MiniLM-L6-v2", settings)?;
/// let example = |query: &str, answer: &str| Example {
///     query: query.to_owned(),
///     passages: vec![answer.to_owned()],
///     scores: None,
/// };
/// let batch = [example("When are roses pruned?", "In late winter."), example("Is rye a grass?", "It is.")];
/// let report = trainer.step(&[&batch])?;
/// println!("{} {}", report.step, report.loss);
/// trainer.write("roses")?;
/// # Ok::<(), secateur_encoders::Error>(())
/// ```
pub struct Trainer {
    directory: PathBuf,
    settings: TrainSettings,
    loaded: Loaded,
    fingerprint: Fingerprint,
    /// Whether texts are encoded as the directory says, or as the caller does.
    as_directory: bool,
    pub(super) reader: Reader,
    pub(super) learner: Box<dyn Learning>,
    /// What computes.
    computes_on: String,
}

impl Trainer {
    /// Loads a model to be trained.
    ///
    /// # Errors
    ///
    /// The errors of loading an encoder. A setting is out of its range. The directory is an adapter's, which has to
    /// be merged first. All weights of a quantized model are to be trained. No layer has the name of a target.
    pub fn load(directory: impl AsRef<Path>, settings: TrainSettings) -> Result<Trainer> {
        let directory = directory.as_ref();
        Trainer::load_with(directory, settings, &LoadOptions::default())
    }

    /// [`Trainer::load`] with options that overrule the directory's pooling, prompts and quantization, and say where
    /// the model is trained. On a GPU weights are bf16, and what is trained of them is kept in f32, too.
    ///
    /// # Errors
    ///
    /// As [`Trainer::load`]. The device cannot be used, is several GPUs, or has no memory. A GPU cannot train the heads
    /// of the model.
    pub fn load_with(
        directory: impl AsRef<Path>,
        settings: TrainSettings,
        options: &LoadOptions,
    ) -> Result<Trainer> {
        let open = |architecture: &Architecture| Found::open(options.device, architecture);
        Trainer::load_on(directory.as_ref(), settings, options, open)
    }

    /// [`Trainer::load_with`] on a device that is found when the architecture is known.
    pub(super) fn load_on(
        directory: &Path,
        settings: TrainSettings,
        options: &LoadOptions,
        open: impl FnOnce(&Architecture) -> Result<Found>,
    ) -> Result<Trainer> {
        settings.check()?;
        let loaded = Loaded::open(directory, options, Purpose::Encode)?;
        let Loaded { files, settings: encoding, architecture, fingerprint, .. } = &loaded;
        let fingerprint = *fingerprint;
        if files.adapter().is_some() {
            return Err(Error::AdapterToTrain { path: directory.to_owned() });
        }
        if let Trained::Lora(lora) = &settings.trained {
            lora.check_layers(directory, architecture)?;
        }
        let pooling = encoding.trained_pooling(directory, architecture)?;
        let tokenizer = |limit: Option<usize>, kind: TextKind| {
            let most = encoding.length_of(kind);
            let length = limit.unwrap_or(most).min(most);
            let reading = encoding.reading(architecture.vocab_size);
            let reading = Reading { max_length: length, shortest: length, ..reading };
            Tokenizer::load(files, &loaded.config, reading)
        };
        let reader = Reader {
            tokenizers: [
                tokenizer(settings.query_max_length, TextKind::Query)?,
                tokenizer(settings.passage_max_length, TextKind::Passage)?,
            ],
            prompts: [encoding.query_prompt.clone(), encoding.passage_prompt.clone()],
            teacher: None,
            aligns: settings.loss.alignment_weight > 0.0,
        };
        let skipped = encoding.skipped_tokens([&reader.tokenizers[0], &reader.tokenizers[1]])?;
        let Found { device, gpu, what: computes_on } = open(architecture)?;
        let TrainSettings { batch_tokens, gradient_cache, recompute, .. } = settings;
        let batch_tokens = batch_tokens.unwrap_or(device.batch_tokens());
        let memory = MemoryUse { batch_tokens, gradient_cache, recompute };
        let parts = Parts { directory, loaded: &loaded, settings: &settings };
        let learner: Box<dyn Learning> = match gpu {
            None => {
                let products = if settings.bf16_weights { Products::Halves } else { Products::F32 };
                let backend = Cpu::serial().with_products(products);
                let (model, parameters) = parts.load(&Tape::forward_only(backend))?;
                let factors = Factors::of(settings.precision);
                let engine = Engine::on_cpu(model, pooling, skipped, memory, (sizes(&parameters), factors));
                Box::new(Learner::new(engine, parameters)?)
            }
            Some(gpu) => {
                let backend = Cuda::for_training(gpu.clone());
                let (model, parameters) = parts.load(&Tape::forward_only(backend))?;
                let engine = Engine::on_gpu(model, gpu, pooling, skipped, memory, sizes(&parameters));
                Box::new(Learner::new(engine, parameters)?)
            }
        };
        Ok(Trainer {
            directory: directory.to_owned(),
            as_directory: *encoding == Read::of(files, architecture, Purpose::Encode)?.settings,
            fingerprint,
            reader,
            learner,
            computes_on,
            settings,
            loaded,
        })
    }

    /// Distils from an encoder, too. Its cosines of each query with all passages of the batch replace the scores of
    /// the examples, and alignment compares with its vectors. The teacher reads as much of a text as it was loaded
    /// for, with its own prompts.
    ///
    /// # Errors
    ///
    /// Vectors are to be aligned that are not as long as the teacher's.
    pub fn with_teacher(self, teacher: Encoder) -> Result<Trainer> {
        self.taught_by(Teaching::Encoder(Box::new(teacher)))
    }

    /// The same from vectors that the teacher has made of the texts before, so that it need not run. Losses differ by
    /// the rounding of these to f16 alone. A step is an error if one of its texts has no vector.
    ///
    /// # Errors
    ///
    /// As [`Trainer::with_teacher`].
    pub fn with_teacher_vectors(self, vectors: TeacherVectors) -> Result<Trainer> {
        self.taught_by(Teaching::Vectors(vectors))
    }

    fn taught_by(self, teacher: Teaching) -> Result<Trainer> {
        let (dim, expected) = (self.architecture().hidden_size, teacher.dim());
        if self.reader.aligns && dim != expected {
            return Err(Error::TeacherDimension {
                model: name_of(&self.directory),
                dim,
                teacher: teacher.name(),
                expected,
            });
        }
        Ok(Trainer { reader: Reader { teacher: Some(teacher), ..self.reader }, ..self })
    }

    /// The fingerprint of the teacher, if there is one.
    pub fn teacher(&self) -> Option<&[u8; 32]> {
        self.reader.teacher.as_ref().map(Teaching::fingerprint)
    }

    /// What it was told.
    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// What the model's files do not say, and what was assumed.
    pub fn notices(&self) -> &[Notice] {
        &self.loaded.notices
    }

    /// What computes, and what else was looked for and not found.
    pub fn computes_on(&self) -> &str {
        &self.computes_on
    }

    /// What is put before every query.
    pub fn query_prompt(&self) -> &str {
        &self.loaded.settings.query_prompt
    }

    /// Whether it is the width of MLPs that is trained.
    pub fn is_slimming(&self) -> bool {
        matches!(self.settings.trained, Trained::Slim(_))
    }

    /// The steps that were taken.
    pub fn num_steps(&self) -> usize {
        self.learner.num_steps()
    }

    /// Numbers that are trained.
    pub fn num_trained(&self) -> usize {
        self.learner.num_trained()
    }

    /// What the model looks like.
    pub fn architecture(&self) -> &Architecture {
        self.learner.architecture()
    }

    /// Takes a step on the mean loss of `batches`. Several batches are gradient accumulation: queries are compared
    /// within their own batch only. The result depends on the examples and the seed, not on the number of threads.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`], after which the parameters are those of the step before; the tokenizer refuses a text;
    /// [`Error::NotTaught`], if a teacher's vectors lack a text.
    ///
    /// # Panics
    ///
    /// If there is no batch, a batch has no example, an example has no passage, or an example has not one score for
    /// each passage.
    pub fn step(&mut self, batches: &[&[Example]]) -> Result<StepReport> {
        assert!(!batches.is_empty() && batches.iter().all(|batch| !batch.is_empty()), "a step has examples");
        let mut batches = batches.iter().map(|batch| self.reader.texts(batch));
        self.learner.step(&self.settings, &mut batches)
    }

    /// Refuses a model whose numbers have overflowed in the step before. The next step would find it; after the last
    /// one there is none. Large numbers overflow in the vectors, so those of the example's query and first passage are
    /// looked at, too.
    ///
    /// # Errors
    ///
    /// [`Error::Overflowed`]; the tokenizer refuses a text.
    ///
    /// # Panics
    ///
    /// If the example has no passage.
    pub fn check_finite(&self, example: &Example) -> Result<()> {
        let texts = [(&example.query[..], TextKind::Query), (&example.passages[0][..], TextKind::Passage)];
        let tokens = self.reader.tokenize(&texts)?;
        let vectors = self.learner.vectors(tokens.split_at(1).into())?;
        let parameters = self.learner.parameters()?;
        let mut trained = parameters.iter().map(|parameter| &parameter.values[..]);
        let is_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        match is_finite(&vectors) && trained.all(is_finite) {
            true => Ok(()),
            false => Err(Error::Overflowed { step: self.num_steps() }),
        }
    }

    /// Unit vectors of texts as the model now is: (B) -> (B, D), row-major, in the order given.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text.
    pub fn encode(&self, texts: &[&str], kind: TextKind) -> Result<Vec<f32>> {
        let texts: Vec<(&str, TextKind)> = texts.iter().map(|text| (*text, kind)).collect();
        let tokens = self.reader.tokenize(&texts)?;
        let kinds = if kind == TextKind::Query { [&tokens[..], &[]] } else { [&[], &tokens[..]] };
        let mut vectors = self.learner.vectors(kinds)?;
        crate::pooling::normalize(&mut vectors, self.architecture().hidden_size);
        Ok(vectors)
    }

    /// Writes what [`Trainer::resume`] needs to `path`, in place of what is there; `notes` come back from it.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the one that was there is then as it was.
    pub fn save(&self, path: impl AsRef<Path>, notes: &str) -> Result<()> {
        self.learner.save(path.as_ref(), &self.settings, self.fingerprint, notes)
    }

    /// Continues from a state that [`Trainer::save`] wrote. Later steps equal those of an uninterrupted run, bit for
    /// bit. Returns the notes.
    ///
    /// # Errors
    ///
    /// The file is missing or damaged, or is the state of another model or of other settings.
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<String> {
        let model = (&*self.directory, self.fingerprint);
        self.learner.resume(path.as_ref(), &self.settings, model)
    }

    /// Writes the new directory `out`, which appears whole or not at all. After low-rank adaptation it is that of a
    /// PEFT adapter, which names the model it was trained on. After full training it is that of the model, in the
    /// element types of the one that training began with. While slimming the model itself does not change:
    /// [`Trainer::neuron_scores`] is what has been learned.
    ///
    /// # Errors
    ///
    /// `out` exists or cannot be written.
    ///
    /// # Panics
    ///
    /// If it is the width of MLPs that is trained.
    pub fn write(&self, out: impl AsRef<Path>) -> Result<()> {
        let out = out.as_ref();
        let Trainer { directory, loaded, .. } = self;
        // The files for pooling and prompts, if the directory that training began with says something else.
        let encoding = match self.as_directory {
            true => Vec::new(),
            false => loaded.settings.files(loaded.architecture.hidden_size),
        };
        let parameters = self.learner.parameters()?;
        let trained = write::Trained { directory, loaded, parameters: &parameters, encoding };
        match &self.settings.trained {
            Trained::Lora(lora) => trained.write_lora(lora, out),
            Trained::Full => trained.write_model(out),
            Trained::Slim(_) => panic!("what slimming learns is written as scores of neurons"),
        }
    }

    /// What slimming has learned, as scores of the neurons.
    ///
    /// # Errors
    ///
    /// The device fails.
    ///
    /// # Panics
    ///
    /// If it is not the width of MLPs that is trained.
    pub fn neuron_scores(&self) -> Result<NeuronScores> {
        assert!(self.is_slimming(), "the width of MLPs is trained");
        let parameters = self.learner.parameters()?;
        let mut factors = parameters.iter();
        let layers = self.architecture().layers.iter().map(|layer| {
            layer.intermediate_size?;
            factors.next().map(|factors| factors.values.iter().map(|z| f64::from(*z)).collect())
        });
        Ok(NeuronScores {
            layers: layers.collect(),
            model: name_of(&self.directory),
            fingerprint: self.fingerprint,
        })
    }
}

/// What a model in training is made of.
struct Parts<'a> {
    directory: &'a Path,
    loaded: &'a Loaded,
    settings: &'a TrainSettings,
}

impl Parts<'_> {
    /// The model on a backend, and what is trained of it.
    fn load<B: Backward>(&self, tape: &Tape<B>) -> Result<(Transformer<Tape<B>>, Vec<Parameter>)> {
        let Parts { directory, loaded: Loaded { tensors, architecture, .. }, settings } = *self;
        let mut model = Transformer::load(tape, architecture.clone(), &**tensors)?;
        let mut parameters = match &settings.trained {
            Trained::Lora(lora) => {
                let parameters = lora.parameters(architecture, settings.seed)?;
                model.train_adapters(tape.backend(), &parameters, lora.shape())?;
                parameters
            }
            Trained::Full => {
                let parameters = all_tensors(directory, &**tensors, architecture)?;
                model.train_all(&parameters);
                parameters
            }
            Trained::Slim(_) => {
                model.train_neurons(tape.backend())?;
                Slim::parameters(architecture)
            }
        };
        // A masked model stays masked: its zeros get no gradient where the mask multiplies the neurons.
        if !matches!(settings.trained, Trained::Slim(_))
            && let Some(mask) = NeuronMask::read_in(directory, architecture)?
        {
            keep_masked(&mut parameters, &mask, architecture);
            model.mask_neurons(tape.backend(), mask.factors())?;
        }
        Ok((model, parameters))
    }
}

/// Low-rank additions to masked neurons are zero at the beginning. They get no gradient, so they stay zero, and the
/// merged model stays masked. B is zero already; A of the output layers is set to zero here.
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
