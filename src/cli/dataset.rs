//! `secateur dataset`: inspect, check, download and convert data sets.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use secateur::datasets::known_datasets;
use secateur::datasets::layout::{Collection, Layout};
use secateur::report::{Align, Table, counted};
use secateur_files::{DurableFolder, PathError};

use super::failure::{Code, Failure, Result};
use super::inputs::{dataset_cache, open_dataset};
use super::progress::show_download;
use super::{as_json, cloze, print, triples};
use crate::download::{Fetcher, download_dataset};

const EXAMPLES: &str = "\
Examples:
  secateur dataset download scifact
  secateur dataset verify my-folder
  secateur dataset triples nq-qed --split train --out nq.jsonl";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Count documents, queries and judgments.
    Info(InfoArguments),
    /// Check every line: ids, judgments, text. Names file and line of each fault.
    Verify(VerifyArguments),
    /// Download a data set that BEIR publishes.
    Download(DownloadArguments),
    /// Write a collection in another layout: from the hub's Parquet, MS MARCO's files or BEIR's.
    Convert(ConvertArguments),
    /// Make training data of judgments: queries with their relevant documents.
    Triples(triples::Arguments),
    /// Make training data of plain texts: a sentence is the query, the sentences around it are the passage.
    Cloze(cloze::Arguments),
}

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur dataset info scifact")]
pub struct InfoArguments {
    /// A BEIR folder, or the name of a downloaded data set.
    dataset: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur dataset verify my-folder")]
pub struct VerifyArguments {
    /// A BEIR folder, or the name of a downloaded data set.
    dataset: PathBuf,
    /// The most faults that are printed; all are counted.
    #[arg(long, value_name = "N", default_value_t = 100)]
    max: u64,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  secateur dataset download --list
  secateur dataset download scifact")]
pub struct DownloadArguments {
    /// The name under which BEIR publishes it.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Print the names there are.
    #[arg(long)]
    list: bool,
}

impl Command {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        match self {
            Command::Info(arguments) => arguments.run(),
            Command::Verify(arguments) => arguments.run(out),
            Command::Download(arguments) => arguments.run(),
            Command::Convert(arguments) => arguments.run(),
            Command::Triples(arguments) => arguments.run(),
            Command::Cloze(arguments) => arguments.run(),
        }
    }
}

#[derive(Args)]
#[command(after_help = "\
Reads BEIR folders, the hub's folders (corpus/, queries/ and default/ with Parquet files), MS MARCO's files (collection.tsv, \
queries.SPLIT.tsv, qrels.SPLIT.tsv, top1000.SPLIT.tsv) and ir_datasets' exports (docs.tsv, queries.tsv, qrels).

Examples:
  secateur dataset convert msmarco --out msmarco-beir
  secateur dataset convert datasets/mini --to tsv --out mini-tsv")]
pub struct ConvertArguments {
    /// The folder of the collection.
    folder: PathBuf,
    /// The folder to make.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The layout to write: beir, or tsv as MS MARCO has it (titles go before texts, metadata are left out).
    #[arg(long, value_name = "LAYOUT", default_value = "beir", value_parser = layout)]
    to: Layout,
}

fn layout(name: &str) -> std::result::Result<Layout, String> {
    match name {
        "beir" => Ok(Layout::Beir),
        "tsv" => Ok(Layout::Tsv),
        _ => Err("expected beir or tsv".to_owned()),
    }
}

impl ConvertArguments {
    fn run(self) -> Result<String> {
        if self.out.exists() {
            return Err(PathError::exists(&self.out).into());
        }
        let collection = Collection::find(&self.folder)?;
        // It appears whole or not at all.
        let folder = DurableFolder::create(&self.out)?;
        let converted = collection.convert(folder.temporary(), self.to).map_err(|error| {
            // The temporary folder is gone when the message is read.
            let [temporary, out] = [folder.temporary(), &self.out].map(|path| path.display().to_string());
            Failure::from(error).told(|why| why.replace(&temporary, &out))
        })?;
        folder.finish()?;
        Ok(format!(
            "{}: {}, {}, {}\n",
            self.out.display(),
            counted(converted.documents as usize, "document"),
            counted(converted.queries as usize, "query"),
            counted(converted.judgments as usize, "judgment")
        ))
    }
}

impl InfoArguments {
    fn run(self) -> Result<String> {
        let info = open_dataset(&self.dataset)?.info()?;
        if self.json {
            return as_json(&info);
        }
        let mut splits = Table::new([
            ("split", Align::Left),
            ("queries", Align::Right),
            ("judgments", Align::Right),
            ("positive", Align::Right),
            ("relevance", Align::Right),
        ]);
        for split in &info.splits {
            splits.row([
                split.name.clone(),
                split.queries.to_string(),
                split.judgments.to_string(),
                split.positive_judgments.to_string(),
                split.relevance_range.map_or_else(String::new, |(low, high)| format!("{low} to {high}")),
            ]);
        }
        let empty = match info.empty_documents {
            0 => String::new(),
            count => format!(", {count} without text"),
        };
        let queries = match info.queries {
            0 => "no queries".to_owned(),
            count => {
                let queries = counted(count as usize, "query");
                format!("{queries} ({:.0} characters on average)", info.mean_query_chars)
            }
        };
        let splits = match info.splits.is_empty() {
            true => "no judgments: it can be indexed, and not evaluated\n".to_owned(),
            false => format!("\n{splits}"),
        };
        Ok(format!(
            "{}: {} ({:.0} characters on average{empty}), {queries}\n{splits}",
            info.name,
            counted(info.documents as usize, "document"),
            info.mean_document_chars,
        ))
    }
}

impl VerifyArguments {
    fn run(self, out: &mut impl Write) -> Result<String> {
        let dataset = open_dataset(&self.dataset)?;
        // Faults are printed as they are found: there may be millions.
        let (mut printed, mut count) = (Ok(()), 0);
        let verdict = dataset.verify(|finding| {
            count += 1;
            if printed.is_ok() && count <= self.max {
                printed = print(out, &format!("{finding}\n"));
            }
        })?;
        printed?;
        if count > self.max {
            print(out, &format!("... and {} more, which --max shows\n", count - self.max))?;
        }
        let counts = format!(
            "{}: {}, {}, {}; {}, {}\n",
            dataset.name(),
            counted(verdict.documents as usize, "document"),
            counted(verdict.queries as usize, "query"),
            counted(verdict.judgments as usize, "judgment"),
            counted(verdict.errors as usize, "error"),
            counted(verdict.warnings as usize, "warning")
        );
        if verdict.errors > 0 {
            print(out, &counts)?;
            return Err(Failure::new(Code::Input, format!("{} is not sound", dataset.path().display())));
        }
        Ok(counts)
    }
}

impl DownloadArguments {
    fn run(self) -> Result<String> {
        let Some(name) = self.name.filter(|_| !self.list) else { return Ok(list()) };
        let bar = ProgressBar::no_length();
        let folder = download_dataset(&name, &dataset_cache()?, &Fetcher::default(), &mut |progress| {
            show_download(&bar, progress);
        })?;
        bar.finish_and_clear();
        Ok(format!("{}\n", folder.display()))
    }
}

fn list() -> String {
    let mut table = Table::new([
        ("name", Align::Left),
        ("documents", Align::Right),
        ("MB", Align::Right),
        ("splits", Align::Left),
    ]);
    for dataset in known_datasets::PUBLISHED {
        table.row([
            dataset.name.to_owned(),
            dataset.documents.to_string(),
            dataset.archive_bytes.div_ceil(1_000_000).to_string(),
            dataset.splits.join(" "),
        ]);
    }
    table.to_string()
}
