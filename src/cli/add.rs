//! `secateur add` and `secateur upsert`: documents go into a database that is there.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use secateur::database::AddOptions;
use secateur::index::Error as IndexError;
use secateur::report::{agreed, counted, grouped, three_digits};
use secateur::{Database, Error};
use serde_json::json;

use super::encoder::{EncoderArguments, open_for_writing};
use super::failure::{Code, Failure, Result};
use super::progress::{Progress, say_on_interrupt};
use super::source::{Inputs, SourceArguments};

const ADD_EXAMPLES: &str = "\
All documents are added at once, in one commit. Vectors are made by the encoder that the database remembers; with several \
generations, by the encoder of each. A document whose id is taken is refused: `secateur upsert` replaces it.

Files are JSON lines (.jsonl, .json), tables (.csv, .tsv, and .parquet in a build with that feature), texts (.txt, .md) or folders. Fields that are not the id, \
the title or the text become metadata, which --filter looks at.

Examples:
  secateur add my.db notes.jsonl
  secateur add my.db articles.csv more/*.csv --id-field key --text-field abstract";

const UPSERT_EXAMPLES: &str = "\
As `secateur add`, but a document whose id is taken replaces the one that has it, in the same commit. If an id comes several \
times, the last document counts.

Example:
  secateur upsert my.db changed.jsonl";

#[derive(Args)]
#[command(after_help = ADD_EXAMPLES)]
pub struct AddArguments {
    #[command(flatten)]
    common: Arguments,
}

#[derive(Args)]
#[command(after_help = UPSERT_EXAMPLES)]
pub struct UpsertArguments {
    #[command(flatten)]
    common: Arguments,
}

impl AddArguments {
    pub fn run(self) -> Result<String> {
        self.common.run(false)
    }
}

impl UpsertArguments {
    pub fn run(self) -> Result<String> {
        self.common.run(true)
    }
}

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help("Where the database's encoder is, if not where it was when the vectors were made")))]
struct Arguments {
    /// The database.
    database: PathBuf,
    /// Files or folders of documents, or the name of a downloaded data set.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    encoder: EncoderArguments,
}

impl Arguments {
    fn run(self, replace: bool) -> Result<String> {
        let start = Instant::now();
        let inputs = self.source.open(&self.files, self.encoder.strict)?;
        let mut database = Database::open(&self.database)?;
        check_vectors(&database, &inputs)?;
        // Loading and encoding may take long: what will be refused is found before.
        let total = match database.generations().iter().any(|generation| generation.encoder.is_some()) {
            true => {
                let total = check(&inputs, &database, replace)?;
                database = open_for_writing(&self.database, &self.encoder)?;
                Some(total)
            }
            false => None,
        };
        say_on_interrupt(
            "nothing was added; the vectors so far are kept, and the same command goes on from them",
        )?;
        let (what, count) = if replace { ("upserting", true) } else { ("adding", false) };
        let progress = Progress::start(what, "document", || match total {
            Some(total) => Ok(total),
            None => inputs.check(count, |_| Ok(false)),
        })?;
        let progress = database
            .generations()
            .iter()
            .fold(progress, |progress, generation| progress.going_on_from(&database.add_journal(generation)));
        let num_empty = Cell::new(0);
        let documents = inputs.counted(replace, |count| num_empty.set(count));
        let options = AddOptions { replace, allow_empty: true };
        let report = match database.add_from(documents, options, |done| progress.set(done)) {
            // Where it stands is found by reading once more.
            Err(Error::Index(IndexError::DuplicateDocument { .. })) if !replace => {
                check(&inputs, &Database::open(&self.database)?, replace)?;
                return Err(Failure::new(
                    Code::Database,
                    format!(
                        "{}: another program has changed its documents meanwhile: add again",
                        self.database.display()
                    ),
                ));
            }
            report => report?,
        };
        progress.finish();
        inputs.warn_of_empty(num_empty.get());
        let num_cut = database.num_cut_texts();
        if self.json {
            let json = json!({
                "added": report.num_added,
                "replaced": report.num_replaced,
                "empty": num_empty.get(),
                "cut": num_cut,
                "documents": database.len(),
                "seconds": start.elapsed().as_secs_f64(),
            });
            return Ok(format!("{json:#}\n"));
        }
        let added = counted(report.num_added, "document");
        let [replaced, len] = [report.num_replaced, database.len()].map(grouped);
        let replaced = if replace { format!(", {replaced} replaced") } else { String::new() };
        let cut = match num_cut {
            0 => String::new(),
            count => {
                let texts = counted(count, "text");
                format!(" ({texts} {} longer than the encoder reads)", agreed(count, "is", "are"))
            }
        };
        let seconds = three_digits(start.elapsed().as_secs_f64());
        Ok(format!(
            "{}: {added} added{replaced}{cut}, {len} in all, in {seconds} s\n",
            self.database.display()
        ))
    }
}

/// Reads the documents once; returns how many there are. Unless they replace others, an id that is taken is an error
/// that names its place.
fn check(inputs: &Inputs, database: &Database, replace: bool) -> Result<u64> {
    inputs.check(replace, |document| Ok(!replace && database.contains(&document.id)?))
}

/// Whether documents come with vectors if and only if no encoder makes them.
fn check_vectors(database: &Database, inputs: &Inputs) -> Result<()> {
    let expects = database.dim().is_some() && database.encoder_record().is_none();
    let message = match (expects, inputs.has_vectors()) {
        (true, false) => {
            "the vectors of this database come with the documents: name them with --npy or --vector-field"
        }
        (false, true) if database.dim().is_some() => {
            "the vectors of this database are made by its encoder: leave --npy and --vector-field out"
        }
        (false, true) => "this database has no vectors: leave --npy and --vector-field out",
        _ => return Ok(()),
    };
    Err(Failure::new(Code::Usage, message))
}
