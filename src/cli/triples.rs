//! `secateur dataset triples`: judgments become training examples.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use secateur::datasets::beir::BeirFolder;
use secateur::datasets::triples::{BeirExamples, BeirOptions, TrainingExample, write_examples};
use secateur::report::counted;

use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;
use super::progress::Progress;
use crate::cli::index::check_file_out;

const EXAMPLES: &str = "\
Writes a line of JSON for each judged query that has a relevant document, as FlagEmbedding's training data:
  {\"query_id\", \"query\", \"pos\": [texts], \"neg\": [texts], \"pos_ids\", \"neg_ids\"}
`neg` holds what was judged irrelevant, which is nothing in most data sets: `secateur mine` adds hard negatives.
Training draws each batch from one file, so data sets that differ are better written to a file each.

Examples:
  secateur dataset triples scifact --out scifact.jsonl
  secateur dataset triples nfcorpus --max-positives 4 --out nfcorpus.jsonl.gz
  secateur dataset triples squadshifts-wiki squadshifts-reddit --out squadshifts.jsonl";

const KEPT: &str = "Which judgments";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// BEIR folders, or the names of downloaded data sets.
    #[arg(required = true, value_name = "DATASET")]
    datasets: Vec<PathBuf>,
    /// The judgments to convert.
    #[arg(long, default_value = "train", help_heading = KEPT)]
    split: String,
    /// The file to write; compressed if its name ends in .gz or .zst.
    #[arg(long, value_name = "FILE.jsonl")]
    out: PathBuf,
    /// Keep this many positives of a query: the most relevant ones, drawn by the seed where they are equal. Mining
    /// does not take the others for negatives.
    #[arg(long, value_name = "N", help_heading = KEPT, value_parser = crate::cli::positive)]
    max_positives: Option<NonZeroUsize>,
    /// The least relevance of a positive.
    #[arg(long, value_name = "N", default_value_t = BeirOptions::default().min_relevance, help_heading = KEPT)]
    min_relevance: i32,
    /// Leave out what was judged irrelevant.
    #[arg(long, help_heading = KEPT)]
    no_negatives: bool,
    /// What stands between a document's title and its text.
    #[arg(long, value_name = "TEXT", default_value = " ")]
    separator: String,
    /// Decides everything that is random.
    #[arg(long, value_name = "N", default_value_t = BeirOptions::default().seed)]
    seed: u64,
    /// Convert judgments that results are reported on. A model that is trained on them is not measured by them any
    /// more.
    #[arg(long, help_heading = KEPT)]
    allow_evaluation_split: bool,
}

/// What was written of a data set.
#[derive(Default)]
struct Counts {
    examples: usize,
    positives: usize,
    negatives: usize,
    left_out: u64,
    unknown: u64,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        check_file_out(&self.out, &self.datasets)?;
        let datasets =
            self.datasets.iter().map(|dataset| open_dataset(dataset)).collect::<Result<Vec<_>>>()?;
        for dataset in &datasets {
            self.refuse_evaluation(dataset)?;
        }
        let mut counts: Vec<Counts> = Vec::with_capacity(datasets.len());
        let mut datasets_left = datasets.iter();
        let mut current: Option<BeirExamples> = None;
        // One data set is in memory at a time.
        let examples = std::iter::from_fn(|| {
            loop {
                if let (Some(example), Some(counts)) =
                    (current.as_mut().and_then(BeirExamples::next), counts.last_mut())
                {
                    counts.add(&example);
                    return Some(Ok(example));
                }
                match self.read(datasets_left.next()?) {
                    Ok(examples) => {
                        let (left_out, unknown) = (examples.left_out(), examples.unknown());
                        counts.push(Counts { left_out, unknown, ..Counts::default() });
                        current = Some(examples);
                    }
                    Err(failure) => return Some(Err(failure)),
                }
            }
        });
        write_examples(&self.out, examples)?;
        let lines = datasets.iter().zip(&counts).map(|(dataset, counts)| {
            let left_out = match counts.left_out {
                0 => String::new(),
                count => {
                    let queries = counted(count as usize, "query");
                    format!("; {queries} without text or without a positive left out")
                }
            };
            let unknown = match counts.unknown {
                0 => String::new(),
                count => {
                    let judgments = counted(count as usize, "judgment");
                    format!("; {judgments} of documents that the corpus lacks passed over")
                }
            };
            format!(
                "{} {}: {}, {}, {}{left_out}{unknown}\n",
                dataset.name(),
                self.split,
                counted(counts.examples, "query"),
                counted(counts.positives, "positive"),
                counted(counts.negatives, "negative")
            )
        });
        Ok(lines.collect())
    }

    fn read(&self, dataset: &BeirFolder) -> Result<BeirExamples> {
        let options = BeirOptions {
            separator: self.separator.clone(),
            min_relevance: self.min_relevance,
            max_positives: self.max_positives.map(NonZeroUsize::get),
            judged_negatives: !self.no_negatives,
            seed: self.seed,
        };
        let progress = Progress::start("reading", "document", || dataset.info().map(|info| info.documents))?;
        let examples = BeirExamples::read(dataset, &self.split, &options, |read| progress.set(read))?;
        progress.finish();
        if examples.len() == 0 {
            let message = format!(
                "{}: no query of split {} has a document of relevance {} or more with text",
                dataset.path().display(),
                self.split,
                self.min_relevance
            );
            return Err(Failure::new(Code::Input, message));
        }
        Ok(examples)
    }

    /// Training on what one is measured by is an error that no figure shows.
    fn refuse_evaluation(&self, dataset: &BeirFolder) -> Result<()> {
        if self.allow_evaluation_split || !dataset.is_reported(&self.split) {
            return Ok(());
        }
        let message = format!(
            "results on {} are reported on its split {}, which is no training data: name another with --split, or pass \
             --allow-evaluation-split if no model that is trained on it will be measured by it",
            dataset.name(),
            self.split
        );
        Err(Failure::new(Code::Usage, message))
    }
}

impl Counts {
    fn add(&mut self, example: &TrainingExample) {
        self.examples += 1;
        self.positives += example.positives.len();
        self.negatives += example.negatives.len();
    }
}
