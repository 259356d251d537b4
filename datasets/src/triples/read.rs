//! Training examples of a file, one at a time.

use std::path::Path;

use secateur_files::UnknownName;
use strum::{Display, EnumString, VariantNames};

use super::example::TrainingExample;
use super::fields::Fields;
use super::{flag_embedding, tevatron};
use crate::error::Result;
use crate::fault::Fault;
use crate::reader::Lines;

/// Whose training data a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Format {
    /// FlagEmbedding's: `query`, `pos`, `neg`.
    FlagEmbedding,
    /// Tevatron's: `query`, `positive_passages`, `negative_passages`.
    Tevatron,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 2] = [Format::FlagEmbedding, Format::Tevatron];
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::of::<Format>("a format of training data", found)
}

/// The examples of a file in its order, read as they are asked for.
pub struct Examples {
    lines: Lines,
    format: Option<Format>,
}

impl Examples {
    /// Opens a file; its name may end in `.gz` or `.zst`. The first line tells the format, unless it is given.
    ///
    /// An item is [`Error::Line`](crate::Error::Line) for a line that is no example; the next item is the next line.
    /// Such a line has a field of another type, an empty query, no positive, or a score that is not finite. Or it has
    /// more or fewer ids or scores than passages.
    ///
    /// ```
    /// use secateur_datasets::triples::Examples;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("train.jsonl");
    /// std::fs::write(&path, "{\"query\": \"pruning roses\", \"pos\": [\"Prune in winter.\"]}\n{\"query\": 7}\n")?;
    /// let mut examples = Examples::open(&path, None)?;
    /// assert_eq!(examples.next().unwrap()?.positives, ["Prune in winter."]);
    /// let error = examples.next().unwrap().unwrap_err().to_string();
    /// assert!(error.ends_with("train.jsonl:2: `query`: expected a string, got 7"), "{error}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file cannot be opened.
    pub fn open(path: impl AsRef<Path>, format: Option<Format>) -> Result<Examples> {
        let path = path.as_ref();
        Ok(Examples { lines: Lines::open(path)?, format })
    }

    /// The file's format: the given one, or what the first line says after it was read.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// The next example, with the line it stands on.
    pub(super) fn next_with_line(&mut self) -> Option<Result<(TrainingExample, &str)>> {
        let parsed = match self.lines.next()? {
            Ok((_, line)) => parse(line, &mut self.format),
            Err(error) => return Some(Err(error)),
        };
        Some(match parsed {
            Ok(example) => Ok((example, self.lines.current())),
            Err(fault) => Err(self.lines.error(fault)),
        })
    }
}

impl Iterator for Examples {
    type Item = Result<TrainingExample>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_with_line()?.map(|(example, _)| example))
    }
}

/// Reads a line; sets the format if it is not known yet.
pub(super) fn parse(line: &str, format: &mut Option<Format>) -> std::result::Result<TrainingExample, Fault> {
    let fields = Fields::parse(line)?;
    let known = match format {
        Some(format) => *format,
        None => *format.insert(detect(&fields)?),
    };
    match known {
        Format::FlagEmbedding => flag_embedding::parse(fields),
        Format::Tevatron => tevatron::parse(fields),
    }
}

fn detect(fields: &Fields) -> std::result::Result<Format, Fault> {
    if fields.has("pos") {
        Ok(Format::FlagEmbedding)
    } else if fields.has("positive_passages") {
        Ok(Format::Tevatron)
    } else {
        let names: Vec<&str> = fields.names().collect();
        Err(Fault::NotTrainingData { fields: names.join(", ") })
    }
}
