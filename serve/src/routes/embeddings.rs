//! OpenAI's embeddings.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::body::{Json, json_of_size};
use crate::budget::Share;
use crate::fault::Fault;
use crate::input::{How, Input, embed};
use crate::model::Kind;

/// What is asked for. Other fields are let pass: clients send some that say nothing here.
#[derive(Deserialize)]
pub struct Request {
    input: Input,
    #[serde(default)]
    encoding_format: Format,
    dimensions: Option<usize>,
    #[serde(default)]
    input_type: InputType,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Float,
    Base64,
}

/// What the texts are: NVIDIA's field, and Cohere's names.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum InputType {
    #[serde(alias = "search_query")]
    Query,
    #[default]
    #[serde(alias = "document", alias = "search_document")]
    Passage,
}

#[derive(Serialize)]
struct Answer {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    embedding: Numbers,
    index: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// `POST /v1/embeddings`.
pub async fn embeddings(
    State(app): State<Arc<App>>,
    share: Share,
    Json(request): Json<Request>,
) -> Result<Response, Fault> {
    let kind = match request.input_type {
        InputType::Query => Kind::Query,
        InputType::Passage => Kind::Passage,
    };
    let how = How { kind, truncate: true, dimensions: request.dimensions, normalize: None };
    let embedded = embed(&app, "input", request.input, how, share).await?;
    let size = embedded.size();
    let numbers = move |vector: Vec<f32>| match request.encoding_format {
        Format::Float => Numbers::Float(vector),
        Format::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            Numbers::Base64(STANDARD.encode(bytes))
        }
    };
    let tokens = embedded.tokens;
    let data = embedded.vectors.into_iter().enumerate().map(|(index, vector)| Embedding {
        object: "embedding",
        embedding: numbers(vector),
        index,
    });
    let answer = Answer {
        object: "list",
        data: data.collect(),
        model: embedded.model,
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
    };
    json_of_size(answer, size).await
}
