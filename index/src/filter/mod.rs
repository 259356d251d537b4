//! Filters: conditions on the metadata of documents.
//!
//! ```text
//! year >= 2015 and (source == "pubmed" or tags in ["a", "b"]) and not retracted
//! ```
//!
//! | in a filter | is true of a document if |
//! |---|---|
//! | `field == value`, `<`, `<=`, `>`, `>=` | a value of the field is equal to, less than, ... this one |
//! | `field != value` | no value of the field is equal to this one: `not field == value` |
//! | `field in [value, value]` | a value of the field is equal to one of these |
//! | `field not in [value, value]` | none is: `not field in [value, value]` |
//! | `field` | a value of the field is `true` |
//! | `field all [value, value]` | each of these is a value of the field |
//! | `field contains "text"` | a value of the field is a string with this text in it |
//! | `field starts with "text"` | a value of the field is a string that begins so |
//! | `field is missing`, `field is not missing` | the field has no value; it has one |
//! | `not a`, `a and b`, `a or b`, `( )` | as everywhere; `not` binds closest, then `and`, then `or` |
//!
//! A value is a string in double quotes with JSON's escapes, a number, `true` or `false`. Values of different kinds
//! are never equal nor ordered: the string `"2015"` is not the number 2015. Strings are ordered by their bytes.
//!
//! The **values of a field** are what the document's metadata has under its name. A string, a number or a boolean is
//! one value. A list has as many values as strings, numbers and booleans are in it; null, lists and objects in a list
//! are ignored. A field that is missing, null, an object or an empty list has no value, so only `!=`, `not in` and
//! `not` are true of it.
//!
//! A field's name begins with a letter or `_` and goes on with letters, digits, `_` and `-`. Any other name, and the
//! words of the language, can be written in backquotes. `a.b` is field `b` of the object `a`.

mod column;
mod parse;
mod value;

use std::fmt;

pub(crate) use column::{Column, SharedBytes, encode};
pub use value::{Number, Value, ValueKind};

/// A condition on metadata; see the [module](self) for the language that [`str::parse`] reads and for what it means.
///
/// ```
/// use secateur_index::filter::{Comparison, Field, Filter, Value};
///
/// let filter: Filter = r#"year >= 2015 and not source in ["web", "mail"]"#.parse()?;
/// assert!(filter.matches(r#"{"year": 2020, "source": "pubmed"}"#));
/// assert!(!filter.matches(r#"{"year": 2020, "source": ["web", "pubmed"]}"#));
/// assert!(!filter.matches("{}"), "a missing field is not at least 2015");
///
/// let recent = Filter::Compare(Field::new(["year"]), Comparison::AtLeast, Value::from(2015));
/// let from_web = Filter::In(Field::new(["source"]), vec![Value::from("web"), Value::from("mail")]);
/// assert_eq!(filter, Filter::And(vec![recent, Filter::Not(Box::new(from_web))]));
/// # Ok::<(), secateur_index::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of them are true. Of none that is true.
    And(Vec<Filter>),
    /// At least one of them is true. Of none that is false.
    Or(Vec<Filter>),
    /// The filter is false.
    Not(Box<Filter>),
    /// The comparison with this value is true of one of the field's values. For [`Comparison::NotEqual`], no value of
    /// the field equals this one.
    Compare(Field, Comparison, Value),
    /// A value of the field is one of these.
    In(Field, Vec<Value>),
    /// Each of these is a value of the field.
    All(Field, Vec<Value>),
    /// A value of the field is a string that contains this one.
    Contains(Field, String),
    /// A value of the field is a string that begins with this one.
    StartsWith(Field, String),
    /// The field has no value.
    Missing(Field),
}

/// Where in the metadata values are: a name, or the names of objects in objects.
///
/// ```
/// use secateur_index::filter::Field;
/// assert_eq!(Field::new(["journal", "the year"]).to_string(), "journal.`the year`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field(Vec<String>);

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Comparison {
    const ALL: [(Comparison, &'static str); 6] = [
        (Comparison::Equal, "=="),
        (Comparison::NotEqual, "!="),
        (Comparison::AtMost, "<="),
        (Comparison::AtLeast, ">="),
        (Comparison::Less, "<"),
        (Comparison::Greater, ">"),
    ];

    /// Whether a value compares so with one of its kind.
    fn holds(self, value: &Value, with: &Value) -> bool {
        match self {
            Comparison::Equal => value == with,
            Comparison::NotEqual => value != with,
            Comparison::Less => value < with,
            Comparison::AtMost => value <= with,
            Comparison::Greater => value > with,
            Comparison::AtLeast => value >= with,
        }
    }
}

/// Names in order are the field that they lead to, so that maps of fields can be asked for them.
impl std::borrow::Borrow<[String]> for Field {
    fn borrow(&self) -> &[String] {
        &self.0
    }
}

impl Field {
    /// The field at the end of a path of names: one name for a field of the metadata itself.
    pub fn new<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Field {
        Field(path.into_iter().map(Into::into).collect())
    }

    /// The names that lead to it, the outermost first.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The values of the field in metadata.
    pub(crate) fn values(&self, metadata: &serde_json::Value) -> Vec<Value> {
        let found = self.0.iter().try_fold(metadata, |json, name| json.as_object()?.get(name));
        match found {
            Some(serde_json::Value::Array(list)) => list.iter().filter_map(Value::from_json).collect(),
            Some(json) => Value::from_json(json).into_iter().collect(),
            None => Vec::new(),
        }
    }
}

/// All fields of metadata that have a value, with their values.
pub(crate) fn each_field(metadata: &serde_json::Value, see: &mut impl FnMut(&[String], Vec<Value>)) {
    fn go(json: &serde_json::Value, path: &mut Vec<String>, see: &mut impl FnMut(&[String], Vec<Value>)) {
        for (name, value) in json.as_object().into_iter().flatten() {
            path.push(name.clone());
            if value.is_object() {
                go(value, path, see);
            } else {
                // The path leads to this value from here.
                let values = Field::new([name.as_str()]).values(json);
                if !values.is_empty() {
                    see(path, values);
                }
            }
            path.pop();
        }
    }
    go(metadata, &mut Vec::new(), see);
}

/// What a filter compares a field with.
pub(crate) struct Compared {
    pub kinds: Vec<ValueKind>,
    /// Whether it is a part of texts, which numbers do not have however they are written.
    pub is_of_texts: bool,
}

impl Filter {
    /// Whether the filter is true of a document with this metadata, a JSON object that
    /// [`check`](crate::metadata::check) takes; anything else has no field.
    ///
    /// Databases find the same documents faster: see [`Snapshot::matching`](crate::storage::Snapshot::matching).
    pub fn matches(&self, metadata: &str) -> bool {
        self.matches_json(&serde_json::from_str(metadata).unwrap_or_default())
    }

    fn matches_json(&self, metadata: &serde_json::Value) -> bool {
        match self {
            Filter::And(parts) => parts.iter().all(|part| part.matches_json(metadata)),
            Filter::Or(parts) => parts.iter().any(|part| part.matches_json(metadata)),
            Filter::Not(part) => !part.matches_json(metadata),
            Filter::Compare(field, Comparison::NotEqual, with) => !field.values(metadata).contains(with),
            Filter::Compare(field, comparison, with) => {
                let values = field.values(metadata);
                values.iter().any(|value| value.kind() == with.kind() && comparison.holds(value, with))
            }
            Filter::In(field, list) => field.values(metadata).iter().any(|value| list.contains(value)),
            Filter::All(field, list) => {
                let values = field.values(metadata);
                list.iter().all(|value| values.contains(value))
            }
            Filter::Contains(field, part) => field.values(metadata).iter().any(|value| value.contains(part)),
            Filter::StartsWith(field, start) => {
                field.values(metadata).iter().any(|value| value.starts_with(start))
            }
            Filter::Missing(field) => field.values(metadata).is_empty(),
        }
    }

    /// The fields whose values are compared, each with what it is compared with.
    pub(crate) fn comparisons(&self) -> Vec<(&Field, Compared)> {
        let of_values = |kinds: Vec<ValueKind>| Compared { kinds, is_of_texts: false };
        match self {
            Filter::And(parts) | Filter::Or(parts) => parts.iter().flat_map(Filter::comparisons).collect(),
            Filter::Not(part) => part.comparisons(),
            Filter::Compare(field, _, value) => vec![(field, of_values(vec![value.kind()]))],
            Filter::In(field, list) | Filter::All(field, list) => {
                vec![(field, of_values(list.iter().map(Value::kind).collect()))]
            }
            Filter::Contains(field, _) | Filter::StartsWith(field, _) => {
                vec![(field, Compared { kinds: vec![ValueKind::String], is_of_texts: true })]
            }
            // It can be meant that no document has the field.
            Filter::Missing(_) => Vec::new(),
        }
    }

    /// The fields that decide.
    pub(crate) fn fields(&self) -> Vec<&Field> {
        match self {
            Filter::And(parts) | Filter::Or(parts) => parts.iter().flat_map(Filter::fields).collect(),
            Filter::Not(part) => part.fields(),
            Filter::Compare(field, ..)
            | Filter::In(field, _)
            | Filter::All(field, _)
            | Filter::Contains(field, _)
            | Filter::StartsWith(field, _)
            | Filter::Missing(field) => vec![field],
        }
    }
}

impl fmt::Display for Filter {
    /// Writes the language that is parsed, with more parentheses than needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Filter], word: &str, of_none: &str| {
            if parts.is_empty() {
                return f.write_str(of_none);
            }
            for (number, part) in parts.iter().enumerate() {
                write!(f, "{}({part})", if number == 0 { "" } else { word })?;
            }
            Ok(())
        };
        match self {
            // No document has a value that is in an empty list.
            Filter::And(parts) => list(f, parts, " and ", "_ not in []"),
            Filter::Or(parts) => list(f, parts, " or ", "_ in []"),
            Filter::Not(part) => write!(f, "not ({part})"),
            Filter::Compare(field, comparison, value) => {
                let name =
                    Comparison::ALL.iter().find(|(other, _)| other == comparison).map(|(_, name)| *name);
                write!(f, "{field} {} {value}", name.unwrap_or_default())
            }
            Filter::In(field, values) => write!(f, "{field} in [{}]", joined(values)),
            Filter::All(field, values) => write!(f, "{field} all [{}]", joined(values)),
            Filter::Contains(field, part) => write!(f, "{field} contains {}", Value::from(part.as_str())),
            Filter::StartsWith(field, start) => {
                write!(f, "{field} starts with {}", Value::from(start.as_str()))
            }
            Filter::Missing(field) => write!(f, "{field} is missing"),
        }
    }
}

fn joined(values: &[Value]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, name) in self.0.iter().enumerate() {
            let dot = if number == 0 { "" } else { "." };
            match parse::is_plain_name(name) {
                true => write!(f, "{dot}{name}")?,
                false => write!(f, "{dot}`{}`", name.replace('`', "``"))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
