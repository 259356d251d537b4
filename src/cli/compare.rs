//! `secateur compare`: several runs against the first of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use secateur::compare::CompareOptions;
use secateur::datasets::layout::read_judgments;
use secateur::datasets::{Qrels, Run, trec};
use secateur::statistics::Randomization;

use super::as_json;
use super::eval::MeasuringArguments;
use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;

const EXAMPLES: &str = "\
The first run is what the others are compared with. Probabilities are two-sided; with three runs or more they are also adjusted by \
Holm's method.

Examples:
  secateur compare whole.run pruned.run --qrels scifact
  secateur compare bm25.run dense.run hybrid.run --qrels qrels.txt --measures nDCG@10,Recall@100 --json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Two TREC run files or more, plain, .gz or .zst.
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// Judgments, a file of TREC's or BEIR's form, or a BEIR folder, whose texts are then shown.
    #[arg(long, value_name = "JUDGMENTS")]
    qrels: PathBuf,
    /// Ways to swap the runs' values that the randomization test tries.
    #[arg(long, value_name = "N", default_value_t = Randomization::default().permutations,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    permutations: usize,
    /// Decides which ways are drawn.
    #[arg(long, value_name = "N", default_value_t = Randomization::default().seed)]
    seed: u64,
    /// Queries to show: those that moved most by the first measure.
    #[arg(long, value_name = "N", default_value_t = CompareOptions::default().moved)]
    moved: usize,
    /// Documents of either answer to show for each.
    #[arg(long, value_name = "N", default_value_t = CompareOptions::default().answers)]
    answers: usize,
    #[command(flatten)]
    measuring: MeasuringArguments,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let names = self.names()?;
        let runs = self.runs.iter().map(|path| Ok(trec::read_run(path)?)).collect::<Result<Vec<Run>>>()?;
        let (dataset, qrels) = match self.qrels.is_file() {
            true => (None, read_judgments(&self.qrels)?),
            false => {
                let dataset = open_dataset(&self.qrels)?;
                let split = self.measuring.split(&dataset)?;
                let qrels = dataset.qrels(&split)?;
                (Some(dataset), qrels)
            }
        };
        let rules = self.measuring.rules(dataset.as_ref().map_or("", |dataset| dataset.name()));
        let options = CompareOptions {
            randomization: Randomization { permutations: self.permutations, seed: self.seed },
            moved: self.moved,
            answers: self.answers,
        };
        let named: Vec<(&str, &Run)> = names.iter().map(String::as_str).zip(&runs).collect();
        check_queries(&named, &qrels)?;
        let mut comparison = options.compare(&named, &qrels, self.measuring.measures(), &rules)?;
        if let Some(dataset) = &dataset {
            comparison.add_texts(dataset)?;
        }
        if self.measuring.is_json() {
            return as_json(&comparison);
        }
        Ok(format!("rules: {rules}\n{comparison}"))
    }

    /// What the runs are called: their file names, or their paths where two files have one name.
    fn names(&self) -> Result<Vec<String>> {
        if let Some(folder) = self.runs.iter().find(|path| path.is_dir()) {
            let message = format!("{} is a folder, and a run file is expected there", folder.display());
            return Err(Failure::new(Code::Usage, message));
        }
        let file_name =
            |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let names: Vec<String> = self.runs.iter().map(file_name).collect();
        let is_one_a_run = names.iter().collect::<BTreeSet<_>>().len() == names.len();
        let paths = || self.runs.iter().map(|path| path.display().to_string()).collect();
        Ok(if is_one_a_run { names } else { paths() })
    }
}

/// Names the run that is of other queries.
fn check_queries(runs: &[(&str, &Run)], qrels: &Qrels) -> Result<()> {
    let is_other = |(_, run): &&(&str, &Run)| !run.keys().any(|query_id| qrels.contains_key(query_id));
    match (runs.iter().find(is_other), qrels.keys().next()) {
        (Some((name, _)), Some(first)) => {
            let message = format!(
                "{name} has none of the {} judged queries (the first is {first:?}): is it of another data set or split?",
                qrels.len()
            );
            Err(Failure::new(Code::Input, message))
        }
        _ => Ok(()),
    }
}
