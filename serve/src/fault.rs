//! Why a request is not answered as it wished: a status and a message, as OpenAI's interface has them.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request is not answered as it wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The field of the request that is wrong.
    param: Option<String>,
}

/// Seconds after which a client that was refused for want of room may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Fault {
        Fault { status, code, message: message.into(), param: None }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "invalid_value", message)
    }

    /// This field of the request is wrong.
    pub fn invalid_field(field: impl Into<String>, problem: impl AsRef<str>) -> Fault {
        let field = field.into();
        Fault { param: Some(field.clone()), ..Fault::invalid(format!("{field}: {}", problem.as_ref())) }
    }

    /// What was asked for is not there.
    pub fn not_found(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The request contradicts what is there.
    pub fn conflict(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// The database is in another state than the one that was asked about.
    pub fn moved(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::CONFLICT, secateur_wire::MOVED, message)
    }

    /// The server does not do this.
    pub fn forbidden(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// It is not the client's fault.
    pub fn internal(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// The server cannot do it now.
    pub fn unavailable(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(crate) fn overloaded(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message)
    }

    pub(crate) fn too_slow(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn media_type(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub(crate) fn method(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// What is wrong, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What a client is told of a request with this id. Of what is not its fault it has the id, by which the log says
    /// more: messages of the system name files.
    pub(crate) fn told(&self, request: &str) -> String {
        match self.status {
            StatusCode::INTERNAL_SERVER_ERROR => {
                format!("the server failed at request {request}; its log says why")
            }
            _ => self.message.clone(),
        }
    }

    /// The answer to a request with this id.
    pub(crate) fn answer(&self, request: &str) -> Body {
        let error = json!({
            "message": self.told(request),
            "type": self.kind(),
            "param": self.param,
            "code": self.code,
        });
        Body::from(json!({ "error": error }).to_string())
    }

    /// Whether those who run the server should hear of it.
    pub(crate) fn is_of_server(&self) -> bool {
        self.status.is_server_error()
    }

    /// OpenAI's name for errors with this status.
    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        // The guard, which knows the request's id, writes what it says.
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // What is left of the body is not read.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        // For the guard, and for the log of those who run the server.
        response.extensions_mut().insert(self);
        response
    }
}
