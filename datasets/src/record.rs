//! One line of a BEIR file, in both directions.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};
use serde_json::value::RawValue;

use crate::document::{Document, Passage, Query};
use crate::fault::Fault;

/// A record, and what was odd about its line although it could be read.
pub(crate) struct Parsed<T> {
    pub(crate) record: T,
    pub(crate) oddities: Vec<Fault>,
}

#[derive(serde::Deserialize)]
struct QueryLine {
    #[serde(rename = "_id")]
    id: Id,
    #[serde(deserialize_with = "text")]
    text: String,
}

/// Reads `{"_id": ..., "text": ...}`; other fields are ignored.
pub(crate) fn parse_query(line: &str) -> Result<Parsed<Query>, Fault> {
    let (parsed, mut oddities) = parse::<QueryLine>(line)?;
    let id = parsed.id.into_text(&mut oddities)?;
    Ok(Parsed { record: Query { id, text: parsed.text }, oddities })
}

/// Reads `{"title": ..., "text": ...}`: a missing or null title and a null text are empty, other fields are ignored.
pub(crate) fn parse_passage(line: &str) -> Result<Passage, Fault> {
    #[derive(serde::Deserialize)]
    struct PassageLine {
        #[serde(default, deserialize_with = "title")]
        title: String,
        #[serde(deserialize_with = "text_or_null")]
        text: String,
    }
    let (PassageLine { title, text }, _) = parse(line)?;
    Ok(Passage { title, text })
}

pub(crate) fn parse<T: DeserializeOwned>(line: &str) -> Result<(T, Vec<Fault>), Fault> {
    // Without this an array would be taken for the fields in order.
    expect_object(line, r#"{"_id": "...", "text": "..."}"#)?;
    parse_json(line)
}

/// Refuses a line that begins no object; `example` is one.
pub(crate) fn expect_object(line: &str, example: &str) -> Result<(), Fault> {
    if line.trim_ascii_start().starts_with('{') {
        return Ok(());
    }
    // The text that stands for a large file where git was not told to fetch it.
    let message = if line.starts_with("version https://git-lfs.github.com/spec/") {
        "the file is a Git LFS pointer and not the file itself: fetch it with `git lfs pull`".to_owned()
    } else {
        format!("expected an object, as in {example}")
    };
    Err(Fault::BadJson { column: 1, message })
}

/// Reads a line. If it parses only after Python's `NaN` and `Infinity` became `null`, the oddity says so.
pub(crate) fn parse_json<T: DeserializeOwned>(line: &str) -> Result<(T, Vec<Fault>), Fault> {
    let error = match serde_json::from_str(line) {
        Ok(record) => return Ok((record, Vec::new())),
        Err(error) => error,
    };
    if let Some(Ok(record)) = null_for_python_numbers(line).map(|line| serde_json::from_str(&line)) {
        return Ok((record, vec![Fault::PythonNumber]));
    }
    if let Some(fault) = half_surrogate(line) {
        return Err(fault);
    }
    // The parser's own line number is always 1: the file's line number stands before the message.
    Err(Fault::BadJson { column: error.column(), message: without_place(&error) })
}

/// A parser's message without its place, which callers name in their own way.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&place).unwrap_or(&message).to_owned()
}

/// The first half of a surrogate pair in a line that stands without the other half. Python's json module writes such
/// halves and reads them, but no text of UTF-8 can hold one.
pub(crate) fn half_surrogate(json: &str) -> Option<Fault> {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    let mut at = 0;
    while let Some(escape) = json.as_bytes()[at.min(json.len())..].iter().position(|byte| *byte == b'\\') {
        at += escape;
        at += match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                return Some(Fault::HalfSurrogate { column: at + 1, escape: json[at..at + 6].to_owned() });
            }
            (Some(_), _) => 6,
            // The backslash and what it escapes.
            (None, _) => 2,
        };
    }
    None
}

/// Replaces `NaN`, `Infinity` and `-Infinity` outside of strings by `null`; `None` if the line has none. Python's
/// json module writes them into metadata and reads them back.
fn null_for_python_numbers(line: &str) -> Option<String> {
    let mut changed = String::new();
    let mut copied = 0;
    let mut position = 0;
    let mut in_string = false;
    let bytes = line.as_bytes();
    while position < bytes.len() {
        match bytes[position] {
            b'\\' if in_string => position += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            _ => {
                let token = ["NaN", "-Infinity", "Infinity"]
                    .into_iter()
                    .find(|token| bytes[position..].starts_with(token.as_bytes()));
                if let Some(token) = token {
                    changed.push_str(&line[copied..position]);
                    changed.push_str("null");
                    copied = position + token.len();
                    position = copied - 1;
                }
            }
        }
        position += 1;
    }
    (copied > 0).then(|| changed + &line[copied..])
}

/// A `_id`: a string, or an integer that stands for its decimal digits. BEIR's loader takes both, and data sets that
/// were exported from tables have both.
pub(crate) struct Id {
    text: String,
    numeric: bool,
}

impl Id {
    pub(crate) fn into_text(self, oddities: &mut Vec<Fault>) -> Result<String, Fault> {
        if self.text.is_empty() {
            return Err(Fault::EmptyId);
        }
        if self.numeric {
            oddities.push(Fault::NumericId { id: self.text.clone() });
        }
        Ok(self.text)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an integer for `_id`")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Id, E> {
                Ok(Id { text: value.to_owned(), numeric: false })
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Id, E> {
                Ok(Id { text: value.to_string(), numeric: true })
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Id, E> {
                Ok(Id { text: value.to_string(), numeric: true })
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}

/// A string field whose errors name it.
pub(crate) struct Text {
    pub(crate) field: &'static str,
    pub(crate) nullable: bool,
}

impl Visitor<'_> for Text {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string for `{}`", self.field)
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
    fn visit_string<E: de::Error>(self, value: String) -> Result<String, E> {
        Ok(value)
    }
    fn visit_unit<E: de::Error>(self) -> Result<String, E> {
        if self.nullable {
            Ok(String::new())
        } else {
            Err(E::invalid_type(de::Unexpected::Other("null"), &self))
        }
    }
}

fn title<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Text { field: "title", nullable: true })
}

/// A document's text, which tables without one have as null.
fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Text { field: "text", nullable: true })
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Text { field: "text", nullable: false })
}

/// The line of a corpus, without its line end.
pub(crate) fn document_line(document: &Document) -> Result<String, Fault> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        #[serde(rename = "_id")]
        id: &'a str,
        title: &'a str,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<Box<RawValue>>,
    }
    if document.id.is_empty() {
        return Err(Fault::EmptyId);
    }
    let metadata = document.metadata.as_deref().map(one_line_object).transpose()?;
    json(&Line { id: &document.id, title: &document.title, text: &document.text, metadata })
}

/// The line of a queries file, without its line end.
pub(crate) fn query_line(query: &Query) -> Result<String, Fault> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        #[serde(rename = "_id")]
        id: &'a str,
        text: &'a str,
    }
    if query.id.is_empty() {
        return Err(Fault::EmptyId);
    }
    json(&Line { id: &query.id, text: &query.text })
}

fn json<T: serde::Serialize>(line: &T) -> Result<String, Fault> {
    serde_json::to_string(line).map_err(|error| Fault::BadJson { column: 1, message: error.to_string() })
}

/// Checks that metadata is a JSON object and removes its line breaks. Inside JSON strings line breaks are escaped, so
/// every real line break is white space.
fn one_line_object(metadata: &str) -> Result<Box<RawValue>, Fault> {
    let object = metadata.trim().replace(['\n', '\r'], " ");
    if !object.starts_with('{') {
        return Err(Fault::BadJson { column: 1, message: "`metadata` must be an object".to_owned() });
    }
    RawValue::from_string(object).map_err(|error| Fault::BadJson {
        column: error.column(),
        message: format!("in `metadata`: {}", without_place(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::parse_document;

    #[test]
    fn documents_are_read_as_beirs_loader_reads_them() {
        let cases = [
            (r#"{"_id":"a","title":"T","text":"x"}"#, ("a", "T", "x", None)),
            (r#"{"_id":"a","text":"x"}"#, ("a", "", "x", None)),
            (r#"{"_id":"a","title":null,"text":"x","metadata":null}"#, ("a", "", "x", None)),
            (r#"{"_id":"a","title":"T","text":null}"#, ("a", "T", "", None)),
            (
                r#"{"text":"","metadata":{"k": [1, 2.50]},"_id":"a","url":"u"}"#,
                ("a", "", "", Some(r#"{"k":[1, 2.50],"url":"u"}"#)),
            ),
            (r#"{"_id":17,"text":"\u00e9\n\"q\" \ud83d\ude00"}"#, ("17", "", "é\n\"q\" 😀", None)),
            (r#"{"_id":-3,"text":"x"}"#, ("-3", "", "x", None)),
        ];
        for (line, (id, title, text, metadata)) in cases {
            let parsed = parse_document(line).unwrap_or_else(|fault| panic!("{line}: {fault}"));
            let expected = Document {
                id: id.to_owned(),
                title: title.to_owned(),
                text: text.to_owned(),
                metadata: metadata.map(str::to_owned),
            };
            assert_eq!(parsed.record, expected, "{line}");
            let is_numeric = parsed.oddities.iter().any(|oddity| matches!(oddity, Fault::NumericId { .. }));
            assert_eq!(is_numeric, id.parse::<i64>().is_ok(), "{line}");
        }
    }

    #[test]
    fn pythons_numbers_are_read_as_null_outside_of_strings_only() {
        let line = r#"{"_id":"NaN","text":"\"Infinity\\","metadata":{"a":NaN,"b":[-Infinity,Infinity],"NaN":"-Infinity"}}"#;
        let parsed = parse_document(line).unwrap();
        assert_eq!(parsed.oddities, [Fault::PythonNumber]);
        assert_eq!(parsed.record.id, "NaN");
        assert_eq!(parsed.record.text, "\"Infinity\\");
        let metadata = parsed.record.metadata.unwrap();
        assert_eq!(metadata, r#"{"a":null,"b":[null,null],"NaN":"-Infinity"}"#);
        // pandas has NaN where a text is missing.
        let parsed = parse_document(r#"{"_id":"a","text":NaN}"#).unwrap();
        assert_eq!((parsed.oddities, &*parsed.record.text), (vec![Fault::PythonNumber], ""));
        let bad = r#"{"_id":"a","text":"x","b":NaNs}"#;
        assert!(matches!(parse_document(bad).map(|_| ()), Err(Fault::BadJson { .. })), "{bad}");
    }

    #[test]
    fn bad_documents_name_field_and_column() {
        let cases = [
            (r#"{"_id":"a","text":"x"#, "bad JSON at column 20: EOF while parsing a string"),
            (
                r#"["a","T","x",null]"#,
                "bad JSON at column 1: expected an object, as in {\"_id\": \"...\", \"text\": \"...\"}",
            ),
            (
                "version https://git-lfs.github.com/spec/v1",
                "bad JSON at column 1: the file is a Git LFS pointer and not the file itself: fetch it with `git lfs pull`",
            ),
            (r#"{"text":"x"}"#, "no field `_id`: the fields are text"),
            (r#"{"_id":"a"}"#, "no field `text`: the fields are _id"),
            (r#"{"_id":"","text":"x"}"#, "the id is empty: give each record an id of its own"),
            (
                r#"{"_id":1.5,"text":"x"}"#,
                "bad JSON at column 10: invalid type: floating point `1.5`, expected a string or an integer for `_id`",
            ),
            (
                r#"{"_id":"a","text":7}"#,
                "bad JSON at column 19: invalid type: integer `7`, expected a string for `text`",
            ),
            (
                r#"{"_id":null,"text":"x"}"#,
                "bad JSON at column 11: invalid type: null, expected a string or an integer for `_id`",
            ),
            (
                r#"{"_id":"a","title":7,"text":"x"}"#,
                "bad JSON at column 20: invalid type: integer `7`, expected a string for `title`",
            ),
            (
                r#"{"_id":"a","text":"x","metadata":[1]}"#,
                "bad JSON at column 1: `metadata` must be an object",
            ),
            (r#"{"_id":"a","text":"x"} {"#, "bad JSON at column 24: trailing characters"),
            (
                r#"{"_id":"a","text":"x \ud83d y"}"#,
                "\\ud83d at column 22 is half of a surrogate pair, a character that was cut in two: \
                 write the other half beside it, or \\ufffd in its place",
            ),
        ];
        for (line, expected) in cases {
            let fault = parse_document(line).map(|parsed| parsed.record).unwrap_err();
            assert_eq!(fault.to_string(), expected, "{line}");
        }
    }

    /// Halves of either kind, in any string; pairs, escaped backslashes and halves spelled out are none.
    #[test]
    fn half_surrogates_are_named() {
        let line = |text: &str| format!(r#"{{"_id":"a","text":"{text}"}}"#);
        for (text, column) in [
            (r"\ud83d", Some(20)),
            (r"\ude80", Some(20)),
            (r"\ude80\ud83d", Some(20)),
            (r"é\uD83D\u0041", Some(22)),
            (r"\ud83d\ud83d\ude80", Some(20)),
            (r"\ud83d\ude80\ud83d", Some(32)),
            (r"\\\ud83d", Some(22)),
            (r"\ud83d\n", Some(20)),
            (r"\ud83d\ude80", None),
            (r"\\ud83d", None),
            (r"\\", None),
            (r"\ufffd", None),
        ] {
            let fault = parse_document(&line(text)).map(|parsed| parsed.record).err();
            let found = fault.map(|fault| match fault {
                Fault::HalfSurrogate { column, .. } => column,
                other => panic!("{text}: {other}"),
            });
            assert_eq!(found, column, "{text}");
        }
        for line in [
            r#"{"_id":"\ud83d","text":"x"}"#,
            r#"{"_id":"a","title":"\ud83d","text":"x"}"#,
            r#"{"_id":"a","text":"x","metadata":{"k":"\ud83d"}}"#,
            r#"{"_id":"a","text":"x","metadata":{"\udc00":1}}"#,
        ] {
            let fault = parse_document(line).map(|parsed| parsed.record).unwrap_err();
            assert!(matches!(fault, Fault::HalfSurrogate { .. }), "{line}: {fault}");
        }
        let fault = parse_query(r#"{"_id":"a","text":"\ud83d"}"#).map(|parsed| parsed.record).unwrap_err();
        assert!(matches!(fault, Fault::HalfSurrogate { .. }), "{fault}");
    }
}
