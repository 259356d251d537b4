//! `secateur eval-run`: a run file is measured.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use secateur::datasets::layout::read_judgments;
use secateur::datasets::trec;
use secateur::eval::{check_ids, evaluate};

use super::eval::MeasuringArguments;
use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;

#[derive(Args)]
#[command(after_help = "\
Examples:
  secateur eval-run hybrid.run scifact
  secateur eval-run other.run qrels.txt --measures nDCG@10,MAP")]
pub struct Arguments {
    /// A TREC run file, plain, .gz or .zst.
    run: PathBuf,
    /// Judgments, a file of TREC's or BEIR's form, or a BEIR folder, against which the ids of the run are then checked.
    judgments: PathBuf,
    #[command(flatten)]
    measuring: MeasuringArguments,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        if self.run.is_dir() {
            let message = format!(
                "{} is a folder, and a run file is expected there: the run comes first, then the judgments",
                self.run.display()
            );
            return Err(Failure::new(Code::Usage, message));
        }
        let run = trec::read_run(&self.run)?;
        let (name, qrels) = if self.judgments.is_file() {
            (String::new(), read_judgments(&self.judgments)?)
        } else {
            let dataset = open_dataset(&self.judgments)?;
            let mut documents = HashSet::new();
            for document in dataset.corpus()? {
                documents.insert(document?.id);
            }
            let mut queries = HashSet::new();
            for query in dataset.queries()? {
                queries.insert(query?.id);
            }
            check_ids(&run, |id| queries.contains(id), |id| documents.contains(id))?;
            (dataset.name().to_owned(), dataset.qrels(&self.measuring.split(&dataset)?)?)
        };
        let evaluation = evaluate(&qrels, &run, self.measuring.measures(), &self.measuring.rules(&name))?;
        Ok(self.measuring.show(&evaluation))
    }
}
