//! `secateur verify`: every byte of a database is checked.

use std::path::PathBuf;

use clap::Args;
use secateur::Database;

use super::failure::Result;

#[derive(Args)]
pub struct Arguments {
    /// The database.
    database: PathBuf,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let report = Database::open(&self.database, None)?.verify()?;
        Ok(format!(
            "{}: sound; {} documents, {} files, {} bytes\n",
            self.database.display(),
            report.num_documents,
            report.num_files,
            report.num_bytes
        ))
    }
}
