//! `secateur teach`: training examples get the scores of a teacher.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use secateur::report::{counted, three_digits};
use secateur::train::{EncodingOptions, Examples, Teacher, teach};

use super::encoder::{model_directory, tell};
use super::failure::{Failure, Result};
use super::model_options::ModelOptions;
use super::progress::{Progress, say_on_interrupt};

const EXAMPLES: &str = "\
Writes the examples with `pos_scores` and `neg_scores`, in place of any they had: the logits of a cross-encoder (a model whose \
config.json names a class ...ForSequenceClassification), or the cosines of an encoder, with its prompts. Training distills \
them. Mine negatives first: `secateur mine`.

Examples:
  secateur teach mined.jsonl --model BAAI/bge-reranker-base --out train.jsonl
  secateur teach mined.jsonl.gz --model .models/all-MiniLM-L6-v2 --out train.jsonl.gz";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Training data in FlagEmbedding's or Tevatron's format, plain, .gz or .zst.
    file: PathBuf,
    /// The teacher: a cross-encoder or an encoder, a model directory or OWNER/NAME of the Hugging Face hub.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// The file to write; compressed if its name ends in .gz or .zst.
    #[arg(long, value_name = "FILE.jsonl")]
    out: PathBuf,
    #[command(flatten)]
    options: ModelOptions,
    #[command(flatten, next_help_heading = "If the teacher is an encoder")]
    encoding: EncodingOptions,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let options = self.encoding.load_options(self.options.load_options(&self.model)?);
        // A bad line is found before the work begins.
        let total = count(&self.file)?;
        let teacher = Teacher::load(&model_directory(&self.model)?, &options)?;
        tell(teacher.notices());
        say_on_interrupt("the scores so far are kept; run the same command again to go on")?;
        let start = Instant::now();
        let progress = Progress::start("scoring", "example", || Ok::<_, Failure>(total))?;
        let examples = teach(&self.file, &self.out, &teacher, |done| progress.set(done as usize))?;
        progress.finish();
        let what = if teacher.is_cross_encoder() { "logits" } else { "cosines" };
        Ok(format!(
            "{}: {} with {what} of {}, in {} s\n",
            self.out.display(),
            counted(examples as usize, "example"),
            teacher.name(),
            three_digits(start.elapsed().as_secs_f64())
        ))
    }
}

/// The examples of a file.
pub fn count(file: &Path) -> Result<u64> {
    let mut count = 0;
    for example in Examples::open(file, None)? {
        example?;
        count += 1;
    }
    Ok(count)
}
