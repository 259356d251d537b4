//! The stages of a recipe, and where what they make is kept.

use std::fmt;
use std::path::{Path, PathBuf};

use secateur_files::Journal;

use crate::prune::SlimOptions;
use crate::train::Run;

/// The folder of the training in that of a recipe.
pub(super) const RUN: &str = "run";

/// A stage of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        let made = self.made_in(out);
        match self {
            Stage::Score => vec![Journal::beside(&made), made],
            Stage::Drop => vec![Stage::Score.made_in(out), made],
            Stage::Slim => vec![Run::checkpoint_in(&SlimOptions::folder(&made)), made],
            Stage::Train => vec![Run::checkpoint_in(&out.join(RUN))],
            Stage::Evaluate => vec![made],
        }
    }

    /// What a stage makes in the folder `out`; of the last one, what it measures.
    pub(super) fn made_in(self, out: &Path) -> PathBuf {
        match self {
            Stage::Score => out.join("scores.json"),
            Stage::Drop => out.join("dropped"),
            Stage::Slim => out.join("masked"),
            Stage::Train => out.join(RUN).join("model"),
            Stage::Evaluate => out.join("model"),
        }
    }

    /// The stage that leaves a file or folder of this name in the folder of a recipe, finished or not.
    pub(super) fn that_leaves(name: &str) -> Option<Stage> {
        Some(match name {
            "scores.json" | "scores.json.journal" | "drop_order.svg" => Stage::Score,
            "dropped" => Stage::Drop,
            "masked" | "masked.gates" | "neurons.json" | "widths.svg" => Stage::Slim,
            // What is measured is made of what the stages before have left, not by [evaluate].
            RUN | "merged" | "model" => Stage::Train,
            "results" | "report.md" => Stage::Evaluate,
            _ => return None,
        })
    }

    /// Whether that is there. What the last stage measures is made in parts.
    pub(super) fn is_done_in(self, out: &Path) -> bool {
        self != Stage::Evaluate && self.made_in(out).exists()
    }
}
