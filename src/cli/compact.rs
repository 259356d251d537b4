//! `secateur compact`: what deleted documents took of a database comes back.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use secateur::Database;
use secateur::index::storage::CompactOptions;
use secateur::report::{grouped, three_digits};

use super::failure::Result;
use super::progress::{Progress, say_on_interrupt};

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur compact my.db --memory 8G")]
pub struct Arguments {
    /// The database.
    database: PathBuf,
    /// Memory to use, such as 512M or 8G. With less, more segments are left, and a search reads one after the other.
    #[arg(long, value_name = "SIZE", default_value = "2G", value_parser = size)]
    memory: u64,
}

/// A number of bytes, with K, M or G for 2^10, 2^20 or 2^30.
fn size(text: &str) -> std::result::Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K')) => (&text[..at], 10),
        Some((at, 'M')) => (&text[..at], 20),
        Some((at, 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| "a number of bytes is expected, such as 512M or 8G".to_owned())
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let start = Instant::now();
        let mut database = Database::open(&self.database)?;
        say_on_interrupt("the database is as it was; run the same command again to compact it")?;
        let progress = Progress::start("compacting", "document", || Ok::<_, super::failure::Failure>(0))?;
        let options = CompactOptions { memory_budget: self.memory };
        let report = database.compact(&options, |done, total| progress.set_of(done, total))?;
        progress.finish();
        let name = self.database.display();
        let [segments, rows, bytes] = [
            report.num_segments.map(grouped),
            report.num_rows.map(grouped),
            report.num_bytes.map(|bytes| grouped(bytes as usize)),
        ];
        if !report.has_changed() {
            return Ok(format!(
                "{name}: nothing to compact; segments: {}, bytes: {}\n",
                segments[0], bytes[0]
            ));
        }
        Ok(format!(
            "{name}: compacted in {} s\n\n{:<10}{:>16}{:>16}\n{}{}{}",
            three_digits(start.elapsed().as_secs_f64()),
            "",
            "before",
            "after",
            line("segments", &segments),
            line("rows", &rows),
            line("bytes", &bytes),
        ))
    }
}

fn line(name: &str, [before, after]: &[String; 2]) -> String {
    format!("{name:<10}{before:>16}{after:>16}\n")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [("0", 0), ("7", 7), ("2K", 2048), ("512M", 512 << 20), ("8G", 8 << 30)] {
            assert_eq!(size(text), Ok(expected));
        }
        for text in ["", "G", "-1", "1.5G", "1T", "99999999999G", "ü"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
