//! What every request goes through: its id, who may ask, what is counted.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, select};

use crate::app::App;
use crate::body::counted;
use crate::event::Event;
use crate::fault::Fault;
use crate::peer::Peer;
use crate::request_id::{HEADER, RequestId};

/// Said in the metrics of requests whose client is gone, as other servers do: 499.
const CLIENT_GONE: u16 = 499;

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
    let share = app.budget.share();
    request.extensions_mut().insert(share.clone());
    let mut response = match app.access.check(request.method(), route.as_deref(), request.headers()) {
        Ok(()) => answered(request, next).await,
        Err(fault) => fault.into_response(),
    };
    drop(share);
    response = counted(response, &app.budget).await;
    if let Some(said) = response.extensions().get::<Fault>().map(|fault| fault.answer(&id.0)) {
        *response.body_mut() = said;
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
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

/// The answer, if the client waits for it. What it asked for is dropped otherwise, and not computed if it only waits.
async fn answered(request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().cloned() else { return next.run(request).await };
    let version = request.version();
    match select(pin!(next.run(request)), pin!(peer.gone(version))).await {
        Either::Left((response, _)) => response,
        Either::Right(_) => {
            let mut response = Response::default();
            // It is a number that a status may have.
            *response.status_mut() = StatusCode::from_u16(CLIENT_GONE).unwrap_or_default();
            response
        }
    }
}
