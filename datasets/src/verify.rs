//! All faults of a data set, each with its file and line.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::beir::{BeirFolder, ENDINGS, insert_judgment};
use crate::checked::Ids;
use crate::document::{Document, Qrels, Query};
use crate::entry;
use crate::error::{Error, Result};
use crate::fault::{Fault, Severity};
use crate::judgment;
use crate::reader::Lines;
use crate::record::{self, Parsed};

/// A fault and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The file or folder.
    pub path: PathBuf,
    /// The line, counted from 1; `None` if the fault is that of the whole file.
    pub line: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

impl Finding {
    /// Whether the fault spoils results or only deserves a look.
    pub fn severity(&self) -> Severity {
        self.fault.severity()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}: {}", self.severity(), self.fault)
    }
}

/// How much was checked and how much was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Documents that were read without an error.
    pub documents: u64,
    /// Queries that were read without an error.
    pub queries: u64,
    /// Judgments of all splits that were read without an error.
    pub judgments: u64,
    /// Faults of severity [`Severity::Error`].
    pub errors: u64,
    /// Faults of severity [`Severity::Warning`].
    pub warnings: u64,
}

impl BeirFolder {
    /// Checks every line of every file and hands each fault to `report`, in the order of corpus, queries, splits.
    ///
    /// Ids must be unique and not empty. Every document and query must have text. Judgments must be integers, and
    /// name each pair of a known document and query once. Only ids are kept in memory: about 100 bytes and the id for
    /// a document.
    ///
    /// ```
    /// use secateur_datasets::beir::BeirFolder;
    ///
    /// # fn main() -> secateur_datasets::Result<()> {
    /// # let mini = concat!(env!("CARGO_MANIFEST_DIR"), "/mini");
    /// let mut findings = Vec::new();
    /// let verdict = BeirFolder::open(mini)?.verify(|finding| findings.push(finding.to_string()))?;
    /// assert_eq!(findings, [""; 0]);
    /// assert_eq!((verdict.errors, verdict.warnings, verdict.queries), (0, 0, 12));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be opened. Whatever is wrong inside the files is a finding.
    pub fn verify(&self, report: impl FnMut(&Finding)) -> Result<Verdict> {
        let mut check = Check { verdict: Verdict::default(), report };
        let documents = check.records(self, "corpus.jsonl", entry::parse_document, Document::describe)?;
        check.verdict.documents = documents.read;
        let splits = self.splits()?;
        // A corpus alone is a corpus; judgments without queries are a mistake.
        let has_queries =
            ENDINGS.iter().any(|ending| self.path().join(format!("queries.jsonl{ending}")).is_file());
        let queries = match has_queries || !splits.is_empty() {
            true => check.records(self, "queries.jsonl", record::parse_query, Query::describe)?,
            false => Known::default(),
        };
        check.verdict.queries = queries.read;
        if splits.is_empty() && has_queries {
            check.add(self.path(), None, Fault::NoSplits);
        }
        for split in splits {
            check.split(self, &split, &documents, &queries)?;
        }
        Ok(check.verdict)
    }
}

/// What is kept of a file that was read.
#[derive(Default)]
struct Known {
    ids: Ids,
    read: u64,
    /// Whether the file was readable. All ids of a missing file are unknown, and one finding says so better than
    /// many.
    complete: bool,
}

/// What `verify` looks at in a record.
trait Describe {
    fn describe(self) -> (String, Option<Fault>);
}

impl Describe for Document {
    fn describe(self) -> (String, Option<Fault>) {
        let fault = match (self.title.trim().is_empty(), self.text.trim().is_empty()) {
            (_, false) => None,
            (false, true) => Some(Fault::TitleOnly { id: self.id.clone() }),
            (true, true) => Some(Fault::NoText { id: self.id.clone() }),
        };
        (self.id, fault)
    }
}

impl Describe for Query {
    fn describe(self) -> (String, Option<Fault>) {
        let fault = self.text.trim().is_empty().then(|| Fault::EmptyQuery { id: self.id.clone() });
        (self.id, fault)
    }
}

struct Check<F> {
    verdict: Verdict,
    report: F,
}

impl<F: FnMut(&Finding)> Check<F> {
    fn add(&mut self, path: &Path, line: Option<u64>, fault: Fault) {
        let finding = Finding { path: path.to_owned(), line, fault };
        match finding.severity() {
            Severity::Error => self.verdict.errors += 1,
            Severity::Warning => self.verdict.warnings += 1,
        }
        (self.report)(&finding);
    }

    /// Adds the failure to read a line; `false` if the file cannot be read on.
    fn add_error(&mut self, error: Error) -> Result<bool> {
        match error {
            Error::Line { path, line, fault } => {
                let goes_on = !matches!(fault, Fault::LineTooLong { .. } | Fault::Utf16);
                self.add(&path, Some(line), fault);
                Ok(goes_on)
            }
            Error::Read { path, lines_read, source } => {
                self.add(&path, Some(lines_read), Fault::Unreadable { reason: source.to_string() });
                Ok(false)
            }
            other => Err(other),
        }
    }

    /// The lines of a file; `None` after adding that it is not compressed as its name says.
    fn lines(&mut self, path: &Path) -> Result<Option<Lines>> {
        match Lines::open(path) {
            Err(Error::NotCompressed { path, format, .. }) => {
                self.add(&path, None, Fault::Unreadable { reason: format!("it is not {format}") });
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Checks that a file is there in one form only.
    fn file(&mut self, folder: &Path, name: &str) -> Option<PathBuf> {
        let forms =
            ENDINGS.iter().map(|ending| folder.join(format!("{name}{ending}"))).filter(|file| file.is_file());
        let mut used: Option<PathBuf> = None;
        for form in forms {
            match &used {
                None => used = Some(form),
                Some(used) => {
                    let used = used.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    self.add(&form, None, Fault::Shadowed { used });
                }
            }
        }
        if used.is_none() {
            self.add(&folder.join(name), None, Fault::Missing);
        }
        used
    }

    fn records<T>(
        &mut self,
        folder: &BeirFolder,
        name: &str,
        parse: fn(&str) -> std::result::Result<Parsed<T>, Fault>,
        describe: fn(T) -> (String, Option<Fault>),
    ) -> Result<Known> {
        let mut known = Known::default();
        let Some(path) = self.file(folder.path(), name) else {
            return Ok(known);
        };
        let Some(mut lines) = self.lines(&path)? else {
            return Ok(known);
        };
        known.complete = true;
        let mut is_empty = true;
        while let Some(line) = lines.next() {
            is_empty = false;
            let (number, parsed) = match line {
                Ok((number, line)) => (number, parse(line)),
                Err(error) => {
                    known.complete &= self.add_error(error)?;
                    continue;
                }
            };
            match parsed {
                Err(fault) => self.add(&path, Some(number), fault),
                Ok(Parsed { record, oddities }) => {
                    known.read += 1;
                    let (id, fault) = describe(record);
                    for fault in oddities.into_iter().chain(fault) {
                        self.add(&path, Some(number), fault);
                    }
                    if let Some(fault) = known.ids.insert(id, number) {
                        self.add(&path, Some(number), fault);
                    }
                }
            }
        }
        if is_empty {
            self.add(&path, None, Fault::Empty);
        }
        Ok(known)
    }

    fn split(&mut self, folder: &BeirFolder, split: &str, documents: &Known, queries: &Known) -> Result<()> {
        let Some(path) = self.file(&folder.path().join("qrels"), &format!("{split}.tsv")) else {
            return Ok(());
        };
        let Some(mut lines) = self.lines(&path)? else {
            return Ok(());
        };
        let mut qrels = Qrels::new();
        let mut judgments = 0;
        let mut is_first = true;
        while let Some(line) = lines.next() {
            let is_first = std::mem::take(&mut is_first);
            let (number, parsed) = match line {
                Ok((_, line)) if is_first && judgment::is_header(line) => continue,
                Ok((number, line)) => (Some(number), judgment::parse_judgment(line)),
                Err(error) => {
                    self.add_error(error)?;
                    continue;
                }
            };
            if is_first && parsed.is_ok() {
                self.add(&path, number, Fault::NoHeader);
            }
            let (query_id, doc_id, relevance) = match parsed {
                Ok(judgment) => judgment,
                Err(fault) => {
                    self.add(&path, number, fault);
                    continue;
                }
            };
            judgments += 1;
            if queries.complete && !queries.ids.contains(&query_id) {
                self.add(&path, number, Fault::UnknownQuery { query_id: query_id.clone().into_owned() });
            }
            if documents.complete && !documents.ids.contains(&doc_id) {
                self.add(&path, number, Fault::UnknownDocument { doc_id: doc_id.clone().into_owned() });
            }
            if let Some(fault) = insert_judgment(&mut qrels, &query_id, &doc_id, relevance) {
                self.add(&path, number, fault);
            }
        }
        if judgments == 0 {
            self.add(&path, None, Fault::Empty);
        }
        self.verdict.judgments += judgments;
        Ok(())
    }
}
