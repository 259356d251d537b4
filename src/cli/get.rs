//! `secateur get` and `secateur export`: documents come out of a database as they went in.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use secateur::datasets::beir::{corpus_line, write_documents};
use secateur::report::counted;
use secateur::{Database, Document, Filter};

use super::failure::{Code, Failure, Result};
use super::print;

#[derive(Args)]
#[command(after_help = "\
Prints the documents as lines of JSON, as `secateur index` reads them.

Example:
  secateur get my.db n1 n2")]
pub struct GetArguments {
    /// The database.
    database: PathBuf,
    /// Ids of documents.
    #[arg(value_name = "ID", required = true)]
    doc_ids: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  secateur export my.db > corpus.jsonl
  secateur export my.db --filter 'year >= 2015' --out recent.jsonl.gz")]
pub struct ExportArguments {
    /// The database.
    database: PathBuf,
    /// The file to write, instead of standard output; compressed if its name ends in .gz or .zst.
    #[arg(long, value_name = "FILE.jsonl")]
    out: Option<PathBuf>,
    /// Only the documents whose metadata match.
    #[arg(long, value_name = "FILTER")]
    filter: Option<Filter>,
}

fn line(document: &Document) -> Result<String> {
    corpus_line(document).map_err(|fault| Failure::new(Code::Database, format!("{:?}: {fault}", document.id)))
}

impl GetArguments {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        let database = Database::open(&self.database)?;
        let mut missing = Vec::new();
        for id in &self.doc_ids {
            match database.document(id)? {
                Some(document) => print(out, &format!("{}\n", line(&document)?))?,
                None => missing.push(format!("{id:?}")),
            }
        }
        match missing.is_empty() {
            true => Ok(String::new()),
            false => {
                Err(Failure::new(Code::Database, format!("no document has the id {}", missing.join(", "))))
            }
        }
    }
}

impl ExportArguments {
    /// The file to write, if it is not standard output.
    fn file(&self) -> Option<&Path> {
        self.out.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// A name that says that the file is another one would be wrong: what reads it goes by the name.
    fn check_name(&self) -> Result<()> {
        let Some(path) = self.file() else { return Ok(()) };
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        match ["csv", "tsv", "tab", "parquet", "txt", "md"].contains(&ending) {
            true => {
                let message = format!(
                    "--out {}: lines of JSON are written, so let its name end in .jsonl, .jsonl.gz or .jsonl.zst",
                    path.display()
                );
                Err(Failure::new(Code::Usage, message))
            }
            false => Ok(()),
        }
    }

    pub fn run(self, out: &mut impl Write) -> Result<String> {
        self.check_name()?;
        let database = Database::open(&self.database)?;
        let documents: Box<dyn Iterator<Item = secateur::Result<Document>>> = match &self.filter {
            Some(filter) => {
                database.check_filter(filter)?;
                Box::new(database.documents_matching(filter)?)
            }
            None => Box::new(database.documents()),
        };
        match self.file() {
            Some(path) => {
                let count = write_documents(path, documents)?;
                Ok(format!("{}: {}\n", path.display(), counted(count, "document")))
            }
            None => {
                for document in documents {
                    let line = line(&document?)?;
                    // The reader may have seen enough, as `head` has.
                    if let Err(error) = writeln!(out, "{line}") {
                        return super::stopped(error);
                    }
                }
                Ok(String::new())
            }
        }
    }
}
