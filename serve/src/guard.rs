//! What every request goes through: its id, who may ask, what is counted.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::event::Event;
use crate::fault::Fault;
use crate::request_id::{HEADER, RequestId};

/// The outermost layer.
pub async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = RequestId::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    // Methods are the client's to invent; those that are counted are few.
    let method = match request.method().as_str() {
        method @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS") => method.to_owned(),
        _ => "other".to_owned(),
    };
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(id.clone());
    let mut response = match app.access.check(request.method(), route.as_deref(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    };
    let headers = response.headers_mut();
    headers.extend(id.value().map(|id| (HeaderName::from_static(HEADER), id)));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let status = response.status();
    if status.is_server_error()
        && let Some(fault) = response.extensions().get::<Fault>()
    {
        let what = format!("{method} {path}");
        (app.tell)(Event::Failed { request: id.0, what, fault: fault.clone() });
    }
    app.metrics.request(&method, route.as_deref().unwrap_or("none"), status.as_u16(), start.elapsed());
    response
}
