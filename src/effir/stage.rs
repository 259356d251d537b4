//! The stages of a recipe, and where what they make is kept.

use std::fmt;
use std::path::{Path, PathBuf};

use secateur_files::Journal;

use crate::prune::SlimOptions;
use crate::train::Run;

/// A stage of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The importance of sub-layers is measured.
    Score,
    /// Sub-layers are dropped.
    Drop,
    /// Neurons become zero.
    Slim,
    /// What is left is trained.
    Train,
    /// What has come of it is measured.
    Evaluate,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stage::Score => "score",
            Stage::Drop => "drop",
            Stage::Slim => "slim",
            Stage::Train => "train",
            Stage::Evaluate => "evaluate",
        })
    }
}

impl Stage {
    /// Where a stage that is interrupted has left something in the folder `out`, if it has.
    pub fn kept_in(self, out: &Path) -> Vec<PathBuf> {
        let at = |name: &str| out.join(name);
        match self {
            Stage::Score => vec![Journal::beside(&at("scores.json")), at("scores.json")],
            Stage::Drop => vec![at("scores.json"), at("dropped")],
            Stage::Slim => vec![Run::checkpoint_in(&SlimOptions::folder(&at("masked"))), at("masked")],
            Stage::Train => vec![Run::checkpoint_in(&at("run"))],
            Stage::Evaluate => vec![at("model")],
        }
    }
}

/// The files in the folder of a recipe.
pub(super) struct Folder<'a>(pub &'a Path);

impl Folder<'_> {
    /// The path of a name in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Whether what a stage makes is there. What is measured is made in parts.
    pub fn is_done(&self, stage: Stage) -> bool {
        let made = match stage {
            Stage::Score => "scores.json",
            Stage::Drop => "dropped",
            Stage::Slim => "masked",
            Stage::Train => "run/model",
            Stage::Evaluate => return false,
        };
        self.at(made).exists()
    }
}
