//! What may stand in a file that is read. Every key is read, or known to change no vector, or refused by name.
//!
//! A setting that is passed over in silence would give other vectors than the files ask for.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The keys of one kind of file.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    /// Those that are read.
    pub(crate) read: &'static [&'static str],
    /// Those that change no vector whatever they are, by the reason.
    pub(crate) harmless: &'static [(&'static str, &'static [&'static str])],
    /// Those that change no vector if they have one of these values, written as JSON with commas between, and what they
    /// do otherwise.
    pub(crate) only: &'static [(&'static str, &'static str, &'static str)],
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Read,
    Harmless(&'static str),
    Only(&'static str, &'static str),
}

impl Keys {
    /// What these keys say of one.
    pub(crate) fn find(&self, key: &str) -> Option<Known> {
        if self.read.contains(&key) {
            return Some(Known::Read);
        }
        if let Some((why, _)) = self.harmless.iter().find(|(_, keys)| keys.contains(&key)) {
            return Some(Known::Harmless(why));
        }
        let (_, values, why) = self.only.iter().find(|(name, ..)| *name == key)?;
        Some(Known::Only(values, why))
    }
}

/// Where a setting comes from that no file has.
pub(crate) const DEFAULT_OF_TRANSFORMERS: &str = "default of transformers";

/// Refuses the first setting of `object`, which stands at `place` in the file `path`, that could change a vector and is
/// not read. `null` says nothing in these files.
pub(crate) fn check(path: &Path, place: &str, object: &Map<String, Value>, tables: &[&Keys]) -> Result<()> {
    for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        let why = match tables.iter().find_map(|keys| keys.find(key)) {
            Some(Known::Read | Known::Harmless(_)) => continue,
            Some(Known::Only(values, _)) if is_among(value, values) => continue,
            Some(Known::Only(values, why)) => format!("{why}; what is read here is {values}"),
            None => "no such setting is known here, and it may change vectors".to_owned(),
        };
        return Err(Error::UnheededSetting {
            path: path.to_owned(),
            key: if place.is_empty() { key.clone() } else { format!("{place}.{key}") },
            value: shortened(value),
            why,
        });
    }
    Ok(())
}

fn is_among(value: &Value, values: &str) -> bool {
    let values: Vec<Value> =
        serde_json::from_str(&format!("[{values}]")).expect("the values of a table are JSON");
    values.iter().any(|other| match (value.as_f64(), other.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => value == other,
    })
}

/// A value for a message.
fn shortened(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}

/// Takes the settings that are to be ignored out of a file: a key of its object, or `outer.inner`.
pub(crate) fn forget(value: &mut Value, ignored: &[String]) {
    for name in ignored {
        let (outer, key) = match name.rsplit_once('.') {
            // A key may have a dot of its own.
            Some((outer, key)) if value.get(name).is_none() => (outer, key),
            _ => ("", name.as_str()),
        };
        let object = outer
            .split('.')
            .filter(|part| !part.is_empty())
            .try_fold(&mut *value, |at, part| at.get_mut(part));
        if let Some(object) = object.and_then(Value::as_object_mut) {
            object.shift_remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEYS: Keys = Keys {
        read: &["hidden_size"],
        harmless: &[("of training", &["dropout"])],
        only: &[("pruned_heads", "{}", "heads were taken out")],
    };

    #[test]
    fn what_is_not_heeded_is_refused_by_name() {
        let refused = |object: Value| {
            let object = object.as_object().unwrap().clone();
            check("config.json".as_ref(), "", &object, &[&KEYS]).err().map(|error| error.to_string())
        };
        assert_eq!(
            refused(json!({"hidden_size": 3, "dropout": 0.1, "pruned_heads": {}, "alibi": null})),
            None
        );
        let message = refused(json!({"alibi": {"slope": 2}})).unwrap();
        for part in ["config.json", "alibi", r#"{"slope":2}"#, "--ignore-setting alibi"] {
            assert!(message.contains(part), "{message}");
        }
        let message = refused(json!({"pruned_heads": {"1": [0]}})).unwrap();
        assert!(message.contains("heads were taken out") && message.contains("{}"), "{message}");
    }

    #[test]
    fn settings_are_forgotten() {
        let mut value = json!({"a": 1, "b": {"c": 2, "d": 3}, "e.f": 4});
        forget(&mut value, &["a".to_owned(), "b.c".to_owned(), "e.f".to_owned(), "x.y".to_owned()]);
        assert_eq!(value, json!({"b": {"d": 3}}));
    }
}
