//! What variants of a model are worth, end to end (EffiR, Table 1).

use std::path::{Path, PathBuf};

use secateur_datasets::beir::BeirFolder;
use secateur_encoders::Encoder;
use secateur_encoders::prune::{ModelDirectory, Remaining, SubLayer, Variant};
use serde::{Deserialize, Serialize};

use super::{ReadingOptions, read_scores};
use crate::error::Result;
use crate::measure::{Measurement, Measurements, measure};
use crate::progress::Progress;

/// Which variants of a model are measured, and on what. The options of `secateur prune sweep` are these.
#[derive(clap::Args, Clone, Debug)]
pub struct SweepOptions {
    /// What to drop, separated by commas: full, 8M (MLPs), 8A (attentions), 8B (blocks), 16M8A, last-2B.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    pub variants: Vec<Variant>,
    /// Data sets to measure on, separated by commas.
    #[arg(long, value_name = "DATASETS", num_args = 1.., value_delimiter = ',', required = true)]
    pub datasets: Vec<PathBuf>,
    /// The scores of this model, from `prune score`.
    #[arg(long, value_name = "FILE.json")]
    pub scores: Option<PathBuf>,
    /// How the model's files are read.
    #[command(flatten)]
    pub reading: ReadingOptions,
}

/// A variant of a model, and what it reached on each data set, in their order.
#[derive(Clone, Debug)]
pub struct SweptVariant {
    /// Which one.
    pub variant: Variant,
    /// What is left of the model.
    pub remaining: Remaining,
    /// Its parameters.
    pub num_parameters: usize,
    /// The data sets by name, and the results.
    pub measured: Vec<(String, Measurement)>,
}

/// The file of a result.
#[derive(Serialize, Deserialize)]
struct Record {
    model: String,
    /// Of the whole model.
    fingerprint: String,
    variant: String,
    /// Layers without their attention, and without their MLP.
    dropped_attention: Vec<usize>,
    dropped_mlp: Vec<usize>,
    num_parameters: usize,
    dataset: String,
    threads: usize,
    #[serde(flatten)]
    measurement: Measurement,
}

impl SweepOptions {
    /// Measures every variant on every data set, without retraining. The folder `out` keeps a file for each variant
    /// and data set. Stored results are not measured again.
    ///
    /// # Errors
    ///
    /// The scores are missing, or of another model. A variant drops more than there is. A data set has a fault or no
    /// judgments. The folder cannot be written.
    pub fn run(
        &self,
        model: &Path,
        out: &Path,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<SweptVariant>> {
        let options = self.reading.load_options();
        let opened = ModelDirectory::open_with(model, &options)?;
        let scores = self.scores.as_deref().map(|scores| read_scores(scores, &opened)).transpose()?;
        let importance = scores.as_ref().map(|scores| &scores.importance);
        let datasets = self
            .datasets
            .iter()
            .map(|path| Ok(BeirFolder::open(path)?))
            .collect::<Result<Vec<BeirFolder>>>()?;
        // Everything that can be wrong is found before the first hour of work.
        let choose = |variant: &Variant| -> Result<SweptVariant> {
            let whole = opened.architecture();
            let remaining = variant.choose(&whole.remaining(), importance)?;
            let num_parameters = whole.keep(&remaining).parameters().total();
            Ok(SweptVariant { variant: *variant, remaining, num_parameters, measured: Vec::new() })
        };
        let mut swept = self.variants.iter().map(choose).collect::<Result<Vec<_>>>()?;
        for dataset in &datasets {
            dataset.qrels(&dataset.default_split()?)?;
        }
        let kept = Measurements::open(out)?;
        for one in &mut swept {
            // Loaded when it is first needed.
            let mut encoder = None;
            for dataset in &datasets {
                let load = || Encoder::load_dropped(opened.path(), &options, &one.remaining);
                let record = one.record(&opened, dataset, &kept, (&mut encoder, &load), on)?;
                one.measured.push((dataset.name().to_owned(), record.measurement));
            }
        }
        Ok(swept)
    }
}

impl SweptVariant {
    fn record(
        &self,
        model: &ModelDirectory,
        dataset: &BeirFolder,
        kept: &Measurements,
        (encoder, load): (&mut Option<Encoder>, &dyn Fn() -> secateur_encoders::Result<Encoder>),
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Record> {
        let fingerprint = model.fingerprint().to_string();
        let [dropped_attention, dropped_mlp] = [SubLayer::Attention, SubLayer::Mlp]
            .map(|sub_layer| self.remaining.dropped_from(model.architecture(), sub_layer));
        // A result of another model, of other scores or of an older version is measured anew.
        let is_current = |record: &Record| {
            record.fingerprint == fingerprint
                && (&record.dropped_attention, &record.dropped_mlp) == (&dropped_attention, &dropped_mlp)
        };
        kept.get_or(&format!("{}.{}", self.variant, dataset.name()), is_current, || {
            let encoder = match encoder {
                Some(encoder) => encoder,
                None => encoder.insert(load()?),
            };
            let measurement = measure(&*encoder, dataset, None, on)?;
            Ok(Record {
                model: model.name(),
                fingerprint: fingerprint.clone(),
                variant: self.variant.to_string(),
                dropped_attention: dropped_attention.clone(),
                dropped_mlp: dropped_mlp.clone(),
                num_parameters: self.num_parameters,
                dataset: dataset.name().to_owned(),
                threads: rayon::current_num_threads(),
                measurement,
            })
        })
    }
}
