//! `secateur generation`: the documents of a database under several encoders.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use secateur::report::grouped;
use secateur::{Database, Metric};
use serde_json::json;

use super::encoder::EncoderArguments;
use super::failure::{Code, Failure, Result};
use super::index::IndexArguments;
use super::progress::{Progress, say_on_interrupt};

const EXAMPLES: &str = "\
A generation is the vectors of all documents under one encoder. Searches use the encoder of the generation that they read. While
a database has several, documents can be deleted, but not added.

Examples:
  secateur generation add scifact.db small --encoder minilm-effir
  secateur eval scifact.db scifact --generation small
  secateur generation use scifact.db small
  secateur generation drop scifact.db original";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Encode all documents with another encoder.
    Add(Box<AddArguments>),
    /// List the generations.
    List(ListArguments),
    /// Make searches read a generation.
    Use(NameArguments),
    /// Remove a generation that is not in use.
    Drop(NameArguments),
}

#[derive(Args)]
pub struct AddArguments {
    /// The database.
    database: PathBuf,
    /// What to call the generation.
    name: String,
    /// How vectors are compared [default: as the model says].
    #[arg(long)]
    metric: Option<Metric>,
    /// What stands between a document's title and its text when the encoder reads it.
    #[arg(long, value_name = "TEXT", default_value = " ")]
    separator: String,
    #[command(flatten)]
    encoder: EncoderArguments,
    #[command(flatten)]
    index: IndexArguments,
}

#[derive(Args)]
pub struct ListArguments {
    /// The database.
    database: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct NameArguments {
    /// The database.
    database: PathBuf,
    /// The generation.
    name: String,
}

impl Command {
    pub fn run(self) -> Result<String> {
        match self {
            Command::Add(arguments) => arguments.run(),
            Command::List(arguments) => arguments.run(),
            Command::Use(NameArguments { database, name }) => {
                Database::open(&database)?.use_generation(&name)?;
                Ok(format!("{}: generation {name} is in use\n", database.display()))
            }
            Command::Drop(NameArguments { database, name }) => {
                Database::open(&database)?.drop_generation(&name)?;
                Ok(format!("{}: generation {name} is dropped\n", database.display()))
            }
        }
    }
}

impl AddArguments {
    fn run(self) -> Result<String> {
        let start = Instant::now();
        let mut database = Database::open(&self.database)?;
        let Some(encoder) = self.encoder.load()? else {
            return Err(Failure::new(Code::Usage, "a generation needs an encoder: name it with --encoder"));
        };
        let options = self.index.options(self.metric, &self.separator, &self.encoder);
        say_on_interrupt("the vectors so far are kept; run the same command again to go on")?;
        let total = database.len() as u64;
        let progress = Progress::start("encoding", "documents", || Ok::<_, Failure>(total))?;
        database.add_generation(&self.name, &encoder, &options, |done| progress.set(done))?;
        progress.finish();
        let (name, seconds) = (&self.name, start.elapsed().as_secs_f64());
        let len = grouped(database.len());
        Ok(format!("{}: generation {name} of {len} documents, in {seconds:.1} s\n", self.database.display()))
    }
}

impl ListArguments {
    fn run(self) -> Result<String> {
        let database = Database::open(&self.database)?;
        let generations = database.generations();
        let is_used = |name: &str| database.generation_in_use() == Some(name);
        if self.json {
            let list: Vec<_> = generations
                .iter()
                .map(|generation| {
                    let encoder = generation.encoder.as_ref();
                    json!({
                        "name": generation.name,
                        "in_use": is_used(&generation.name),
                        "encoder": encoder.map(|encoder| &encoder.name),
                        "dim": generation.vectors.dim,
                        "metric": generation.vectors.metric.to_string(),
                        "vectors": generation.vectors.components.name(),
                        "codes": generation.vectors.index.code_type().map(|codes| codes.name()),
                    })
                })
                .collect();
            return Ok(format!("{:#}\n", json!(list)));
        }
        if generations.is_empty() {
            return Ok(format!("{}: no generation, because it has no vectors\n", self.database.display()));
        }
        let line = |generation: &secateur::index::storage::Generation| {
            let mark = if is_used(&generation.name) { "*" } else { " " };
            let encoder = generation.encoder.as_ref().map_or("", |encoder| &encoder.name);
            let vectors = generation.vectors;
            format!("{mark} {:<20} {:>6}  {} {encoder}\n", generation.name, vectors.dim, vectors.metric)
        };
        Ok(generations.iter().map(line).collect())
    }
}
