//! Published BEIR data sets, downloaded into a cache folder.

use std::path::{Path, PathBuf};

use md5::Md5;
use secateur_datasets::beir::BeirFolder;
use secateur_datasets::known_datasets;
use secateur_files::disk::DiskFile;
use secateur_files::{AtPath, DurableFolder, LockedFile, PathError, disk};

use super::checksum;
use super::error::DownloadError;
use super::fetch::{Fetcher, Progress};
use super::unpack::unpack;

/// A data set in an archive.
#[derive(Debug, Clone, Copy)]
pub struct Archive<'a> {
    /// The name of the data set, of its folder in the archive and of its folder in the cache.
    pub name: &'a str,
    /// The address of the zip file.
    pub url: &'a str,
    /// Its md5 sum, in lower-case hexadecimal.
    pub md5: &'a str,
    /// The subfolders that are the data sets, where there is more than one.
    pub parts: &'a [&'a str],
}

/// Downloads the data set that BEIR publishes under `name` into `cache/name` and returns that folder.
pub fn download_dataset(
    name: &str,
    cache: &Path,
    fetcher: &Fetcher,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, DownloadError> {
    let Some(dataset) = known_datasets::find(name) else {
        let known = known_datasets::PUBLISHED.iter().map(|dataset| dataset.name).collect();
        return Err(DownloadError::UnknownDataset { name: name.to_owned(), known });
    };
    let archive = Archive { name, url: &dataset.url(), md5: dataset.md5, parts: dataset.parts };
    download_archive(&archive, cache, fetcher, progress)
}

/// Downloads an archive into `cache/name` and returns that folder; if it is there, nothing is done.
///
/// The next call resumes a broken download. A file with a wrong md5 sum is removed. The folder gets its name only
/// when all of it is on disk; then the archive is removed. Several callers at the same time wait for one download.
pub fn download_archive(
    archive: &Archive<'_>,
    cache: &Path,
    fetcher: &Fetcher,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, DownloadError> {
    let Archive { name, url, md5, parts } = *archive;
    let folder = cache.join(name);
    disk::create_folders(cache)?;
    // Held until the end of this function; the operating system releases it if the process dies.
    let _lock = lock(&cache.join(format!(".{name}.lock")))?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let zip = cache.join(format!("{name}.zip"));
    if !zip.is_file() {
        fetcher.file(url, None, &zip, progress)?;
    }
    let got = checksum::of_file::<Md5>(&zip).at("read", &zip)?;
    if got != md5 {
        disk::remove_file(&zip)?;
        let (url, expected) = (url.to_owned(), md5.to_owned());
        return Err(DownloadError::Checksum { url, algorithm: "md5", expected, got });
    }
    let unpacked = DurableFolder::create(&folder)?;
    unpack(&zip, name, unpacked.temporary())?;
    let parts = if parts.is_empty() { &[""][..] } else { parts };
    for part in parts {
        BeirFolder::open(unpacked.temporary().join(part)).map_err(|source| DownloadError::NotADataset {
            path: zip.clone(),
            name: name.to_owned(),
            source: Box::new(source),
        })?;
    }
    unpacked.finish()?;
    disk::remove_file(&zip)?;
    Ok(folder)
}

/// Waits until no other process holds the lock.
pub(super) fn lock(path: &Path) -> Result<LockedFile, PathError> {
    LockedFile::lock(DiskFile::open_or_create(path)?)
}
