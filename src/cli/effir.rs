//! `secateur effir`: the whole pipeline of EffiR from one file.

use std::path::PathBuf;

use clap::Args;
use secateur::effir::{Recipe, Stage};
use secateur::encode::Device;

use super::encoder::Strict;
use super::failure::Result;
use super::locate::{Locate, problem};
use super::progress::{NOTHING_IS_KEPT, say_if_kept, shown};

const EXAMPLES: &str = "\
A recipe is a file of TOML or JSON. `model` names the encoder. The tables are stages and may be left out; their keys are the \
options of `prune score`, `prune drop`, `prune slim` and `train`:

  model = \".models/all-MiniLM-L6-v2\"
  [score]
  calibration = \"texts.jsonl\"
  [drop]
  mlp = 3
  [slim]
  sparsity = 0.3
  train = [\"nq.jsonl\"]
  [train]
  data = [\"nq.jsonl\"]
  full = true
  [evaluate]
  datasets = [\"scifact\"]
  baseline = true        # measure the model as it was, too

Paths begin in the current folder, and what the stages read is looked for before the first one. Tables of stages by which nothing was \
computed yet may change. The recipes in encoders/recipes say \
in their first lines how it is made.

The folder --out gets scores.json, dropped/, masked/, run/, model/ (what comes of it, with a model card) and report.md. Stages \
that are done are not done again. An interrupted training goes on from its checkpoint.

Example:
  secateur effir encoders/recipes/minilm.toml --out small";

/// Score, drop, slim, train, narrow and evaluate an encoder, as a recipe says.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The recipe.
    recipe: PathBuf,
    /// The folder of what comes of it.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where [slim] and [train] compute, whatever the recipe says: cpu, cuda:N, or auto for a GPU if there is one.
    #[arg(long)]
    device: Option<Device>,
    #[command(flatten)]
    strict: Strict,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let recipe = Recipe::read(&self.recipe)?;
        // What contradicts itself is found before a name is looked up.
        recipe.check()?;
        // And all that is not there, before a model is downloaded.
        recipe.check_inputs(&self.out, problem)?;
        let recipe = recipe.located()?;
        let recipe = match self.device {
            Some(device) => recipe.on_device(device),
            None => recipe,
        };
        self.strict.announce(recipe.model_directory(), recipe.load_options())?;
        let mut show = shown();
        let mut current = None;
        let mut interrupts = Ok(());
        let report = recipe.run(&self.out, &mut |stage, progress| {
            if current.replace(stage) != Some(stage) && interrupts.is_ok() {
                let [kept, nothing] = on_interrupt(stage);
                interrupts = say_if_kept(kept, nothing, stage.kept_in(&self.out));
            }
            show(progress);
        })?;
        interrupts?;
        Ok(report.to_string())
    }
}

/// What is said of a stage that is interrupted: where it has left something, and where it has not.
fn on_interrupt(stage: Stage) -> [&'static str; 2] {
    match stage {
        Stage::Score => ["what was measured is kept; run the same command again to go on", NOTHING_IS_KEPT],
        Stage::Drop => ["the stages before are kept; run the same command again to go on", NOTHING_IS_KEPT],
        Stage::Slim | Stage::Train => [
            "the last checkpoint is kept; run the same command again to go on",
            "before the first checkpoint: the same command begins this stage anew",
        ],
        Stage::Evaluate => {
            ["finished results are kept; run the same command again to go on", NOTHING_IS_KEPT]
        }
    }
}
