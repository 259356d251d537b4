//! `secateur effir`: the whole pipeline of EffiR from one file.
//!
//! A recipe's tables are stages and their keys the options of the command that each stage is, so that there is one
//! definition of either.

mod recipe;
mod report;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Parser};
use secateur::prune::ModelDirectory;
use secateur::{Encoder, LoadOptions, atomic_write, measure_encoder};

use super::encoder::model_directory;
use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;
use super::progress::Progress;
use super::{prune, train};
use recipe::{Options, Recipe};
use report::{Measured, Record};

/// Score, drop, slim, fine-tune, compact and evaluate an encoder, as a recipe says.
#[derive(Args)]
#[command(after_help = "\
A recipe is a TOML file. `model` names the encoder; the tables are stages and may be left out, their keys are the options of
the commands `prune score`, `prune drop`, `prune slim` and `train`, and of `evaluate` the data sets:

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

The folder --out gets scores.json, dropped/, masked/, run/, model/ (what comes of it, with a model card) and report.md. Stages
that are done are not done again, and an interrupted training goes on from its checkpoint.")]
pub struct Arguments {
    /// The recipe.
    recipe: PathBuf,
    /// The folder of what comes of it.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The arguments of a command by themselves.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Stage<T: Args> {
    #[command(flatten)]
    arguments: T,
}

/// The arguments of a stage, from a recipe's options and those that the pipeline itself decides.
fn parse<T: Args>(name: &str, options: &Options, fixed: &[&str]) -> Result<T> {
    let all = fixed.iter().map(|argument| (*argument).to_owned()).chain(options.arguments(name)?);
    let parsed = Stage::<T>::try_parse_from(all)
        .map_err(|error| Failure::new(Code::Usage, format!("the recipe's [{name}]: {error}")))?;
    Ok(parsed.arguments)
}

/// Finds what is wrong with the options of any stage before the first one runs.
fn check(recipe: &Recipe) -> Result<()> {
    let fixed = ["model", "--out", "out"];
    let Recipe { score, drop, slim, train, .. } = recipe;
    if let Some(options) = score {
        parse::<prune::ScoreArguments>("score", options, &fixed)?;
    }
    if let Some(options) = drop {
        parse::<prune::DropArguments>("drop", options, &fixed)?;
    }
    if let Some(options) = slim {
        parse::<prune::SlimArguments>("slim", options, &fixed)?;
    }
    if let Some(options) = train {
        parse::<train::Arguments>("train", options, &fixed)?;
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let recipe = Recipe::read(&self.recipe)?;
        check(&recipe)?;
        let directory = model_directory(&recipe.model)?;
        fs::create_dir_all(&self.out).map_err(|source| Failure::write(&self.out, &source))?;
        self.keep(&recipe)?;
        let at = |name: &str| self.out.join(name);
        let mut model = directory.clone();

        let scores = at("scores.json");
        if let Some(options) = &recipe.score
            && !scores.exists()
        {
            let plot = text(&at("drop_order.svg"));
            let fixed = [&text(&model), "--out", &text(&scores), "--plot", &plot];
            parse::<prune::ScoreArguments>("score", options, &fixed)?.run()?;
        }
        if let Some(options) = &recipe.drop {
            let dropped = at("dropped");
            if !dropped.exists() {
                let (model, dropped, scores) = (text(&model), text(&dropped), text(&scores));
                let mut fixed = vec![&model[..], "--out", &dropped];
                if recipe.score.is_some() {
                    fixed.extend(["--scores", &scores]);
                }
                parse::<prune::DropArguments>("drop", options, &fixed)?.run()?;
            }
            model = at("dropped");
        }
        if let Some(options) = &recipe.slim {
            let masked = at("masked");
            if !masked.exists() {
                let (plot, gates) = (text(&at("widths.svg")), text(&at("neurons.json")));
                let fixed =
                    [&text(&model), "--out", &text(&masked), "--plot", &plot, "--save-scores", &gates];
                parse::<prune::SlimArguments>("slim", options, &fixed)?.run()?;
            }
            model = masked;
        }
        if let Some(options) = &recipe.train {
            let (run, merged) = (at("run"), at("merged"));
            if !run.join("model").exists() {
                let (model, run) = (text(&model), text(&run));
                let fixed = [&model[..], "--out", &run, "--resume"];
                parse::<train::Arguments>("train", options, &fixed)?.run()?;
            }
            // The best by a dev split, where there was one.
            let trained = ["best", "model"].map(|name| run.join(name)).into_iter().find(|path| path.exists());
            let trained = trained.unwrap_or_else(|| run.join("model"));
            if trained.join("adapter_config.json").exists() {
                if !merged.exists() {
                    secateur::write_merged(&trained, Some(&model), &merged)?;
                }
                model = merged;
            } else {
                model = trained;
            }
        }
        let last = at("model");
        if !last.exists() {
            // Masked or not, what comes out is compact.
            match recipe.slim {
                Some(_) => {
                    let mask = text(&at("masked").join("neuron_mask.json"));
                    let fixed = [&text(&model), "--mask", &mask, "--out", &text(&last)];
                    parse::<prune::CompactArguments>("compact", &Options::default(), &fixed)?.run()?;
                }
                None => ModelDirectory::open(&model)?.write_dropped(
                    &secateur::prune::Drops::default(),
                    secateur::prune::Layout::Secateur,
                    &last,
                )?,
            }
        }
        let record = self.evaluate(&recipe, &directory, &last)?;
        let report = record.to_string();
        for (path, text) in [
            (self.out.join("report.md"), report.clone()),
            (last.join("README.md"), record.model_card(&recipe.source)),
        ] {
            atomic_write(&path, |file| file.write_all(text.as_bytes()))?;
        }
        Ok(report)
    }

    /// Keeps the recipe beside what comes of it, and refuses another one in the same folder.
    fn keep(&self, recipe: &Recipe) -> Result<()> {
        let kept = self.out.join("recipe.toml");
        match fs::read_to_string(&kept) {
            Ok(text) if text == recipe.source => Ok(()),
            Ok(_) => Err(Failure::new(
                Code::Usage,
                format!(
                    "{} is of another recipe than {}: choose another --out, or compare it with {}",
                    self.out.display(),
                    self.recipe.display(),
                    kept.display()
                ),
            )),
            Err(_) => Ok(atomic_write(&kept, |file| file.write_all(recipe.source.as_bytes()))?),
        }
    }

    /// Measures what has come of it, and the model as it was if the recipe asks for that. What is there is not measured again.
    fn evaluate(&self, recipe: &Recipe, whole: &Path, last: &Path) -> Result<Record> {
        let mut models = vec![("model", last)];
        if recipe.evaluate.baseline {
            models.insert(0, ("baseline", whole));
        }
        let results = self.out.join("results");
        fs::create_dir_all(&results).map_err(|source| Failure::write(&results, &source))?;
        let mut measured = Vec::new();
        for (name, path) in models {
            let opened = ModelDirectory::open(path)?;
            let mut one = Measured {
                name: opened.name(),
                parameters: opened.architecture().parameters().total(),
                body: opened.architecture().parameters().total()
                    - opened.architecture().parameters().embeddings,
                cells: Vec::new(),
            };
            let mut encoder: Option<Encoder> = None;
            for dataset in &recipe.evaluate.datasets {
                let dataset = open_dataset(Path::new(dataset))?;
                let file = results.join(format!("{name}.{}.json", dataset.name()));
                let cell = match fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                    Some(cell) => cell,
                    None => {
                        let encoder = match &mut encoder {
                            Some(encoder) => encoder,
                            None => encoder.insert(Encoder::load(path, &LoadOptions::default())?),
                        };
                        let progress = Progress::start("encoding", "documents", || {
                            dataset.info().map(|info| info.documents)
                        })?;
                        let cell = measure_encoder(&*encoder, &dataset, None, |done| progress.set(done))?;
                        progress.finish();
                        atomic_write(&file, |out| {
                            serde_json::to_writer_pretty(&mut *out, &cell)?;
                            writeln!(out)
                        })?;
                        cell
                    }
                };
                one.cells.push((dataset.name().to_owned(), cell));
            }
            measured.push(one);
        }
        Ok(Record { model: recipe.model.clone(), measured })
    }
}
