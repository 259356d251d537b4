//! `secateur rerank`: a cross-encoder ranks the best documents of a run anew.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use secateur::datasets::beir::BeirFolder;
use secateur::datasets::{Query, Run, trec};
use secateur::encode::{CrossEncoder, Reranker};
use secateur::report::{counted, three_digits};

use super::encoder::{model_directory, tell};
use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;
use super::model_options::ModelOptions;
use super::progress::Progress;

const EXAMPLES: &str = "\
The score is the model's logit, higher is better. What is below the top is left out of the new run.

Examples:
  secateur eval scifact.db scifact --mode hybrid -k 100 --run hybrid.run
  secateur rerank BAAI/bge-reranker-base --run hybrid.run --dataset scifact --top 100 --out reranked.run
  secateur eval-run reranked.run scifact";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A cross-encoder: a model directory, or OWNER/NAME of the Hugging Face hub, such as BAAI/bge-reranker-base.
    model: String,
    /// A TREC run file, plain, .gz or .zst: what is ranked anew.
    #[arg(long, value_name = "FILE")]
    run: PathBuf,
    /// The BEIR folder that the run was made on, or the name of a downloaded data set.
    #[arg(long)]
    dataset: PathBuf,
    /// How many documents of each query the model reads.
    #[arg(long, value_name = "K", default_value = "100", value_parser = crate::cli::positive)]
    top: NonZeroUsize,
    /// The TREC run file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What stands between a document's title and its text.
    #[arg(long, value_name = "TEXT", default_value = " ")]
    separator: String,
    #[command(flatten)]
    options: ModelOptions,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let run = trec::read_run(&self.run)?;
        let dataset = open_dataset(&self.dataset)?;
        let cross_encoder = self.load()?;
        let queries = queries_of(&run, &dataset)?;
        let passages = self.passages_of(&run, &dataset)?;
        let k = self.top.get();
        let num_pairs: usize = run.values().map(|hits| hits.len().min(k)).sum();
        let progress = Progress::start("scoring", "pair", || Ok::<_, Failure>(num_pairs as u64))?;
        let start = Instant::now();
        let reranker = Reranker { model: &cross_encoder, k };
        let reranked = reranker.rerank(&run, &queries, &passages, |done| progress.set(done))?;
        progress.finish();
        let seconds = start.elapsed().as_secs_f64();
        trec::write_run(&self.out, &reranked, "secateur-rerank")?;
        Ok(format!(
            "{}: {}, {} scored by {} in {} s ({} pairs/s)\n",
            self.out.display(),
            counted(reranked.len(), "query"),
            counted(num_pairs, "pair"),
            cross_encoder.name(),
            three_digits(seconds),
            three_digits(num_pairs as f64 / seconds)
        ))
    }

    fn load(&self) -> Result<CrossEncoder> {
        let options = self.options.load_options(&self.model)?;
        let directory = model_directory(&self.model)?;
        if !CrossEncoder::is_in(&directory, &options)? {
            let message = format!(
                "{} is no cross-encoder: its config.json names no class ...ForSequenceClassification; \
                 an encoder ranks with `secateur eval --run`",
                directory.display()
            );
            return Err(Failure::new(Code::Input, message));
        }
        let model = CrossEncoder::load(&directory, &options)?;
        tell(model.notices());
        Ok(model)
    }

    /// The texts of the documents that the model reads.
    fn passages_of(&self, run: &Run, dataset: &BeirFolder) -> Result<HashMap<String, String>> {
        let top = run.values().flat_map(|hits| hits.iter().take(self.top.get()));
        let documents = dataset.documents_by_id(top.map(|hit| hit.doc_id.as_str()))?;
        Ok(documents.into_iter().map(|(id, document)| (id, document.passage(&self.separator))).collect())
    }
}

fn queries_of(run: &Run, dataset: &BeirFolder) -> Result<Vec<Query>> {
    let mut queries = Vec::with_capacity(run.len());
    for query in dataset.queries()? {
        let query = query?;
        if run.contains_key(&query.id) {
            queries.push(query);
        }
    }
    Ok(queries)
}
