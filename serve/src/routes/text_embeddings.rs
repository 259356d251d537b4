//! Embeddings as text-embeddings-inference (TEI) and Hugging Face's inference clients know them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::app::App;
use crate::body::{Json, json_of_size};
use crate::budget::Share;
use crate::fault::Fault;
use crate::input::{self, How, Input};
use crate::model::Kind;

/// What is asked for. Other fields are let pass.
#[derive(Deserialize)]
pub struct Request {
    inputs: Input,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Direction,
    prompt_name: Option<String>,
    normalize: Option<bool>,
    dimensions: Option<usize>,
}

/// Which end of a text is cut.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    #[default]
    #[serde(alias = "Right")]
    Right,
    #[serde(alias = "Left")]
    Left,
}

impl Direction {
    /// Refuses what the tokenizers here do not do.
    pub fn check(self) -> Result<(), Fault> {
        match self {
            Direction::Right => Ok(()),
            Direction::Left => Err(Fault::invalid_field(
                "truncation_direction",
                "texts are cut at their end: leave it out, or say \"right\"",
            )),
        }
    }
}

/// `POST /embed`, and `POST /`.
pub async fn embed(
    State(app): State<Arc<App>>,
    share: Share,
    Json(request): Json<Request>,
) -> Result<Response, Fault> {
    request.truncation_direction.check()?;
    let kind = match request.prompt_name.as_deref() {
        None | Some("passage" | "document") => Kind::Passage,
        Some("query") => Kind::Query,
        Some(other) => {
            let problem =
                format!("there is no prompt {other:?}; there are \"query\", \"passage\" and \"document\"");
            return Err(Fault::invalid_field("prompt_name", problem));
        }
    };
    let how = How {
        kind,
        truncate: request.truncate.unwrap_or(true),
        dimensions: request.dimensions,
        normalize: request.normalize,
    };
    let embedded = input::embed(&app, "inputs", request.inputs, how, share).await?;
    let size = embedded.size();
    json_of_size(embedded.vectors, size).await
}
