//! The data sets that the field reports on together.

use std::path::{Path, PathBuf};

use secateur_datasets::known_datasets;

use super::beir::{Archive, download_archive};
use super::config::HubConfig;
use super::error::DownloadError;
use super::fetch::{Fetcher, Progress};
use super::rows::download_rows;

/// Data sets that are reported on together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Suite {
    /// The thirteen data sets of EffiR's Table 3.
    Beir13,
    /// All that BEIR publishes; the score of CQADupstack is the mean of its twelve forums.
    Beir,
    /// NanoBEIR: thirteen data sets cut to fifty queries and some thousand documents.
    NanoBeir,
}

/// A data set of a suite, downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuiteDataset {
    /// Its folder.
    pub path: PathBuf,
    /// What it is called.
    pub name: String,
    /// The data set whose score is the mean of this one's and others'.
    pub part_of: Option<String>,
}

/// As the paper has them.
const BEIR_13: [&str; 13] = [
    "arguana",
    "climate-fever",
    "dbpedia-entity",
    "fever",
    "fiqa",
    "hotpotqa",
    "nfcorpus",
    "nq",
    "quora",
    "scidocs",
    "scifact",
    "trec-covid",
    "webis-touche2020",
];

/// Repositories of the Hugging Face hub, as sentence-transformers has them.
const NANO_BEIR: [&str; 13] = [
    "zeta-alpha-ai/NanoArguAna",
    "zeta-alpha-ai/NanoClimateFEVER",
    "zeta-alpha-ai/NanoDBPedia",
    "zeta-alpha-ai/NanoFEVER",
    "zeta-alpha-ai/NanoFiQA2018",
    "zeta-alpha-ai/NanoHotpotQA",
    "zeta-alpha-ai/NanoMSMARCO",
    "zeta-alpha-ai/NanoNFCorpus",
    "zeta-alpha-ai/NanoNQ",
    "zeta-alpha-ai/NanoQuoraRetrieval",
    "zeta-alpha-ai/NanoSCIDOCS",
    "zeta-alpha-ai/NanoSciFact",
    "zeta-alpha-ai/NanoTouche2020",
];

impl Suite {
    /// The data sets, by the names under which BEIR or the hub publishes them.
    pub fn names(self) -> Vec<&'static str> {
        match self {
            Suite::Beir13 => BEIR_13.to_vec(),
            Suite::Beir => known_datasets::PUBLISHED.iter().map(|dataset| dataset.name).collect(),
            Suite::NanoBeir => NANO_BEIR.to_vec(),
        }
    }

    /// Downloads what is missing of the suite into `cache`, data set by data set. `hub` is asked if they are the hub's.
    /// `progress` is told the name of each.
    pub fn download(
        self,
        cache: &Path,
        hub: impl FnOnce() -> Result<HubConfig, DownloadError>,
        fetcher: &Fetcher,
        progress: &mut dyn FnMut(&str, Progress),
    ) -> Result<Vec<SuiteDataset>, DownloadError> {
        if self == Suite::NanoBeir {
            return download_nano(&self.names(), &cache.join("nano-beir"), &hub()?, fetcher, progress);
        }
        let published: Vec<_> = self.names().into_iter().filter_map(known_datasets::find).collect();
        let urls: Vec<String> = published.iter().map(|dataset| dataset.url()).collect();
        let archives = published.iter().zip(&urls).map(|(dataset, url)| Archive {
            name: dataset.name,
            url,
            md5: dataset.md5,
            parts: dataset.parts,
        });
        let archives: Vec<Archive<'_>> = archives.collect();
        download_all(&archives, cache, fetcher, progress)
    }
}

/// Downloads the data sets of the hub that are missing, one after the other.
pub(super) fn download_nano(
    repositories: &[&str],
    cache: &Path,
    hub: &HubConfig,
    fetcher: &Fetcher,
    progress: &mut dyn FnMut(&str, Progress),
) -> Result<Vec<SuiteDataset>, DownloadError> {
    let one = |repository: &&str| {
        let path = download_rows(repository, cache, hub, fetcher, &mut |step| progress(repository, step))?;
        let name = repository.rsplit('/').next().unwrap_or(repository).to_owned();
        Ok(SuiteDataset { path, name, part_of: None })
    };
    repositories.iter().map(one).collect()
}

/// Downloads the archives that are missing, one after the other. After a failure the next call goes on at the first
/// that is missing, where that broke off.
pub(super) fn download_all(
    archives: &[Archive<'_>],
    cache: &Path,
    fetcher: &Fetcher,
    progress: &mut dyn FnMut(&str, Progress),
) -> Result<Vec<SuiteDataset>, DownloadError> {
    let mut datasets = Vec::with_capacity(archives.len());
    for archive in archives {
        let folder = download_archive(archive, cache, fetcher, &mut |step| progress(archive.name, step))?;
        if archive.parts.is_empty() {
            datasets.push(SuiteDataset { path: folder, name: archive.name.to_owned(), part_of: None });
            continue;
        }
        datasets.extend(archive.parts.iter().map(|part| SuiteDataset {
            path: folder.join(part),
            name: format!("{}-{part}", archive.name),
            part_of: Some(archive.name.to_owned()),
        }));
    }
    Ok(datasets)
}
