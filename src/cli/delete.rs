//! `secateur delete`: documents leave a database, by their ids or by a filter.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use secateur::datasets::Lines;
use secateur::report::{counted, grouped};
use secateur::{Database, Error, Filter};
use serde_json::json;

use super::failure::{Code, Failure, Result};

#[derive(Args)]
#[command(after_help = "\
All documents are deleted at once, in one commit. Their space comes back with `secateur compact`.

Examples:
  secateur delete my.db n1 n2
  secateur delete my.db --ids gone.txt
  secateur delete my.db --filter 'year < 2000' --dry-run")]
pub struct Arguments {
    /// The database.
    database: PathBuf,
    /// Ids of documents.
    #[arg(value_name = "ID")]
    doc_ids: Vec<String>,
    /// A file of ids, one a line; - for standard input.
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Delete the documents whose metadata match, as `search --filter` finds them.
    #[arg(long, value_name = "FILTER", conflicts_with_all = ["doc_ids", "ids"])]
    filter: Option<Filter>,
    /// Pass over ids that no document has; otherwise nothing is deleted then.
    #[arg(long, conflicts_with = "filter")]
    ignore_missing: bool,
    /// Count only.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let mut database = Database::open(&self.database)?;
        let (deleted, missing) = match &self.filter {
            Some(filter) => {
                database.check_filter(filter)?;
                (database.delete_matching(filter)?, 0)
            }
            None => self.delete_ids(&mut database)?,
        };
        // Without a commit nothing has happened.
        if !self.dry_run {
            database.commit()?;
        }
        let left = database.len() - if self.dry_run { deleted } else { 0 };
        if self.json {
            let json =
                json!({ "deleted": deleted, "missing": missing, "documents": left, "dry_run": self.dry_run });
            return Ok(format!("{json:#}\n"));
        }
        let passed = match missing {
            0 => String::new(),
            count => format!(", {} not found", counted(count, "id")),
        };
        let (deleted, left) = (counted(deleted, "document"), grouped(left));
        let what = if self.dry_run { "would be deleted" } else { "deleted" };
        let rest = if self.dry_run { "would be left" } else { "left" };
        Ok(format!("{}: {deleted} {what}{passed}, {left} {rest}\n", self.database.display()))
    }

    /// Deletes by ids; returns how many were there and how many were not.
    fn delete_ids(&self, database: &mut Database) -> Result<(usize, usize)> {
        let mut ids = self.doc_ids.clone();
        if let Some(path) = &self.ids {
            ids.extend(read_lines(path)?);
        } else if ids.is_empty() {
            return Err(Failure::new(Code::Usage, "say what to delete: ids, --ids FILE or --filter"));
        }
        ids.sort();
        ids.dedup();
        match database.delete_all(&ids, self.ignore_missing) {
            Ok(deleted) => Ok((deleted, ids.len() - deleted)),
            Err(error @ Error::MissingDocuments { .. }) => {
                let message = format!("{error} (--ignore-missing passes over such ids)");
                Err(Failure::new(Code::Database, message))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The lines of a file or of standard input, without those that are blank.
fn read_lines(path: &Path) -> Result<Vec<String>> {
    let mut lines = match path == Path::new("-") {
        true => Lines::of(path, Box::new(BufReader::new(std::io::stdin()))),
        false => Lines::open(path)?,
    };
    let mut kept = Vec::new();
    while let Some(line) = lines.next_line() {
        let (_, line) = line?;
        if !line.trim().is_empty() {
            kept.push(line.to_owned());
        }
    }
    Ok(kept)
}
