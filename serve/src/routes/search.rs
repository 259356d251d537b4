//! Searches of the database.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::rerank::scores;
use crate::app::App;
use crate::body::{Json, json_of_size};
use crate::collection::{Collection, SearchAnswer, SearchRequest};
use crate::fault::Fault;
use crate::input::check_query;

/// Bytes of a hit as JSON, besides its text and about.
const BYTES_OF_HIT: usize = 1 << 9;

/// Hits of a search that does not say how many, nor how many are ranked anew.
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
    Json(request): Json<SearchRequest>,
) -> Result<Response, Fault> {
    let start = Instant::now();
    let reranked = request.rerank.is_some();
    let found = answer(&app, request).await?;
    let size = found.hits.iter().map(|hit| hit.text.len() + BYTES_OF_HIT).sum();
    let took_ms = start.elapsed().as_secs_f64() * 1000.0;
    json_of_size(Answer { found, reranked, took_ms }, size).await
}

/// The largest ef, the most candidates and the longest snippet where so many hits are allowed: more would take as long
/// as many searches.
pub fn most_besides(hits: usize) -> usize {
    hits.saturating_mul(10)
}

/// Searches, and ranks the hits anew if that is asked for.
pub async fn answer(app: &App, mut request: SearchRequest) -> Result<SearchAnswer, Fault> {
    let database = app.database()?;
    let Some(searching) = &app.searching else { return Err(Fault::internal("no thread searches")) };
    let default = DEFAULT_K.min(app.limits.hits).max(1);
    let k = request.k.unwrap_or_else(|| request.rerank.unwrap_or(default).clamp(1, default));
    check(&request, k, app.limits.hits)?;
    let rerank = request.rerank.take();
    request.k = Some(rerank.unwrap_or(k));
    let query = request.query.clone().unwrap_or_default();
    if rerank.is_some() {
        app.scoring()?;
    }
    if let Some(name) = &request.generation {
        load(app, database, name).await?;
    }
    let room = searching.admit(1)?;
    let mut answers = searching.compute(room, vec![request], app.limits.timeout).await?;
    let Some(mut found) = answers.pop() else { return Err(Fault::internal("the search gave no answer")) };
    if rerank.is_some() && !found.hits.is_empty() {
        let texts: Vec<String> = found.hits.iter().map(|hit| hit.read.clone()).collect();
        for (hit, score) in found.hits.iter_mut().zip(scores(app, &query, "rerank", &texts, None).await?) {
            hit.score = f64::from(score);
        }
        found.hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.doc_id.cmp(&a.doc_id)));
        found.hits.truncate(k);
    }
    Ok(found)
}

/// Waits until a generation is loaded. One is loaded at a time, beside all that goes on.
pub async fn load(app: &App, database: Arc<dyn Collection>, name: &str) -> Result<(), Fault> {
    if database.is_loaded(name) {
        return Ok(());
    }
    let limit = app.limits.timeout;
    let late = |_| Fault::unavailable(format!("generation {name:?} is being loaded: try again later"));
    let turn = tokio::time::timeout(limit, Arc::clone(&app.loading).lock_owned()).await.map_err(late)?;
    if database.is_loaded(name) {
        return Ok(());
    }
    let of = name.to_owned();
    // It goes on if nobody waits any more: the next one who asks finds it.
    let loading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        database.load(&of)
    });
    match tokio::time::timeout(limit, loading).await.map_err(late)? {
        Ok(loaded) => loaded,
        Err(_) => Err(Fault::internal("the server failed to load a generation; its log says more")),
    }
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
        (Some(query), None) => check_query(query)?,
        (None, Some(_)) => {}
    }
    if request.rerank.is_some() && request.query.is_none() {
        return Err(Fault::invalid_field("rerank", "a cross-encoder reads a query, and there is none"));
    }
    if let Some(top) = request.rerank.filter(|top| *top < k) {
        let problem =
            format!("{top} hits are ranked anew, and k asks for {k}: rerank at least {k}, or ask for fewer");
        return Err(Fault::invalid_field("rerank", problem));
    }
    let numbers = [
        ("k", Some(k)),
        ("rerank", request.rerank),
        ("ef", request.ef),
        ("candidates", request.candidates),
        ("snippet", request.snippet),
    ];
    for (field, number) in numbers {
        let most = if field == "k" || field == "rerank" { most } else { most_besides(most) };
        if let Some(number) = number.filter(|number| !(1..=most).contains(number)) {
            return Err(Fault::invalid_field(field, format!("{number} is not in 1 to {most}")));
        }
    }
    Ok(())
}
