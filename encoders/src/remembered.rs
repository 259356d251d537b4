//! Fingerprints that were computed before, so that the weights need not be read through for them again, and the place
//! of what was packed.
//!
//! A folder has a small file for each, which holds the fingerprint. Its name is a hash over all that goes into the
//! fingerprint, with the stamps of the files of weights in place of their contents. So weights that changed are looked
//! up under another name. What cannot be read or written is as if it were not there: only time is lost.

use std::path::{Path, PathBuf};

use secateur_files::{Durable, disk};

use crate::compute::cpu::kept_panels::EXTENSION;
use crate::fingerprint::Fingerprint;

/// The place of a fingerprint.
pub(crate) struct FingerprintFile {
    path: PathBuf,
    /// What is kept here, once it is known.
    fingerprint: Option<Fingerprint>,
}

impl FingerprintFile {
    pub(crate) fn new(folder: &Path, key: &Fingerprint) -> FingerprintFile {
        FingerprintFile { path: folder.join(key.to_string()), fingerprint: None }
    }

    /// The fingerprint that was kept here.
    pub(crate) fn read(&self) -> Option<Fingerprint> {
        std::fs::read_to_string(&self.path).ok()?.trim_end().parse().ok()
    }

    /// The same place, for this fingerprint.
    pub(crate) fn of(self, fingerprint: Fingerprint) -> FingerprintFile {
        FingerprintFile { fingerprint: Some(fingerprint), ..self }
    }

    /// Where the packed weights of the same model are kept.
    pub(crate) fn panels(&self) -> PathBuf {
        self.path.with_extension(EXTENSION)
    }

    /// Keeps the fingerprint, unless it is kept already.
    pub(crate) fn write(&self) {
        let Some(fingerprint) = self.fingerprint.filter(|fingerprint| self.read() != Some(*fingerprint))
        else {
            return;
        };
        let write = || -> secateur_files::Result<()> {
            if let Some(folder) = self.path.parent() {
                disk::create_folders(folder)?;
            }
            Durable::write(&self.path, |out| writeln!(out, "{fingerprint}"))
        };
        // A folder that cannot be written, such as another user's, is no reason not to encode.
        let _ = write();
    }
}
