//! What was measured so far, so that an interrupted measurement goes on.
//!
//! A text file: a line that says what is measured, then a line for each sequence: the hash of its tokens, and its sums
//! as the hexadecimal digits of their f64. A last line that is not whole does not count.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use secateur_files::AtPath;

use super::score_settings::ScoreSettings;
use crate::error::Result;
use crate::fingerprint::Fingerprint;

pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Lines that an earlier run has left, last first.
    left: Vec<String>,
    /// Where the line after the last one that was taken or written begins.
    end: u64,
    /// Numbers of a line.
    width: usize,
}

impl Journal {
    /// Opens the journal of this measurement; one of another measurement is begun anew.
    pub(super) fn open(
        path: &Path,
        fingerprint: &Fingerprint,
        settings: &ScoreSettings,
        width: usize,
    ) -> Result<Journal> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.at("open", path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).at("read", path)?;
        let text = String::from_utf8_lossy(&text);
        let settings = serde_json::to_string(settings).expect("settings can be written as JSON");
        let head = format!("secateur importance 1 {fingerprint} {settings}\n");
        let mut left: Vec<String> = match text.strip_prefix(&head) {
            Some(rest) => {
                rest.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect()
            }
            None => Vec::new(),
        };
        left.reverse();
        let mut journal = Journal { path: path.to_owned(), file, left, end: 0, width };
        journal.write(&head)?;
        Ok(journal)
    }

    /// The sums of the first of these sequences, as far as the journal holds just them.
    pub(super) fn take(&mut self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<f64>>> {
        let mut taken = Vec::new();
        for hash in hashes {
            let Some(line) = self.left.pop() else { break };
            let Some(sums) = parse(&line, hash, self.width) else {
                // The texts have changed from here on.
                self.left.clear();
                break;
            };
            self.end += line.len() as u64;
            taken.push(sums);
        }
        Ok(taken)
    }

    /// Adds the sums of sequences, on disk when this returns.
    pub(super) fn append(&mut self, hashes: &[[u8; 32]], sums: &[Vec<f64>]) -> Result<()> {
        if sums.is_empty() {
            return Ok(());
        }
        self.left.clear();
        let lines: String = hashes.iter().zip(sums).map(|(hash, sums)| line(hash, sums)).collect();
        self.write(&lines)?;
        Ok(self.file.set_len(self.end).and_then(|()| self.file.sync_data()).at("write", &self.path)?)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let written =
            self.file.seek(SeekFrom::Start(self.end)).and_then(|_| self.file.write_all(text.as_bytes()));
        written.at("write", &self.path)?;
        self.end += text.len() as u64;
        Ok(())
    }
}

fn line(hash: &[u8; 32], sums: &[f64]) -> String {
    let mut line: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    line.extend(sums.iter().map(|sum| format!(" {:016x}", sum.to_bits())));
    line.push('\n');
    line
}

/// The sums of a line, if it is that of this sequence.
fn parse(line: &str, hash: &[u8; 32], width: usize) -> Option<Vec<f64>> {
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = line.strip_prefix(&hash)?.split_whitespace();
    let sums: Option<Vec<f64>> =
        numbers.map(|digits| u64::from_str_radix(digits, 16).ok().map(f64::from_bits)).collect();
    sums.filter(|sums| sums.len() == width)
}
