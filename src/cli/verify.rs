//! `secateur verify`: every byte of a database is checked, and what its graphs find is measured.

use std::path::PathBuf;

use clap::Args;
use secateur::index::{quantization::CodeType, search::Recall};
use secateur::report::counted;
use secateur::{Database, VectorIndex};

use super::failure::Result;
use super::tune::table;

/// Hits of the recall that is measured.
const K: usize = 10;

/// Vectors of the database that are searched for.
const NUM_QUERIES: usize = 200;

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur verify my.db")]
pub struct Arguments {
    /// The database.
    database: PathBuf,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let database = Database::open(&self.database)?;
        let report = database.verify()?;
        let mut text = format!(
            "{}: sound; {}, {}, {}\n",
            self.database.display(),
            counted(report.num_documents, "document"),
            counted(report.num_files, "file"),
            counted(report.num_bytes as usize, "byte")
        );
        if let Some(Recall { ef_search, mean, percentile_5, .. }) = database.sample_recall(K, NUM_QUERIES)? {
            let codes = database.vector_index().as_ref().and_then(VectorIndex::code_type);
            let with = match codes.filter(|codes| *codes != CodeType::default()) {
                Some(codes) => format!(" with {codes} codes"),
                None => String::new(),
            };
            text.push_str(&format!(
                "recall@{K} of its own vectors at ef {ef_search}{with}: {mean:.4}, 5th percentile {percentile_5:.4}\n"
            ));
        }
        if let Some(curve) = database.recall_curve()? {
            text.push_str(&format!("\nwhen it was tuned: {}", table(&curve)));
        }
        Ok(text)
    }
}
