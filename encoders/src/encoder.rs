//! Text in, vectors out.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::after_pooling::Finish;
use crate::architecture::{Architecture, NeuronMask, Remaining};
use crate::compute::{Backend, Spans, vectors_of};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::load_options::LoadOptions;
use crate::loaded::{Loaded, name_of};
use crate::model::{Transformer, can_keep_prompt};
use crate::notice::Notice;
use crate::on_device::{Found, HasModel, OnDevice, PerBatch, batches};
use crate::pooling::Pooling;
use crate::settings::{EncoderSettings, Purpose};
use crate::text_kind::TextKind;
use crate::text_name::TextName;
use crate::tokenize::{SpecialTokens, Tokenizer};
use crate::weights::model_files::{ModelFile, ModelFiles};

/// A model that maps texts to vectors.
///
/// ```no_run
/// use secateur_encoders::{Encoder, LoadOptions, TextKind};
/// let encoder = Encoder::load("models/all-MiniLM-L6-v2", &LoadOptions::default())?;
/// let vectors = encoder.encode(&["When are roses pruned?", "Bread"], TextKind::Query)?;
/// assert_eq!(vectors.len(), 2 * encoder.dim());
/// # Ok::<(), secateur_encoders::Error>(())
/// ```
pub struct Encoder {
    directory: PathBuf,
    options: LoadOptions,
    name: String,
    settings: EncoderSettings,
    tokenizer: Tokenizer,
    architecture: Architecture,
    model: OnDevice<Encoder>,
    computes_on: String,
    batch_tokens: usize,
    fingerprint: Fingerprint,
    /// How many tokens at the beginning of a query and of a passage pooling leaves out.
    skipped: [usize; 2],
    /// Whether what texts begin with can be computed once.
    keeps_prompt: bool,
    /// What queries and passages begin with, where that is computed once; empty elsewhere.
    prompts: [Vec<u32>; 2],
    finish: Finish,
    notices: Vec<Notice>,
}

/// What is taken out of a model before it is loaded.
type Pruned<'a> = &'a dyn Fn(Loaded) -> Result<Loaded>;

impl Encoder {
    /// Loads a Hugging Face or sentence-transformers model directory, or that of a LoRA adapter, which is merged into
    /// its base.
    ///
    /// # Errors
    ///
    /// A file is missing, damaged or of an unknown architecture. A tensor is missing or has another shape. An adapter
    /// has a tensor for which the model has no place.
    pub fn load(directory: impl AsRef<Path>, options: &LoadOptions) -> Result<Encoder> {
        let directory = directory.as_ref();
        let files = options.locate(directory)?;
        Encoder::of_files(directory, name_of(directory), files, options, None)
    }

    /// Loads a model whose files are in the program, by `include_bytes!`. The files are config.json, model.safetensors,
    /// tokenizer.json and what stands beside them, each with its path in a model directory. Nothing is read from a
    /// disk.
    ///
    /// # Errors
    ///
    /// As [`Encoder::load`].
    pub fn from_parts(name: &str, parts: &'static [ModelFile], options: &LoadOptions) -> Result<Encoder> {
        let files = ModelFiles::in_memory(name, parts, &options.ignore_settings);
        Encoder::of_files(Path::new(name), name.to_owned(), files, options, None)
    }

    /// The same with only what remains of the model; the other sub-layers are not read. The encoder computes what the
    /// directory that [`ModelDirectory::write_dropped`](crate::prune::ModelDirectory::write_dropped) writes does; its
    /// fingerprint is its own.
    ///
    /// # Errors
    ///
    /// As [`Encoder::load`].
    ///
    /// # Panics
    ///
    /// If `remaining` has another number of layers.
    pub fn load_dropped(
        directory: impl AsRef<Path>,
        options: &LoadOptions,
        remaining: &Remaining,
    ) -> Result<Encoder> {
        let directory = directory.as_ref();
        let files = options.locate(directory)?;
        let pruned: Pruned<'_> = &|mut loaded: Loaded| {
            loaded.keep(remaining);
            Ok(loaded)
        };
        Encoder::of_files(directory, name_of(directory), files, options, Some(pruned))
    }

    /// The same, without the masked neurons of the MLPs that remain. The encoder computes what the directory that
    /// [`ModelDirectory::write_pruned`](crate::prune::ModelDirectory::write_pruned) writes does.
    ///
    /// # Errors
    ///
    /// As [`Encoder::load`]; the mask is not of this model, or takes neurons from a quantized one.
    ///
    /// # Panics
    ///
    /// If `remaining` has another number of layers.
    pub fn load_pruned(
        directory: impl AsRef<Path>,
        options: &LoadOptions,
        remaining: &Remaining,
        mask: &NeuronMask,
    ) -> Result<Encoder> {
        let directory = directory.as_ref();
        let files = options.locate(directory)?;
        let pruned: Pruned<'_> = &|loaded: Loaded| loaded.prune(remaining, mask);
        Encoder::of_files(directory, name_of(directory), files, options, Some(pruned))
    }

    /// The same as [`Encoder::from_parts`], on this GPU.
    ///
    /// # Errors
    ///
    /// As [`Encoder::load`].
    #[cfg(feature = "emulate")]
    pub fn from_parts_on(
        gpu: secateur_gpu::Gpu,
        name: &str,
        parts: &'static [ModelFile],
        options: &LoadOptions,
    ) -> Result<Encoder> {
        let files = ModelFiles::in_memory(name, parts, &options.ignore_settings);
        let found = Found::of_gpu(&files, gpu)?;
        Encoder::on_found(found, (Path::new(name), name.to_owned()), files, options, None)
    }

    fn of_files(
        directory: &Path,
        name: String,
        files: ModelFiles,
        options: &LoadOptions,
        pruned: Option<Pruned<'_>>,
    ) -> Result<Encoder> {
        Encoder::on_found(Found::open(&files, options)?, (directory, name), files, options, pruned)
    }

    fn on_found(
        found: Found,
        (directory, name): (&Path, String),
        files: ModelFiles,
        options: &LoadOptions,
        pruned: Option<Pruned<'_>>,
    ) -> Result<Encoder> {
        let options = LoadOptions { precision: Some(found.precision), ..options.clone() };
        // Only a whole model is known to be in order once it is loaded.
        let cache = options.cache.as_deref().filter(|_| pruned.is_none());
        let mut loaded = Loaded::of_files(files, &options, Purpose::Encode, cache)?;
        loaded.fingerprint = loaded.fingerprint.computed_in(found.precision, found.own);
        if let Some(pruned) = pruned {
            loaded = pruned(loaded)?;
        }
        let (computes_on, batch_tokens) = (found.what.clone(), found.batch_tokens());
        let (model, tokenizer) = OnDevice::with_tokenizer(found, &loaded)?;
        let Loaded { settings, architecture, fingerprint, finish, notices, .. } = loaded;
        let skipped = settings.skipped_tokens([&tokenizer, &tokenizer])?;
        let keeps_prompt = settings.pooling.single() == Some(Pooling::LastToken)
            && finish.is_empty()
            && can_keep_prompt(&architecture);
        let mut encoder = Encoder {
            directory: directory.to_owned(),
            name: options.name.clone().unwrap_or(name),
            batch_tokens: options.batch_tokens.unwrap_or(batch_tokens),
            options,
            computes_on,
            settings,
            tokenizer,
            architecture,
            model,
            fingerprint,
            skipped,
            keeps_prompt,
            prompts: Default::default(),
            finish,
            notices,
        };
        let [query, passage] = [&encoder.settings.query_prompt, &encoder.settings.passage_prompt];
        encoder.prompts = [encoder.kept_prompt(query)?, encoder.kept_prompt(passage)?];
        Ok(encoder)
    }

    /// D, the length of a vector.
    pub fn dim(&self) -> usize {
        self.settings.dim(self.architecture().hidden_size)
    }

    /// The name of the model directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory it was loaded from.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The device, by its name; and why it is the CPU, if [`Device::Auto`](crate::Device::Auto) found no GPU.
    pub fn computes_on(&self) -> &str {
        &self.computes_on
    }

    /// How it was loaded. The precision is always given here.
    pub fn options(&self) -> &LoadOptions {
        &self.options
    }

    /// The most tokens of a text that count.
    pub fn max_length(&self) -> usize {
        self.settings.max_length
    }

    /// How texts are encoded.
    pub fn settings(&self) -> &EncoderSettings {
        &self.settings
    }

    /// What its files do not say, and what was assumed in its place.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The special tokens around every text.
    pub fn special_tokens(&self) -> SpecialTokens {
        SpecialTokens::of(&self.tokenizer)
    }

    /// What the model looks like.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// What makes it the encoder it is.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Encodes texts: (B) -> (B, D), row-major, in the order given.
    ///
    /// On a CPU a text's vector does not depend on the other texts of the call, nor on the number of threads, bit for
    /// bit. On a GPU it depends on them by rounding alone: products of other sizes are summed in another order.
    /// Work is spread over the current rayon pool.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text, or a vector is not finite.
    pub fn encode(&self, texts: &[&str], kind: TextKind) -> Result<Vec<f32>> {
        self.encode_tokens(&self.tokenize(texts, kind)?, kind)
    }

    /// Encodes texts as [`Encoder::encode`] does, with this prompt before each in place of the settings'.
    ///
    /// # Errors
    ///
    /// As [`Encoder::encode`].
    pub fn encode_with_prompt(&self, texts: &[&str], prompt: &str) -> Result<Vec<f32>> {
        let skipped = if self.settings.pool_prompt { 0 } else { self.tokenizer.prompt_tokens(prompt)? };
        let tokens = self.tokenize_after(texts, prompt, self.settings.max_length)?;
        self.encode_skipping(&tokens, skipped, &self.kept_prompt(prompt)?)
    }

    /// The token ids of each text, prompt and special tokens included.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text.
    pub fn tokenize(&self, texts: &[&str], kind: TextKind) -> Result<Vec<Vec<u32>>> {
        let prompt = match kind {
            TextKind::Query => &self.settings.query_prompt,
            TextKind::Passage => &self.settings.passage_prompt,
        };
        self.tokenize_after(texts, prompt, self.settings.length_of(kind))
    }

    fn tokenize_after(&self, texts: &[&str], prompt: &str, length: usize) -> Result<Vec<Vec<u32>>> {
        let one = |text: &&str| match prompt {
            "" => self.tokenizer.encode_to(text, length),
            prompt => self.tokenizer.encode_to(&format!("{prompt}{text}"), length),
        };
        if texts.len() == 1 { texts.iter().map(one).collect() } else { texts.par_iter().map(one).collect() }
    }

    /// The bytes of each token of a text. The text is not cut; prompt and special tokens are left out.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses the text.
    pub fn token_ranges(&self, text: &str) -> Result<Vec<Range<usize>>> {
        self.tokenizer.ranges(text)
    }

    /// How many tokens of a passage are read: those of its length without the special tokens and the prompt.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses the prompt.
    pub fn passage_room(&self) -> Result<usize> {
        let room = self.tokenizer.room(self.settings.length_of(TextKind::Passage));
        Ok(room.saturating_sub(self.tokenizer.ranges(&self.settings.passage_prompt)?.len()))
    }

    /// How many of the texts that were tokenized so far were longer than [`Encoder::max_length`] and were cut.
    pub fn num_cut_texts(&self) -> usize {
        self.tokenizer.num_cut()
    }

    /// How many tokens of a corpus are encoded between two moments at which the vectors so far are safe: some seconds
    /// of work. These are fewer for a large model, and more on GPUs, each of which gets some batches.
    pub fn chunk_tokens(&self) -> usize {
        let flop = self.architecture.flop_per_token(TYPICAL_TOKENS).total().max(1.0);
        let in_flop = |flop_of_chunk: f64| (flop_of_chunk / flop) as usize;
        match &self.model {
            OnDevice::Cpu(_) => in_flop(CPU_CHUNK * rayon::current_num_threads() as f64).clamp(1_024, 16_384),
            OnDevice::Cuda(gpus) => {
                let batch = self.batch_tokens;
                gpus.len() * in_flop(GPU_CHUNK).clamp(4 * batch, 32 * batch)
            }
        }
    }

    /// What texts with this prompt begin with, if that is computed once; empty if it is not, or is short.
    fn kept_prompt(&self, prompt: &str) -> Result<Vec<u32>> {
        if prompt.is_empty() || !self.keeps_prompt {
            return Ok(Vec::new());
        }
        let mut ids = self.tokenizer.beginning(prompt)?;
        // The text may change it.
        ids.pop();
        Ok(if ids.len() < LEAST_PROMPT { Vec::new() } else { ids })
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(crate) fn model(&self) -> &OnDevice<Encoder> {
        &self.model
    }

    /// Texts in batches that are computed together.
    pub(crate) fn batches(&self, tokens: &[Vec<u32>]) -> Vec<Vec<usize>> {
        // A text whose angles depend on its length is computed by itself.
        let alone = self.architecture.angles_same_until();
        batches(tokens, self.batch_tokens, alone)
    }

    /// How many tokens at the beginning of a text of this kind pooling leaves out.
    pub(crate) fn skipped(&self, kind: TextKind) -> usize {
        self.skipped[kind as usize]
    }

    /// The second half of [`Encoder::encode`]: what [`Encoder::tokenize`] gave for texts of this kind becomes vectors,
    /// (B, D).
    ///
    /// # Errors
    ///
    /// A vector is not finite.
    pub fn encode_tokens(&self, tokens: &[Vec<u32>], kind: TextKind) -> Result<Vec<f32>> {
        self.encode_skipping(tokens, self.skipped(kind), &self.prompts[kind as usize])
    }

    /// The same, with this number of tokens at the beginning of each text left out of a mean. Texts that begin with
    /// `prompt` have that computed once; it is empty where nothing is.
    fn encode_skipping(&self, tokens: &[Vec<u32>], skipped: usize, prompt: &[u32]) -> Result<Vec<f32>> {
        let task = Vectors { settings: &self.settings, finish: &self.finish, tokens, skipped, prompt };
        let vectors = self.model.run(self.batches(tokens), &task)?;
        let dim = self.dim();
        let mut out = vec![0.0; tokens.len() * dim];
        for (text, vector) in vectors.iter().flat_map(|(batch, v)| batch.iter().zip(v.chunks_exact(dim))) {
            if !vector.iter().all(|x| x.is_finite()) {
                return Err(Error::VectorNotFinite { text: TextName::Place(*text) });
            }
            out[text * dim..(text + 1) * dim].copy_from_slice(vector);
        }
        Ok(out)
    }
}

/// FLOP of a chunk of a corpus, for each thread and for each GPU.
const CPU_CHUNK: f64 = 1e11;
const GPU_CHUNK: f64 = 1e15;

/// Tokens of a text, by which a token's cost is told.
const TYPICAL_TOKENS: usize = 128;

/// A prompt of fewer tokens than this is computed with each text.
const LEAST_PROMPT: usize = 8;

impl HasModel for Encoder {
    type Model<B: Backend> = Transformer<B>;

    fn load<B: Backend>(backend: &B, loaded: &Loaded) -> Result<Transformer<B>> {
        Transformer::load(backend, loaded.architecture.clone(), &*loaded.tensors)
    }
}

/// The vectors of a batch, (B, D).
struct Vectors<'a> {
    settings: &'a EncoderSettings,
    finish: &'a Finish,
    tokens: &'a [Vec<u32>],
    /// Tokens at the beginning of each text that a mean leaves out.
    skipped: usize,
    /// What a text may begin with that is computed once; empty where nothing is.
    prompt: &'a [u32],
}

impl PerBatch<Encoder> for Vectors<'_> {
    type Output = Vec<f32>;

    fn tokens(&self, text: usize) -> usize {
        self.tokens[text].len()
    }

    fn compute<B: Backend>(&self, model: &Transformer<B>, backend: &B, batch: &[usize]) -> Result<Vec<f32>> {
        let settings = self.settings;
        let hidden_size = model.architecture().hidden_size;
        let dim = settings.dim(hidden_size);
        let texts = || batch.iter().map(|text| &self.tokens[*text][..]);
        let prompt = self.prompt;
        if !prompt.is_empty() && texts().all(|text| text.len() > prompt.len() && text.starts_with(prompt)) {
            let texts = || texts().map(|text| &text[prompt.len()..]);
            let spans = Spans::from_lengths(texts().map(<[u32]>::len));
            let last =
                model.last_after_prompt(backend, prompt, &texts().collect::<Vec<_>>().concat(), &spans)?;
            return backend.to_vectors(&last, dim, settings.normalize);
        }
        let ids = texts().collect::<Vec<_>>().concat();
        let spans = Spans::from_lengths(texts().map(<[u32]>::len));
        if let Some(pooling) = settings.pooling.single()
            && self.finish.is_empty()
        {
            let pooled = model.pooled(backend, &ids, &spans, pooling, self.skipped)?;
            return backend.to_vectors(&pooled, dim, settings.normalize);
        }
        let hidden = model.forward(backend, &ids, &spans)?;
        let pool = |pooling| backend.to_vec(&backend.pool(&hidden, &spans, pooling, self.skipped)?);
        let parts = settings.pooling.iter().map(pool).collect::<Result<Vec<_>>>()?;
        let (pooled, width) = beside_each_other(parts, hidden_size);
        let (vectors, whole) = self.finish.apply(pooled, width);
        Ok(vectors_of(vectors, whole, dim, settings.normalize))
    }
}

/// Vectors (B, `dim`) of several kinds, those of one text one after the other; and how many numbers each then has.
fn beside_each_other(mut parts: Vec<Vec<f32>>, dim: usize) -> (Vec<f32>, usize) {
    if parts.len() == 1 {
        return (parts.swap_remove(0), dim);
    }
    let texts = parts[0].len() / dim;
    let of_text = |text: usize| parts.iter().flat_map(move |part| &part[text * dim..(text + 1) * dim]);
    ((0..texts).flat_map(of_text).copied().collect(), parts.len() * dim)
}
