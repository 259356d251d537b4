//! The protocol over HTTP, as its version 2026-07-28 has it: one request, one answer, no sessions. Clients of older
//! versions work the same way; a stream of the server's own is refused by 405, as they expect.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::Request;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::value::RawValue;

use super::tools::Tools;
use crate::access::check_origin;
use crate::app::App;
use crate::body::Json;
use crate::fault::Fault;

/// Bytes of a message: a query and a filter. It is parsed where sockets are served, into values that take a hundred
/// times the bytes of their text.
const MOST_BYTES: usize = 256 << 10;

/// The methods of the protocol's path.
pub fn methods() -> MethodRouter<Arc<App>> {
    post(answer)
}

/// That the client may speak to a database that is there. It comes before the body, which is not read otherwise.
struct Welcome;

impl FromRequestParts<Arc<App>> for Welcome {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Welcome, Fault> {
        check_origin(&parts.headers)?;
        app.database()?;
        Ok(Welcome)
    }
}

async fn answer(
    State(app): State<Arc<App>>,
    _: Welcome,
    parts: Parts,
    Json(message): Json<Box<RawValue>>,
) -> Response {
    let length = message.get().len();
    if length > MOST_BYTES {
        let problem =
            format!("the message has {length} bytes, {MOST_BYTES} are allowed: ask for less at a time");
        return Fault::too_large(problem).into_response();
    }
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(app.limits.body_bytes)
        // The guard has looked at Host, with the server's own rules, and `Welcome` at Origin.
        .disable_allowed_hosts();
    let tools = Tools::new(app);
    let service = StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    let body = Body::from(String::from(Box::<str>::from(message)));
    service.handle(Request::from_parts(parts, body)).await.map(Body::new)
}
