//! One record becomes a document: which fields are its id, title and text, and what becomes of the others.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::document::Document;
use crate::fault::Fault;
use crate::record::{Id, Parsed, Text, half_surrogate, parse, without_place};

/// The names of the fields that are a document's id, title and text. Every other field becomes metadata.
///
/// Where no name is given, the usual ones are looked for: `_id`, `id`, `doc_id`, `docid`, `docno`, `pid`; `title`;
/// `text`, `contents`, `content`, `body`, `passage`. The first of them that a record has is taken. A field that is
/// named for one thing is nothing else: with `title` as the text, there is no title.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldNames {
    /// The field of the id.
    pub id: Option<String>,
    /// The field of the title.
    pub title: Option<String>,
    /// The field of the text.
    pub text: Option<String>,
    /// The field with a vector, a list of numbers; none unless given.
    pub vector: Option<String>,
}

const IDS: [&str; 6] = ["_id", "id", "doc_id", "docid", "docno", "pid"];
const TITLES: [&str; 1] = ["title"];
const TEXTS: [&str; 5] = ["text", "contents", "content", "body", "passage"];

/// Where the fields of a table's rows are.
pub(crate) struct Columns {
    pub id: Option<usize>,
    pub title: Option<usize>,
    pub text: Option<usize>,
    pub vector: Option<usize>,
}

impl FieldNames {
    /// The columns of a table with this header; a name that is given must be there.
    pub(crate) fn columns(&self, header: &[String]) -> Result<Columns, Fault> {
        Ok(Columns {
            id: self.find(&self.id, &IDS, header)?,
            title: self.find(&self.title, &TITLES, header)?,
            text: self.find(&self.text, &TEXTS, header)?,
            vector: self.find(&self.vector, &[], header)?,
        })
    }

    /// The place of a field in a header.
    fn find(
        &self,
        given: &Option<String>,
        usual: &[&str],
        header: &[String],
    ) -> Result<Option<usize>, Fault> {
        let place = |name: &str| header.iter().position(|known| known == name);
        match given {
            None => Ok(self.free(usual).find_map(place)),
            Some(name) => match place(name) {
                None => Err(Fault::MissingField { field: name.clone(), found: header.join(", ") }),
                found => Ok(found),
            },
        }
    }

    /// The usual names without those that are given for anything: the field `title` that is named as the text is no
    /// title.
    fn free<'n>(&self, usual: &[&'n str]) -> impl Iterator<Item = &'n str> {
        usual.iter().copied().filter(|name| !self.has(name))
    }

    /// Whether a field is named to be the id, the title, the text or the vector.
    fn has(&self, name: &str) -> bool {
        let given = [&self.id, &self.title, &self.text, &self.vector];
        given.into_iter().flatten().any(|given| given == name)
    }

    /// Takes the field that is named out of a record's, or else the first of the usual ones.
    fn take(
        &self,
        others: &mut Vec<(String, Box<RawValue>)>,
        given: &Option<String>,
        usual: &[&str],
    ) -> Result<Option<(String, Box<RawValue>)>, String> {
        let place = |name: &str| others.iter().position(|(known, _)| known == name);
        let found = match given {
            Some(name) => Some(place(name).ok_or_else(|| name.clone())?),
            None => self.free(usual).find_map(place),
        };
        Ok(found.map(|place| others.remove(place)))
    }
}

/// A record of a file: a document that may lack an id.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Entry {
    pub id: Option<String>,
    pub title: String,
    pub text: String,
    pub metadata: Option<String>,
    pub vector: Option<Vec<f32>>,
    /// The names of the fields, for messages; filled in where the id is missing.
    pub found: String,
}

impl Entry {
    pub fn document(self, id: String) -> Document {
        Document { id, title: self.title, text: self.text, metadata: self.metadata }
    }
}

/// A JSON object with the fields of BEIR told apart, so that errors in them name their column.
///
/// A title or a text that is null is there without a value, as in tables.
#[derive(Default)]
struct Line {
    id: Option<Id>,
    title: Option<Option<String>>,
    text: Option<Option<String>>,
    metadata: Option<Box<RawValue>>,
    others: Vec<(String, Box<RawValue>)>,
}

/// A string field or null, in a seed that knows its name.
struct TextSeed(&'static str);

impl<'de> serde::de::DeserializeSeed<'de> for TextSeed {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string for `{}`", self.0)
    }

    fn visit_none<E>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(Text { field: self.0, nullable: false }).map(Some)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
        struct LineVisitor;
        impl<'de> Visitor<'de> for LineVisitor {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut line = Line::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "_id" => line.id = Some(map.next_value()?),
                        "title" => line.title = Some(map.next_value_seed(TextSeed("title"))?),
                        "text" => line.text = Some(map.next_value_seed(TextSeed("text"))?),
                        "metadata" => line.metadata = map.next_value()?,
                        _ => line.others.push((name, map.next_value()?)),
                    }
                }
                Ok(line)
            }
        }
        deserializer.deserialize_map(LineVisitor)
    }
}

/// The fields of a JSON object, as they are written.
struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// Reads `{"_id": ..., "title": ..., "text": ..., "metadata": {...}}`: a missing or null title and a null text are
/// empty, other fields become metadata. A line without any text is a fault: its text may have another name.
pub(crate) fn parse_document(line: &str) -> Result<Parsed<Document>, Fault> {
    let Parsed { record, oddities } = parse_entry(line, &FieldNames::default())?;
    match record.id.clone() {
        Some(id) => Ok(Parsed { record: record.document(id), oddities }),
        None => Err(Fault::MissingField { field: "_id".to_owned(), found: record.found }),
    }
}

/// Reads a line of JSON.
pub(crate) fn parse_entry(text: &str, names: &FieldNames) -> Result<Parsed<Entry>, Fault> {
    let (mut line, mut oddities) = parse::<Line>(text)?;
    // The parser took other fields as they are; who reads them later could not.
    let is_raw = line.metadata.is_some() || !line.others.is_empty();
    if let Some(fault) = (is_raw && text.contains("\\u")).then(|| half_surrogate(text)).flatten() {
        return Err(fault);
    }
    let found = || {
        let own =
            [("_id", line.id.is_some()), ("title", line.title.is_some()), ("text", line.text.is_some())];
        let own = own.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name);
        own.chain(line.others.iter().map(|(name, _)| name.as_str())).collect::<Vec<_>>().join(", ")
    };
    let fields = found();
    let missing = |field: String| Fault::MissingField { field, found: fields.clone() };

    // A field of BEIR's that another one is named for, or that is named for something else, is a field like any other.
    let displaced = |given: &Option<String>, own: &str| {
        given.as_deref() != Some(own) && (given.is_some() || names.has(own))
    };
    if displaced(&names.id, "_id")
        && let Some(id) = line.id.take()
    {
        line.others.push(("_id".to_owned(), raw(Some(&id.into_text(&mut oddities)?))));
    }
    if displaced(&names.title, "title")
        && let Some(title) = line.title.take()
    {
        line.others.push(("title".to_owned(), raw(title.as_deref())));
    }
    if displaced(&names.text, "text")
        && let Some(text) = line.text.take()
    {
        line.others.push(("text".to_owned(), raw(text.as_deref())));
    }

    let id = match line.id {
        Some(id) => Some(id.into_text(&mut oddities)?),
        None => match names.take(&mut line.others, &names.id, &IDS).map_err(missing)? {
            Some((name, value)) => {
                Some(decode::<Id>(&name, &value, "a string or an integer")?.into_text(&mut Vec::new())?)
            }
            None => None,
        },
    };
    let mut string = |own: Option<Option<String>>, given: &Option<String>, usual: &[&str]| match own {
        Some(Some(own)) => Ok(Some(own)),
        // Where BEIR's own field is null, another one may have the text.
        own => match names.take(&mut line.others, given, usual).map_err(missing)? {
            Some((name, value)) => {
                Ok(Some(decode::<Option<String>>(&name, &value, "a string")?.unwrap_or_default()))
            }
            None => Ok(own.map(Option::unwrap_or_default)),
        },
    };
    let title = string(line.title, &names.title, &TITLES)?.unwrap_or_default();
    let Some(text) = string(line.text, &names.text, &TEXTS)? else { return Err(missing("text".to_owned())) };
    let vector = match names.take(&mut line.others, &names.vector, &[]).map_err(missing)? {
        Some((name, value)) => Some(parse_vector(&name, value.get())?),
        None => None,
    };
    let metadata = metadata(line.metadata, line.others)?;
    let found = if id.is_none() { fields } else { String::new() };
    Ok(Parsed { record: Entry { id, title, text, metadata, vector, found }, oddities })
}

/// Reads a list of numbers, the value of this field.
pub(crate) fn parse_vector(field: &str, list: &str) -> Result<Vec<f32>, Fault> {
    let bad = |problem: String| Fault::BadVector { field: field.to_owned(), problem };
    let vector: Vec<f32> = serde_json::from_str(list).map_err(|error| bad(without_place(&error)))?;
    match vector.iter().position(|number| !number.is_finite()) {
        Some(place) => Err(bad(format!("component {place} is beyond what an f32 can be"))),
        None => Ok(vector),
    }
}

fn raw(text: Option<&str>) -> Box<RawValue> {
    serde_json::value::to_raw_value(&text).expect("a string is JSON")
}

fn decode<T: for<'de> Deserialize<'de>>(name: &str, value: &RawValue, expected: &str) -> Result<T, Fault> {
    serde_json::from_str(value.get()).map_err(|_| {
        let got: String = value.get().chars().take(40).collect();
        Fault::WrongField { field: name.to_owned(), expected: expected.to_owned(), got }
    })
}

/// The object `metadata` with the other fields behind its own. A field that is in both is there once. With two values
/// it is a fault, because one of them would be lost.
fn metadata(
    own: Option<Box<RawValue>>,
    others: Vec<(String, Box<RawValue>)>,
) -> Result<Option<String>, Fault> {
    let own = own.filter(|raw| raw.get() != "null");
    if own.as_ref().is_some_and(|raw| !raw.get().starts_with('{')) {
        return Err(Fault::BadJson { column: 1, message: "`metadata` must be an object".to_owned() });
    }
    if others.is_empty() {
        return Ok(own.map(|raw| String::from(Box::<str>::from(raw))));
    }
    let mut fields = match own {
        Some(own) => decode::<Object>("metadata", &own, "an object")?.0,
        None => Vec::new(),
    };
    for (name, value) in others {
        match fields.iter().find(|(known, _)| *known == name) {
            None => fields.push((name, value)),
            Some((_, own)) if own.get() == value.get() => {}
            Some((_, own)) => {
                let (own, other) = (own.get().into(), value.get().into());
                return Err(Fault::TwoValues { field: name, own, other });
            }
        }
    }
    Ok(Some(object(&fields)))
}

/// A JSON object of these fields.
fn object(fields: &[(String, Box<RawValue>)]) -> String {
    let mut text = String::from("{");
    for (number, (name, value)) in fields.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        text.push_str(&format!("{comma}{}:{}", serde_json::Value::from(name.as_str()), value.get()));
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str, names: &FieldNames) -> Result<Entry, String> {
        parse_entry(line, names).map(|parsed| parsed.record).map_err(|fault| fault.to_string())
    }

    #[test]
    fn fields_find_their_places() {
        let usual = FieldNames::default();
        let entry = parsed(r#"{"id": 7, "contents": "x", "year": 2020, "title": null}"#, &usual).unwrap();
        assert_eq!((entry.id.as_deref(), &*entry.title, &*entry.text), (Some("7"), "", "x"));
        assert_eq!(entry.metadata.as_deref(), Some(r#"{"year":2020}"#));

        // BEIR's names go before others, which stay as metadata.
        let entry = parsed(
            r#"{"_id": "a", "id": "b", "text": "x", "body": "y", "year": 2, "metadata": {"year": 2}}"#,
            &usual,
        );
        let entry = entry.unwrap();
        assert_eq!((entry.id.as_deref(), &*entry.text), (Some("a"), "x"));
        assert_eq!(entry.metadata.as_deref(), Some(r#"{"year":2,"id":"b","body":"y"}"#));

        // Null is no text, and no fault.
        let nulls = r#"{"_id": "a", "title": null, "text": null, "metadata": null}"#;
        let entry = parsed(nulls, &usual).unwrap();
        assert_eq!((&*entry.title, &*entry.text, entry.metadata), ("", "", None));
        let entry = parsed(r#"{"_id": "a", "text": null, "body": "y"}"#, &usual).unwrap();
        assert_eq!((&*entry.text, entry.metadata), ("y", None));
        assert_eq!(parsed(r#"{"_id": "a", "body": null}"#, &usual).unwrap().text, "");
        let names = FieldNames { text: Some("body".to_owned()), ..usual.clone() };
        let entry = parsed(r#"{"_id": "a", "text": null, "body": null}"#, &names).unwrap();
        assert_eq!((&*entry.text, entry.metadata.as_deref()), ("", Some(r#"{"text":null}"#)));

        let names = FieldNames {
            id: Some("key".to_owned()),
            text: Some("abstract".to_owned()),
            vector: Some("v".to_owned()),
            ..usual.clone()
        };
        let entry = parsed(r#"{"_id": 3, "key": "k", "text": "t", "abstract": "x", "v": [1, -0.5]}"#, &names);
        let entry = entry.unwrap();
        assert_eq!((entry.id.as_deref(), &*entry.text), (Some("k"), "x"));
        assert_eq!(entry.metadata.as_deref(), Some(r#"{"_id":"3","text":"t"}"#));
        assert_eq!(entry.vector, Some(vec![1.0, -0.5]));
    }

    /// A usual field that is named for something else is that, and nothing besides.
    #[test]
    fn a_usual_field_may_be_named_for_another() {
        let line = r#"{"title": "Bees", "text": "Bees dance.", "id": "a", "year": 2020}"#;
        let names = FieldNames { text: Some("title".to_owned()), ..FieldNames::default() };
        let entry = parsed(line, &names).unwrap();
        assert_eq!((entry.id.as_deref(), &*entry.title, &*entry.text), (Some("a"), "", "Bees"));
        assert_eq!(entry.metadata.as_deref(), Some(r#"{"year":2020,"text":"Bees dance."}"#));

        let names = FieldNames { title: Some("text".to_owned()), text: Some("title".to_owned()), ..names };
        let entry = parsed(line, &names).unwrap();
        assert_eq!((&*entry.title, &*entry.text), ("Bees dance.", "Bees"));

        let names = FieldNames { id: None, title: Some("id".to_owned()), ..FieldNames::default() };
        let entry = parsed(line, &names).unwrap();
        assert_eq!((entry.id, &*entry.title, &*entry.text), (None, "a", "Bees dance."));

        let header = ["title", "text", "id"].map(str::to_owned);
        let names = FieldNames { text: Some("title".to_owned()), ..FieldNames::default() };
        let columns = names.columns(&header).unwrap();
        assert_eq!((columns.id, columns.title, columns.text), (Some(2), None, Some(0)));
    }

    #[test]
    fn faults_name_the_fields() {
        let usual = FieldNames::default();
        let entry = parsed(r#"{"text": "x", "name": "n"}"#, &usual).unwrap();
        assert_eq!((entry.id, &*entry.found), (None, "text, name"));
        let missing = parsed(r#"{"id": "a", "heading": "x"}"#, &usual).unwrap_err();
        assert_eq!(missing, "no field `text`: the fields are id, heading");
        let names = FieldNames { vector: Some("v".to_owned()), ..usual.clone() };
        let bad = parsed(r#"{"id": "a", "text": "x", "v": [1, "2"]}"#, &names).unwrap_err();
        assert!(bad.starts_with("`v` is no vector: invalid type: string \"2\""), "{bad}");
        let bad = parsed(r#"{"id": "a", "text": "x", "v": [1, 1e39]}"#, &names).unwrap_err();
        assert!(bad.starts_with("`v` is no vector: component 1 is beyond what an f32 can be"), "{bad}");
        let twice =
            parsed(r#"{"id": "a", "text": "x", "year": 1, "metadata": {"year": 2}}"#, &usual).unwrap_err();
        assert_eq!(twice, "the field `year` is 2 in `metadata` and 1 beside it: leave one of them out");
        let number = parsed(r#"{"id": "a", "contents": 7}"#, &usual).unwrap_err();
        assert_eq!(number, "`contents`: expected a string, got 7");
    }
}
