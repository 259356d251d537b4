//! The files of documents that a command takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use secateur::Document;
use secateur::datasets::Fault;
use secateur::datasets::source::{EmptyDocuments, FieldNames, Source, SourceDocuments};
use secateur::encode::NpyRows;
use secateur::index::metadata;
use secateur::report::{agreed, counted};
use secateur_files::with_suffix;

use super::failure::{Code, Failure, Result, warn};
use super::inputs::{dataset_cache, open_dataset};

/// The names of the options that say how files are read.
const ID_FIELD: &str = "id-field";
const TITLE_FIELD: &str = "title-field";
const TEXT_FIELD: &str = "text-field";
const VECTOR_FIELD: &str = "vector-field";
const NPY: &str = "npy";
const ALLOW_EMPTY: &str = "allow-empty";
const STRICT: &str = "strict";

/// How files of documents are read.
#[derive(Args)]
#[command(next_help_heading = "How files are read")]
pub struct SourceArguments {
    /// The field or column of the id [default: _id, id, doc_id, docid, docno or pid; made if there is none].
    #[arg(long, value_name = "NAME")]
    id_field: Option<String>,
    /// The field or column of the title [default: title].
    #[arg(long, value_name = "NAME")]
    title_field: Option<String>,
    /// The field or column of the text [default: text, contents, content, body or passage].
    #[arg(long, value_name = "NAME")]
    text_field: Option<String>,
    /// The field of vectors of your own, lists of numbers: for a database without an encoder.
    #[arg(long, value_name = "NAME", conflicts_with = "npy")]
    vector_field: Option<String>,
    /// A .npy file of vectors of your own, a row a document. With FILE.npy.ids beside it, one id a line, rows are found
    /// by id.
    #[arg(long, value_name = "FILE.npy")]
    npy: Option<PathBuf>,
    /// Take documents that have neither title nor text, even if most have none.
    #[arg(long, conflicts_with = "strict")]
    allow_empty: bool,
}

/// Documents with their vectors, if there are vectors of the caller's.
pub type Documents<'a> = Box<dyn Iterator<Item = secateur::Result<(Document, Option<Vec<f32>>)>> + 'a>;

/// Files that are opened.
pub struct Inputs {
    source: Source,
    /// Where the files and folders are.
    paths: Vec<PathBuf>,
    npy: Option<NpyRows>,
    empty: EmptyDocuments,
    /// Whether documents come with vectors.
    has_vectors: bool,
}

impl SourceArguments {
    /// Opens files, folders, and data sets that are named as BEIR names them. `strict` refuses a document without text.
    pub fn open(&self, paths: &[PathBuf], strict: bool) -> Result<Inputs> {
        let paths = paths.iter().map(|path| located(path)).collect::<Result<Vec<_>>>()?;
        let names = FieldNames {
            id: self.id_field.clone(),
            title: self.title_field.clone(),
            text: self.text_field.clone(),
            vector: self.vector_field.clone(),
        };
        let npy = match &self.npy {
            Some(path) => {
                let ids = with_suffix(path, ".ids");
                Some(NpyRows::open(path, ids.exists().then_some(&*ids))?)
            }
            None => None,
        };
        let empty = match (strict, self.allow_empty) {
            (true, _) => EmptyDocuments::Refused,
            (_, true) => EmptyDocuments::Any,
            _ => EmptyDocuments::Few,
        };
        let has_vectors = npy.is_some() || self.vector_field.is_some();
        Ok(Inputs { source: Source::open(&paths, names)?, paths, npy, empty, has_vectors })
    }

    /// The arguments and `strict` as words by their names, for those who read the same files later.
    pub fn to_options(&self, strict: bool) -> BTreeMap<String, String> {
        let yes = |is_said: bool| is_said.then(|| "yes".to_owned());
        let npy = self.npy.as_ref().map(|path| absolute(path).display().to_string());
        let options = [
            (ID_FIELD, self.id_field.clone()),
            (TITLE_FIELD, self.title_field.clone()),
            (TEXT_FIELD, self.text_field.clone()),
            (VECTOR_FIELD, self.vector_field.clone()),
            (NPY, npy),
            (ALLOW_EMPTY, yes(self.allow_empty)),
            (STRICT, yes(strict)),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// The arguments and `strict` that became these words.
    pub fn from_options(options: &BTreeMap<String, String>) -> (SourceArguments, bool) {
        let option = |name: &str| options.get(name).cloned();
        let arguments = SourceArguments {
            id_field: option(ID_FIELD),
            title_field: option(TITLE_FIELD),
            text_field: option(TEXT_FIELD),
            vector_field: option(VECTOR_FIELD),
            npy: option(NPY).map(PathBuf::from),
            allow_empty: options.contains_key(ALLOW_EMPTY),
        };
        (arguments, options.contains_key(STRICT))
    }
}

impl Inputs {
    /// The files and folders by their absolute paths.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.paths.iter().map(|path| absolute(path)).collect()
    }

    /// Whether the documents come with vectors.
    pub fn has_vectors(&self) -> bool {
        self.has_vectors
    }

    /// The length of the vectors that documents come with.
    pub fn dim(&self) -> Result<Option<usize>> {
        if let Some(npy) = &self.npy {
            return Ok(Some(npy.dim()));
        }
        match self.has_vectors.then(|| self.documents(false).next()).flatten() {
            Some(first) => Ok(first?.1.map(|vector| vector.len())),
            None => Ok(None),
        }
    }

    /// Says how many documents have neither title nor text, unless it was said that there may be such.
    pub fn warn_of_empty(&self, num_empty: u64) {
        if num_empty > 0 && self.empty != EmptyDocuments::Any {
            warn(&format!(
                "{} {} neither title nor text; no word finds {}, and vectors may for no reason \
                 (--strict refuses such documents)",
                counted(num_empty as usize, "document"),
                agreed(num_empty as usize, "has", "have"),
                agreed(num_empty as usize, "it", "them")
            ));
        }
    }

    /// Reads the documents once, so that what is wrong is found before hours of encoding. Returns how many there are.
    /// Metadata that a database refuses is an error with its place, and so is a document that the database has already,
    /// as `is_stored` says.
    pub fn check(&self, repeated: bool, mut is_stored: impl FnMut(&Document) -> Result<bool>) -> Result<u64> {
        let mut documents = self.read(repeated);
        while let Some(item) = documents.next() {
            let (document, _) = item?;
            check_metadata(&documents, &document)?;
            if is_stored(&document)? {
                return Err(documents.error(Fault::Stored { id: document.id }).into());
            }
        }
        Ok(documents.num_documents())
    }

    /// How many documents there are.
    pub fn count(&self) -> Result<u64> {
        self.check(true, |_| Ok(false))
    }

    fn read(&self, repeated: bool) -> SourceDocuments {
        let documents = self.source.documents(self.empty);
        if repeated { documents.with_repeated_ids() } else { documents }
    }

    /// The documents. With `repeated`, an id may occur several times.
    pub fn documents(&self, repeated: bool) -> Documents<'_> {
        self.counted(repeated, |_| ())
    }

    /// The documents; `seen` is told how many of them have neither title nor text.
    pub fn counted<'a>(&'a self, repeated: bool, mut seen: impl FnMut(u64) + 'a) -> Documents<'a> {
        let mut documents = self.read(repeated);
        let (mut number, mut is_done) = (0, false);
        Box::new(std::iter::from_fn(move || {
            let Some(item) = documents.next() else {
                let is_first_end = !std::mem::replace(&mut is_done, true);
                let npy = self.npy.as_ref().filter(|_| is_first_end)?;
                return npy.check_count(number).err().map(Err);
            };
            seen(documents.num_empty());
            let place = number;
            number += 1;
            Some(item.map_err(Into::into).and_then(|(document, vector)| {
                check_metadata(&documents, &document)?;
                match &self.npy {
                    Some(npy) => {
                        let vector = npy.row(place, &document.id)?;
                        Ok((document, Some(vector)))
                    }
                    None => Ok((document, vector)),
                }
            }))
        }))
    }
}

/// Refuses metadata as the database would, with the place of the document that was read last.
fn check_metadata(documents: &SourceDocuments, document: &Document) -> secateur::datasets::Result<()> {
    match document.metadata.as_deref().map_or(Ok(()), metadata::check) {
        Ok(()) => Ok(()),
        Err(fault) => {
            let (id, problem) = (document.id.clone(), fault.to_string());
            Err(documents.error(Fault::Metadata { id, problem }))
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    // Links stay: a file's name says what it is, and ids are made of it.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A path, or the folder of a downloaded data set of that name.
fn located(path: &Path) -> Result<PathBuf> {
    let looks_like_path = path.components().count() > 1 || path.extension().is_some();
    if path.exists() || looks_like_path && !dataset_cache().is_ok_and(|cache| cache.join(path).exists()) {
        if !path.exists() {
            return Err(Failure::new(Code::Input, format!("there is no file or folder {}", path.display())));
        }
        return Ok(path.to_owned());
    }
    Ok(open_dataset(path)?.path().to_owned())
}
