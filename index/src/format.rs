//! What a kind of vector index is to those who store one: how it is built and named, and how its files are opened.
//!
//! Each kind is a folder whose parameters implement [`Format`]; [`vector_index`](crate::vector_index) lists them.

use std::path::Path;

use crate::candidates::Candidates;
use crate::error::Result;
use crate::file_format::file_set::FileSet;
use crate::file_format::files::Written;
use crate::metric::Metric;
use crate::quantization::{CodeType, Int8Codes};
use crate::rows::{ComponentType, Rows};

/// The most rows that an index is built of: row numbers take 31 bits in our graphs and in hnsw_rs.
pub(crate) const MAX_ROWS: usize = (1 << 31) - 1;

/// The parameters of an index, and what can be done with them.
pub(crate) trait Format: FormatFiles {
    /// The name in files and on the command line.
    fn name(&self) -> &'static str;

    /// What it is, in a sentence for the command line.
    fn about(&self) -> &'static str;

    /// The parameters, which a database keeps as texts.
    fn parameters(&mut self) -> Vec<Parameter<'_>>;

    /// Checks the range of each parameter.
    fn check(&self) -> Result<()>;

    /// Checks that this program can build and search it.
    fn check_feature(&self) -> Result<()> {
        Ok(())
    }

    /// Fewer rows get no index.
    fn min_rows(&self) -> usize {
        1
    }

    /// What searches compare if the index has codes of its own; then exact searches need no codes file beside it.
    fn code_type(&self) -> Option<CodeType> {
        None
    }

    /// Memory for each row of D components while the index is built, in bytes.
    fn bytes_per_row(&self, components: ComponentType, dim: usize) -> usize;
}

/// How an index is built, and how its files are written and opened.
pub(crate) trait FormatFiles {
    /// The names of its files, which no other kind uses.
    fn files(&self) -> &'static [&'static str];

    /// Builds the index of rows that have been checked, (N, D) row-major, in memory.
    fn build(&self, metric: Metric, dim: usize, rows: Rows<'_>) -> Result<Box<dyn Candidates>>;

    /// [`FormatFiles::build`], written to files in a folder, where they must not exist, and synced.
    fn write(
        &self,
        folder: &Path,
        metric: Metric,
        dim: usize,
        rows: Rows<'_>,
    ) -> Result<Vec<(&'static str, Written)>>;

    /// Opens the files of an index of N rows, and checks their headers.
    fn open(&self, files: FileSet, metric: Metric, dim: usize, num_rows: u32) -> Result<Box<dyn IndexFiles>>;
}

/// The kinds of index of a folder, with the parameters that they have unless others are given.
pub(crate) trait Kinds: Sized + 'static {
    const ALL: &'static [Self];
}

/// The files of an index, opened.
pub(crate) trait IndexFiles: Send + Sync {
    fn files(&self) -> &FileSet;

    /// The index of these rows, (N, D) row-major, for searching. `None` if its files can no longer be read, because a
    /// compaction has removed their names.
    fn candidates(&self, rows: Rows<'_>) -> Result<Option<&dyn Candidates>>;

    /// As [`Candidates::int8_codes`].
    fn int8_codes(&self) -> Option<Int8Codes<'_>> {
        None
    }

    /// Checks what the checksums cannot know: that this is an index of these rows, (N, D) row-major.
    fn verify(&self, rows: Rows<'_>) -> Result<()>;
}

/// A parameter of an index.
pub(crate) struct Parameter<'p> {
    /// The name of the property that keeps it.
    pub property: &'static str,
    pub value: &'p mut dyn ParameterValue,
    /// Whether the property is absent where the value is this text.
    pub implied: Option<&'static str>,
}

impl<'p> Parameter<'p> {
    pub fn new(property: &'static str, value: &'p mut dyn ParameterValue) -> Parameter<'p> {
        Parameter { property, value, implied: None }
    }
}

/// A value that is kept as a text.
pub(crate) trait ParameterValue {
    fn text(&self) -> String;

    /// Takes the value of a text, or tells what it should be.
    fn read(&mut self, text: &str) -> Result<(), &'static str>;
}

macro_rules! numbers {
    ($($number:ty, $expected:literal;)*) => {$(
        impl ParameterValue for $number {
            fn text(&self) -> String {
                self.to_string()
            }

            fn read(&mut self, text: &str) -> Result<(), &'static str> {
                *self = text.parse().map_err(|_| $expected)?;
                Ok(())
            }
        }
    )*};
}
numbers! {
    usize, "a number";
    u64, "a number";
    u32, "a number below 2^32";
}

impl ParameterValue for CodeType {
    fn text(&self) -> String {
        self.to_string()
    }

    fn read(&mut self, text: &str) -> Result<(), &'static str> {
        *self = text.parse().map_err(|_| "int8 or 1bit")?;
        Ok(())
    }
}
