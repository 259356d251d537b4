//! The tool `list`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{number, read};
use super::shown;
use crate::app::App;
use crate::fault::Fault;
use crate::routes::with_database;

/// Documents of a part of the list, if the call does not say.
const LIMIT: usize = 20;

/// Characters of each text: a line.
const LENGTH: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    filter: Option<String>,
    start: Option<usize>,
    limit: Option<usize>,
}

/// A part of the list of documents, each with the beginning of its text.
pub async fn call(app: &App, arguments: Value) -> Result<Value, Fault> {
    let Arguments { filter, start, limit } = read(arguments)?;
    let start = start.unwrap_or_default();
    let limit = number("limit", limit, LIMIT, app.limits.hits)?;
    let listed = with_database(app, move |database| database.list(filter.as_deref(), start, limit)).await?;
    let next = start.saturating_add(listed.documents.len());
    let documents: Vec<Value> = listed
        .documents
        .into_iter()
        .map(|document| {
            let (mut shown, text) = shown::with_text(document);
            shown.insert("text".to_owned(), shown::part(&text, 0, LENGTH).into());
            Value::Object(shown)
        })
        .collect();
    let mut answer = json!({ "documents": documents, "total": listed.total, "commit": listed.commit });
    if next < listed.total {
        answer["next_start"] = next.into();
    }
    Ok(answer)
}
