//! The tool `fetch`.

use serde::Deserialize;
use serde_json::Value;

use super::arguments::{number, read};
use super::shown;
use crate::app::App;
use crate::fault::Fault;
use crate::routes::with_database;

/// Characters of a text that are sent at a time, if the call does not say: about a third of what models read at most.
const LENGTH: usize = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    id: String,
    start: Option<usize>,
    length: Option<usize>,
}

/// A document by its id, or a part of its text.
pub async fn call(app: &App, arguments: Value) -> Result<Value, Fault> {
    let Arguments { id, start, length } = read(arguments)?;
    let start = start.unwrap_or_default();
    let length = number("length", length, LENGTH, usize::MAX)?;
    let ids = vec![id.clone()];
    let document = with_database(app, move |database| database.documents(&ids)).await?.pop();
    let Some(document) = document.filter(|document| !document.is_null()) else {
        let problem = format!("no document has the id {id:?}: take ids that `search` or `list` gave");
        return Err(Fault::not_found(problem));
    };
    let (mut shown, text) = shown::with_text(document);
    let count = text.chars().count();
    if start > count {
        return Err(Fault::invalid_field(
            "start",
            format!("{start} is beyond the {count} characters of the text"),
        ));
    }
    let next = start.saturating_add(length);
    shown.insert("text".to_owned(), shown::part(&text, start, length).into());
    shown.insert("characters".to_owned(), count.into());
    if next < count {
        shown.insert("next_start".to_owned(), next.into());
    }
    Ok(Value::Object(shown))
}
