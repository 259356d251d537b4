//! What can go wrong between a model directory and a vector.

use std::path::PathBuf;

use crate::notice::Notice;
use crate::prune_error::PruneError;
use crate::text_name::TextName;
use secateur_files::{ErrorKind, JournalError, PathError};

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a library that this crate is built on.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong between a model directory and a vector. Each message names the file or field, what was expected
/// and what was found, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The journal of an interrupted measurement cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A model cannot be pruned as asked.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// A model directory lacks a file it needs.
    #[error("{} has no {file}: {advice}", directory.display())]
    MissingFile {
        /// The model directory.
        directory: PathBuf,
        /// The file that is missing.
        file: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// There is no model directory at a path.
    #[error("there is no model directory {}", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// A JSON file of a model directory does not parse or lacks a field.
    #[error("{} cannot be read as the JSON that is expected: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why, as the parser says it.
        source: BoxedError,
    },
    /// The model's architecture is not one this crate knows.
    #[error("{}: model_type is {found}; the families that load are {known}", path.display())]
    UnknownFamily {
        /// The config.json.
        path: PathBuf,
        /// Its model_type.
        found: String,
        /// The families there are.
        known: String,
    },
    /// A field of a configuration has a value that cannot be used.
    #[error("{}: {field} is {found}; expected {expected}", path.display())]
    InvalidField {
        /// The file.
        path: PathBuf,
        /// The field, with its path in the document.
        field: String,
        /// Its value.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// An option of the caller's does not suit the model.
    #[error("{}: the {option} that was asked for is {found}; expected {expected}", path.display())]
    InvalidOption {
        /// The file that says what suits it.
        path: PathBuf,
        /// What was asked for.
        option: &'static str,
        /// Its value.
        found: usize,
        /// What it must be.
        expected: String,
    },
    /// A setting of a file could change vectors, and is not heeded.
    #[error("{}: {key} is {value}: {why}; if it changes no vector of this model, pass it over with --ignore-setting {key}", path.display())]
    UnheededSetting {
        /// The file.
        path: PathBuf,
        /// The key, with its path in the document.
        key: String,
        /// Its value, perhaps shortened.
        value: String,
        /// What it means, and what can be read.
        why: String,
    },
    /// The files of a model leave something open, and nothing is to be assumed.
    #[error(
        "{notice}; with --strict nothing is assumed: say it in that file, or on the command line where there is an option for it"
    )]
    Assumed {
        /// What is not said.
        notice: Notice,
    },
    /// A file is the text that stands for a large file in a git repository.
    #[error("{} is a Git LFS pointer and not the file itself, which has {bytes} bytes: fetch it with `git lfs pull`, or download the file", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
        /// Bytes of the file that it stands for, as it says.
        bytes: String,
    },
    /// A pickled checkpoint asks for what is not read.
    #[error("{} cannot be read without running what it says: {why}; convert it to safetensors", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        why: String,
    },
    /// A safetensors file is truncated or damaged.
    #[error("{} is not a whole safetensors file: {source}; fetch it again", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BoxedError,
    },
    /// The checkpoint of a training run is cut off or damaged.
    #[error("{} is no whole checkpoint: {source}; restore it from a copy, or remove it to begin the run anew", path.display())]
    DamagedCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        source: BoxedError,
    },
    /// A run is to go on with other settings than it began with.
    #[error("{} is of a run with other options: {differences}; go on with those, or choose another folder", path.display())]
    OtherSettings {
        /// The checkpoint.
        path: PathBuf,
        /// Each setting that differs, with the value of the run and the one given.
        differences: String,
    },
    /// A training setting is out of its range.
    #[error("{setting} is {found}; it must be {expected}")]
    InvalidSetting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: f64,
        /// What it must be.
        expected: &'static str,
    },
    /// No linear layer has the name of a target of low-rank adaptation.
    #[error("no linear layer's name ends in {target:?}; the model has {}, ...", known.join(", "))]
    NoSuchTarget {
        /// The target.
        target: String,
        /// Some of the layers there are.
        known: Vec<String>,
    },
    /// An adapter is to be trained for a model without layers.
    #[error(
        "{} has no linear layers, and adapters (LoRA) are added to those: train all of its weights (--full, or `full = true` \
         in a recipe)",
        path.display()
    )]
    NothingToAdapt {
        /// The model's directory.
        path: PathBuf,
    },
    /// An adapter's directory is to be trained.
    #[error("{} is an adapter: merge it first (`secateur model merge`) and train the merged model", path.display())]
    AdapterToTrain {
        /// The directory.
        path: PathBuf,
    },
    /// All weights of a quantized model are to be trained.
    #[error("{} is quantized: its weights cannot be trained; train an adapter, or the model it was made from", path.display())]
    QuantizedToTrain {
        /// The directory.
        path: PathBuf,
    },
    /// A model is to be trained in 8 bits.
    #[error("a model is not trained in int8: choose f32 or bf16")]
    Int8ToTrain,
    /// The loss is not finite or has risen for good. The parameters are those of the step before.
    #[error(
        "training diverged at step {step}: the loss is {loss:.4}, after a lowest mean of {lowest:.4}; go on from the last checkpoint with a lower learning rate or a longer warm-up"
    )]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// Its loss.
        loss: f64,
        /// The lowest mean over some 50 steps before.
        lowest: f64,
    },
    /// The numbers of a model have overflowed in a step of training.
    #[error(
        "training diverged at step {step}: its numbers have overflowed, and the model gives no vectors; train with a lower \
         learning rate or a longer warm-up"
    )]
    Overflowed {
        /// The step, counted from 1.
        step: usize,
    },
    /// A vocabulary is to be learned from nothing.
    #[error("there is no text to learn a vocabulary from")]
    NoTexts,
    /// Vectors cannot be aligned with longer or shorter ones.
    #[error(
        "{model} makes vectors of {dim} numbers, the teacher {teacher} of {expected}: alignment compares vectors of one length; leave its weight at 0 and distil the ranking, or choose another teacher"
    )]
    TeacherDimension {
        /// What is trained.
        model: String,
        /// Its dimension.
        dim: usize,
        /// The teacher.
        teacher: String,
        /// Its dimension.
        expected: usize,
    },
    /// A file of a teacher's vectors is damaged, or is none.
    #[error("{} cannot be read as a teacher's vectors: {problem}; write it again with `secateur teach --vectors`", path.display())]
    TeacherVectors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Vectors of two teachers were to be learned together.
    #[error("{} and {} hold vectors of two teachers, or of one that was loaded in two ways: give files of one", path.display(), other.display())]
    OtherTeacher {
        /// A file.
        path: PathBuf,
        /// A file of another teacher.
        other: PathBuf,
    },
    /// A teacher's vectors lack a text that is trained on.
    #[error(
        "{files} has no vector of the {kind} {text:?}: give those of all training data, by `secateur teach --vectors`"
    )]
    NotTaught {
        /// The files of vectors.
        files: String,
        /// What the text is.
        kind: &'static str,
        /// Its beginning.
        text: String,
    },
    /// A checkpoint lacks a tensor.
    #[error("{} has no tensor {tensor}, which the model's config.json asks for", path.display())]
    MissingTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// An adapter has a tensor that the model has no place for.
    #[error("{}: the model has no place for tensor {tensor}; the adapter was trained on another model, perhaps on one with fewer sub-layers dropped", path.display())]
    AdapterTensorWithoutHome {
        /// The adapter's file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("{}: tensor {tensor} has shape {found:?}; the configuration asks for {expected:?}", path.display())]
    ShapeMismatch {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// By config.json.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },
    /// A tensor has an element type that cannot be read.
    #[error("{}: tensor {tensor} is {found}; F32, F64, F16, BF16 and 8 bits of bitsandbytes can be read", path.display())]
    UnsupportedType {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tensor holds a NaN or an infinity.
    #[error("{}: tensor {tensor} holds a value that is not finite; the checkpoint is damaged", path.display())]
    NotFinite {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// The tokenizer does not load, or refuses a text.
    #[error("{}: the tokenizer failed: {source}", path.display())]
    Tokenizer {
        /// The tokenizer.json.
        path: PathBuf,
        /// Its word.
        source: BoxedError,
    },
    /// The tokenizer yields an id that the model has no embedding for.
    #[error("{}: token id {id} is outside the model's vocabulary of {vocab_size}; tokenizer and weights do not belong together", path.display())]
    TokenOutOfVocabulary {
        /// The tokenizer.json.
        path: PathBuf,
        /// The id.
        id: u32,
        /// Rows of the embedding table.
        vocab_size: usize,
    },
    /// The tokenizer gave no token at all, and adds no special ones.
    #[error("{}: a text has no token, and the tokenizer adds no special tokens; leave empty texts out", path.display())]
    NoTokens {
        /// The tokenizer.json.
        path: PathBuf,
    },
    /// A text's vector is not finite.
    #[error("the vector of {text} is not finite: the weights overflow")]
    VectorNotFinite {
        /// The text.
        text: TextName,
    },
    /// A line of a golden file cannot be read.
    #[error(r#"{}: line {line} is not a text with its vector: {source}; expected {{"text": "...", "kind": "query" or "passage", "vector": [...]}}"#, path.display())]
    GoldenLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: BoxedError,
    },
    /// A stored vector has another length than the encoder's.
    #[error("{}: the vector of line {line} has {found} numbers; the encoder's have {expected}: it is another model's, or cut to another length", path.display())]
    GoldenDimension {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The encoder's dimension.
        expected: usize,
        /// The stored vector's.
        found: usize,
    },
    /// A model has no place in a format of other programs.
    #[error("{} cannot be exported to {format}: {why}; {advice}", path.display())]
    NotExportable {
        /// The model directory.
        path: PathBuf,
        /// The format.
        format: String,
        /// What is in the way.
        why: String,
        /// What to do.
        advice: String,
    },
    /// A device cannot be used.
    #[error(
        "{device} cannot be used: {source}; the CPU is always there (--device cpu), and --device auto takes what there is"
    )]
    Device {
        /// The device.
        device: String,
        /// Why not.
        source: BoxedError,
    },
    /// A GPU failed.
    #[error("{0}")]
    Gpu(#[source] secateur_gpu::Error),
    /// A text needs more memory than a GPU has.
    #[error(
        "{text} has {tokens} tokens, for which the GPU has no memory even by itself: {source}; cut texts with \
         --max-length, or compute on the CPU (--device cpu)"
    )]
    TextTooLong {
        /// The text.
        text: TextName,
        /// Its tokens.
        tokens: usize,
        /// What ran out.
        source: secateur_gpu::Error,
    },
    /// The tensor library failed.
    #[error("the tensor library failed: {0}")]
    Candle(#[source] BoxedError),
}

impl Error {
    /// The same error, with another name for the text that it is of, if that is one of the call's.
    #[must_use]
    pub fn with_text(mut self, name: impl FnOnce(usize) -> TextName) -> Error {
        if let Error::VectorNotFinite { text } | Error::TextTooLong { text, .. } = &mut self
            && let TextName::Place(place) = *text
        {
            *text = name(place);
        }
        self
    }

    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Io(error) => error.kind(ErrorKind::Input),
            Error::Journal(error) => error.kind(),
            Error::Device { .. } | Error::Gpu(..) => ErrorKind::System,
            Error::InvalidOption { .. } | Error::InvalidSetting { .. } | Error::OtherSettings { .. } => {
                ErrorKind::Usage
            }
            Error::DamagedCheckpoint { .. } => ErrorKind::Input,
            Error::Prune(error) => error.kind(),
            Error::MissingFile { .. }
            | Error::NoDirectory { .. }
            | Error::Json { .. }
            | Error::UnknownFamily { .. }
            | Error::InvalidField { .. }
            | Error::UnheededSetting { .. }
            | Error::Assumed { .. }
            | Error::LfsPointer { .. }
            | Error::Pickle { .. }
            | Error::Safetensors { .. }
            | Error::NoSuchTarget { .. }
            | Error::NothingToAdapt { .. }
            | Error::AdapterToTrain { .. }
            | Error::QuantizedToTrain { .. }
            | Error::Int8ToTrain
            | Error::Diverged { .. }
            | Error::Overflowed { .. }
            | Error::TeacherDimension { .. }
            | Error::TeacherVectors { .. }
            | Error::OtherTeacher { .. }
            | Error::NotTaught { .. }
            | Error::MissingTensor { .. }
            | Error::AdapterTensorWithoutHome { .. }
            | Error::ShapeMismatch { .. }
            | Error::UnsupportedType { .. }
            | Error::NotFinite { .. }
            | Error::Tokenizer { .. }
            | Error::TokenOutOfVocabulary { .. }
            | Error::NoTokens { .. }
            | Error::VectorNotFinite { .. }
            | Error::TextTooLong { .. }
            | Error::GoldenLine { .. }
            | Error::GoldenDimension { .. }
            | Error::NotExportable { .. }
            | Error::Candle(..)
            | Error::NoTexts => ErrorKind::Input,
        }
    }
}
