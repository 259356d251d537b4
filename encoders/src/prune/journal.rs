//! What was measured so far, so that an interrupted measurement goes on. The file has a record for each sequence, with
//! the hash of its tokens and its sums as f64.

use std::path::Path;

use super::score_settings::ScoreSettings;
use crate::error::Result;
use crate::fingerprint::Fingerprint;

pub(super) struct SumsJournal {
    records: secateur_files::Journal,
    /// The record of the next sequence.
    next: usize,
    /// Numbers of a record.
    width: usize,
}

impl SumsJournal {
    /// Opens the journal of this measurement; one of another measurement is begun anew.
    pub(super) fn open(
        path: &Path,
        fingerprint: &Fingerprint,
        settings: &ScoreSettings,
        width: usize,
    ) -> Result<SumsJournal> {
        let settings = serde_json::to_string(settings).expect("settings can be written as JSON");
        let key = blake3::hash(format!("secateur importance 2 {fingerprint} {settings}").as_bytes());
        // In items of f64, which are two words of four bytes.
        let records = secateur_files::Journal::open(path, key.into(), 2)?;
        Ok(SumsJournal { records, next: 0, width })
    }

    /// The sums of the first of these sequences, as far as the journal holds just them.
    pub(super) fn take(&mut self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<f64>>> {
        let mut taken = Vec::new();
        for hash in hashes {
            let Some(record) = self.records.get(self.next)? else { break };
            if record.hash != *hash || record.bytes.len() != 8 * self.width {
                // The texts have changed from here on.
                self.records.truncate(self.next)?;
                break;
            }
            self.next += 1;
            taken.push(record.bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect());
        }
        Ok(taken)
    }

    /// Adds the sums of sequences, on disk when this returns.
    pub(super) fn append(&mut self, hashes: &[[u8; 32]], sums: &[Vec<f64>]) -> Result<()> {
        for (hash, sums) in hashes.iter().zip(sums) {
            let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            self.records.append(*hash, &bytes)?;
            self.next += 1;
        }
        Ok(())
    }
}
