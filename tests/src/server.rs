//! A small HTTP/1.1 web server for tests. It serves files from memory on a free port of this machine, and misbehaves
//! on request. It answers one request a connection and knows ranges, entity tags, redirects and bearer tokens.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the server has under one path.
#[derive(Debug, Clone, Default)]
pub struct Resource {
    body: Vec<u8>,
    etag: Option<String>,
    status: Option<u16>,
    location: Option<String>,
    ignores_ranges: bool,
    /// How many bytes of the body to send before the connection breaks, for each of the next requests.
    breaks: Vec<usize>,
}

impl Resource {
    /// A file with this content and no entity tag.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Resource { body: body.into(), ..Resource::default() }
    }

    /// Sends `ETag: "tag"`; ranges are then only answered if `If-Range` is absent or the same.
    pub fn etag(mut self, tag: &str) -> Self {
        self.etag = Some(format!("\"{tag}\""));
        self
    }

    /// Answers with this status instead of 200.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Answers 302 with this address.
    pub fn redirect(location: impl Into<String>) -> Self {
        Resource { status: Some(302), location: Some(location.into()), ..Resource::default() }
    }

    /// Answers range requests with the whole file, as servers without range support do.
    pub fn ignores_ranges(mut self) -> Self {
        self.ignores_ranges = true;
        self
    }

    /// Breaks the connection of the next request after `bytes` of its body; call it again for the request after that.
    pub fn breaks_after(mut self, bytes: usize) -> Self {
        self.breaks.push(bytes);
        self
    }
}

/// A request the server got and what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The path with its query, as requested.
    pub path: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `If-Range` header.
    pub if_range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// How many bytes of the body were sent.
    pub sent: usize,
}

#[derive(Default)]
struct State {
    resources: HashMap<String, Resource>,
    token: Option<String>,
    requests: Vec<Request>,
}

/// The server; it stops when dropped.
///
/// ```
/// use std::io::{Read, Write};
/// use secateur_testkit::server::{Resource, TestServer};
///
/// let server = TestServer::start();
/// server.put("/greeting", Resource::new("hello").etag("v1"));
///
/// let mut connection = std::net::TcpStream::connect(server.address()).unwrap();
/// connection.write_all(b"GET /greeting HTTP/1.1\r\nRange: bytes=1-\r\n\r\n").unwrap();
/// let mut answer = String::new();
/// connection.read_to_string(&mut answer).unwrap();
/// assert!(answer.starts_with("HTTP/1.1 206 ") && answer.ends_with("\r\n\r\nello"));
/// assert_eq!(server.requests()[0].sent, 4);
/// ```
pub struct TestServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl TestServer {
    /// Starts a server without any file.
    ///
    /// # Panics
    /// If no port of the loopback interface can be had.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on the loopback interface");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let acceptor = std::thread::spawn({
            let (state, stopping) = (Arc::clone(&state), Arc::clone(&stopping));
            move || {
                for connection in listener.incoming() {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(connection) = connection else { continue };
                    let state = Arc::clone(&state);
                    // A client that goes away in the middle of an answer is part of many tests.
                    std::thread::spawn(move || drop(answer(connection, &state)));
                }
            }
        });
        TestServer { address, state, stopping, acceptor: Some(acceptor) }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Puts a file under a path; a path with a query is found only by the same query.
    pub fn put(&self, path: &str, resource: Resource) {
        self.state().resources.insert(path.to_owned(), resource);
    }

    /// Answers 401 to every request without `Authorization: Bearer token`.
    pub fn require_token(&self, token: &str) {
        self.state().token = Some(format!("Bearer {token}"));
    }

    /// All requests so far, in the order of their answers.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.state().requests.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which is waiting for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

/// A test that panicked while it held the lock must not hide its message behind a second panic.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn answer(mut connection: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (path, headers) = read_request(&connection)?;
    let header = |name: &str| headers.get(name).cloned();
    let range = header("range");
    let if_range = header("if-range");
    let authorization = header("authorization");

    let (status, resource, broken_after, granted) = {
        let mut state = lock(state);
        let permitted = state.token.is_none() || state.token == authorization;
        let plain = path.split('?').next().unwrap_or_default().to_owned();
        let key = if state.resources.contains_key(&path) { path.clone() } else { plain };
        match state.resources.get_mut(&key) {
            _ if !permitted => (401, Resource::default(), None, None),
            None => (404, Resource::default(), None, None),
            Some(resource) => {
                let broken_after =
                    if resource.breaks.is_empty() { None } else { Some(resource.breaks.remove(0)) };
                let matches = if_range.is_none() || if_range == resource.etag;
                let from = if matches && !resource.ignores_ranges {
                    range.as_deref().and_then(first_byte)
                } else {
                    None
                };
                let status = match (resource.status, from) {
                    (Some(status), _) => status,
                    (None, Some(from)) if from >= resource.body.len() => 416,
                    (None, Some(_)) => 206,
                    (None, None) => 200,
                };
                (status, resource.clone(), broken_after, from.filter(|_| status == 206))
            }
        }
    };

    let body = match status {
        200 | 206 => &resource.body[granted.unwrap_or(0)..],
        _ => &b"no"[..],
    };
    let mut head =
        format!("HTTP/1.1 {status} Test\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    if let Some(etag) = &resource.etag {
        head += &format!("ETag: {etag}\r\n");
    }
    if let Some(location) = &resource.location {
        head += &format!("Location: {location}\r\n");
    }
    if let Some(from) = granted {
        let length = resource.body.len();
        head += &format!("Content-Range: bytes {from}-{}/{length}\r\n", length - 1);
    }
    if status == 416 {
        head += &format!("Content-Range: bytes */{}\r\n", resource.body.len());
    }
    head += "\r\n";
    let sent = broken_after.unwrap_or(body.len()).min(body.len());
    // Recorded first, so that a client which has the whole answer finds its request in the list.
    lock(state).requests.push(Request { path, range, if_range, authorization, status, sent });
    connection.write_all(head.as_bytes())?;
    connection.write_all(&body[..sent])?;
    connection.flush()
}

/// The path and the headers, names in lower case.
fn read_request(connection: &TcpStream) -> std::io::Result<(String, HashMap<String, String>)> {
    let mut lines = BufReader::new(connection).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    Ok((path, headers))
}

/// The first byte of `bytes=N-`, the only form of range the server knows.
fn first_byte(range: &str) -> Option<usize> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}
