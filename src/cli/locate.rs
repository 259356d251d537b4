//! Names on the command line become places: models of the hub, downloaded data sets. The library only knows paths.

use std::path::{Path, PathBuf};

use secateur::effir::Recipe;
use secateur::prune::{DropOptions, ScoreOptions, SearchOptions, SlimOptions, SparsifyOptions, SweepOptions};
use secateur::train::{LossOptions, TrainOptions};

use super::encoder::model_directory;
use super::failure::Result;
use super::inputs::open_dataset;

/// Options that name models or data sets.
pub trait Locate: Sized {
    /// The same with paths in the place of names.
    fn located(self) -> Result<Self>;
}

/// The path of a model directory that is named as `--encoder` names one.
fn model(name: &Path) -> Result<PathBuf> {
    model_directory(&name.to_string_lossy())
}

/// The path of a data set, downloaded or not.
fn dataset(name: &Path) -> Result<PathBuf> {
    Ok(open_dataset(name)?.path().to_owned())
}

/// The path of texts: a file, a folder, or a downloaded data set.
pub fn texts(name: &Path) -> Result<PathBuf> {
    if name.exists() { Ok(name.to_owned()) } else { dataset(name) }
}

fn each(names: Vec<PathBuf>, locate: fn(&Path) -> Result<PathBuf>) -> Result<Vec<PathBuf>> {
    names.iter().map(|name| locate(name)).collect()
}

impl Locate for ScoreOptions {
    fn located(self) -> Result<ScoreOptions> {
        Ok(ScoreOptions { calibration: texts(&self.calibration)?, ..self })
    }
}

impl Locate for DropOptions {
    fn located(self) -> Result<DropOptions> {
        let calibration = self.calibration.as_deref().map(texts).transpose()?;
        Ok(DropOptions { calibration, ..self })
    }
}

impl Locate for SlimOptions {
    fn located(self) -> Result<SlimOptions> {
        let calibration = self.calibration.as_deref().map(texts).transpose()?;
        Ok(SlimOptions { calibration, loss: self.loss.located()?, ..self })
    }
}

impl Locate for SparsifyOptions {
    fn located(self) -> Result<SparsifyOptions> {
        Ok(SparsifyOptions { calibration: texts(&self.calibration)?, ..self })
    }
}

impl Locate for SweepOptions {
    fn located(self) -> Result<SweepOptions> {
        Ok(SweepOptions { datasets: each(self.datasets, dataset)?, ..self })
    }
}

impl Locate for SearchOptions {
    fn located(self) -> Result<SearchOptions> {
        Ok(SearchOptions { dev: each(self.dev, dataset)?, ..self })
    }
}

impl Locate for LossOptions {
    fn located(self) -> Result<LossOptions> {
        Ok(LossOptions { teacher: self.teacher.as_deref().map(model).transpose()?, ..self })
    }
}

impl Locate for TrainOptions {
    fn located(self) -> Result<TrainOptions> {
        Ok(TrainOptions { loss: self.loss.located()?, dev: each(self.dev, dataset)?, ..self })
    }
}

impl Locate for Recipe {
    fn located(mut self) -> Result<Recipe> {
        self.directory = Some(model_directory(&self.model)?);
        self.score = self.score.map(Locate::located).transpose()?;
        self.drop = self.drop.map(Locate::located).transpose()?;
        self.slim = self.slim.map(Locate::located).transpose()?;
        self.train = self.train.map(Locate::located).transpose()?;
        self.evaluate.datasets = each(self.evaluate.datasets, dataset)?;
        Ok(self)
    }
}
