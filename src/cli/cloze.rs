//! `secateur dataset cloze`: plain texts become training examples.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use secateur::datasets::Texts;
use secateur::datasets::triples::{ClozeExamples, ClozeOptions, write_examples};
use secateur::report::counted;

use super::failure::{Code, Failure, Result};
use super::locate::texts;
use crate::cli::index::check_file_out;

const EXAMPLES: &str = "\
Texts are cut into passages of whole sentences. A sentence drawn from each is the query; the others are the passage that \
answers it (the inverse cloze task). With --max-query-words the query is some words of the sentence. Any text will do to learn from a teacher with `secateur train --teacher`.

Example:
  secateur dataset cloze c4.jsonl.gz news.txt --out cloze.jsonl";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Files of one text a line or of JSON lines with `text`, .gz and .zst too; BEIR folders.
    #[arg(required = true, value_name = "TEXTS")]
    texts: Vec<PathBuf>,
    /// The file to write; compressed if its name ends in .gz or .zst.
    #[arg(long, value_name = "FILE.jsonl")]
    out: PathBuf,
    /// A passage ends with the sentence in which it reaches this many words.
    #[arg(long, value_name = "N", default_value_t = ClozeOptions::default().passage_words)]
    passage_words: usize,
    /// Shorter sentences are no queries.
    #[arg(long, value_name = "N", default_value_t = ClozeOptions::default().min_query_words)]
    min_query_words: usize,
    /// A query is a span of at most this many words of its sentence [default: the whole sentence].
    #[arg(long, value_name = "N", value_parser = crate::cli::positive)]
    max_query_words: Option<NonZeroUsize>,
    /// Decides which sentences are queries.
    #[arg(long, value_name = "N", default_value_t = ClozeOptions::default().seed)]
    seed: u64,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let Arguments { texts: paths, out, passage_words, min_query_words, max_query_words, seed } = self;
        check_file_out(&out, &paths)?;
        if let Some(most) = max_query_words.filter(|most| most.get() < min_query_words) {
            let message = format!(
                "--max-query-words {most} is below --min-query-words {min_query_words}: no query has so few words"
            );
            return Err(Failure::new(Code::Usage, message));
        }
        let max_query_words = max_query_words.map(NonZeroUsize::get);
        let opened = paths.iter().map(|path| Ok(Texts::open(&texts(path)?)?)).collect::<Result<Vec<_>>>()?;
        let options = ClozeOptions { passage_words, min_query_words, max_query_words, seed };
        let examples = ClozeExamples::new(opened.into_iter().flatten(), options);
        let count = write_examples(&out, examples.map(|example| example.map_err(Failure::from)))?;
        if count == 0 {
            let message = format!(
                "{} is empty: no passage of the texts has a sentence of {min_query_words} words or more and another beside it",
                out.display()
            );
            return Err(Failure::new(Code::Input, message));
        }
        Ok(format!("{}: {}, each with a passage\n", out.display(), counted(count as usize, "query")))
    }
}
