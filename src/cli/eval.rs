//! `secateur eval`: the queries of a data set are answered and the answers measured.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::Instant;

use clap::Args;
use secateur::datasets::beir::BeirFolder;
use secateur::datasets::{Qrels, trec};
use secateur::eval::{Evaluation, Measure, RuleSet, Rules, evaluate};
use secateur::report::{agreed, counted};
use secateur::{SearchMode, report};

use super::encoder::EncoderArguments;
use super::failure::{Code, Failure, Result, warn};
use super::inputs::open_dataset;
use super::search::ModeArguments;
use super::searched::{Opening, Searched, open_searched};
use crate::cli::index::check_file_out;

const EXAMPLES: &str = "\
Examples:
  secateur eval scifact.db scifact
  secateur eval scifact.db scifact --mode hybrid --measures nDCG@10,Recall@100 --run hybrid.run";

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help("Where the database's encoder is, if not where it was when the vectors were made")), after_help = EXAMPLES)]
pub struct Arguments {
    /// The database, a set of shards, or a .json file that names the servers of a set.
    database: PathBuf,
    /// A BEIR folder with queries and judgments, or the name of a downloaded data set.
    dataset: PathBuf,
    /// Hits asked for each query. A hybrid search fuses as many of each index, unless --candidates says how many.
    #[arg(short, long, default_value = "1000", value_parser = super::positive)]
    k: NonZeroUsize,
    /// Write the hits as a TREC run file.
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
    /// Accept judgments even if most of them are of documents that the database does not hold. A few are counted, and
    /// refused with --strict.
    #[arg(long, conflicts_with = "strict")]
    allow_unknown: bool,
    #[command(flatten)]
    measuring: MeasuringArguments,
    #[command(flatten)]
    mode: ModeArguments,
    #[command(flatten)]
    encoder: EncoderArguments,
}

/// What is measured and how it is printed.
#[derive(Args)]
#[command(next_help_heading = "What is measured")]
pub struct MeasuringArguments {
    /// Split of the judgments to measure against [default: the one BEIR reports on: test, dev for MS MARCO].
    #[arg(long)]
    split: Option<String>,
    /// How ties, missing queries and identical ids are treated.
    #[arg(long, default_value_t)]
    rules: RuleSet,
    /// What to measure, separated by commas [default: nDCG@10,Recall@100,MAP,MRR@10,P@10].
    #[arg(long, value_delimiter = ',', num_args = 1.., default_values_t = Measure::DEFAULT, hide_default_value = true)]
    measures: Vec<Measure>,
    /// Print the values of each query too.
    #[arg(long)]
    per_query: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl MeasuringArguments {
    /// The name of the split.
    pub fn split(&self, dataset: &BeirFolder) -> Result<String> {
        Ok(match &self.split {
            Some(split) => split.clone(),
            None => dataset.default_split()?,
        })
    }

    /// The rules for a data set.
    pub fn rules(&self, dataset: &str) -> Rules {
        self.rules.rules_for(dataset)
    }

    /// What is measured.
    pub fn measures(&self) -> &[Measure] {
        &self.measures
    }

    /// Whether a program reads the output.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The evaluation as it was asked for.
    pub fn show(&self, evaluation: &Evaluation) -> String {
        if self.json {
            return report::json(evaluation, self.per_query) + "\n";
        }
        let table = report::table(evaluation);
        if self.per_query { format!("{table}\n{}", report::per_query_table(evaluation)) } else { table }
    }
}

impl Arguments {
    /// A measure that looks at more hits than are asked for would be too low.
    fn check_cutoffs(&self) -> Result<()> {
        let deep = self.measuring.measures().iter().max_by_key(|measure| measure.cutoff());
        match deep.and_then(|measure| Some((measure, measure.cutoff()?))) {
            Some((measure, cutoff)) if cutoff > self.k => Err(Failure::new(
                Code::Usage,
                format!(
                    "-k {} is less than the {cutoff} hits that {measure} looks at: raise it, or name other --measures",
                    self.k
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Judgments of documents that are not there count against every ranking. Some data sets have a few, such as BEIR's
    /// ArguAna; if most are such, the database holds another data set.
    fn check_judgments(&self, database: &dyn Searched, qrels: &Qrels) -> Result<()> {
        let judged: Vec<(&str, &str)> = qrels
            .iter()
            .flat_map(|(query_id, judgments)| {
                judgments.keys().map(move |doc_id| (query_id.as_str(), doc_id.as_str()))
            })
            .collect();
        let doc_ids: Vec<&str> = judged.iter().map(|(_, doc_id)| *doc_id).collect();
        let is_there = database.contains_each(&doc_ids)?;
        let unknown: Vec<_> = judged
            .iter()
            .zip(is_there)
            .filter(|(_, is_there)| !is_there)
            .map(|(judged, _)| *judged)
            .collect();
        let (count, first) = (judged.len(), unknown.first().copied());
        let unknown = unknown.len();
        let Some((query_id, doc_id)) = first else { return Ok(()) };
        let what = format!(
            "{unknown} of {} {} of documents that the database does not hold, such as {doc_id:?} of query {query_id:?}",
            counted(count, "judgment"),
            agreed(unknown, "is", "are")
        );
        if self.encoder.strict || 2 * unknown > count && !self.allow_unknown {
            let advice = match self.encoder.strict {
                true if 2 * unknown > count => {
                    "leave --strict out and say --allow-unknown to count them as not found"
                }
                true => "leave --strict out to count them as not found",
                false => "is it of this data set? --allow-unknown evaluates all the same",
            };
            let message = format!("{what}: {advice}");
            return Err(Failure::new(Code::Input, message));
        }
        if !self.allow_unknown {
            warn(&format!("{what}; they count as not found"));
        }
        Ok(())
    }

    /// What is searched.
    pub fn path(&self) -> &Path {
        &self.database
    }

    pub fn run(self) -> Result<String> {
        if let Some(run) = &self.run {
            check_file_out(run, slice::from_ref(&self.dataset))?;
        }
        let needs_encoder = self.mode.needs_encoder();
        let opening = Opening { generation: self.mode.generation(), needs_encoder, partial: false };
        let mut database = open_searched(&self.database, opening, &self.encoder)?;
        if needs_encoder {
            database.search_on(self.encoder.device)?;
        }
        let dataset = open_dataset(&self.dataset)?;
        if dataset.splits()?.is_empty() {
            let message = format!(
                "{} has no judgments to measure against (qrels/SPLIT.tsv): `secateur search {} --queries FILE --run RUN` \
                 answers queries without any",
                self.dataset.display(),
                self.database.display()
            );
            return Err(Failure::new(Code::Input, message));
        }
        let split = self.measuring.split(&dataset)?;
        let qrels = dataset.qrels(&split)?;
        self.check_cutoffs()?;
        self.check_judgments(&*database, &qrels)?;
        let queries = dataset.judged_queries(&qrels)?;
        let rules = self.measuring.rules(dataset.name());
        // Where the rules take a document out of the ranking, one more is needed.
        let params = self
            .mode
            .params(&*database, self.k.get().saturating_add(usize::from(rules.drop_identical_ids)))?;
        let mode = database.mode(&params);
        let start = Instant::now();
        let run = database.run(&queries, &params)?;
        let seconds = start.elapsed().as_secs_f64();
        let evaluation = evaluate(&qrels, &run, self.measuring.measures(), &rules)?;
        if let Some(path) = &self.run {
            trec::write_run(path, &run, &format!("secateur-{mode}"))?;
        }
        let shown = self.measuring.show(&evaluation);
        if self.measuring.is_json() {
            return Ok(shown);
        }
        let fused = match mode {
            SearchMode::Hybrid => format!(" of {} of each index", counted(params.depth(), "hit")),
            _ => String::new(),
        };
        // What was measured is told as far as it differs from what a plain search runs.
        let generation =
            self.mode.generation().map_or_else(String::new, |name| format!(", generation {name}"));
        let filter =
            params.filter.as_ref().map_or_else(String::new, |filter| format!(", only where {filter}"));
        Ok(format!(
            "{} {split}, {mode}{fused}{generation}{filter}: {} in {} s, taken once, all at once\n{shown}",
            dataset.name(),
            counted(queries.len(), "query"),
            report::three_digits(seconds),
        ))
    }
}
