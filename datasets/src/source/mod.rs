//! Documents in the files that people have them in: JSON, CSV, TSV, Parquet, plain texts and BEIR folders.
//!
//! | what is named | is read as |
//! |---|---|
//! | a folder with `corpus.jsonl` | a BEIR folder |
//! | another folder | its text files (`.txt`, `.md`, ...), one document each; the id is the path |
//! | `.jsonl`, `.ndjson` | an object a line |
//! | `.json` | a list of objects, or an object a line |
//! | `.csv` | a table with a header |
//! | `.tsv` | a table with a header, or MS MARCO's columns without one |
//! | `.parquet` | a table; needs the cargo feature `parquet` |
//! | `.txt`, `.md`, ... | one document |
//!
//! All but Parquet may be compressed, `.gz` or `.zst`. Fields that are not the id, the title or the text become
//! metadata. A record without an id gets one of the file's name and its number, such as `notes-17`.

mod json;
mod parquet;
mod rows;
mod table;
mod text;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use secateur_files::AtPath;

use crate::beir::BeirFolder;
use crate::document::Document;
use crate::entry::{Entry, parse_entry};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::reader::open;

pub use crate::entry::FieldNames;
pub(crate) use parquet::ParquetRows;

/// What reads one file or folder.
trait Reader: Send {
    /// The next record.
    fn next_entry(&mut self) -> Option<Result<Entry>>;
    /// A fault of the record that was read last.
    fn error(&self, fault: Fault) -> Error;
    /// The line, or the number, of the record that was read last.
    fn line(&self) -> u64;
}

/// What is done about documents that have neither title nor text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmptyDocuments {
    /// They are counted. That most documents are empty is an error.
    #[default]
    Few,
    /// They are counted.
    Any,
    /// The first one is an error.
    Refused,
}

/// Files of documents, which are read in their order.
///
/// ```
/// use secateur_datasets::source::Source;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("notes.csv");
/// std::fs::write(&path, "id,text,year\nn1,Prune roses in late winter.,2021\nn2,Bread rises overnight.,2019\n")?;
/// let mut documents = Source::open(&[path], Default::default())?.documents(Default::default());
/// let (first, _) = documents.next().unwrap()?;
/// assert_eq!((first.id.as_str(), first.metadata.as_deref()), ("n1", Some(r#"{"year":2021}"#)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Source {
    parts: Vec<SourcePath>,
    names: FieldNames,
}

/// A file, or a folder as BEIR has them.
#[derive(Debug, Clone)]
struct SourcePath {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Beir(BeirFolder),
    JsonLines,
    JsonList,
    Csv,
    Tsv,
    Parquet,
    /// The folder that ids are paths below, and the files.
    Texts(PathBuf, Vec<PathBuf>),
}

impl Source {
    /// Opens files and folders; only listings and the beginnings of `.json` files are read.
    ///
    /// # Errors
    /// [`Error::Io`] if one is not there. [`Error::UnknownFormat`] if its name does not say what it is.
    /// [`Error::NoDocuments`] for a folder without a corpus and without text files.
    pub fn open(paths: &[PathBuf], names: FieldNames) -> Result<Source> {
        let parts = paths
            .iter()
            .map(|path| Ok(SourcePath { path: path.clone(), kind: kind_of(path)? }))
            .collect::<Result<Vec<_>>>()?;
        Ok(Source { parts, names })
    }

    /// The documents, each with the vector of [`FieldNames::vector`]. Repeated ids are errors that name both places.
    /// Ids are kept in memory: about 100 bytes and the id for a document.
    pub fn documents(&self, empty: EmptyDocuments) -> SourceDocuments {
        SourceDocuments {
            source: self.clone(),
            next: 0,
            reader: None,
            ids: Some(HashMap::new()),
            empty,
            num_documents: 0,
            num_empty: 0,
        }
    }
}

/// Reads one JSON object as a line of a file is read: a document, and its vector if [`FieldNames::vector`] names a
/// field.
///
/// ```
/// use secateur_datasets::source::parse_record;
///
/// let (document, _) = parse_record(r#"{"id": 7, "text": "Prune roses.", "year": 2021}"#, &Default::default())?;
/// assert_eq!((document.id.as_str(), document.metadata.as_deref()), ("7", Some(r#"{"year":2021}"#)));
/// # Ok::<(), secateur_datasets::Fault>(())
/// ```
///
/// # Errors
/// The text is no object, a field is missing or of another type, or the vector is not a list of numbers.
pub fn parse_record(
    text: &str,
    names: &FieldNames,
) -> std::result::Result<(Document, Option<Vec<f32>>), Fault> {
    let mut entry = parse_entry(text, names)?.record;
    let vector = entry.vector.take();
    match entry.id.take() {
        Some(id) => Ok((entry.document(id), vector)),
        None => Err(Fault::MissingField { field: "id".to_owned(), found: entry.found }),
    }
}

fn kind_of(path: &Path) -> Result<Kind> {
    let metadata = std::fs::metadata(path).at("open", path)?;
    if metadata.is_dir() {
        return match BeirFolder::open(path) {
            Ok(folder) => Ok(Kind::Beir(folder)),
            Err(Error::MissingFile { .. }) => {
                let files = text::files_in(path)?;
                if files.is_empty() {
                    return Err(Error::NoDocuments { folder: path.to_owned() });
                }
                Ok(Kind::Texts(path.to_owned(), files))
            }
            // What it holds beside a collection, such as a README, is not what is meant.
            Err(other) => Err(other),
        };
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending {
        "jsonl" | "ndjson" => Ok(Kind::JsonLines),
        "json" => {
            begins_with_list(path).map(|is_list| if is_list { Kind::JsonList } else { Kind::JsonLines })
        }
        "csv" => Ok(Kind::Csv),
        "tsv" | "tab" => Ok(Kind::Tsv),
        "parquet" => Ok(Kind::Parquet),
        _ if text::is_text(path) => {
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            Ok(Kind::Texts(folder, vec![path.to_owned()]))
        }
        _ => Err(Error::UnknownFormat { path: path.to_owned() }),
    }
}

fn begins_with_list(path: &Path) -> Result<bool> {
    let mut bytes = [0; 1];
    let mut file = open(path)?;
    loop {
        let count = file.read(&mut bytes).at("read", path)?;
        match bytes[0] {
            _ if count == 0 => return Ok(false),
            // White space, and the bytes of a byte order mark.
            b' ' | b'\t' | b'\n' | b'\r' | 0xef | 0xbb | 0xbf => {}
            byte => return Ok(byte == b'['),
        }
    }
}

/// An id without white space, which TREC's files could not hold.
fn one_word(id: &str) -> String {
    id.split_whitespace().collect::<Vec<_>>().join("_")
}

/// The lines of a BEIR folder's corpus, in which every document has an id.
struct BeirReader(json::JsonLines);

impl Reader for BeirReader {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        Some(self.0.next_entry()?.and_then(|entry| match entry.id {
            Some(_) => Ok(entry),
            None => Err(self.0.error(Fault::MissingField { field: "_id".to_owned(), found: entry.found })),
        }))
    }

    fn error(&self, fault: Fault) -> Error {
        self.0.error(fault)
    }

    fn line(&self) -> u64 {
        self.0.line()
    }
}

impl SourcePath {
    fn reader(&self, names: &FieldNames) -> Result<Box<dyn Reader>> {
        let path = &self.path;
        Ok(match &self.kind {
            Kind::Beir(folder) => {
                Box::new(BeirReader(json::JsonLines::open(&folder.file("corpus.jsonl")?, names)?))
            }
            Kind::JsonLines => Box::new(json::JsonLines::open(path, names)?),
            Kind::JsonList => Box::new(json::JsonList::open(path, names)?),
            Kind::Csv => Box::new(table::Table::open(path, names, false)?),
            Kind::Tsv => Box::new(table::Table::open(path, names, true)?),
            Kind::Parquet => Box::new(parquet::ParquetDocuments::open(path, names)?),
            Kind::Texts(folder, files) => Box::new(text::TextFiles::new(folder.clone(), files.clone())),
        })
    }

    /// An id for a record that has none.
    fn made_id(&self, line: u64) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.split('.').next().unwrap_or_default();
        format!("{}-{line}", one_word(if stem.is_empty() { "document" } else { stem }))
    }
}

/// The documents of a [`Source`], with their vectors where a field has them.
pub struct SourceDocuments {
    source: Source,
    /// The part that is opened next.
    next: usize,
    reader: Option<Box<dyn Reader>>,
    /// The part and the line that used an id first; `None` if repeated ids are welcome.
    ids: Option<HashMap<Box<str>, (u32, u64)>>,
    empty: EmptyDocuments,
    num_documents: u64,
    num_empty: u64,
}

/// From so many documents on, that most are empty is seen at once.
const MANY: u64 = 1000;

impl SourceDocuments {
    /// The same, and an id may occur several times: whoever takes the documents knows which one counts.
    #[must_use]
    pub fn with_repeated_ids(self) -> SourceDocuments {
        SourceDocuments { ids: None, ..self }
    }

    /// Documents read so far.
    pub fn num_documents(&self) -> u64 {
        self.num_documents
    }

    /// A fault of the document that was read last, with its file and line.
    pub fn error(&self, fault: Fault) -> Error {
        reader_error(&self.reader, fault)
    }

    /// Documents read so far that have neither title nor text.
    pub fn num_empty(&self) -> u64 {
        self.num_empty
    }

    fn check(&mut self, document: &Document) -> std::result::Result<(), Fault> {
        let (part, line) = (self.next - 1, self.reader.as_ref().map_or(0, |reader| reader.line()));
        self.num_documents += 1;
        if document.is_empty() {
            self.num_empty += 1;
            if self.empty == EmptyDocuments::Refused {
                return Err(Fault::NoText { id: document.id.clone() });
            }
            if self.num_documents >= MANY {
                self.check_empty()?;
            }
        }
        let Some(ids) = &mut self.ids else { return Ok(()) };
        match ids.get(document.id.as_str()) {
            None => {
                ids.insert(document.id.clone().into_boxed_str(), (part as u32, line));
                Ok(())
            }
            Some((first, first_line)) if *first as usize == part => {
                Err(Fault::DuplicateId { id: document.id.clone(), first_line: *first_line })
            }
            Some((first, first_line)) => {
                let file = self.source.parts[*first as usize].path.display();
                Err(Fault::DuplicateAcrossFiles {
                    id: document.id.clone(),
                    first: format!("{file}:{first_line}"),
                })
            }
        }
    }

    /// Whether not too many documents are empty.
    fn check_empty(&self) -> std::result::Result<(), Fault> {
        match self.empty == EmptyDocuments::Few && 2 * self.num_empty > self.num_documents {
            true => Err(Fault::MostlyEmpty { empty: self.num_empty, documents: self.num_documents }),
            false => Ok(()),
        }
    }
}

impl Iterator for SourceDocuments {
    type Item = Result<(Document, Option<Vec<f32>>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let part = self.source.parts.get(self.next)?;
                    self.next += 1;
                    match part.reader(&self.source.names) {
                        Ok(reader) => self.reader.insert(reader),
                        Err(error) => return Some(Err(error)),
                    }
                }
            };
            let Some(entry) = reader.next_entry() else {
                let is_last = self.next == self.source.parts.len();
                let checked = if is_last { self.check_empty() } else { Ok(()) };
                let error = checked.err().map(|fault| reader_error(&self.reader, fault));
                self.reader = None;
                match error {
                    Some(error) => {
                        // Said once.
                        self.empty = EmptyDocuments::Any;
                        return Some(Err(error));
                    }
                    None => continue,
                }
            };
            let line = reader.line();
            return Some(entry.and_then(|mut entry| {
                let vector = entry.vector.take();
                let id = entry.id.take().unwrap_or_else(|| self.source.parts[self.next - 1].made_id(line));
                let document = entry.document(id);
                match self.check(&document) {
                    Ok(()) => Ok((document, vector)),
                    Err(fault) => Err(reader_error(&self.reader, fault)),
                }
            }));
        }
    }
}

fn reader_error(reader: &Option<Box<dyn Reader>>, fault: Fault) -> Error {
    match reader {
        Some(reader) => reader.error(fault),
        None => Error::File { path: PathBuf::new(), fault },
    }
}

#[cfg(test)]
mod tests;
