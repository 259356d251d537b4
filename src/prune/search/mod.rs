//! Which sub-layers go and how wide MLPs stay, chosen by retrieval quality on a development split.
//!
//! [`SearchOptions::run`] measures parts of a model on a sample: some queries, their judged documents and hard
//! negatives. What importance alone would choose comes first, then models with one change each, then what is expected
//! to be best by all that was measured. All of that is kept in a folder. So the same call goes on after an
//! interruption, and a search for another budget measures little anew.

mod budget;
mod choice;
mod going_on;
mod kept;
mod report;
mod sample;
mod surrogate;
mod timing;
mod trials;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use secateur_datasets::beir::BeirFolder;
use secateur_encoders::prune::{
    Calibration, CalibrationFormat, Importance, ModelDirectory, NeuronScores, Remaining, ScoreSettings,
    activation_magnitude, score,
};
use secateur_encoders::{Encoder, LoadOptions};
use secateur_files::{Durable, with_suffix};

use self::choice::{Choice, Costs};
use self::going_on::Search;
use self::kept::{kept_value, key};
use self::sample::Sample;
use self::timing::Timed;
use self::trials::Trials;
use super::{ReadingOptions, open_model, read_scores};
use crate::error::{Error, Result};
use crate::measure::Measurements;
use crate::options::positive;
use crate::progress::Progress;

pub use budget::{CostUnit, SearchBudget};
pub use report::{Gain, Origin, SEARCH_FORMAT, Sampling, SearchReport, Trial};
pub use sample::SampleFacts;
pub use timing::Timings;

/// What is searched for, and how thoroughly. The options of `secateur prune search` are these.
#[derive(clap::Args, Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// What may stay, as a share of the whole model: params=0.5, gflop=0.5 or latency=0.5.
    ///
    /// Parameters are those without heads, GFLOP those of a token in the linear layers, latency the time from a query's
    /// text to its vector.
    #[arg(long, value_name = "UNIT=SHARE")]
    pub budget: SearchBudget,
    /// Data sets to choose by, separated by commas: BEIR folders, or names of downloaded ones.
    #[arg(long, value_name = "DATASETS", num_args = 1.., value_delimiter = ',', required = true)]
    pub dev: Vec<PathBuf>,
    /// The split of the judgments [default: dev, where there is one]. Never one that results are reported on.
    #[arg(long, value_name = "SPLIT")]
    pub dev_split: Option<String>,
    /// The scores of this model, from `prune score` [default: measured on the sampled documents].
    #[arg(long, value_name = "FILE.json")]
    pub scores: Option<PathBuf>,
    /// Models to measure at most, the whole one included.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TRIALS, value_parser = positive, help_heading = EFFORT)]
    pub trials: NonZeroUsize,
    /// Queries to draw from each data set.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_QUERIES, value_parser = positive, help_heading = EFFORT)]
    pub queries: NonZeroUsize,
    /// Judged documents to take for each query, the most relevant first.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_JUDGED, value_parser = positive, help_heading = EFFORT)]
    pub judged: NonZeroUsize,
    /// Documents to take for each query besides: the best by BM25 that are not judged relevant.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_NEGATIVES, help_heading = EFFORT)]
    pub negatives: usize,
    /// Cut texts to this many tokens while searching, which is faster [default: as the model says].
    #[arg(long, value_name = "TOKENS", help_heading = EFFORT)]
    pub max_length: Option<usize>,
    /// Decides which queries and documents are drawn.
    #[arg(long, value_name = "N", default_value_t = 42, help_heading = EFFORT)]
    pub seed: u64,
    /// How the model's files are read.
    #[command(flatten)]
    pub reading: ReadingOptions,
}

const EFFORT: &str = "How thoroughly";
const DEFAULT_TRIALS: NonZeroUsize = NonZeroUsize::new(64).unwrap();
const DEFAULT_QUERIES: NonZeroUsize = NonZeroUsize::new(100).unwrap();
const DEFAULT_JUDGED: NonZeroUsize = NonZeroUsize::new(5).unwrap();
const DEFAULT_NEGATIVES: usize = 5;

/// The whole model, what importance chooses in four ways, and some of what a search is about.
const LEAST_TRIALS: usize = 8;

impl SearchOptions {
    /// A search with everything at its default.
    pub fn new(budget: SearchBudget, dev: impl IntoIterator<Item = PathBuf>) -> SearchOptions {
        SearchOptions {
            budget,
            dev: dev.into_iter().collect(),
            dev_split: None,
            scores: None,
            trials: DEFAULT_TRIALS,
            queries: DEFAULT_QUERIES,
            judged: DEFAULT_JUDGED,
            negatives: DEFAULT_NEGATIVES,
            max_length: None,
            seed: 42,
            reading: ReadingOptions::default(),
        }
    }

    /// Refuses what cannot be searched, before anything is read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`]
    pub fn check(&self) -> Result<()> {
        if self.dev.is_empty() {
            return Err(Error::option("dev", "name at least one data set to choose by"));
        }
        if let Some((number, twice)) =
            self.dev.iter().enumerate().find(|(number, path)| self.dev[..*number].contains(path))
        {
            let problem =
                format!("{} is named twice, the second time as number {}", twice.display(), number + 1);
            return Err(Error::option("dev", problem));
        }
        if self.trials.get() < LEAST_TRIALS {
            let problem = format!("{} models tell too little: ask for {LEAST_TRIALS} or more", self.trials);
            return Err(Error::option("trials", problem));
        }
        Ok(())
    }

    /// Where what was measured is kept: OUT.search.
    pub fn folder(out: &Path) -> PathBuf {
        with_suffix(out, ".search")
    }

    /// Searches the parts of a model that keep the budget for the best one, and writes it to the new directory `out`.
    /// The folder OUT.search keeps what was measured, and search.json in it is the report. The same call goes on from
    /// there after an interruption, with the same result. (Times differ from run to run; those that were taken are kept
    /// too.)
    ///
    /// The result is at least as good on the sample as what importance alone chooses. That is as many MLPs, attentions
    /// or blocks as the budget asks for, or half of the MLPs and then width. Nothing is ever measured on a split that
    /// results are reported on.
    ///
    /// # Errors
    ///
    /// The errors of [`SearchOptions::check`]. `out` exists. A split is one that results are reported on, or is not
    /// there. The budget is out of reach. The scores are of another model; the data sets have faults.
    pub fn run(
        &self,
        model: impl AsRef<Path>,
        out: impl AsRef<Path>,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<SearchReport> {
        let (model, out) = (model.as_ref(), out.as_ref());
        self.check()?;
        let datasets = self.dev.iter().map(|path| sample::open(path, self.dev_split.as_deref()));
        let datasets: Vec<(BeirFolder, String)> = datasets.collect::<Result<_>>()?;
        let opened = open_model(model, &self.reading, out)?;
        let whole = opened.architecture().remaining();
        let scores = self.scores.as_deref().map(|scores| read_scores(scores, &opened)).transpose()?;
        // What needs no timing is refused at once.
        let counted = self.counted(&opened);
        if let Some(costs) = &counted {
            self.limit(costs, &whole)?;
        }
        let folder = SearchOptions::folder(out);
        let kept = Measurements::open(&folder)?;
        let samples = datasets
            .iter()
            .enumerate()
            .map(|(number, dataset)| Sample::draw(self, dataset, number, &kept, &folder, on));
        let samples: Vec<Sample> = samples.collect::<Result<_>>()?;
        let options = LoadOptions { max_length: self.max_length, ..self.reading.load_options() };
        let encoder = Encoder::load(model, &options)?;
        let key = key(&encoder, &samples, self.max_length);
        let (measured, neurons) =
            SearchOptions::scored(&encoder, &samples, scores.is_none(), &kept, &key, on)?;
        let importance = scores.map(|scores| scores.importance).or(measured);
        let importance = importance.ok_or_else(|| Error::option("scores", "there are none"))?;

        let queries = samples.iter().flat_map(Sample::query_texts).collect();
        let timed = Timed { model, options: &options, remaining: &whole, neurons: &neurons, queries };
        let (costs, timings) = match counted {
            Some(costs) => (costs, None),
            None => {
                let key = format!("{key} threads {}", rayon::current_num_threads());
                on(Progress::Begins { what: "timing", unit: "model", total: &|| Some(4) });
                let timings = kept_value(&kept, "timings", &key, || timed.timings())?;
                (timings.costs(&whole), Some(timings))
            }
        };
        let limit = self.limit(&costs, &whole)?;
        let tokens = samples.iter().map(|sample| sample.tokenize(&encoder)).collect::<Result<_>>()?;
        drop(encoder);
        let trials = Trials::new(&kept, &key, &timed, &samples, tokens);
        let mut search = Search {
            options: self,
            importance: &importance,
            costs: &costs,
            limit,
            whole: Choice::of(&whole),
            model: &whole,
            trials,
        };
        let total = self.trials.get();
        on(Progress::Begins { what: "searching", unit: "model", total: &|| Some(total as u64) });
        search.starts(on)?;
        search.singles(on)?;
        search.proposals(total, on)?;
        let measured_share = match timings {
            Some(_) => Some(search.hold_latency(&timed, &kept, &key, on)?),
            None => None,
        };
        let chosen = search.best().ok_or_else(|| search.too_slow())?;
        let report = SearchReport {
            fingerprint: opened.fingerprint().to_string(),
            model: opened.name(),
            samples: samples.iter().map(|sample| sample.facts.clone()).collect(),
            importance: match &self.scores {
                Some(file) => file.display().to_string(),
                None => "the sampled documents".to_owned(),
            },
            timings,
            measured_share,
            ..search.report(&opened, chosen)
        };
        let choice = &search.trials.done[chosen].choice;
        opened.write_pruned(&choice.depth(&whole), &choice.mask(&neurons), out)?;
        Durable::write(&folder.join("search.json"), |file| {
            serde_json::to_writer_pretty(&mut *file, &report)?;
            writeln!(file)
        })?;
        Ok(report)
    }

    /// What sub-layers cost, if that can be counted.
    fn counted(&self, model: &ModelDirectory) -> Option<Costs> {
        let (architecture, whole) = (model.architecture(), model.architecture().remaining());
        match self.budget.unit {
            CostUnit::Params => {
                Some(Costs::by(&whole, |left| architecture.keep(left).parameters().total() as f64))
            }
            CostUnit::Gflop => {
                Some(Costs::by(&whole, |left| architecture.keep(left).flop_per_token(1).linear / 1e9))
            }
            CostUnit::Latency => None,
        }
    }

    /// The most that a choice may cost.
    fn limit(&self, costs: &Costs, whole: &Remaining) -> Result<f64> {
        let all = costs.of(&Choice::of(whole));
        let limit = self.budget.share * all;
        if costs.base > limit {
            let problem = format!(
                "{} is out of reach: without any attention and MLP the model still has {:.3} of its {}; ask for more",
                self.budget,
                costs.base / all,
                self.budget.unit.name()
            );
            return Err(Error::option("budget", problem));
        }
        Ok(limit)
    }

    /// The importance of sub-layers, if it `is_asked` for, and of neurons, on the sampled documents.
    fn scored(
        encoder: &Encoder,
        samples: &[Sample],
        is_asked: bool,
        kept: &Measurements,
        key: &str,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Option<Importance>, NeuronScores)> {
        let total = samples.iter().map(|sample| sample.facts.num_documents).sum();
        let calibration =
            Calibration { format: CalibrationFormat::Texts, max_sequences: total, block_length: None };
        let texts = || samples.iter().flat_map(Sample::passages).map(|text| Ok::<_, Error>(text.to_owned()));
        let total = || Some(total as u64);
        let importance = match is_asked {
            false => None,
            true => Some(kept_value(kept, "importance", key, || {
                on(Progress::Begins { what: "scoring", unit: "document", total: &total });
                let settings = ScoreSettings { calibration, ..ScoreSettings::default() };
                let scores = score(encoder, texts(), &settings, None, |done| on(Progress::Done(done)))?;
                Ok(scores.importance)
            })?),
        };
        let neurons = kept_value(kept, "neurons", key, || {
            on(Progress::Begins { what: "scoring neurons", unit: "document", total: &total });
            activation_magnitude(encoder, texts(), &calibration, |done| on(Progress::Done(done)))
        })?;
        Ok((importance, neurons))
    }
}
