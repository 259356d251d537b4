//! The faults that a data set can have, one variant each. Readers stop at the grave faults; `verify` lists all of
//! them.

use std::borrow::Cow;
use std::fmt;

/// How bad a [`Fault`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Results stay well defined, but something is probably not as its author meant it.
    Warning,
    /// Results would be wrong or impossible.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One thing that is wrong with a line or a file.
///
/// ```
/// use secateur_datasets::{Fault, Severity};
///
/// let fault = Fault::UnknownDocument { doc_id: "d9".to_owned() };
/// assert_eq!(fault.to_string(), "judges document \"d9\", which the corpus does not hold");
/// assert_eq!(fault.severity(), Severity::Warning);
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The line is not UTF-8.
    #[error("byte {column} is not valid UTF-8: convert the file to UTF-8")]
    NotUtf8 {
        /// The first invalid byte of the line, counted from 1.
        column: usize,
    },
    /// The file is in UTF-16, as its byte order mark says.
    #[error("the file is in UTF-16, as its byte order mark says: convert it to UTF-8")]
    Utf16,
    /// The line is longer than a reader accepts.
    #[error("the line is longer than {limit} bytes: is this a text file with one record a line?")]
    LineTooLong {
        /// The longest line that is accepted, in bytes.
        limit: u64,
    },
    /// The line is not the JSON object that is expected there.
    #[error("bad JSON at column {column}: {message}")]
    BadJson {
        /// The column of the line, in bytes, counted from 1.
        column: usize,
        /// What the parser found, naming the field where it knows it.
        message: String,
    },
    /// A record lacks a field that it must have.
    #[error("no field `{field}`: the fields are {found}")]
    MissingField {
        /// What it must have.
        field: String,
        /// What it has.
        found: String,
    },
    /// A file has neither a header nor the columns of a known format.
    #[error(
        "no column is named `text`: the first line has {found}; name the column of the text, or put a header line above"
    )]
    NoTextColumn {
        /// The first line's cells.
        found: String,
    },
    /// Most documents of a corpus have neither title nor text.
    #[error(
        "{empty} of the first {documents} documents have neither title nor text: is the text in another field?"
    )]
    MostlyEmpty {
        /// Documents without text.
        empty: u64,
        /// Documents read so far.
        documents: u64,
    },
    /// A field is in `metadata` and beside it, with two values.
    #[error("the field `{field}` is {own} in `metadata` and {other} beside it: leave one of them out")]
    TwoValues {
        /// The field.
        field: String,
        /// Its value in `metadata`, as JSON.
        own: Box<str>,
        /// Its value beside it, as JSON.
        other: Box<str>,
    },
    /// A document with the record's id is in the database that it is to be added to.
    #[error("document {id:?} is stored already; upsert it to replace it")]
    Stored {
        /// The id.
        id: String,
    },
    /// A document has metadata that the database would refuse.
    #[error("document {id:?}: {problem}")]
    Metadata {
        /// The document's id.
        id: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// An id was used before in another file.
    #[error("duplicate id {id:?}, first used in {first}")]
    DuplicateAcrossFiles {
        /// The id.
        id: String,
        /// The other file, and the line in it.
        first: String,
    },
    /// A vector is none.
    #[error("`{field}` is no vector: {problem}; expected a list of numbers")]
    BadVector {
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A library refused to read the rest of a file.
    #[error("{reason}")]
    Undecodable {
        /// What it said.
        reason: String,
    },
    /// A string of a JSON line has one half of a character that JSON spells in two.
    #[error(
        "{escape} at column {column} is half of a surrogate pair, a character that was cut in two: \
         write the other half beside it, or \\ufffd in its place"
    )]
    HalfSurrogate {
        /// The column of the line, in bytes, counted from 1.
        column: usize,
        /// The half as the line spells it.
        escape: String,
    },
    /// A `_id` is the empty string.
    #[error("the id is empty: give each record an id of its own")]
    EmptyId,
    /// A `_id` is a JSON number, read here as its decimal digits.
    #[error(
        "the id is the number {id}, read as the string \"{id}\": other tools may not match it with the judgments"
    )]
    NumericId {
        /// The id as a string.
        id: String,
    },
    /// A line has `NaN` or an infinity, which Python's json module writes but JSON does not have.
    #[error("the line has NaN or Infinity, which is not JSON; read as null")]
    PythonNumber,
    /// A document has neither title nor text.
    #[error("{id:?} has no text")]
    NoText {
        /// The document.
        id: String,
    },
    /// A query has no text.
    #[error("{id:?} has no text")]
    EmptyQuery {
        /// The query.
        id: String,
    },
    /// A document has a title but no text.
    #[error("{id:?} has a title but no text")]
    TitleOnly {
        /// The document.
        id: String,
    },
    /// An id was used before in the same file.
    #[error("duplicate id {id:?}, first used on line {first_line}")]
    DuplicateId {
        /// The id.
        id: String,
        /// Where it was used first.
        first_line: u64,
    },
    /// A line has the wrong number of fields.
    #[error("expected {expected}, found {got}")]
    FieldCount {
        /// The fields of the format, named.
        expected: Cow<'static, str>,
        /// How many fields the line has.
        got: usize,
    },
    /// A quoted field of a table does not end.
    #[error("a quoted field is not closed")]
    OpenQuote,
    /// A relevance is not an integer.
    #[error("relevance {got:?} is not an integer")]
    BadRelevance {
        /// The field as written.
        got: String,
    },
    /// A score is not a number.
    #[error("score {got:?} is not a number")]
    BadScore {
        /// The field as written.
        got: String,
    },
    /// A score is NaN or infinite, so it has no place in a ranking.
    #[error("score {got} of document {doc_id:?} is not finite: no ranking can hold it")]
    NonFiniteScore {
        /// The document.
        doc_id: String,
        /// The score as written.
        got: String,
    },
    /// Judgments begin without the header that other readers of BEIR files skip unseen.
    #[error(
        "there is no header line: the first line is read as a judgment here, and skipped by BEIR's loader; \
         put a header line above it"
    )]
    NoHeader,
    /// The same judgment stands twice in a file.
    #[error("query {query_id:?} and document {doc_id:?} are judged again, with the same relevance")]
    RepeatedJudgment {
        /// The query.
        query_id: String,
        /// The document.
        doc_id: String,
    },
    /// A document is judged twice for a query, differently or in a format that allows no repetition.
    #[error(
        "query {query_id:?} and document {doc_id:?} are judged twice: {first}, then {second}; keep one of the lines"
    )]
    DuplicateJudgment {
        /// The query.
        query_id: String,
        /// The document.
        doc_id: String,
        /// The relevance on the earlier line.
        first: i32,
        /// The relevance on this line.
        second: i32,
    },
    /// A document occurs twice in the ranking of a query.
    #[error("query {query_id:?} retrieves document {doc_id:?} twice: keep one of the lines")]
    DuplicateResult {
        /// The query.
        query_id: String,
        /// The document.
        doc_id: String,
    },
    /// Judgments name a document that the corpus does not hold.
    #[error("judges document {doc_id:?}, which the corpus does not hold")]
    UnknownDocument {
        /// The document.
        doc_id: String,
    },
    /// Judgments name a query that the queries file does not hold.
    #[error("judges query {query_id:?}, which the queries file does not hold")]
    UnknownQuery {
        /// The query.
        query_id: String,
    },
    /// A value cannot stand in a file whose fields are separated by white space.
    #[error(
        "{value:?} cannot be the {field} of a TREC file: it must be one word, and a first word must not begin with `#`"
    )]
    NotOneWord {
        /// What the value is: `query id`, `document id` or `run tag`.
        field: &'static str,
        /// The value.
        value: String,
    },
    /// A value cannot stand in a tab-separated file with one judgment a line.
    #[error("{value:?} cannot be the {field} of a BEIR judgment: it is empty or has a line break")]
    NotOneField {
        /// What the value is: `query id` or `document id`.
        field: &'static str,
        /// The value.
        value: String,
    },
    /// A field of a training example has a forbidden value, or no value.
    #[error("`{field}`: expected {expected}, got {got}")]
    WrongField {
        /// The field, with its place in a list.
        field: String,
        /// What it can have.
        expected: String,
        /// What it has.
        got: String,
    },
    /// A training example has more or fewer scores or ids than passages.
    #[error("`{list}`: expected {expected}, one for each of `{passages}`, got {got}")]
    ListLength {
        /// The list of scores or ids.
        list: String,
        /// The list of passages.
        passages: String,
        /// How many passages there are.
        expected: usize,
        /// How many scores or ids there are.
        got: usize,
    },
    /// The line is in neither of the formats of training data.
    #[error(
        "expected `query` with `pos` (FlagEmbedding) or with `positive_passages` (Tevatron), got the fields {fields}; \
         `secateur dataset triples` makes training data of a BEIR folder"
    )]
    NotTrainingData {
        /// The fields it has.
        fields: String,
    },
    /// A file of training data has too few examples for a batch.
    #[error(
        "has {examples} examples, fewer than a batch of {batch_size}: make the batches smaller, or keep those that are \
         not full"
    )]
    NoWholeBatch {
        /// The examples of the file.
        examples: u64,
        /// The examples of a batch.
        batch_size: usize,
    },
    /// A file of training data is no longer what it was when the training began.
    #[error("had {examples} examples when it was opened, now it has fewer: begin the training anew")]
    Changed {
        /// The examples it had.
        examples: u64,
    },
    /// The rest of the file cannot be read.
    #[error("cannot be read beyond this line: {reason}")]
    Unreadable {
        /// The reason the operating system or the decompressor gave.
        reason: String,
    },
    /// The file is absent.
    #[error("the file is missing")]
    Missing,
    /// The file holds no record at all.
    #[error("the file holds no record")]
    Empty,
    /// The file is ignored because the same data lies beside it under a name that comes first.
    #[error("ignored: {used} beside it is read instead; remove one of them")]
    Shadowed {
        /// The name of the file that is read.
        used: String,
    },
    /// The folder has no judgments, so nothing can be evaluated on it.
    #[error("no judgments: expected qrels/SPLIT.tsv")]
    NoSplits,
}

impl Fault {
    /// Whether the fault spoils results or only deserves a look.
    pub fn severity(&self) -> Severity {
        match self {
            Fault::NumericId { .. }
            | Fault::PythonNumber
            | Fault::NoText { .. }
            | Fault::UnknownDocument { .. }
            | Fault::TitleOnly { .. }
            | Fault::NoHeader
            | Fault::RepeatedJudgment { .. }
            | Fault::Shadowed { .. }
            | Fault::NoSplits => Severity::Warning,
            _ => Severity::Error,
        }
    }
}
