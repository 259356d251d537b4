//! Bodies: JSON of at most so many bytes that arrive in time, and for which there is room.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::apart::apart;
use crate::app::App;
use crate::budget::{Budget, LARGE, Share};
use crate::fault::Fault;

/// Bytes of a body that is refused which are read and let go, so that a client that sends on sees why.
const DRAINED: usize = 64 << 20;

/// The room that is taken for a body at first. It doubles as the body arrives: what is announced may never come.
const FIRST: usize = 16 << 10;

/// A request's body, of JSON. Its bytes are counted until the request is answered.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Json<T>, Fault> {
        check_type(request.headers())?;
        let share = share_of(request.extensions(), app);
        let limits = &app.limits;
        let Ok(bytes) = tokio::time::timeout(limits.timeout, read(request, app, &share)).await else {
            return Err(Fault::too_slow(format!(
                "the body did not arrive within {} s",
                limits.timeout.as_secs_f64()
            )));
        };
        let bytes = bytes?;
        if bytes.len() <= LARGE {
            // It takes a fraction of a millisecond. What is large is parsed, and written, on threads that may wait.
            return parsed(&bytes).map(Json);
        }
        let turn = turn(app).await?;
        // The share and the turn go along: they are taken until it is parsed, even if the client goes away.
        apart(move || {
            let _held = (share, turn);
            parsed(&bytes).map(Json)
        })
        .await?
    }
}

/// The right to parse or to tokenize what is large.
pub async fn turn(app: &App) -> Result<OwnedSemaphorePermit, Fault> {
    let turn = Arc::clone(&app.large).acquire_owned().await;
    turn.map_err(|_| Fault::unavailable("the server is ending"))
}

/// The share that the guard has given to the request.
fn share_of(extensions: &Extensions, app: &App) -> Share {
    extensions.get::<Share>().cloned().unwrap_or_else(|| app.budget.share())
}

impl FromRequestParts<Arc<App>> for Share {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Share, Fault> {
        Ok(share_of(&parts.extensions, app))
    }
}

/// A page of another site can make a browser send text or a form, but JSON only after it has asked.
fn check_type(headers: &HeaderMap) -> Result<(), Fault> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Fault::media_type(format!(
            "the body must be application/json, and Content-Type is {sent:?}"
        )));
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(Fault::media_type(
            format!("the body must be sent as it is, and Content-Encoding is {encoding:?}: leave it out"),
        )),
        _ => Ok(()),
    }
}

async fn read(request: Request, app: &App, share: &Share) -> Result<Vec<u8>, Fault> {
    let most = app.limits.body_bytes;
    let too_large = || Fault::too_large(format!("the body has more than {most} bytes: send it in parts"));
    let headers = request.headers();
    let asks_first = headers.contains_key(header::EXPECT);
    let told =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut refused = match told {
        Some(told) if told > most => Some(too_large()),
        Some(told) => app.budget.check(told).err(),
        None => None,
    };
    if let Some(fault) = refused.take_if(|_| asks_first) {
        // It sends nothing until it is told to.
        return Err(fault);
    }
    let mut body = request.into_body();
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = next_frame(&mut body).await {
        let Ok(data) = frame.map_err(|_| Fault::invalid("the connection ended before the body did"))? else {
            continue;
        };
        length = length.saturating_add(data.len());
        if refused.is_none() {
            refused = match length <= most {
                true => make_room(&mut bytes, length, told.unwrap_or(most), share).err(),
                false => Some(too_large()),
            };
        }
        match &refused {
            None => bytes.extend_from_slice(&data),
            Some(_) if length > most.saturating_add(DRAINED) => break,
            Some(_) => {
                bytes = Vec::new();
                share.release();
            }
        }
    }
    refused.map_or(Ok(bytes), Err)
}

/// The data of the next frame; of trailers, which say nothing here, no data.
async fn next_frame(body: &mut Body) -> Option<Result<Result<Bytes, ()>, axum::Error>> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    Some(frame.map(|frame| frame.into_data().map_err(drop)))
}

/// Makes room for so many bytes in all, of at most `most`, and takes them from the budget before.
fn make_room(bytes: &mut Vec<u8>, length: usize, most: usize, share: &Share) -> Result<(), Fault> {
    if length <= bytes.capacity() {
        return Ok(());
    }
    let room = (2 * bytes.capacity()).max(FIRST).min(most).max(length);
    share.grow(room)?;
    bytes.reserve_exact(room - bytes.len());
    Ok(())
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        // Serde would take the values of a list for the fields, in their order.
        return Err(Fault::invalid(
            "the body is not the JSON that is expected: it is a list, expected an object",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let text = match std::str::from_utf8(bytes) {
            Err(error) => format!("byte {} is no UTF-8", error.valid_up_to() + 1),
            Ok(_) if bytes.is_empty() => "it is empty".to_owned(),
            Ok(_) => error.to_string(),
        };
        Fault::invalid(format!("the body is not the JSON that is expected: {text}"))
    })
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

/// An answer of JSON that has about so many bytes.
pub async fn json_of_size(value: impl Serialize + Send + 'static, size: usize) -> Result<Response, Fault> {
    match size <= LARGE {
        true => Ok(json(&value)),
        false => apart(move || json(&value)).await,
    }
}

/// Bytes that are counted until they are sent.
struct Counted {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The same answer, of which the bytes are counted, if they are many, until the client has read them.
pub async fn counted(response: Response, budget: &Arc<Budget>) -> Response {
    let size = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let Some(size) = size.filter(|size| *size > LARGE) else { return response };
    let share = budget.share();
    if let Err(fault) = share.grow(size) {
        return fault.into_response();
    }
    let (parts, mut body) = response.into_parts();
    let mut all = Bytes::new();
    // It is there: its size is known.
    while let Some(Ok(frame)) = next_frame(&mut body).await {
        match frame {
            Ok(data) if all.is_empty() => all = data,
            Ok(data) => all = [all, data].concat().into(),
            Err(()) => {}
        }
    }
    let body = Body::from(Bytes::from_owner(Counted { bytes: all, _share: share }));
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use serde::de::{Error, IgnoredAny};
    use serde::{Deserialize, Deserializer};

    use super::*;
    use crate::access::Access;
    use crate::app::Served;
    use crate::limits::Limits;
    use crate::metrics::Metrics;

    static GATE: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

    /// Takes as long to be parsed as the gate is closed.
    struct Gated;

    impl<'de> Deserialize<'de> for Gated {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Gated, D::Error> {
            IgnoredAny::deserialize(deserializer)?;
            let opened = GATE.lock().unwrap().take().unwrap().recv_timeout(Duration::from_secs(10));
            opened.map(|()| Gated).map_err(|_| D::Error::custom("nothing else could go on"))
        }
    }

    #[test]
    fn large_bodies_are_parsed_beside_what_goes_on() {
        let app = App::start(Served::default(), Access::default(), Limits::default(), Arc::new(|_| {}));
        let app = Arc::new(app.unwrap());
        let (sender, receiver) = mpsc::channel();
        *GATE.lock().unwrap() = Some(receiver);
        let request = Request::builder().header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(format!("{:?}", "a".repeat(LARGE)))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let parsing =
                tokio::spawn(async move { Json::<Gated>::from_request(request, &app).await.map(drop) });
            // Only if the one thread of this runtime does not parse.
            tokio::time::sleep(Duration::from_millis(50)).await;
            sender.send(()).unwrap();
            parsing.await.unwrap().unwrap();
        });
    }

    #[test]
    fn bodies_are_objects_that_are_sent_as_they_are() {
        let headers = |encoding: Option<&'static str>| {
            let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let encoding = encoding.map(|name| (header::CONTENT_ENCODING, HeaderValue::from_static(name)));
            [Some(json), encoding].into_iter().flatten().collect::<HeaderMap>()
        };
        for encoding in [None, Some("identity"), Some("Identity")] {
            check_type(&headers(encoding)).unwrap();
        }
        for encoding in ["gzip", "br", "gzip, identity", ""] {
            let refused = check_type(&headers(Some(encoding))).unwrap_err();
            assert!(
                refused.message().contains(&format!("Content-Encoding is {encoding:?}")),
                "{}",
                refused.message()
            );
        }

        #[derive(Deserialize)]
        struct Two {
            first: u8,
            second: u8,
        }
        let two: Two = parsed(br#" {"second": 2, "first": 1}"#).unwrap();
        assert_eq!((two.first, two.second), (1, 2));
        let refused = parsed::<Two>(b" [1, 2]").err().unwrap();
        assert!(refused.message().ends_with("it is a list, expected an object"), "{}", refused.message());
    }

    #[test]
    fn room_grows_with_what_arrives_and_no_further_than_the_body() {
        let budget = Budget::new(100_000, Arc::new(Metrics::new()));
        let share = budget.share();
        let mut bytes = Vec::new();
        make_room(&mut bytes, 10, 1_000_000, &share).unwrap();
        assert_eq!(bytes.capacity(), FIRST);
        bytes.resize(FIRST, 0);
        make_room(&mut bytes, FIRST + 1, FIRST + 5, &share).unwrap();
        assert_eq!(bytes.capacity(), FIRST + 5);
        let full = make_room(&mut bytes, 100_001, 1_000_000, &share).unwrap_err();
        assert!(full.message().contains("may take 100000 bytes"), "{}", full.message());
        assert_eq!(bytes.capacity(), FIRST + 5);
    }
}
