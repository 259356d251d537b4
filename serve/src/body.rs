//! Bodies: JSON of at most so many bytes that arrive in time.

use std::future::poll_fn;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::fault::Fault;

/// Bytes beyond the limit that are read and let go, so that a client that sends on sees why it is refused.
const DRAINED: usize = 64 << 20;

/// A request's body, of JSON.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Json<T>, Fault> {
        check_type(request.headers())?;
        let limits = &app.limits;
        let read = read(request.into_body(), limits.body_bytes);
        let Ok(bytes) = tokio::time::timeout(limits.timeout, read).await else {
            return Err(Fault::too_slow(format!(
                "the body did not arrive within {} s",
                limits.timeout.as_secs_f64()
            )));
        };
        let bytes = bytes?;
        serde_json::from_slice(&bytes).map(Json).map_err(|error| {
            let text = match std::str::from_utf8(&bytes) {
                Err(error) => format!("byte {} is no UTF-8", error.valid_up_to() + 1),
                Ok(_) if bytes.is_empty() => "it is empty".to_owned(),
                Ok(_) => error.to_string(),
            };
            Fault::invalid(format!("the body is not the JSON that is expected: {text}"))
        })
    }
}

/// A page of another site can make a browser send text or a form, but JSON only after it has asked.
fn check_type(headers: &HeaderMap) -> Result<(), Fault> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Fault::media_type(format!("the body must be application/json, and Content-Type is {sent:?}")))
}

async fn read(body: Body, most: usize) -> Result<Vec<u8>, Fault> {
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = frame.map_err(|_| Fault::invalid("the connection ended before the body did"))?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        match length {
            length if length <= most => bytes.extend_from_slice(&data),
            length if length <= most.saturating_add(DRAINED) => bytes.clear(),
            _ => break,
        }
    }
    match length <= most {
        true => Ok(bytes),
        false => Err(Fault::too_large(format!("the body has more than {most} bytes: send it in parts"))),
    }
}

/// An answer of JSON.
pub fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => Fault::internal(format!("the answer is no JSON: {error}")).into_response(),
    }
}
