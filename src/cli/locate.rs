//! Names on the command line become places: models of the hub, downloaded data sets. The library only knows paths.

use std::path::{Path, PathBuf};

use secateur::effir::{Input, InputKind, Recipe};
use secateur::encode::DEFAULT_ENCODER;
use secateur::prune::{DropOptions, ScoreOptions, SearchOptions, SlimOptions, SparsifyOptions, SweepOptions};
use secateur::train::{LossOptions, TrainOptions};

use super::encoder::{is_hub_name, model_directory};
use super::failure::{Code, Failure, Result};
use super::inputs::{is_known, open_dataset};

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
    if name.exists() {
        return Ok(name.to_owned());
    }
    if !is_known(&name.to_string_lossy()) {
        let message = format!(
            "there is no file or folder {}, and no data set of that name is published; \
             `secateur dataset download --list` prints the names",
            name.display()
        );
        return Err(Failure::new(Code::Input, message));
    }
    dataset(name)
}

/// What is missing or wrong about an input of a recipe. Models of the hub are not looked up.
pub fn problem(input: &Input<'_>) -> Option<String> {
    let name = input.path.to_string_lossy();
    let is_named = match input.kind {
        _ if input.path.exists() => true,
        InputKind::Model => name == DEFAULT_ENCODER || is_hub_name(&name),
        InputKind::Texts | InputKind::Dataset => is_known(&name),
        InputKind::Examples | InputKind::File => false,
    };
    match input.kind {
        _ if !is_named => Some(name.into_owned()),
        InputKind::Dataset => dataset(input.path).err().map(|failure| failure.message),
        _ if input.path.exists() => input.fault(),
        InputKind::Texts => texts(input.path).err().map(|failure| failure.message),
        InputKind::Model | InputKind::Examples | InputKind::File => None,
    }
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
