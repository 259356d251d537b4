//! `secateur teach`: training examples get the scores of a teacher, or its vectors are kept for training.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use secateur::report::{counted, three_digits};
use secateur::train::{EncodingOptions, Examples, Teacher, count_texts, teach, teach_vectors};
use secateur_files::Journal;

use super::encoder::{model_directory, tell};
use super::failure::{Code, Failure, Result};
use super::model_options::ModelOptions;
use super::progress::{NOTHING_IS_KEPT, Progress, say_if_kept};
use crate::cli::index::check_file_out;

const EXAMPLES: &str = "\
Writes the examples with `pos_scores` and `neg_scores`, in place of any they had: the logits of a cross-encoder (a model whose \
config.json names a class ...ForSequenceClassification), or the cosines of an encoder, with its prompts. Training distills \
them. Mine negatives first: `secateur mine`.

With --vectors it writes an encoder's vectors of all texts instead, each text once, in 16 bits. `secateur train \
--teacher-vectors` learns them without running the teacher. --max-length says how much of a text the teacher reads.

Examples:
  secateur teach mined.jsonl --model BAAI/bge-reranker-base --out train.jsonl
  secateur teach mined.jsonl.gz --model .models/all-MiniLM-L6-v2 --out train.jsonl.gz
  secateur teach nq.jsonl cloze.jsonl --model MODEL --max-length 128 --precision int8 --vectors minilm.vectors";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Training data in FlagEmbedding's or Tevatron's format, plain, .gz or .zst; several files with --vectors.
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The teacher: a cross-encoder or an encoder, a model directory or OWNER/NAME of the Hugging Face hub.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// The file to write; compressed if its name ends in .gz or .zst.
    #[arg(long, value_name = "FILE.jsonl", required_unless_present = "vectors")]
    out: Option<PathBuf>,
    /// Write the vectors of all texts to this file, in place of examples with scores.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    vectors: Option<PathBuf>,
    #[command(flatten)]
    options: ModelOptions,
    #[command(flatten, next_help_heading = "If the teacher is an encoder")]
    encoding: EncodingOptions,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        if let Some(out) = self.vectors.as_ref().or(self.out.as_ref()) {
            check_file_out(out, &self.files)?;
        }
        match (&self.vectors, &self.out, &self.files[..]) {
            (Some(vectors), _, _) => self.keep_vectors(vectors),
            (None, Some(out), [file]) => self.score(file, out),
            _ => {
                let message =
                    "--out is for one file of examples, and several were named: call `teach` for each";
                Err(Failure::new(Code::Usage, message))
            }
        }
    }

    fn teacher(&self) -> Result<Teacher> {
        let options = self.encoding.load_options(self.options.load_options(&self.model)?);
        let teacher = Teacher::load(&model_directory(&self.model)?, &options)?;
        tell(teacher.notices());
        Ok(teacher)
    }

    fn score(&self, file: &Path, out: &Path) -> Result<String> {
        // A bad line is found before the work begins.
        let total = count(file)?;
        let teacher = self.teacher()?;
        let kept = "the scores so far are kept; run the same command again to go on";
        say_if_kept(kept, NOTHING_IS_KEPT, vec![Journal::beside(out)])?;
        let start = Instant::now();
        let progress = Progress::start("scoring", "example", || Ok::<_, Failure>(total))?;
        let examples = teach(file, out, &teacher, |done| progress.set(done as usize))?;
        progress.finish();
        let what = if teacher.is_cross_encoder() { "logits" } else { "cosines" };
        Ok(format!(
            "{}: {} with {what} of {}, in {} s\n",
            out.display(),
            counted(examples as usize, "example"),
            teacher.name(),
            three_digits(start.elapsed().as_secs_f64())
        ))
    }

    fn keep_vectors(&self, out: &Path) -> Result<String> {
        let total = count_texts(&self.files)?;
        let teacher = self.teacher()?;
        let Some(encoder) = teacher.encoder() else {
            let message = format!(
                "{} is a cross-encoder, which has no vectors: name an encoder, or leave out --vectors",
                teacher.name()
            );
            return Err(Failure::new(Code::Usage, message));
        };
        let kept = "the vectors so far are kept; run the same command again to go on";
        say_if_kept(kept, NOTHING_IS_KEPT, vec![Journal::beside(out)])?;
        let start = Instant::now();
        let progress = Progress::start("encoding", "text", || Ok::<_, Failure>(total))?;
        let texts = teach_vectors(&self.files, out, encoder, |done| progress.set(done as usize))?;
        progress.finish();
        let seconds = start.elapsed().as_secs_f64();
        Ok(format!(
            "{}: vectors of {} by {}, {} numbers in f16 each, in {} s ({} texts/s)\n",
            out.display(),
            counted(texts as usize, "text"),
            teacher.name(),
            encoder.dim(),
            three_digits(seconds),
            three_digits(texts as f64 / seconds)
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
