//! Searches of the database.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::rerank::scores;
use crate::app::App;
use crate::body::{Json, json};
use crate::collection::{SearchAnswer, SearchRequest};
use crate::fault::Fault;

/// Hits of a search that does not say how many.
const DEFAULT_K: usize = 10;

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    found: SearchAnswer,
    /// Whether a cross-encoder ranked the hits, whose score is its logit then.
    reranked: bool,
    took_ms: f64,
}

/// `POST /search`.
pub async fn search(
    State(app): State<Arc<App>>,
    Json(mut request): Json<SearchRequest>,
) -> Result<Response, Fault> {
    let start = Instant::now();
    app.database()?;
    let Some(searching) = &app.searching else { return Err(Fault::internal("no thread searches")) };
    let k = request.k.unwrap_or(DEFAULT_K);
    check(&request, k, app.limits.hits)?;
    let rerank = request.rerank.take();
    request.k = Some(rerank.map_or(k, |top| top.max(k)));
    let query = request.query.clone().unwrap_or_default();
    if rerank.is_some() {
        app.scoring()?;
    }
    let room = searching.admit(1)?;
    let mut answers = searching.compute(room, vec![request], app.limits.timeout).await?;
    let Some(mut found) = answers.pop() else { return Err(Fault::internal("the search gave no answer")) };
    if let Some(top) = rerank
        && !found.hits.is_empty()
    {
        found.hits.truncate(top);
        let texts: Vec<String> = found.hits.iter().map(|hit| hit.read.clone()).collect();
        for (hit, score) in found.hits.iter_mut().zip(scores(&app, &query, "rerank", &texts).await?) {
            hit.score = f64::from(score);
        }
        found.hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.doc_id.cmp(&a.doc_id)));
        found.hits.truncate(k);
    }
    let took_ms = start.elapsed().as_secs_f64() * 1000.0;
    Ok(json(&Answer { found, reranked: rerank.is_some(), took_ms }))
}

fn check(request: &SearchRequest, k: usize, most: usize) -> Result<(), Fault> {
    let is_blank = |query: &String| query.trim().is_empty();
    match (&request.query, &request.vector) {
        (None, None) => return Err(Fault::invalid_field("query", "say what to look for, or send a vector")),
        (Some(_), Some(_)) => {
            return Err(Fault::invalid_field("vector", "send a query or a vector, not both"));
        }
        (Some(query), None) if is_blank(query) => {
            return Err(Fault::invalid_field("query", "it is empty: say what to look for"));
        }
        _ => {}
    }
    if request.rerank.is_some() && request.query.is_none() {
        return Err(Fault::invalid_field("rerank", "a cross-encoder reads a query, and there is none"));
    }
    let numbers = [
        ("k", Some(k)),
        ("rerank", request.rerank),
        ("ef", request.ef),
        ("candidates", request.candidates),
        ("snippet", request.snippet),
    ];
    for (field, number) in numbers {
        // An ef or a snippet of so many would take as long as many searches.
        let most = if field == "k" || field == "rerank" { most } else { most.saturating_mul(10) };
        if let Some(number) = number.filter(|number| !(1..=most).contains(number)) {
            return Err(Fault::invalid_field(field, format!("{number} is not in 1 to {most}")));
        }
    }
    Ok(())
}
