//! `secateur mine`: training examples get hard negatives.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use secateur::report::{counted, three_digits};
use secateur::train::{MineOptions, Teacher, mine};
use secateur::{LoadOptions, SearchMode};
use secateur_files::Journal;

use super::encoder::{EncoderArguments, kept_models, model_directory, open_database, tell};
use super::failure::{Failure, Result};
use super::progress::{NOTHING_IS_KEPT, Progress, say_if_kept};
use super::search::ModeArguments;
use super::teach::count;
use crate::cli::index::check_file_out;

const EXAMPLES: &str = "\
Searches the database for each query and adds documents from a range of ranks to `neg`, drawn at random. These are never taken: \
the example's positives, by id and by text; relevant documents that `secateur dataset triples --max-positives` left out; the \
query itself; a text twice. With --teacher, a document that scores above the example's lowest positive minus --margin is \
dropped, because it probably answers the query too; `pos_scores` and `neg_scores` are written as by `secateur teach`.

Examples:
  secateur index scifact --encoder .models/all-MiniLM-L6-v2 --out scifact.db
  secateur dataset triples scifact --out pairs.jsonl
  secateur mine pairs.jsonl --db scifact.db --mode hybrid --depth 10-100 --out mined.jsonl
  secateur mine pairs.jsonl --db scifact.db --teacher BAAI/bge-reranker-base --out train.jsonl";

const TEACHER: &str = "Teacher";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Training data in FlagEmbedding's or Tevatron's format, plain, .gz or .zst.
    file: PathBuf,
    /// The database to search, which holds the documents of the data set.
    #[arg(long, value_name = "DB")]
    db: PathBuf,
    /// The file to write; compressed if its name ends in .gz or .zst.
    #[arg(long, value_name = "FILE.jsonl")]
    out: PathBuf,
    /// The first and the last rank from which negatives are drawn, counted from 1.
    #[arg(long, value_name = "FIRST-LAST", default_value = "10-100", value_parser = depth)]
    depth: RangeInclusive<usize>,
    /// Negatives that each example gets, besides those it has.
    #[arg(long, value_name = "N", default_value = "7", value_parser = crate::cli::positive)]
    negatives: NonZeroUsize,
    /// A cross-encoder or an encoder that drops documents too good for negatives: a model directory, or OWNER/NAME of
    /// the hub.
    #[arg(long, value_name = "MODEL", help_heading = TEACHER)]
    teacher: Option<String>,
    /// How far below the example's lowest positive a negative's score must be, in the teacher's logits or cosines.
    #[arg(long, default_value_t = 0.0, requires = "teacher", value_parser = finite, allow_negative_numbers = true,
        help_heading = TEACHER)]
    margin: f32,
    /// Cut what the teacher reads to this many tokens.
    #[arg(long, value_name = "TOKENS", requires = "teacher", help_heading = TEACHER)]
    teacher_max_length: Option<usize>,
    /// Decides which documents in the range are drawn.
    #[arg(long, value_name = "N", default_value_t = MineOptions::new(SearchMode::Dense).seed)]
    seed: u64,
    #[command(flatten)]
    mode: ModeArguments,
    #[command(flatten)]
    encoder: EncoderArguments,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        check_file_out(&self.out, std::slice::from_ref(&self.file))?;
        // A bad line is found before the work begins.
        let total = count(&self.file)?;
        let database =
            open_database(&self.db, self.mode.generation(), &self.encoder, self.mode.needs_encoder())?;
        let teacher = self.teacher.as_deref().map(|reference| self.load_teacher(reference)).transpose()?;
        let search = self.mode.params(&database, *self.depth.end())?;
        let mode = database.mode(&search);
        let options = MineOptions {
            search,
            depth: self.depth.clone(),
            negatives: self.negatives.get(),
            margin: self.margin,
            seed: self.seed,
        };
        let kept = "the negatives so far are kept; run the same command again to go on";
        say_if_kept(kept, NOTHING_IS_KEPT, vec![Journal::beside(&self.out)])?;
        let start = Instant::now();
        let progress = Progress::start("mining", "example", || Ok::<_, Failure>(total))?;
        let report = mine(&self.file, &self.out, &database, teacher.as_ref(), &options, |done| {
            progress.set(done as usize);
        })?;
        progress.finish();
        let rejected = match &teacher {
            Some(teacher) => {
                let documents = counted(report.rejected as usize, "document");
                format!("; {documents} dropped by {}", teacher.name())
            }
            None => String::new(),
        };
        Ok(format!(
            "{}: {} with {} by {mode}, in {} s; {} got fewer than {}{rejected}\n",
            self.out.display(),
            counted(report.examples as usize, "example"),
            counted(report.negatives as usize, "negative"),
            three_digits(start.elapsed().as_secs_f64()),
            report.incomplete,
            self.negatives
        ))
    }

    fn load_teacher(&self, reference: &str) -> Result<Teacher> {
        let options = LoadOptions {
            name: (!Path::new(reference).exists()).then(|| reference.to_owned()),
            max_length: self.teacher_max_length,
            device: self.encoder.device,
            batch_tokens: self.encoder.batch_tokens.map(|tokens| tokens as usize),
            strict: self.encoder.strict,
            cache: kept_models(),
            ..LoadOptions::default()
        };
        let teacher = Teacher::load(&model_directory(reference)?, &options)?;
        tell(teacher.notices());
        Ok(teacher)
    }
}

fn depth(text: &str) -> std::result::Result<RangeInclusive<usize>, String> {
    let range = text.split_once('-').and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    range.filter(|range| *range.start() > 0 && !range.is_empty()).ok_or_else(|| {
        "expected two ranks, such as 10-100: the first at least 1, the last not before it".to_owned()
    })
}

fn finite(text: &str) -> std::result::Result<f32, String> {
    let number: Option<f32> = text.parse().ok();
    number.filter(|number| number.is_finite()).ok_or_else(|| "expected a finite number".to_owned())
}
