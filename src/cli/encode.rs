//! `secateur encode`: texts become a .npy file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::Instant;

use clap::Args;
use secateur::Error;
use secateur::datasets::beir::BeirFolder;
use secateur::encode::{NpyEncoder, TextKind};
use secateur::report::three_digits;
use secateur_files::{AtPath, Durable, Journal, with_suffix};
use serde_json::json;

use super::encoder::EncoderArguments;
use super::failure::Result;
use super::inputs::open_dataset;
use super::progress::{Progress, say_on_interrupt};
use crate::cli::index::check_file_out;

#[derive(Args)]
#[command(after_help = "\
Examples:
  secateur encode scifact --encoder default --out scifact.npy
  secateur encode scifact --encoder .models/all-MiniLM-L6-v2 --queries --out queries.npy",
mut_arg("encoder", |encoder| encoder.required(true)))]
pub struct Arguments {
    /// A BEIR folder, or the name of a downloaded data set.
    dataset: PathBuf,
    /// The file to write: a (texts, dimension) matrix of f32. The ids go to FILE.ids, one a line.
    /// Those with a line break, or a quote at the beginning, are JSON strings there.
    #[arg(long, value_name = "FILE.npy")]
    out: PathBuf,
    /// Encode the queries instead of the documents.
    #[arg(long)]
    queries: bool,
    /// What stands between a document's title and its text.
    #[arg(long, value_name = "TEXT", default_value = " ")]
    separator: String,
    #[command(flatten)]
    encoder: EncoderArguments,
}

/// Ids and texts.
type Texts<'a> = Box<dyn Iterator<Item = std::result::Result<(String, String), Error>> + 'a>;

impl Arguments {
    pub fn run(self) -> Result<String> {
        check_file_out(&self.out, slice::from_ref(&self.dataset))?;
        let dataset = open_dataset(&self.dataset)?;
        let encoder = self.encoder.load_required()?;
        say_on_interrupt("the vectors so far are kept; run the same command again to go on")?;
        let kind = if self.queries { TextKind::Query } else { TextKind::Passage };
        let total = || dataset.info().map(|info| if self.queries { info.queries } else { info.documents });
        let progress = Progress::start("encoding", "text", total)?.going_on_from(&Journal::beside(&self.out));
        let start = Instant::now();
        // Before the vectors, so that the matrix never stands without its ids: it is what an interrupted run lacks.
        let ids = with_suffix(&self.out, ".ids");
        self.write_ids(&dataset, &ids)?;
        let texts = self.texts(&dataset)?.map(|item| item.map(|(_, text)| text));
        let npy = NpyEncoder { encoder: &encoder, kind };
        let count = npy.write(&self.out, texts, |done| progress.set(done))?;
        progress.finish();
        let seconds = start.elapsed().as_secs_f64();
        Ok(format!(
            "{}: {count} x {} f32, in {} s ({} texts/s); ids in {}\n",
            self.out.display(),
            encoder.dim(),
            three_digits(seconds),
            three_digits(count as f64 / seconds),
            ids.display()
        ))
    }

    /// Ids and texts, in the order of the file.
    fn texts<'a>(&'a self, dataset: &BeirFolder) -> Result<Texts<'a>> {
        Ok(if self.queries {
            Box::new(
                dataset
                    .queries()?
                    .map(|query| query.map(|query| (query.id, query.text)).map_err(Error::from)),
            )
        } else {
            Box::new(dataset.corpus()?.map(|document| {
                let document = document?;
                let passage = document.passage(&self.separator);
                Ok((document.id, passage))
            }))
        })
    }

    fn write_ids(&self, dataset: &BeirFolder, path: &Path) -> Result<()> {
        let mut file = Durable::create_alone(path)?;
        for item in self.texts(dataset)? {
            let (id, _) = item?;
            // In JSON, so that every id is one line and can be told from the others.
            let needs_json = id.contains(['\n', '\r']) || id.starts_with('"');
            let line = if needs_json { json!(id).to_string() } else { id };
            writeln!(file, "{line}").at("write", path)?;
        }
        Ok(file.finish()?)
    }
}
