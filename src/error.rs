//! What can go wrong: one variant for each layer, and the errors that only several layers together can see.

use std::path::{Path, PathBuf};

use secateur_encoders::{Encoder, Fingerprint};
use secateur_files::{ErrorKind, JournalError, PathError};

use crate::number::{agreed, counted};
use crate::search::SearchMode;

pub use secateur_files::UnknownName;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a database of documents, vectors and an encoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The index or the database files.
    #[error(transparent)]
    Index(#[from] secateur_index::Error),
    /// The encoder.
    #[error(transparent)]
    Encoder(#[from] secateur_encoders::Error),
    /// A data set, a run or a judgment file.
    #[error(transparent)]
    Dataset(#[from] secateur_datasets::Error),
    /// The evaluation.
    #[error(transparent)]
    Eval(#[from] crate::eval::Error),
    /// The fusion of two rankings.
    #[error(transparent)]
    Fusion(#[from] crate::fusion::Error),
    /// A set of shards.
    #[error(transparent)]
    Shards(#[from] crate::shard_error::ShardError),
    /// Training, or making the data for it.
    #[error(transparent)]
    Training(#[from] crate::training_error::TrainingError),
    /// The database's vectors come from another encoder.
    #[error(
        "{} holds vectors of {expected_name} (fingerprint {}), but the encoder given is {got_name} (fingerprint {}); \
         give the encoder it was made with, or add the vectors of another with `secateur generation add`",
        path.display(), short(expected), short(got)
    )]
    EncoderMismatch {
        /// The database.
        path: PathBuf,
        /// The encoder that made the vectors.
        expected_name: String,
        /// Its fingerprint.
        expected: Box<Fingerprint>,
        /// The encoder that was given.
        got_name: String,
        /// Its fingerprint.
        got: Box<Fingerprint>,
    },
    /// The operation needs the encoder that made the database's vectors, and none was given.
    #[error("{} holds vectors of {name}: give that encoder, or search with bm25", path.display())]
    EncoderRequired {
        /// The database.
        path: PathBuf,
        /// The encoder that made the vectors.
        name: String,
    },
    /// The encoder that was given is that of another generation than the one that is read.
    #[error("{}: {got_name} is the encoder of generation {generation:?}, and {read:?} is read: name the generation", path.display())]
    EncoderOfGeneration {
        /// The database.
        path: PathBuf,
        /// The encoder that was given.
        got_name: String,
        /// The generation whose vectors it made.
        generation: String,
        /// The generation that is read.
        read: String,
    },
    /// Documents are to be added, and the encoder of a generation was not given.
    #[error(
        "{}: a document gets a vector in every generation, and the encoder {name} of generation {generation:?} is not \
         loaded: load it, or drop the generation",
        path.display()
    )]
    GenerationEncoder {
        /// The database.
        path: PathBuf,
        /// The generation.
        generation: String,
        /// Its encoder.
        name: String,
    },
    /// A generation was to be replaced that is not in use.
    #[error(
        "{}: generation {generation:?} was to be replaced, and {in_use:?} is in use by now: somebody has switched meanwhile, so \
         compare with that one",
        path.display()
    )]
    GenerationNotInUse {
        /// The database.
        path: PathBuf,
        /// The generation that was to be replaced.
        generation: String,
        /// The one that is in use.
        in_use: String,
    },
    /// There is no generation to go back to.
    #[error(
        "{}: {}; `secateur generation list` names those that there are, and `secateur generation use` chooses one",
        path.display(), nothing_replaced(in_use, dropped.as_deref())
    )]
    NothingReplaced {
        /// The database.
        path: PathBuf,
        /// The generation in use.
        in_use: String,
        /// The one whose place it took, if that was dropped.
        dropped: Option<String>,
    },
    /// Unfinished work of another encoder is in the place of a database.
    #[error(
        "{} keeps {} of {expected_name} (fingerprint {}), and {} is asked for: finish that work with its own options, or \
         remove the file to begin anew",
        journal.display(), counted(*num_vectors as usize, "vector"), short(expected), given(got)
    )]
    UnfinishedWork {
        /// The journal.
        journal: PathBuf,
        /// How many vectors it keeps.
        num_vectors: u64,
        /// The encoder of the vectors.
        expected_name: String,
        /// Its fingerprint.
        expected: Box<Fingerprint>,
        /// The encoder that was given, with its fingerprint; `None` for a database without vectors.
        got: Option<(String, Box<Fingerprint>)>,
    },
    /// Passages are to be longer than the encoder reads.
    #[error(
        "passages of {length} tokens, {overlap} of them shared, do not suit {name}, which reads {room} tokens of a passage \
         besides its prompt and special tokens: give a LENGTH of at most {room}, and an OVERLAP below it"
    )]
    PassageLength {
        /// The encoder.
        name: String,
        /// The length asked for, in tokens.
        length: usize,
        /// The overlap asked for, in tokens.
        overlap: usize,
        /// The most tokens of a passage that the encoder reads.
        room: usize,
    },
    /// Documents are to be split into passages, and no encoder says what a token is.
    #[error("documents are split into passages for an encoder: name one, or leave the passages out")]
    PassagesWithoutEncoder,
    /// A journal keeps vectors of other texts.
    #[error(
        "{} keeps {} that the same encoder made of other texts: name the files and the options (such as --separator and \
         --passages) of that work to finish it, or remove the file to begin anew",
        path.display(), counted(*num_vectors as usize, "vector")
    )]
    OtherTexts {
        /// The journal.
        path: PathBuf,
        /// How many vectors it keeps.
        num_vectors: u64,
    },
    /// A database does not say where its encoder is.
    #[error(
        "the database does not say where the encoder {name} is: load it, and give it with `Database::with_encoder`"
    )]
    NoEncoderSource {
        /// The encoder that made the vectors.
        name: String,
    },
    /// The operation needs an encoder, and the database's vectors come from its user.
    #[error(
        "the vectors of {} were given with the documents, no encoder makes them: search with bm25, or with a vector", path.display()
    )]
    NoEncoder {
        /// The database.
        path: PathBuf,
    },
    /// Documents were to be added with vectors to a database whose encoder makes them.
    #[error("{} holds vectors of {name}: add documents without vectors, with that encoder", path.display())]
    VectorsOfAnEncoder {
        /// The database.
        path: PathBuf,
        /// The encoder that makes the vectors.
        name: String,
    },
    /// There is not one vector for each document.
    #[error(
        "{} {} with {}: {} are expected, a vector of {dim} for each", counted(*documents, "document"), agreed(*documents, "comes", "come"),
        counted(*got, "number"), documents * dim
    )]
    VectorCount {
        /// How many documents there are.
        documents: usize,
        /// The length of a vector.
        dim: usize,
        /// How many numbers were given.
        got: usize,
    },
    /// A document's vector has another length than the database's.
    #[error("the vector of document {doc_id:?} has {}, those of the database have {expected}", counted(*got, "number"))]
    VectorLength {
        /// The document.
        doc_id: String,
        /// The length of the database's vectors.
        expected: usize,
        /// The length given.
        got: usize,
    },
    /// A matrix cannot be read.
    #[error("{}: {problem}; expected a .npy file with a matrix of f32, f16 or f64 in C order", path.display())]
    BadMatrix {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A number of a matrix is none that can be compared.
    #[error("{}: component {component} of row {row}, of document {doc_id:?}, is {value}; expected a finite number", path.display())]
    MatrixNotFinite {
        /// The matrix.
        path: PathBuf,
        /// The row, from 0.
        row: usize,
        /// The document that the row belongs to.
        doc_id: String,
        /// The component, from 0.
        component: usize,
        /// NaN, or an infinity.
        value: f32,
    },
    /// The rows of a matrix are not those of the documents.
    #[error(
        "{}: the matrix has {}, and {problem}; expected a row for each document, in their order or with an id for \
         each row in the file beside it whose name ends in .npy.ids", path.display(), counted(*num_rows, "row")
    )]
    MatrixRows {
        /// The matrix, or the file of its ids.
        path: PathBuf,
        /// The rows it has.
        num_rows: usize,
        /// What does not fit.
        problem: String,
    },
    /// A search by a vector was to look for words too.
    #[error("a vector has no words to search for in mode {mode}: leave the mode out, or set it to dense")]
    NoWords {
        /// The mode that was asked for.
        mode: SearchMode,
    },
    /// The operation commits by itself, and there are uncommitted changes.
    #[error("{} has changes that are not committed; commit them first", path.display())]
    UncommittedChanges {
        /// The database.
        path: PathBuf,
    },
    /// The operation needs vectors, and the database has none.
    #[error(
        "{} has no vectors, only a BM25 index: search with bm25, or give it vectors with `secateur generation add`",
        path.display()
    )]
    NoVectors {
        /// The database.
        path: PathBuf,
    },
    /// A document has neither title nor text.
    #[error("document {doc_id:?} has neither title nor text; leave it out, or allow empty documents")]
    EmptyDocument {
        /// Its id.
        doc_id: String,
    },
    /// Documents are to be deleted that are not there. None of the call was deleted.
    #[error(
        "no document has the id {doc_id:?}{}; nothing was deleted",
        match others { 0 => String::new(), count => format!(" (and {count} more)") }
    )]
    MissingDocuments {
        /// The first of them.
        doc_id: String,
        /// How many others there are.
        others: usize,
    },
    /// An option of a stage is missing, wrong, or contradicts another.
    #[error("{}{option}: {problem}", of_stage(*stage))]
    InvalidOption {
        /// The table of the recipe, if it is a recipe's.
        stage: Option<&'static str>,
        /// The option, as a recipe and the command line spell it.
        option: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A bench cannot use a data set.
    #[error("{name}: {problem}")]
    BenchDataset {
        /// The data set.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Results of a bench cannot be read.
    #[error("{}: {problem}", path.display())]
    BenchResults {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Somebody else measures, and keeps the results in this folder.
    #[error(
        "{}: another program is measuring into this folder: wait until it is done, or choose another one", folder.display()
    )]
    MeasuringElsewhere {
        /// The folder.
        folder: PathBuf,
    },
    /// A recipe cannot be read.
    #[error("{problem}")]
    InvalidRecipe {
        /// Where it is wrong, and how.
        problem: String,
    },
    /// What the stages of a recipe read is not there.
    #[error(
        "{}what it reads is missing or wrong. Make it or name another; comments of a recipe may say how. Paths begin in the \
         current folder:\n  {}",
        recipe.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display())), missing.join("\n  ")
    )]
    MissingInputs {
        /// The file of the recipe, if it has one.
        recipe: Option<PathBuf>,
        /// All of it: the stage, the key and the paths.
        missing: Vec<String>,
    },
    /// The folder of a recipe is another one's.
    #[error(
        "{} is of another recipe, {}: its {difference} is another, and something was computed by it: choose another output \
         folder, give what that recipe has there, or remove this one to begin anew",
        folder.display(), kept.display()
    )]
    OtherRecipe {
        /// The folder.
        folder: PathBuf,
        /// The recipe that is kept in it.
        kept: PathBuf,
        /// What of that is another: `model`, or the table of a stage.
        difference: String,
    },
    /// What was to be written is there already.
    #[error("{}", PathError::exists(path))]
    OutputExists {
        /// The file or folder.
        path: PathBuf,
    },
    /// The caller's own source of documents failed.
    #[error("{0}")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file could not be written.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The journal of an interrupted run cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Error {
    /// A problem with an option of a stage.
    pub(crate) fn option(option: &'static str, problem: impl Into<String>) -> Error {
        Error::InvalidOption { stage: None, option, problem: problem.into() }
    }

    /// The encoder given is another one than that of the vectors in `path`, which `name` and `fingerprint` describe.
    pub(crate) fn other_encoder(path: &Path, name: &str, fingerprint: Fingerprint, given: &Encoder) -> Error {
        Error::EncoderMismatch {
            path: path.to_owned(),
            expected_name: name.to_owned(),
            expected: Box::new(fingerprint),
            got_name: given.name().to_owned(),
            got: Box::new(*given.fingerprint()),
        }
    }

    /// Whose turn it is. Programs that end with an exit code choose it by this.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Index(error) => error.kind(),
            Error::Encoder(error) => error.kind(),
            Error::Dataset(error) => error.kind(),
            Error::Shards(error) => error.kind(),
            Error::Training(error) => error.kind(),
            Error::Io(error) => error.kind(ErrorKind::Input),
            Error::Journal(error) => error.kind(),
            Error::OutputExists { .. }
            | Error::InvalidOption { .. }
            | Error::MeasuringElsewhere { .. }
            | Error::InvalidRecipe { .. }
            | Error::OtherRecipe { .. }
            | Error::UncommittedChanges { .. }
            | Error::VectorCount { .. }
            | Error::PassageLength { .. }
            | Error::PassagesWithoutEncoder
            | Error::NoWords { .. } => ErrorKind::Usage,
            Error::Source(_)
            | Error::Eval(_)
            | Error::MissingInputs { .. }
            | Error::BenchDataset { .. }
            | Error::BenchResults { .. }
            | Error::VectorLength { .. }
            | Error::BadMatrix { .. }
            | Error::MatrixNotFinite { .. }
            | Error::MatrixRows { .. }
            | Error::Fusion(_)
            | Error::EmptyDocument { .. } => ErrorKind::Input,
            Error::EncoderMismatch { .. }
            | Error::MissingDocuments { .. }
            | Error::EncoderOfGeneration { .. }
            | Error::GenerationEncoder { .. }
            | Error::GenerationNotInUse { .. }
            | Error::NothingReplaced { .. }
            | Error::UnfinishedWork { .. }
            | Error::OtherTexts { .. }
            | Error::EncoderRequired { .. }
            | Error::NoEncoderSource { .. }
            | Error::NoEncoder { .. }
            | Error::VectorsOfAnEncoder { .. }
            | Error::NoVectors { .. } => ErrorKind::Database,
        }
    }
}

/// The beginning of a message on an option of a recipe.
fn of_stage(stage: Option<&str>) -> String {
    stage.map_or_else(String::new, |stage| format!("the recipe's [{stage}]: "))
}

fn nothing_replaced(in_use: &str, dropped: Option<&str>) -> String {
    match dropped {
        Some(old) => format!("generation {old:?}, whose place {in_use:?} took, was dropped"),
        None if in_use.is_empty() => "it has no generations, because it has no vectors".to_owned(),
        None => format!("generation {in_use:?} took the place of no other, so there is none to go back to"),
    }
}

fn given(encoder: &Option<(String, Box<Fingerprint>)>) -> String {
    match encoder {
        Some((name, fingerprint)) => format!("{name} (fingerprint {})", short(fingerprint)),
        None => "a database without vectors".to_owned(),
    }
}

/// Enough of a fingerprint to tell two apart.
pub(crate) fn short(fingerprint: &Fingerprint) -> String {
    short_digits(fingerprint.to_string())
}

/// The same of a fingerprint's digits.
pub(crate) fn short_digits(mut digits: String) -> String {
    digits.truncate(16);
    digits
}

/// An error's message and those of its causes that the message does not repeat.
///
/// ```
/// use secateur::error::message_with_causes;
/// let error = secateur::Database::open("no/such/database").err().unwrap();
/// assert!(message_with_causes(&error).contains("no/such/database"));
/// ```
pub fn message_with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
