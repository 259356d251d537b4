//! What metadata can be: a JSON object that whoever reads it can hold.
//!
//! JSON has numbers of any size and lists of any depth, and the values that it is read into do not. What comes in is
//! read here as it will be read later, so that nothing is stored that nobody can read.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};

pub use crate::metadata_fault::MetadataFault;

/// Refuses metadata that is not a JSON object, or that [`read`] could not read. It costs what reading costs, but for
/// the values, which are not made.
///
/// ```
/// use secateur_index::metadata::check;
///
/// assert!(check(r#"{"year": 2015}"#).is_ok());
/// let fault = check(r#"{"year": 2015, "weight": 1e400}"#).unwrap_err();
/// assert_eq!(
///     fault.to_string(),
///     "the field \"weight\" of the metadata cannot be read back (number out of range): change it, or write the value \
///      as a string"
/// );
/// ```
///
/// # Errors
/// [`MetadataFault::NoObject`], [`MetadataFault::Unreadable`].
pub fn check(metadata: &str) -> Result<(), MetadataFault> {
    let got = match (serde_json::from_str::<Readable>(metadata), metadata.trim_start().chars().next()) {
        (Ok(Readable), Some('{')) => return Ok(()),
        (Err(error), Some('{')) if serde_json::from_str::<serde::de::IgnoredAny>(metadata).is_ok() => {
            let (field, problem) = match unreadable_field(metadata) {
                Some((field, problem)) => (Some(field), problem),
                None => (None, without_place(&error)),
            };
            return Err(MetadataFault::Unreadable { field, problem });
        }
        (Err(_), _) => "no JSON",
        (Ok(_), Some('[')) => "a list",
        (Ok(_), Some('"')) => "a string",
        (Ok(_), _) => "null, a boolean or a number",
    };
    Err(MetadataFault::NoObject { got })
}

/// What the stored metadata of a document says; null if it has none.
///
/// # Errors
/// [`Error::InvalidMetadata`] with [`MetadataFault::Stored`]: an earlier version stored what cannot be read.
pub fn read(id: &str, metadata: Option<&str>) -> Result<Value> {
    let Some(metadata) = metadata else { return Ok(Value::Null) };
    serde_json::from_str(metadata).map_err(|error| stored(id, &error))
}

/// Whether [`read`] could read the stored metadata of a document.
///
/// # Errors
/// As [`read`].
pub fn check_stored(id: &str, metadata: Option<&str>) -> Result<()> {
    let Some(metadata) = metadata else { return Ok(()) };
    serde_json::from_str::<Readable>(metadata).map(drop).map_err(|error| stored(id, &error))
}

fn stored(id: &str, error: &serde_json::Error) -> Error {
    Error::InvalidMetadata { id: id.into(), fault: MetadataFault::Stored { problem: without_place(error) } }
}

/// The first field of an object, by name, that cannot be read, and why.
fn unreadable_field(object: &str) -> Option<(String, String)> {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(object).ok()?;
    fields.into_iter().find_map(|(name, value)| {
        // As deep as it is in the object.
        let error = serde_json::from_str::<Readable>(&format!("[{}]", value.get())).err()?;
        Some((name, without_place(&error)))
    })
}

/// A parser's message without its place, which is one in the metadata and not in a file.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&place).unwrap_or(&message).to_owned()
}

/// Anything that a [`Value`] can hold, which is read as that is and not kept.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Readable, D::Error> {
        deserializer.deserialize_any(ReadableVisitor)
    }
}

struct ReadableVisitor;

impl<'de> Visitor<'de> for ReadableVisitor {
    type Value = Readable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_str<E>(self, _: &str) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_unit<E>(self) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Readable, A::Error> {
        while list.next_element::<Readable>()?.is_some() {}
        Ok(Readable)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Readable, A::Error> {
        while object.next_entry::<Name, Readable>()?.is_some() {}
        Ok(Readable)
    }
}

/// The name of a field.
struct Name;

/// An object whose first name is one of these is read as what its value spells.
const OWN_NAMES: &str = "$serde_json::private::";

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
                match name.starts_with(OWN_NAMES) {
                    true => Err(E::custom(format!("{name:?} is a name of the JSON library's own"))),
                    false => Ok(Name),
                }
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secateur_files::ErrorKind;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
    }

    /// What JSON allows and a value cannot hold is refused by its field; what it just can hold is not.
    #[test]
    fn unreadable_metadata_is_refused() {
        let long = |digits: usize| format!("{{\"a\":1{}}}", "0".repeat(digits));
        for good in ["{}", " {\"a\":1e308}", &long(300), &nested(127), r#"{"a":"\ud83d\ude00"}"#] {
            assert_eq!(check(good), Ok(()), "{good}");
            assert!(read("h", Some(good)).unwrap().is_object());
            check_stored("h", Some(good)).unwrap();
        }
        for (bad, problem) in [
            (r#"{"year":2020,"a":1e400}"#, "number out of range"),
            (&long(400), "number out of range"),
            (r#"{"b":1,"a":{"c":[-1e999]}}"#, "number out of range"),
            (&nested(128), "recursion limit exceeded"),
            (
                r#"{"a":{"$serde_json::private::RawValue":"7"}}"#,
                "\"$serde_json::private::RawValue\" is a name of the JSON library's own",
            ),
        ] {
            let fault = MetadataFault::Unreadable { field: Some("a".into()), problem: problem.into() };
            assert_eq!(check(bad), Err(fault.clone()), "{bad}");
            assert_eq!(fault.kind(), ErrorKind::Input);
            let Err(Error::InvalidMetadata { id, fault }) = check_stored("h", Some(bad)) else {
                panic!("{bad}");
            };
            assert_eq!((&*id, fault), ("h", MetadataFault::Stored { problem: problem.into() }));
        }
        // A name that is no string has no name to be told by.
        for (bad, is_named) in [(r#"{"a":"\ud800"}"#, true), (r#"{"\ud800":1}"#, false)] {
            let Err(MetadataFault::Unreadable { field, .. }) = check(bad) else { panic!("{bad}") };
            assert_eq!(field.is_some(), is_named, "{bad}");
        }
        let error = read("h", Some(r#"{"a":1e400}"#)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Database);
        assert!(error.to_string().starts_with("document \"h\": the metadata in the database"), "{error}");
        assert_eq!(read("h", None).unwrap(), Value::Null);
        check_stored("h", None).unwrap();
    }

    proptest! {
        /// What comes in is checked as it is read.
        #[test]
        fn what_is_taken_is_read(
            text in r#"\{("[ab]":([0-9]{1,3}|-?[1-9]e[0-9]{1,3}|"(\\u[cdef][0-9a-f]{3}|x)*"|\[|\]|\{|\}|null|true|,){0,4}){0,3}\}"#,
        ) {
            prop_assert_eq!(check(&text).is_ok(), serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        }
    }
}
