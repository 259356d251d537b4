//! Zip archives, unpacked without trust in what they say.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Component, Path};

use secateur_files::AtPath;
use secateur_files::disk::{self, DiskFile};
use zip::ZipArchive;

use super::error::DownloadError;

/// Text compresses to a fifth. An archive that claims to hold this many times its own size is refused as a trap.
const MAX_EXPANSION: u64 = 200;

/// Unpacks the folder `name` of an archive into `target`, which exists, so that its files lie directly in there.
/// Entries beside that folder are left out. Nothing is synced.
pub(super) fn unpack(archive: &Path, name: &str, target: &Path) -> Result<(), DownloadError> {
    let unreadable = |source| DownloadError::Archive { path: archive.to_owned(), source };
    let refuse = |entry: &str, reason| DownloadError::UnsafeArchive {
        path: archive.to_owned(),
        entry: entry.to_owned(),
        reason,
    };
    let file = File::open(archive).at("open", archive)?;
    let size = file.metadata().at("open", archive)?.len();
    let mut left = size.saturating_mul(MAX_EXPANSION);
    let mut zip = ZipArchive::new(io::BufReader::new(file)).map_err(unreadable)?;
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(unreadable)?;
        let entry_name = entry.name().map_err(unreadable)?.into_owned();
        let Some(path) = entry.enclosed_name() else {
            return Err(refuse(&entry_name, "its name leads out of the folder"));
        };
        // The archive library makes such names harmless, but an archive that has them is not to be trusted.
        let is_absolute = entry_name.starts_with(['/', '\\']);
        if is_absolute || path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(refuse(&entry_name, "its name is not a plain path"));
        }
        if entry.is_symlink() {
            return Err(refuse(&entry_name, "it is a link"));
        }
        let Ok(relative) = path.strip_prefix(name) else { continue };
        let place = target.join(relative);
        if entry.is_dir() {
            disk::create_folders(&place)?;
            continue;
        }
        left = match left.checked_sub(entry.size()) {
            Some(left) => left,
            None => return Err(refuse(&entry_name, "the archive unpacks to more than 200 times its size")),
        };
        disk::create_folders(disk::parent(&place))?;
        let declared = entry.size();
        let written = copy(entry, declared, &place, archive)?;
        if written != declared {
            return Err(refuse(&entry_name, "it is longer or shorter than it says"));
        }
    }
    Ok(())
}

/// Copies at most one byte more than declared, so that an entry which lies about its size cannot fill the disk.
fn copy(entry: impl Read, declared: u64, place: &Path, archive: &Path) -> Result<u64, DownloadError> {
    let mut writer = BufWriter::with_capacity(256 << 10, DiskFile::create_new(place)?);
    let mut reader = entry.take(declared.saturating_add(1));
    let mut block = vec![0; 256 << 10];
    let mut written = 0;
    loop {
        let read = match reader.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(DownloadError::Archive { path: archive.to_owned(), source: error.into() });
            }
        };
        writer.write_all(&block[..read]).at("write", place)?;
        written += read as u64;
    }
    writer.flush().at("write", place)?;
    Ok(written)
}
