//! What the server tells of itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json as value};

use crate::app::App;
use crate::body::json;

/// `GET /health`: that it answers at all is the answer.
pub async fn health() -> Response {
    json(&value!({ "status": "ok" }))
}

/// `GET /metrics`.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.text()).into_response()
}

/// `GET /info`: the fields of text-embeddings-inference, and what is served besides.
pub async fn info(State(app): State<Arc<App>>) -> Response {
    let embedder = app.embedder().ok();
    let facts = embedder.as_ref().map(|embedder| embedder.facts());
    let reranker = app.served.reranker.as_ref();
    let model_type = match (facts, reranker) {
        (Some(facts), _) => value!({ "embedding": { "pooling": facts.pooling } }),
        (None, Some(_)) => {
            value!({ "reranker": { "id2label": { "0": "LABEL_0" }, "label2id": { "LABEL_0": 0 } } })
        }
        (None, None) => Value::Null,
    };
    let limits = &app.limits;
    json(&value!({
        "model_id": facts.map(|facts| facts.name.as_str()).or(reranker.map(|reranker| reranker.name())),
        "model_sha": facts.map(|facts| &facts.fingerprint),
        "model_dtype": facts.map(|facts| &facts.precision),
        "model_type": model_type,
        "max_input_length": facts.map(|facts| facts.max_tokens).or(reranker.map(|reranker| reranker.max_tokens())),
        "max_batch_tokens": limits.batch_tokens,
        "max_client_batch_size": limits.items,
        "max_concurrent_requests": limits.connections,
        "auto_truncate": true,
        "version": env!("CARGO_PKG_VERSION"),
        "dimension": facts.map(|facts| facts.dim),
        "reranker": reranker.map(|reranker| reranker.name()),
        "database": app.served.database.is_some(),
        "writable": app.served.database.is_some() && app.access.writable,
    }))
}

/// `GET /v1/models`.
pub async fn models(State(app): State<Arc<App>>) -> Response {
    let encoder = app.embedder().ok().map(|embedder| embedder.facts().name.clone());
    let reranker = app.served.reranker.as_ref().map(|reranker| reranker.name().to_owned());
    let model = |id: String| value!({ "id": id, "object": "model", "created": 0, "owned_by": "secateur" });
    let models: Vec<Value> = encoder.into_iter().chain(reranker).map(model).collect();
    json(&value!({ "object": "list", "data": models }))
}
