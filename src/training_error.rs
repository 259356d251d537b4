//! What can go wrong in a training run, and where its data are made.

use std::path::PathBuf;

use secateur_files::ErrorKind;

/// Why a training run, or the making of its data, stopped. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The checkpoint in a run's folder is of a run on other data.
    #[error(
        "{} is of a run on other training data, or with another batch size, accumulation, number of negatives or seed; \
         give those, or another folder",
        path.display()
    )]
    OtherTrainingData {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A step has no gradient, and that is not to be passed over.
    #[error("step {step} has no gradient: {}", no_gradient(*is_lone))]
    NoGradient {
        /// The step, counted from 1.
        step: usize,
        /// Whether it has a batch of one query with nothing but its own passage.
        is_lone: bool,
    },
    /// There is nothing to train on.
    #[error("there is no training data: name at least one file")]
    NoTrainingData,
    /// An example asks for another prompt than the model's.
    #[error(
        "an example asks for the query prompt {found:?}, the model has {expected:?}: give the model that prompt, or take the \
         field `prompt` out of the data"
    )]
    OtherPrompt {
        /// The example's.
        found: String,
        /// The model's.
        expected: String,
    },
    /// A file of training examples was to be written over itself.
    #[error("{} is the input: choose another output", path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// A training example has scores, and mined negatives would have none.
    #[error(
        "{}: example {example} has a teacher's scores, which its mined negatives would lack; \
         mine with the teacher, or mine first and teach after",
        path.display()
    )]
    Scored {
        /// The file.
        path: PathBuf,
        /// The example, counted from 1.
        example: u64,
    },
    /// The ranks from which negatives are to be mined make no range.
    #[error(
        "negatives cannot be mined from ranks {start} to {end}: ranks begin at 1, and the last is not before the first"
    )]
    InvalidDepth {
        /// The first rank.
        start: usize,
        /// The last rank.
        end: usize,
    },
    /// The database has lost a document that was mined.
    #[error(
        "document {doc_id:?} was mined before the interruption, but the database no longer holds it; \
         remove {} and mine again",
        journal.display()
    )]
    MinedDocument {
        /// The document.
        doc_id: String,
        /// The journal that names it.
        journal: PathBuf,
    },
}

impl TrainingError {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TrainingError::SameFile { .. }
            | TrainingError::InvalidDepth { .. }
            | TrainingError::NoTrainingData => ErrorKind::Usage,
            TrainingError::OtherTrainingData { .. }
            | TrainingError::NoGradient { .. }
            | TrainingError::OtherPrompt { .. }
            | TrainingError::Scored { .. } => ErrorKind::Input,
            TrainingError::MinedDocument { .. } => ErrorKind::Database,
        }
    }
}

/// Why steps have no gradient, and what to do. `is_lone` says that one had a batch of one query with nothing but its
/// own passage.
pub(crate) fn no_gradient(is_lone: bool) -> &'static str {
    match is_lone {
        true => {
            "nothing is learned where a query is compared with its own passage alone; give batches of more than one query, \
             or examples with negatives or a teacher's scores"
        }
        false => {
            "nothing is learned where the passages of a batch are all the same, where the loss can fall no further, or \
             where its weights are 0; look at the data, --temperature and the weights"
        }
    }
}
