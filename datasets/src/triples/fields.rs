//! The fields of a JSON object, taken out one by one, each with an error that names it.

use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::record;

/// What is left of an object.
pub(super) struct Fields {
    map: Map<String, Value>,
    /// What stands before the names in errors: where in the line the object is.
    place: String,
    /// Whether the line has NaN or an infinity, which are null here.
    python_numbers: bool,
}

type Result<T> = std::result::Result<T, Fault>;

impl Fields {
    /// The object of a line.
    pub(super) fn parse(line: &str) -> Result<Fields> {
        record::expect_object(line, r#"{"query": "...", "pos": ["..."]}"#)?;
        let (map, oddities) = record::parse_json(line)?;
        Ok(Fields { map, place: String::new(), python_numbers: !oddities.is_empty() })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }

    /// A value; absent and null are the same.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name).filter(|value| !value.is_null() || self.python_numbers)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.take(name).map(|value| self.as_text(name, value)).transpose()
    }

    /// A text that must be there.
    pub(super) fn required_text(&mut self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| self.missing(name, "a string"))
    }

    /// A string, or an integer that stands for its digits.
    pub(super) fn id(&mut self, name: &str) -> Result<Option<String>> {
        self.take(name).map(|value| self.as_id(name, value)).transpose()
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<f32>> {
        self.take(name).map(|value| self.as_number(name, &value)).transpose()
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        self.list(name, "a list of strings", Self::as_text)
    }

    pub(super) fn ids(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        self.list(name, "a list of strings", Self::as_id)
    }

    pub(super) fn numbers(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        self.list(name, "a list of numbers", |fields, name, value| fields.as_number(name, &value))
    }

    pub(super) fn objects(&mut self, name: &str) -> Result<Option<Vec<Fields>>> {
        let python_numbers = self.python_numbers;
        self.list(name, "a list of objects", |fields, name, value| match value {
            Value::Object(map) => Ok(Fields { map, place: format!("{name}."), python_numbers }),
            other => Err(fields.wrong(name, "an object", &other)),
        })
    }

    /// The fields that were not taken, as a JSON object.
    pub(super) fn rest(self) -> Option<String> {
        (!self.map.is_empty()).then(|| Value::Object(self.map).to_string())
    }

    pub(super) fn missing(&self, name: &str, expected: &str) -> Fault {
        Fault::WrongField {
            field: format!("{}{name}", self.place),
            expected: expected.to_owned(),
            got: "nothing".to_owned(),
        }
    }

    fn list<T>(
        &mut self,
        name: &str,
        expected: &str,
        item: impl Fn(&Fields, &str, Value) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => values
                .into_iter()
                .enumerate()
                .map(|(at, value)| item(self, &format!("{name}[{at}]"), value))
                .collect::<Result<_>>()
                .map(Some),
            Some(other) => Err(self.wrong(name, expected, &other)),
        }
    }

    fn as_text(&self, name: &str, value: Value) -> Result<String> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(name, "a string", &other)),
        }
    }

    fn as_id(&self, name: &str, value: Value) -> Result<String> {
        match value {
            Value::String(id) if !id.is_empty() => Ok(id),
            Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
            other => Err(self.wrong(name, "an id: a string that is not empty, or an integer", &other)),
        }
    }

    fn as_number(&self, name: &str, value: &Value) -> Result<f32> {
        // Rounded to f32, a large number can become infinite.
        let number = value.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong(name, "a finite number", value))
    }

    fn wrong(&self, name: &str, expected: &str, got: &Value) -> Fault {
        Fault::WrongField {
            field: format!("{}{name}", self.place),
            expected: expected.to_owned(),
            got: self.described(got),
        }
    }

    fn described(&self, value: &Value) -> String {
        match value {
            Value::Null if self.python_numbers => "null, NaN or Infinity".to_owned(),
            Value::String(text) if text.chars().count() > 40 => {
                format!("{:?}...", text.chars().take(40).collect::<String>())
            }
            Value::Array(values) => format!("a list of {}", values.len()),
            Value::Object(_) => "an object".to_owned(),
            scalar => scalar.to_string(),
        }
    }
}
