//! `secateur generation`: the documents of a database under several encoders.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use secateur::database::GenerationInfo;
use secateur::index::storage::VectorSettings;
use secateur::report::{Align, Table, counted, three_digits};
use secateur::{Database, Metric};
use serde_json::json;

use super::encoder::{EncoderArguments, open_relocated};
use super::failure::{Failure, Result};
use super::index::{IndexArguments, SEPARATOR};
use super::info::generation_json;
use super::progress::{Progress, say_on_interrupt};

const EXAMPLES: &str = "\
A generation is the vectors of all documents under one encoder. Searches use the encoder of the generation that they read. \
`secateur add` gives each document a vector in every generation, and loads all encoders for that.

Examples:
  secateur generation add scifact.db small --encoder minilm-effir
  secateur eval scifact.db scifact --generation small
  secateur generation use scifact.db small
  secateur generation drop scifact.db original
  secateur generation relocate scifact.db small --encoder models/minilm-effir";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Encode all documents with another encoder.
    #[command(after_help = "Example:\n  secateur generation add scifact.db small --encoder minilm-effir")]
    Add(Box<AddArguments>),
    /// List the generations.
    #[command(after_help = "Example:\n  secateur generation list scifact.db")]
    List(ListArguments),
    /// Make searches read a generation.
    #[command(after_help = "Example:\n  secateur generation use scifact.db small")]
    Use(NameArguments),
    /// Remove a generation that is not in use.
    #[command(after_help = "Example:\n  secateur generation drop scifact.db original")]
    Drop(NameArguments),
    /// Write down where the encoder of a generation is now. It must be the one that made the vectors.
    #[command(
        after_help = "Example:\n  secateur generation relocate scifact.db small --encoder models/minilm-effir"
    )]
    Relocate(RelocateArguments),
}

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.required(true)))]
pub struct AddArguments {
    /// The database.
    database: PathBuf,
    /// What to call the generation.
    name: String,
    /// How vectors are compared [default: as the model says].
    #[arg(long)]
    metric: Option<Metric>,
    /// What stands between a document's title and its text when the encoder reads it.
    #[arg(long, value_name = "TEXT", default_value = SEPARATOR)]
    separator: String,
    #[command(flatten)]
    encoder: EncoderArguments,
    #[command(flatten)]
    index: IndexArguments,
}

#[derive(Args)]
pub struct RelocateArguments {
    /// The database.
    database: PathBuf,
    /// The generation [default: the one in use].
    name: Option<String>,
    /// Where the encoder is: a model directory, OWNER/NAME of the Hugging Face hub, or `default`.
    #[arg(long, value_name = "MODEL")]
    encoder: String,
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
            Command::Relocate(arguments) => arguments.run(),
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
        self.index.check()?;
        let mut database = Database::open(&self.database)?;
        let encoder = self.encoder.load_required()?;
        let options = self.index.options(self.metric, &self.separator, &self.encoder);
        say_on_interrupt("the vectors so far are kept; run the same command again to go on")?;
        let total = database.len() as u64;
        let progress = Progress::start("encoding", "document", || Ok::<_, Failure>(total))?
            .going_on_from(&database.generation_journal(&self.name));
        database.add_generation(&self.name, &encoder, &options, |done| progress.set(done))?;
        progress.finish();
        let (name, seconds) = (&self.name, three_digits(start.elapsed().as_secs_f64()));
        let documents = counted(database.len(), "document");
        let cut = self.index.cut(encoder.num_cut_texts(), encoder.max_length());
        Ok(format!("{}: generation {name} of {documents}{cut}, in {seconds} s\n", self.database.display()))
    }
}

impl RelocateArguments {
    fn run(self) -> Result<String> {
        let encoder = EncoderArguments { encoder: Some(self.encoder), ..EncoderArguments::default() };
        let (mut database, source) = open_relocated(&self.database, self.name.as_deref(), &encoder)?;
        database.set_encoder_source(&source)?;
        let record = database.encoder_record().and_then(|record| record.source);
        let model = record.map_or_else(|| source.model.clone(), |source| source.model);
        let name = database.generation_name().unwrap_or_default();
        Ok(format!("{}: the encoder of generation {name} is {model}\n", self.database.display()))
    }
}

impl ListArguments {
    fn run(self) -> Result<String> {
        let database = Database::open(&self.database)?;
        let generations = database.generation_infos();
        if self.json {
            let list: Vec<_> = generations.iter().map(generation_json).collect();
            return Ok(format!("{:#}\n", json!(list)));
        }
        if generations.is_empty() {
            return Ok(format!("{}: no generation, because it has no vectors\n", self.database.display()));
        }
        let mut table = Table::new(
            ["", "generation", "dim", "metric", "index", "ef", "encoder", "fingerprint", "path"]
                .map(|name| (name, if name == "dim" || name == "ef" { Align::Right } else { Align::Left })),
        );
        for GenerationInfo { generation, is_used, encoder, .. } in generations {
            let VectorSettings { dim, metric, index, .. } = generation.vectors;
            let source = encoder.as_ref().and_then(|encoder| encoder.source.as_ref());
            table.row([
                if is_used { "*" } else { "" }.to_owned(),
                generation.name,
                dim.to_string(),
                metric.to_string(),
                index.name().to_owned(),
                index.ef_search().map_or_else(String::new, |ef| ef.to_string()),
                encoder.as_ref().map_or_else(String::new, |encoder| encoder.name.clone()),
                encoder.as_ref().map_or_else(String::new, |encoder| {
                    encoder.fingerprint.to_string().chars().take(12).collect()
                }),
                source.map_or_else(String::new, |source| source.model.clone()),
            ]);
        }
        Ok(table.to_string())
    }
}
