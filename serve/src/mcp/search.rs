//! The tool `search`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::read;
use super::shown;
use crate::app::App;
use crate::collection::{FoundHit, SearchRequest};
use crate::fault::Fault;
use crate::routes::{answer, most_besides};

/// Characters of a hit's text, if the call does not say: about a paragraph, of which an agent can judge.
const SNIPPET: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    query: String,
    k: Option<usize>,
    mode: Option<String>,
    filter: Option<String>,
    snippet: Option<usize>,
    rerank: Option<usize>,
}

/// Searches, and shows of each hit the part that is nearest to the query.
pub async fn call(app: &App, arguments: Value) -> Result<Value, Fault> {
    let Arguments { query, k, mode, filter, snippet, rerank } = read(arguments)?;
    let snippet = Some(snippet.unwrap_or_else(|| SNIPPET.min(most_besides(app.limits.hits))));
    let request =
        SearchRequest { query: Some(query), k, mode, filter, snippet, rerank, ..SearchRequest::default() };
    let found = answer(app, request).await?;
    let results: Vec<Value> = found.hits.into_iter().map(result).collect();
    Ok(
        json!({ "results": results, "mode": found.mode, "reranked": rerank.is_some(), "commit": found.commit }),
    )
}

fn result(hit: FoundHit) -> Value {
    let mut result = shown::document(&hit.doc_id, &hit.title, hit.metadata);
    let text: String = hit.snippet.into_iter().map(|span| span.text).collect();
    result.insert("text".to_owned(), text.into());
    result.insert("score".to_owned(), hit.score.into());
    Value::Object(result)
}
