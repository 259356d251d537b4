//! Reranking, as Cohere's interface and as text-embeddings-inference (TEI) have it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::text_embeddings::Direction;
use crate::app::{App, Pair};
use crate::body::{Json, json};
use crate::budget::Share;
use crate::fault::Fault;
use crate::input::{check_count, check_query, check_texts};
use crate::input_json::Document;
use crate::request_id::RequestId;

/// Cohere's request. Other fields are let pass.
#[derive(Deserialize)]
pub struct Documents {
    query: String,
    documents: Vec<Document>,
    top_n: Option<usize>,
    #[serde(default)]
    return_documents: bool,
}

/// TEI's request, or Cohere's: they share a path. Other fields are let pass.
#[derive(Deserialize)]
pub struct Either {
    query: String,
    /// Cohere's.
    documents: Option<Vec<Document>>,
    top_n: Option<usize>,
    #[serde(default)]
    return_documents: bool,
    /// TEI's.
    texts: Option<Vec<String>>,
    #[serde(default)]
    truncation_direction: Direction,
    #[serde(default)]
    raw_scores: bool,
    #[serde(default)]
    return_text: bool,
}

#[derive(Serialize)]
struct Ranked {
    id: String,
    model: String,
    results: Vec<RankedText>,
}

#[derive(Serialize)]
struct RankedText {
    index: usize,
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Returned>,
}

#[derive(Serialize)]
struct Returned {
    text: String,
}

#[derive(Serialize)]
struct Scored {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    score: f32,
}

/// `POST /rerank`.
pub async fn either(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    share: Share,
    Json(request): Json<Either>,
) -> Result<Response, Fault> {
    let Either { query, documents, top_n, return_documents, .. } = request;
    if let Some(documents) = documents {
        return ranked(&app, id, share, Documents { query, documents, top_n, return_documents }).await;
    }
    let Some(texts) = request.texts else {
        return Err(Fault::invalid("send the list `documents` or the list of strings `texts`, to be ranked"));
    };
    request.truncation_direction.check()?;
    let scores = scores(&app, &query, "texts", &texts, Some(share)).await?;
    let scored = best_first(&scores).into_iter().map(|index| Scored {
        index,
        text: request.return_text.then(|| texts[index].clone()),
        score: if request.raw_scores { scores[index] } else { sigmoid(scores[index]) },
    });
    Ok(json(&scored.collect::<Vec<_>>()))
}

/// `POST /v1/rerank`.
pub async fn documents(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    share: Share,
    Json(request): Json<Documents>,
) -> Result<Response, Fault> {
    ranked(&app, id, share, request).await
}

async fn ranked(app: &App, id: RequestId, share: Share, request: Documents) -> Result<Response, Fault> {
    if request.top_n == Some(0) {
        return Err(Fault::invalid_field("top_n", "it must be 1 or more"));
    }
    let texts: Vec<String> = request.documents.into_iter().map(|Document(text)| text).collect();
    let scores = scores(app, &request.query, "documents", &texts, Some(share)).await?;
    let most = request.top_n.unwrap_or(usize::MAX);
    let results = best_first(&scores).into_iter().take(most).map(|index| RankedText {
        index,
        relevance_score: sigmoid(scores[index]),
        document: request.return_documents.then(|| Returned { text: texts[index].clone() }),
    });
    let model = app.scoring()?.0.name().to_owned();
    Ok(json(&Ranked { id: id.0, model, results: results.collect() }))
}

/// The logits of texts for a query. Of texts that came in the share of the budget is kept as long.
pub async fn scores(
    app: &App,
    query: &str,
    field: &'static str,
    texts: &[String],
    share: Option<Share>,
) -> Result<Vec<f32>, Fault> {
    let (_, scoring) = app.scoring()?;
    if texts.is_empty() {
        return Err(Fault::invalid_field(field, "it is empty: send at least one text"));
    }
    check_count(field, texts.len(), app.limits.items)?;
    // Those of the database are what they are.
    if share.is_some() {
        check_texts(field, texts)?;
        check_query(query)?;
    }
    let mut room = scoring.admit(texts.len())?;
    if let Some(share) = share {
        room = room.with(share);
    }
    let query: Arc<str> = query.into();
    let pair = |passage: &String| Pair { query: Arc::clone(&query), passage: passage.clone() };
    scoring.compute(room, texts.iter().map(pair).collect(), app.limits.timeout).await
}

/// The places of scores, the highest first; of equal ones in their order.
fn best_first(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order
}

fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_is_first() {
        assert_eq!(best_first(&[0.5, 2.0, -1.0, 2.0]), [1, 3, 0, 2]);
        assert_eq!(sigmoid(0.0), 0.5);
        assert!(sigmoid(-200.0) >= 0.0 && sigmoid(200.0) <= 1.0);
    }
}
