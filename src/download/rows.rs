//! Small data sets of the Hugging Face hub, row by row: as JSON from the service that shows them in a browser. The hub
//! itself has them as Parquet, which this program reads only if it is built to.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, DurableFolder, disk};
use serde::Deserialize;
use serde_json::{Value, json};

use super::beir::lock;
use super::config::HubConfig;
use super::error::DownloadError;
use super::fetch::{Fetcher, Progress};

/// The most rows that it gives at once.
const PAGE: usize = 100;

/// A page of a table.
#[derive(Deserialize)]
struct Page {
    rows: Vec<Row>,
    num_rows_total: usize,
}

#[derive(Deserialize)]
struct Row {
    row: Value,
    /// The fields that are not told whole.
    #[serde(default)]
    truncated_cells: Vec<String>,
}

/// Downloads the data set `repository` into `cache/NAME` in BEIR's layout, and returns that folder. If it is there,
/// nothing is done, and the network is not needed. It has the tables `corpus`, `queries` and `qrels`; a document that
/// is judged is relevant.
pub(super) fn download_rows(
    repository: &str,
    cache: &Path,
    hub: &HubConfig,
    fetcher: &Fetcher,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, DownloadError> {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let folder = cache.join(name);
    disk::create_folders(cache)?;
    // Held until the end of this function; the operating system releases it if the process dies.
    let _lock = lock(&cache.join(format!(".{name}.lock")))?;
    if folder.is_dir() {
        return Ok(folder);
    }
    if hub.offline {
        return Err(DownloadError::Offline { id: repository.to_owned(), looked_in: folder });
    }
    let mut table = Table { repository, hub, fetcher, progress, done: 0 };
    let text = |row: &Value| Some(json!({ "_id": row["_id"].as_str()?, "text": row["text"].as_str()? }));
    let mut corpus = String::new();
    table.rows("corpus", |row| Some(writeln!(corpus, "{}", text(row)?).is_ok()))?;
    let mut queries = String::new();
    table.rows("queries", |row| Some(writeln!(queries, "{}", text(row)?).is_ok()))?;
    let mut qrels = String::from("query-id\tcorpus-id\tscore\n");
    table.rows("qrels", |row| {
        let (query, document) = (row["query-id"].as_str()?, row["corpus-id"].as_str()?);
        Some(writeln!(qrels, "{query}\t{document}\t1").is_ok())
    })?;
    let written = DurableFolder::create(&folder)?;
    for (file, content) in [("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels/test.tsv", qrels)] {
        written.file(file)?.write_all(content.as_bytes()).at("write", folder.join(file))?;
    }
    written.finish()?;
    Ok(folder)
}

struct Table<'a> {
    repository: &'a str,
    hub: &'a HubConfig,
    fetcher: &'a Fetcher,
    progress: &'a mut dyn FnMut(Progress),
    /// Bytes of all pages so far.
    done: u64,
}

impl Table<'_> {
    /// Reads a table page by page. `take` is given each row, and gives back nothing where it is not what it should be.
    fn rows(
        &mut self,
        config: &str,
        mut take: impl FnMut(&Value) -> Option<bool>,
    ) -> Result<(), DownloadError> {
        let (mut offset, mut total) = (0, 1);
        let repository = self.repository.replace('/', "%2F");
        while offset < total {
            let url = format!(
                "{}/rows?dataset={repository}&config={config}&split=train&offset={offset}&length={PAGE}",
                self.hub.viewer
            );
            let text = self.fetcher.text(&url, self.hub.token.as_deref())?;
            let misunderstood = |reason| DownloadError::BadRows { url: url.clone(), reason };
            let page: Page = serde_json::from_str(&text)
                .map_err(|_| misunderstood("it is not the JSON of a page of rows"))?;
            if page.rows.is_empty() {
                return Err(misunderstood("the page has no rows"));
            }
            for Row { row, truncated_cells } in &page.rows {
                if !truncated_cells.is_empty() {
                    return Err(misunderstood("a row is not told whole"));
                }
                take(row).ok_or_else(|| misunderstood("a row lacks an id or a text"))?;
            }
            offset += page.rows.len();
            total = page.num_rows_total;
            self.done += text.len() as u64;
            (self.progress)(Progress { done: self.done, total: None });
        }
        Ok(())
    }
}
