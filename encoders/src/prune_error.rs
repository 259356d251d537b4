//! What can go wrong when a model is scored or pruned.

use std::path::PathBuf;

use secateur_files::ErrorKind;

/// Why a model is not scored or pruned as asked. Each message says what the model has and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// A width, a sparsity or a floor is no share, or leaves too little.
    #[error("cannot cut {what} by {asked}: {expected}")]
    InvalidShare {
        /// What is to be cut.
        what: &'static str,
        /// What was asked for.
        asked: String,
        /// What can be.
        expected: String,
    },
    /// The calibration texts do not fill one packed block.
    #[error(
        "the calibration texts have {tokens} tokens, fewer than one block of {block_length}: give more text, shorter blocks, \
         or texts that are not packed"
    )]
    CalibrationTooShort {
        /// Tokens of the texts.
        tokens: usize,
        /// Tokens of a block.
        block_length: usize,
    },
    /// Importance by gradient has too few titles and texts to compare.
    #[error(
        "importance by gradient compares titles with their texts, and of the calibration texts fewer than two have both: give \
         JSON lines with title and text, or a BEIR folder with titles"
    )]
    NoPairs,
    /// A file that is named for its scores holds none.
    #[error("{} holds no scores: {problem}; give a file that `secateur prune` wrote", path.display())]
    NoScores {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Importance scores were measured on another model.
    #[error(
        "{} holds the scores of {scored_name} (fingerprint {scored}), but the model is {name} (fingerprint {fingerprint}); \
         score this model first",
        path.display()
    )]
    ScoresOfAnotherModel {
        /// The scores' file.
        path: PathBuf,
        /// The model that was scored.
        scored_name: String,
        /// Its fingerprint.
        scored: String,
        /// The model that is to be pruned.
        name: String,
        /// Its fingerprint.
        fingerprint: String,
    },
    /// More sub-layers are to be dropped than there are.
    #[error(
        "cannot drop {asked} {sub_layer} sub-layers: the model has {available}, in {layers} layers; drop fewer"
    )]
    TooManyDrops {
        /// "attention", "MLP" or "block".
        sub_layer: &'static str,
        /// How many were to be dropped.
        asked: usize,
        /// How many there are.
        available: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// A sub-layer that is to be dropped is not there.
    #[error(
        "cannot drop {sub_layer} {layer}: layer {layer} has no {sub_layer}, or the model, of {layers} layers numbered from 0, does not have it"
    )]
    NoSuchSubLayer {
        /// "attention", "MLP" or "block".
        sub_layer: &'static str,
        /// The layer.
        layer: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// A model whose width is to be pruned has no MLP.
    #[error("{model} has no MLP, so it has no neurons to slim; give a model that has some")]
    NoMlp {
        /// The model's name.
        model: String,
    },
    /// Importance decides what is dropped, and there are no scores.
    #[error("{variant} drops the least important sub-layers: give the model's scores, or name the layers")]
    ScoresRequired {
        /// What is to be dropped.
        variant: String,
    },
    /// A budget cannot be kept by taking out MLPs, or is kept already.
    #[error(
        "{asked} is out of reach: without its MLPs the model has {least}, as it is {most}; ask for something in between"
    )]
    BudgetOutOfReach {
        /// The budget.
        asked: String,
        /// What the model costs without any MLP.
        least: String,
        /// What it costs as it is.
        most: String,
    },
    /// LLM-Drop's configuration cannot express what a model keeps.
    #[error(
        "{} cannot be written in LLM-Drop's layout: its config.json lists dropped sub-layers only, and the MLPs of this model \
         have widths of their own; write our own layout",
        path.display()
    )]
    NotLlmDrop {
        /// The directory that was to be written.
        path: PathBuf,
    },
}

impl PruneError {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PruneError::InvalidShare { .. }
            | PruneError::TooManyDrops { .. }
            | PruneError::NoSuchSubLayer { .. }
            | PruneError::ScoresRequired { .. }
            | PruneError::BudgetOutOfReach { .. } => ErrorKind::Usage,
            PruneError::NoScores { .. }
            | PruneError::CalibrationTooShort { .. }
            | PruneError::NoPairs
            | PruneError::ScoresOfAnotherModel { .. }
            | PruneError::NoMlp { .. }
            | PruneError::NotLlmDrop { .. } => ErrorKind::Input,
        }
    }
}
