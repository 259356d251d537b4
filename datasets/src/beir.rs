//! Data sets in the layout of BEIR (Thakur et al. 2021, `beir/datasets/data_loader.py`):
//!
//! ```text
//! FOLDER/corpus.jsonl        {"_id": "d1", "title": "may be empty", "text": "...", "metadata": {...}}
//! FOLDER/queries.jsonl       {"_id": "q1", "text": "..."}
//! FOLDER/qrels/SPLIT.tsv     a header line, which may be absent, then query-id <tab> corpus-id <tab> integer score
//! ```
//!
//! Each file may also end in `.gz` or `.zst`. If several forms lie side by side, the plain file is read, then `.gz`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use secateur_files::AtPath;

use crate::corpus_files::corpus_files;
use crate::document::{Document, Qrels, Query};
use crate::entry;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::judgment;
use crate::known_datasets;
use crate::reader::Lines;
use crate::record::{self, Parsed};
use crate::writer::{write_each, write_records};

/// The endings under which a file is looked for, in this order.
pub(crate) const ENDINGS: [&str; 3] = ["", ".gz", ".zst"];

/// A data set folder.
///
/// ```
/// use secateur_datasets::beir::BeirFolder;
///
/// # fn main() -> secateur_datasets::Result<()> {
/// # let mini = concat!(env!("CARGO_MANIFEST_DIR"), "/mini");
/// let folder = BeirFolder::open(mini)?;
/// let first = folder.corpus()?.next().unwrap()?;
/// assert!(!first.passage(" ").is_empty());
/// assert_eq!(folder.splits()?, ["test"]);
/// assert_eq!(folder.qrels("test")?.len(), 12);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct BeirFolder {
    path: PathBuf,
    name: String,
}

impl BeirFolder {
    /// Opens a folder; only its listing is read.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such folder. [`Error::SeveralDatasets`] if its subfolders are the data sets.
    /// [`Error::OtherLayout`] if it has a corpus of another layout, [`Error::MissingFile`] if it has none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let entries = std::fs::read_dir(&path).at("open", &path)?;
        if find(&path, "corpus.jsonl").is_none() {
            let mut parts = Vec::new();
            let mut has_other = false;
            for entry in entries {
                let entry = entry.at("list", &path)?;
                has_other |= !corpus_files(entry.path())?.is_empty();
                if find(&entry.path(), "corpus.jsonl").is_some() {
                    parts.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            parts.sort();
            return Err(if !parts.is_empty() {
                Error::SeveralDatasets { folder: path, parts }
            } else if has_other {
                Error::OtherLayout { folder: path }
            } else {
                Error::MissingFile { folder: path, file: "corpus.jsonl".to_owned() }
            });
        }
        let named = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = match named {
            Some(name) => name,
            // Paths such as `.` and `..` have a name only after they were resolved.
            None => std::fs::canonicalize(&path)
                .at("open", &path)?
                .file_name()
                .map_or_else(|| "dataset".to_owned(), |name| name.to_string_lossy().into_owned()),
        };
        Ok(BeirFolder { path, name })
    }

    /// The name of the data set, which is the name of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The documents in the order of the file, read as they are asked for.
    ///
    /// An item is [`Error::Line`] for a bad line; the next item is the next line. An item is [`Error::Read`] where
    /// the file ends early. Ids are not compared with each other, because that takes memory: see
    /// [`BeirFolder::verify`].
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened.
    pub fn corpus(&self) -> Result<Documents> {
        Ok(Records { lines: Lines::open(&self.file("corpus.jsonl")?)?, parse: entry::parse_document })
    }

    /// Those of the documents with these ids that there are, by id. The whole corpus is read, unless there
    /// are no ids.
    ///
    /// ```
    /// use secateur_datasets::beir::BeirFolder;
    ///
    /// # fn main() -> secateur_datasets::Result<()> {
    /// # let mini = concat!(env!("CARGO_MANIFEST_DIR"), "/mini");
    /// let folder = BeirFolder::open(mini)?;
    /// let first = folder.corpus()?.next().unwrap()?;
    /// let found = folder.documents_by_id([first.id.as_str(), "no such id"])?;
    /// assert_eq!((found.len(), &found[&first.id]), (1, &first));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As the items of [`BeirFolder::corpus`].
    pub fn documents_by_id<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i str>,
    ) -> Result<HashMap<String, Document>> {
        let mut wanted: BTreeSet<&str> = ids.into_iter().collect();
        let mut found = HashMap::with_capacity(wanted.len());
        if wanted.is_empty() {
            return Ok(found);
        }
        for document in self.corpus()? {
            let document = document?;
            if wanted.remove(document.id.as_str()) {
                found.insert(document.id.clone(), document);
            }
        }
        Ok(found)
    }

    /// The queries of all splits in the order of the file, read as they are asked for; items as in
    /// [`BeirFolder::corpus`].
    ///
    /// # Errors
    /// [`Error::MissingFile`] if there are no queries, [`Error::Io`] if the file cannot be opened.
    pub fn queries(&self) -> Result<Queries> {
        Ok(Records { lines: Lines::open(&self.file("queries.jsonl")?)?, parse: record::parse_query })
    }

    /// The queries that `qrels` judges, in the order of the file, as BEIR's loader reduces them.
    ///
    /// # Errors
    /// The errors of [`BeirFolder::queries`] and of its items. [`Error::MissingQuery`] if a judged query is not in
    /// the file.
    pub fn judged_queries(&self, qrels: &Qrels) -> Result<Vec<Query>> {
        let mut missing: BTreeSet<&str> = qrels.keys().map(String::as_str).collect();
        let mut queries = Vec::with_capacity(qrels.len());
        for query in self.queries()? {
            let query = query?;
            if missing.remove(query.id.as_str()) {
                queries.push(query);
            }
        }
        match missing.first() {
            None => Ok(queries),
            Some(query_id) => Err(Error::MissingQuery {
                path: self.file("queries.jsonl")?,
                query_id: (*query_id).to_owned(),
            }),
        }
    }

    /// The splits that have judgments, sorted; none if there is no `qrels` folder.
    ///
    /// # Errors
    /// [`Error::Io`] if the `qrels` folder cannot be listed.
    pub fn splits(&self) -> Result<Vec<String>> {
        let folder = self.path.join("qrels");
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.at("list", &folder)?,
        };
        let mut splits = BTreeSet::new();
        for entry in entries {
            let name = entry.at("list", &folder)?.file_name();
            let Some(name) = name.to_str() else { continue };
            for ending in ENDINGS {
                if let Some(split) = name.strip_suffix(ending).and_then(|name| name.strip_suffix(".tsv")) {
                    splits.insert(split.to_owned());
                }
            }
        }
        Ok(splits.into_iter().collect())
    }

    /// The split that results are reported on. It is BEIR's choice for a data set of this name (`dev` for `msmarco`),
    /// or else `test`, or `dev`, or the first split.
    ///
    /// # Errors
    /// [`Error::UnknownSplit`] if the folder has no judgments.
    pub fn default_split(&self) -> Result<String> {
        let splits = self.splits()?;
        let listed = known_datasets::find(&self.name).map(|dataset| dataset.default_split);
        let preferred = listed.into_iter().chain(["test", "dev"]);
        preferred
            .filter_map(|name| splits.iter().find(|split| *split == name))
            .next()
            .or(splits.first())
            .cloned()
            .ok_or_else(|| Error::UnknownSplit {
                folder: self.path.clone(),
                split: listed.unwrap_or("test").to_owned(),
                available: Vec::new(),
            })
    }

    /// Whether results on this data set are reported on a split: on BEIR's choice for a data set of its name, and on
    /// `test`. What was trained or chosen by such a split looks better there than it is.
    ///
    /// ```
    /// use secateur_datasets::beir::BeirFolder;
    ///
    /// # let mini = concat!(env!("CARGO_MANIFEST_DIR"), "/mini");
    /// let folder = BeirFolder::open(mini)?;
    /// assert!(folder.is_reported("test") && !folder.is_reported("train"));
    /// # Ok::<(), secateur_datasets::Error>(())
    /// ```
    pub fn is_reported(&self, split: &str) -> bool {
        let published = known_datasets::find(&self.name).map(|dataset| dataset.default_split);
        split == published.unwrap_or("test") || split == "test"
    }

    /// The judgments of a split. The first line is skipped if it is a header, whose last word is no number; BEIR's
    /// loader skips it whatever it says.
    ///
    /// A judgment that stands twice with the same relevance counts once. A pair with two relevances is an error;
    /// BEIR's loader would silently take the later relevance.
    ///
    /// # Errors
    /// [`Error::UnknownSplit`], or [`Error::Line`] at the first bad line.
    pub fn qrels(&self, split: &str) -> Result<Qrels> {
        let mut lines = Lines::open(&self.qrels_file(split)?)?;
        let mut qrels = Qrels::new();
        let mut is_first = true;
        loop {
            let Some(line) = lines.next() else { return Ok(qrels) };
            let (_, line) = line?;
            if std::mem::take(&mut is_first) && judgment::is_header(line) {
                continue;
            }
            let judged =
                judgment::parse_judgment(line).and_then(
                    |(query_id, doc_id, relevance)| match insert_judgment(
                        &mut qrels, &query_id, &doc_id, relevance,
                    ) {
                        Some(fault @ Fault::DuplicateJudgment { .. }) => Err(fault),
                        _ => Ok(()),
                    },
                );
            judged.map_err(|fault| lines.error(fault))?;
        }
    }

    pub(crate) fn file(&self, name: &str) -> Result<PathBuf> {
        find(&self.path, name)
            .ok_or_else(|| Error::MissingFile { folder: self.path.clone(), file: name.to_owned() })
    }

    pub(crate) fn qrels_file(&self, split: &str) -> Result<PathBuf> {
        match find(&self.path.join("qrels"), &format!("{split}.tsv")) {
            Some(file) => Ok(file),
            None => Err(Error::UnknownSplit {
                folder: self.path.clone(),
                split: split.to_owned(),
                available: self.splits()?,
            }),
        }
    }
}

/// The form of a file that is read.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    ENDINGS.iter().map(|ending| folder.join(format!("{name}{ending}"))).find(|file| file.is_file())
}

/// Adds a judgment. Returns a fault if the pair was judged before; the earlier judgment stays.
pub(crate) fn insert_judgment(
    qrels: &mut Qrels,
    query_id: &str,
    doc_id: &str,
    relevance: i32,
) -> Option<Fault> {
    // Looked up first: most lines name a known query, and `entry` would copy the query's id for every line.
    if !qrels.contains_key(query_id) {
        qrels.insert(query_id.to_owned(), BTreeMap::new());
    }
    let judged = qrels.get_mut(query_id)?;
    match judged.get(doc_id) {
        None => {
            judged.insert(doc_id.to_owned(), relevance);
            None
        }
        Some(&first) if first == relevance => {
            Some(Fault::RepeatedJudgment { query_id: query_id.to_owned(), doc_id: doc_id.to_owned() })
        }
        Some(&first) => Some(Fault::DuplicateJudgment {
            query_id: query_id.to_owned(),
            doc_id: doc_id.to_owned(),
            first,
            second: relevance,
        }),
    }
}

/// The records of a file, one line at a time.
pub struct Records<T> {
    lines: Lines,
    parse: fn(&str) -> std::result::Result<Parsed<T>, Fault>,
}

/// The documents of a corpus, from [`BeirFolder::corpus`].
pub type Documents = Records<Document>;

/// The queries of a data set, from [`BeirFolder::queries`].
pub type Queries = Records<Query>;

impl<T> Records<T> {
    /// A fault of the record that was read last.
    pub(crate) fn error(&self, fault: Fault) -> Error {
        self.lines.error(fault)
    }

    /// The line of the record that was read last.
    pub(crate) fn line(&self) -> u64 {
        self.lines.number()
    }
}

impl<T> Iterator for Records<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let parsed = match self.lines.next()? {
            Ok((_, line)) => (self.parse)(line),
            Err(error) => return Some(Err(error)),
        };
        Some(match parsed {
            Ok(parsed) => Ok(parsed.record),
            Err(fault) => Err(self.lines.error(fault)),
        })
    }
}

/// Writes a corpus, one JSON object a line; a name in `.gz` or `.zst` compresses. The file appears whole or not at all.
///
/// # Errors
/// [`Error::Unwritable`] if an id is empty or metadata is not a JSON object, [`Error::Io`] if the disk refuses.
pub fn write_corpus<'a>(
    path: impl AsRef<Path>,
    documents: impl IntoIterator<Item = &'a Document>,
) -> Result<()> {
    let path = path.as_ref();
    write_records(path, |file| {
        for document in documents {
            writeln!(file, "{}", record::document_line(document)?)?;
        }
        Ok(())
    })
}

/// A document as a line of a corpus, without the line end.
///
/// ```
/// use secateur_datasets::{Document, beir::corpus_line};
/// let document = Document::new("1", "Bees dance.").metadata("{\"year\": 2020}");
/// let expected = r#"{"_id":"1","title":"","text":"Bees dance.","metadata":{"year": 2020}}"#;
/// assert_eq!(corpus_line(&document).unwrap(), expected);
/// ```
///
/// # Errors
/// The id is empty, or the metadata is not a JSON object.
pub fn corpus_line(document: &Document) -> std::result::Result<String, Fault> {
    record::document_line(document)
}

/// Writes a corpus of documents that may fail to come, as [`write_corpus`]. Returns their number.
///
/// # Errors
/// The first error among the documents, and those of [`write_corpus`]. A file that was there is then unchanged.
pub fn write_documents<E: From<Error>>(
    path: &Path,
    documents: impl IntoIterator<Item = std::result::Result<Document, E>>,
) -> std::result::Result<usize, E> {
    write_each(path, documents, |file, document| Ok(writeln!(file, "{}", record::document_line(&document)?)?))
}

/// Writes queries, one JSON object a line; otherwise as [`write_corpus`].
///
/// # Errors
/// [`Error::Unwritable`] if an id is empty, [`Error::Io`] if the disk refuses.
pub fn write_queries<'a>(path: impl AsRef<Path>, queries: impl IntoIterator<Item = &'a Query>) -> Result<()> {
    let path = path.as_ref();
    write_records(path, |file| {
        for query in queries {
            writeln!(file, "{}", record::query_line(query)?)?;
        }
        Ok(())
    })
}

/// Writes judgments as `qrels/SPLIT.tsv`, with the header line; otherwise as [`write_corpus`].
///
/// # Errors
/// [`Error::Unwritable`] if an id is empty or has a line break, [`Error::Io`] if the disk refuses.
pub fn write_qrels(path: impl AsRef<Path>, qrels: &Qrels) -> Result<()> {
    let path = path.as_ref();
    write_records(path, |file| {
        writeln!(file, "query-id\tcorpus-id\tscore")?;
        for (query_id, judged) in qrels {
            for (doc_id, relevance) in judged {
                writeln!(file, "{}", judgment::judgment_line(query_id, doc_id, *relevance)?)?;
            }
        }
        Ok(())
    })
}
