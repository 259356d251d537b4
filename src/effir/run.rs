//! A recipe from its first stage to its report, or from where it was interrupted.

use std::path::{Path, PathBuf};

use secateur_datasets::beir::BeirFolder;
use secateur_encoders::{Encoder, write_merged};
use secateur_files::Durable;

use super::inputs::problem;
use super::recipe::Recipe;
use super::report::{MeasuredModel, OnDataset, Report};
use super::stage::{RUN, Stage};
use crate::error::Result;
use crate::measure::{Measurements, measure};
use crate::progress::Progress;
use crate::prune::{Layout, ModelDirectory, ReadingOptions, narrow};
use crate::report::{drop_order, widths};

impl Recipe {
    /// Runs the stages, and leaves in the folder `out`:
    ///
    /// | | |
    /// |---|---|
    /// | `recipe.toml` or `.json` | the recipe; another one is refused if it changes what was computed by this one |
    /// | `scores.json`, `drop_order.svg` | the importance of sub-layers, and the order in which they are dropped |
    /// | `dropped/` | the model without sub-layers |
    /// | `masked/`, `neurons.json`, `widths.svg` | the model with neurons zero, their scores, the widths that are left |
    /// | `run/` | the training, as [`Run::take_steps`](crate::train::Run::take_steps) leaves it; `merged/` if it made an adapter |
    /// | `results/` | a file a model and data set |
    /// | `model/` | what comes of it, with a model card |
    /// | `report.md` | the report |
    ///
    /// Finished stages are not repeated. Tables of later stages may change until something is computed by them. After
    /// an interruption the same call continues, and ends with the same model. `on` is told how far a stage is.
    ///
    /// # Errors
    ///
    /// As [`Recipe::check`] and the stages; what a stage reads is not there; the folder is of another recipe, or of
    /// none and not empty.
    pub fn run(&self, out: impl AsRef<Path>, on: &mut dyn FnMut(Stage, Progress<'_>)) -> Result<Report> {
        let out = out.as_ref();
        self.check()?;
        let start = self.model_directory().to_owned();
        // What can be wrong is found before the first hour of work.
        self.check_inputs(out, problem)?;
        self.check_model(out, &ModelDirectory::open_with(&start, &self.load_options())?)?;
        let datasets = self.evaluate.datasets.iter().map(|path| Ok(BeirFolder::open(path)?));
        let datasets = datasets.collect::<Result<Vec<BeirFolder>>>()?;
        self.keep(out)?;
        let last = self.make(out, &start, on)?;
        let report = self.evaluate(out, &start, &last, &datasets, on)?;
        write(&out.join("report.md"), &report.to_string())?;
        write(&last.join("README.md"), &report.model_card(&self.text()))?;
        Ok(report)
    }

    /// Makes the model, stage by stage, of the one at `start`. Returns its directory.
    fn make(&self, out: &Path, start: &Path, on: &mut dyn FnMut(Stage, Progress<'_>)) -> Result<PathBuf> {
        let mut model = start.to_owned();
        let scores = Stage::Score.made_in(out);
        if let Some(options) = &self.score
            && !Stage::Score.is_done_in(out)
        {
            let scores = options.run(&model, &scores, &mut |progress| on(Stage::Score, progress))?;
            write(&out.join("drop_order.svg"), &drop_order(&scores).to_string())?;
        }
        if let Some(options) = &self.drop {
            let dropped = Stage::Drop.made_in(out);
            if !Stage::Drop.is_done_in(out) {
                let options = self.drop_by(options, scores);
                options.run(&model, &dropped, &mut |progress| on(Stage::Drop, progress))?;
            }
            model = dropped;
        }
        let masked = Stage::Slim.made_in(out);
        if let Some(options) = &self.slim {
            if !Stage::Slim.is_done_in(out) {
                let slimmed = options.run(&model, &masked, &mut |progress| on(Stage::Slim, progress))?;
                write(&out.join("neurons.json"), &slimmed.scores.to_json())?;
                write(&out.join("widths.svg"), &widths(&slimmed.model, &slimmed.mask).to_string())?;
            }
            model = masked.clone();
        }
        if let Some(options) = &self.train {
            let (run, merged) = (out.join(RUN), out.join("merged"));
            if !Stage::Train.is_done_in(out) {
                options.run(&model, &run, &mut |progress| on(Stage::Train, progress))?;
            }
            // The best by a dev split, where there was one.
            let trained = ["best", "model"].map(|name| run.join(name)).into_iter().find(|path| path.exists());
            let trained = trained.unwrap_or_else(|| run.join("model"));
            if trained.join("adapter_config.json").exists() {
                if !merged.exists() {
                    write_merged(&trained, Some(&model), &merged)?;
                }
                model = merged;
            } else {
                model = trained;
            }
        }
        let last = Stage::Evaluate.made_in(out);
        if !last.exists() {
            match self.slim {
                Some(_) => {
                    let reading = ReadingOptions::default();
                    narrow(&model, Some(&masked.join("neuron_mask.json")), &reading, &last)?;
                }
                None => {
                    let model = ModelDirectory::open(&model)?;
                    model.write_dropped(&model.architecture().remaining(), Layout::Secateur, &last)?;
                }
            }
        }
        Ok(last)
    }

    /// Measures the result, and the original model if the recipe asks for it. Stored measurements are not repeated.
    fn evaluate(
        &self,
        out: &Path,
        start: &Path,
        last: &Path,
        datasets: &[BeirFolder],
        on: &mut dyn FnMut(Stage, Progress<'_>),
    ) -> Result<Report> {
        let baseline = self.evaluate.baseline.then_some(("baseline", start));
        let kept = Measurements::open(out.join("results"))?;
        let mut measured = Vec::new();
        for (name, path) in baseline.into_iter().chain([("model", last)]) {
            let opened = ModelDirectory::open_with(path, &self.load_options())?;
            let mut encoder: Option<Encoder> = None;
            let mut results = Vec::new();
            for dataset in datasets {
                let measurement = kept.get_or(
                    &format!("{name}.{}", dataset.name()),
                    |_| true,
                    || {
                        let encoder = match &encoder {
                            Some(encoder) => encoder,
                            None => encoder.insert(Encoder::load(path, &self.load_options())?),
                        };
                        measure(encoder, dataset, None, &mut |progress| on(Stage::Evaluate, progress))
                    },
                )?;
                results.push(OnDataset { dataset: dataset.name().to_owned(), measurement });
            }
            let parameters = opened.architecture().parameters();
            measured.push(MeasuredModel {
                name: opened.name(),
                parameters: parameters.total(),
                without_embeddings: parameters.total() - parameters.embeddings,
                results,
            });
        }
        Ok(Report { model: self.model.clone(), measured })
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(Durable::write(path, |file| file.write_all(text.as_bytes()))?)
}
