//! Sets whose shards are servers of this process, good ones and bad ones.

mod bad_servers;
mod loads;
mod same_answers;
#[path = "../../../tests/support/shards.rs"]
mod sets;
mod states;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use secateur::database::{EncoderSource, VectorOptions};
use secateur::encode::{DEFAULT_ENCODER, default_encoder};
use secateur::shards::Shard;
use secateur::shards::remote::{Client, Origin, RemoteSet, RemoteShard, Replicas, Topology};
use secateur::{Database, Encoder, LoadOptions, SearchMode, SearchParams};
use secateur_serve::{Access, Event, Limits, Stop};

use crate::cli::encoder::EncoderArguments;
use crate::cli::failure::{self, Failure};

/// A server on threads of the test, which ends with this value.
struct Server {
    url: String,
    stop: Stop,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    /// Serves the database in this folder.
    fn of(path: &Path) -> Server {
        Server::with(path, Access::default(), Limits::default())
    }

    fn with(path: &Path, access: Access, limits: Limits) -> Server {
        let served = crate::cli::serve::served(Some(path), None, &EncoderArguments::default()).unwrap();
        let stop = Stop::new();
        let (sender, receiver) = mpsc::channel();
        let of = stop.clone();
        let tell = move |event: Event| {
            if let Event::Listening(address) = event {
                let _ = sender.send(address);
            }
        };
        let at: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let limits =
            Limits { refresh: Duration::from_millis(10), grace: Duration::from_millis(10), ..limits };
        let thread =
            std::thread::spawn(move || secateur_serve::run(at, served, access, limits, &of, Arc::new(tell)));
        let url = format!("http://{}", receiver.recv().unwrap());
        Server { url, stop, thread: Some(thread) }
    }

    /// Waits until the server is at the commit that lies on disk.
    fn caught_up(&self, path: &Path) {
        let expected = Database::open(path).unwrap().commit_number();
        let start = Instant::now();
        loop {
            let client = Arc::new(Client::new(&topology(&[vec![self.url.clone()]])));
            let shard = RemoteShard::new(Replicas::new(client, vec![self.url.clone()]), None);
            if shard.facts().is_ok_and(|facts| facts.record.commit == expected) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{} does not see commit {expected}", self.url);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The servers of these shards, asked patiently: a busy machine is no reason to ask twice.
fn topology(shards: &[Vec<String>]) -> Topology {
    Topology {
        path: PathBuf::from("servers.json"),
        shards: shards.to_vec(),
        manifest: None,
        api_key: None,
        timeout: Duration::from_secs(60),
        hedge_after: Duration::from_secs(30),
    }
}

fn urls(servers: &[Server]) -> Vec<Vec<String>> {
    servers.iter().map(|server| vec![server.url.clone()]).collect()
}

/// A set of servers without an encoder, or with one.
fn open(topology: Topology, encoder: Option<&Arc<Encoder>>, partial: bool) -> failure::Result<RemoteSet> {
    open_in(topology, None, encoder, partial)
}

fn open_in(
    topology: Topology,
    generation: Option<&str>,
    encoder: Option<&Arc<Encoder>>,
    partial: bool,
) -> failure::Result<RemoteSet> {
    let client = Client::new(&topology);
    let origin = Origin::servers(topology, client, generation, partial);
    RemoteSet::of(origin, |_| Ok::<_, Failure>(encoder.cloned()))
}

/// A search by words.
fn words() -> SearchParams {
    SearchParams::new(SearchMode::Bm25)
}

fn encoder() -> Arc<Encoder> {
    Arc::new(default_encoder(&LoadOptions::default()).unwrap())
}

/// Vectors of the encoder in the box, which a server loads again.
fn options() -> VectorOptions {
    let source = EncoderSource { model: DEFAULT_ENCODER.to_owned(), options: LoadOptions::default() };
    VectorOptions { source: Some(source), ..VectorOptions::default() }
}

/// What came to a server that is none.
struct Asked {
    /// Counted from 0.
    number: usize,
    route: String,
    body: Vec<u8>,
}

/// A server that does with each connection what it is told to. It ends with the process.
fn fake(answer: impl Fn(Asked, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            std::thread::spawn(move || {
                let Some((route, body)) = request(&stream) else { return };
                let number = count.fetch_add(1, Ordering::SeqCst);
                answer(Asked { number, route, body }, &mut stream);
            });
        }
    });
    url
}

/// The route and the body of a request.
fn request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let route = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim().to_ascii_lowercase() {
            end if end.is_empty() => break,
            field => {
                if let Some(value) = field.strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((route, body))
}

/// Writes an answer and closes the connection.
fn say(stream: &mut TcpStream, status: u16, body: &[u8]) {
    let head =
        format!("HTTP/1.1 {status} Test\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// A server that hands on what comes to another one, and changes what comes back from some routes.
fn between(
    url: &str,
    change: impl Fn(&str, serde_json::Value) -> serde_json::Value + Send + Sync + 'static,
) -> String {
    let url = url.to_owned();
    fake(move |Asked { route, body, .. }, stream| {
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
        let agent: ureq::Agent = config.into();
        let request = agent.post(format!("{url}{route}")).header("content-type", "application/json");
        let mut answer = request.send(&body[..]).unwrap();
        let said = answer.body_mut().read_to_vec().unwrap();
        let changed = change(&route, serde_json::from_slice(&said).unwrap());
        say(stream, answer.status().as_u16(), changed.to_string().as_bytes());
    })
}
