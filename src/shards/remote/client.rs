//! Asking the servers of one shard: the first that answers is heard.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use secateur_wire::MOVED;
use serde_json::Value;
use ureq::Agent;
use ureq::http::header;

use super::carrier::Carrier;
use super::fault::Fault;
use super::topology::Topology;
use crate::number::three_digits;

/// Bytes of an answer. Those to searches and about statistics are some megabytes at most.
const MOST_BYTES: u64 = 64 << 20;

/// Bytes of what a server says is wrong.
const MOST_OF_FAULT: u64 = 64 << 10;

/// How servers are asked.
pub struct Client {
    agent: Agent,
    api_key: Option<String>,
    timeout: Duration,
    hedge_after: Duration,
    most_bytes: u64,
}

impl Client {
    /// One that asks as a file says.
    pub fn new(topology: &Topology) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Keys and questions are for the servers that are named, and for nobody in between.
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("secateur/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .build();
        Client {
            agent: config.into(),
            api_key: topology.api_key.clone(),
            timeout: topology.timeout,
            hedge_after: topology.hedge_after,
            most_bytes: MOST_BYTES,
        }
    }

    /// The same with another bound on an answer than 64 MiB, in bytes.
    pub fn with_most_bytes(self, most_bytes: u64) -> Client {
        Client { most_bytes, ..self }
    }

    /// One question to one server.
    fn ask(&self, url: &str, route: &str, body: &[u8], deadline: Instant) -> Result<Vec<u8>, Fault> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        // A host that is off takes no connection and says nothing: time is left to ask another one.
        let config = self.agent.post(format!("{url}{route}")).config();
        let config = config.timeout_global(Some(left)).timeout_connect(Some(left / 4));
        let mut request = config.build();
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.api_key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let broken = |problem: String| match deadline <= Instant::now() {
            true => self.slow(url),
            false => Fault::Broken { url: url.to_owned(), problem },
        };
        let mut response = request.send(body).map_err(|error| match error {
            ureq::Error::Timeout(ureq::Timeout::Connect) => {
                let seconds = three_digits((left / 4).as_secs_f64());
                broken(format!("there was no connection within {seconds} s"))
            }
            ureq::Error::Timeout(_) => self.slow(url),
            error => broken(error.to_string()),
        })?;
        let status = response.status().as_u16();
        let most = if status == 200 { self.most_bytes } else { MOST_OF_FAULT };
        let mut bytes = Vec::new();
        let read = response.body_mut().as_reader().take(most + 1).read_to_end(&mut bytes);
        if status == 200 {
            read.map_err(|error: io::Error| broken(format!("its answer broke off: {error}")))?;
            return match bytes.len() as u64 > most {
                true => Err(Fault::Long { url: url.to_owned(), most }),
                false => Ok(bytes),
            };
        }
        Err(fault_of(url, status, &bytes))
    }

    fn slow(&self, url: &str) -> Fault {
        Fault::Slow { url: url.to_owned(), seconds: three_digits(self.timeout.as_secs_f64()) }
    }
}

/// What a status other than success means.
fn fault_of(url: &str, status: u16, body: &[u8]) -> Fault {
    let url = url.to_owned();
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = said["error"]["message"].as_str().map_or_else(
        || "it does not say why; is it a server of secateur that has a database?".to_owned(),
        str::to_owned,
    );
    match status {
        409 if said["error"]["code"] == MOVED => Fault::Moved { url, message },
        400 | 401 | 403 | 413 => Fault::Refused { url, status, message },
        status => Fault::Failed { url, status, message },
    }
}

/// The servers of one shard.
pub struct Replicas {
    client: Arc<Client>,
    urls: Vec<String>,
    /// The one that is asked first next time: they take turns.
    next: AtomicUsize,
    /// How often a single server was asked again.
    again: AtomicUsize,
}

/// A single server is asked again in one of so many questions: if it is slow because of its load, that adds to it.
const ONE_AGAIN: usize = 20;

impl Replicas {
    /// The servers at these addresses, of which there is at least one.
    pub fn new(client: Arc<Client>, urls: Vec<String>) -> Replicas {
        Replicas { client, urls, next: AtomicUsize::new(0), again: AtomicUsize::new(0) }
    }

    /// Asks one server. Another one is asked as soon as one has failed. Where answers are to be `quick`, the same goes
    /// when there is none after a while, and a single server is asked again. The first answer that `read` can read
    /// counts.
    fn heard<T: Send + 'static>(
        &self,
        route: &'static str,
        quick: bool,
        body: Vec<u8>,
        read: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<T, Fault> {
        let asked = self.next.fetch_add(1, Ordering::Relaxed);
        let first = asked % self.urls.len();
        let url = |number: usize| self.urls[(first + number) % self.urls.len()].clone();
        let start = Instant::now();
        let deadline = start + self.client.timeout;
        let question = Arc::new(Question { client: Arc::clone(&self.client), route, body, deadline, read });
        let (sender, receiver) = mpsc::channel();
        let begin = |number| begin(&question, url(number), &sender);
        begin(0)?;
        let (mut begun, mut waiting) = (1, 1);
        let mut worst: Option<Fault> = None;
        let has_others = self.urls.len() > 1;
        let may_again = || asked / ONE_AGAIN >= self.again.load(Ordering::Relaxed);
        let most = match quick {
            true if has_others => self.urls.len(),
            true if may_again() => 2,
            _ => 1,
        };
        loop {
            let hedge = start + self.client.hedge_after * begun as u32;
            let until = if begun < most { hedge.min(deadline) } else { deadline };
            match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(fault)) if fault.is_final() => return Err(fault),
                Ok(Err(fault)) => {
                    waiting -= 1;
                    worst = Some(match worst {
                        // What was changed can be asked again, so that is what is told.
                        Some(worst) if !matches!(fault, Fault::Moved { .. }) => worst,
                        _ => fault,
                    });
                    if begun < self.urls.len() {
                        begin(begun)?;
                        (begun, waiting) = (begun + 1, waiting + 1);
                    }
                }
                Err(RecvTimeoutError::Timeout) if begun < most && Instant::now() < deadline => {
                    self.again.fetch_add(usize::from(!has_others), Ordering::Relaxed);
                    begin(begun)?;
                    (begun, waiting) = (begun + 1, waiting + 1);
                }
                Err(_) => return Err(worst.unwrap_or_else(|| self.client.slow(&url(0)))),
            }
            if waiting == 0 {
                return Err(worst.unwrap_or_else(|| self.client.slow(&url(0))));
            }
        }
    }
}

impl Carrier for Replicas {
    fn place(&self) -> String {
        self.urls.join(", ")
    }

    fn ask<T: Send + 'static>(
        &self,
        route: &'static str,
        quick: bool,
        body: Vec<u8>,
        read: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> crate::Result<T> {
        self.heard(route, quick, body, read).map_err(Fault::into_error)
    }
}

/// What the servers of a shard are asked.
struct Question<R> {
    client: Arc<Client>,
    route: &'static str,
    body: Vec<u8>,
    deadline: Instant,
    read: R,
}

/// Asks a server on a thread of its own. It goes on even if nobody waits, at the latest until the time is up.
fn begin<T: Send + 'static, R: Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static>(
    question: &Arc<Question<R>>,
    url: String,
    sender: &Sender<Result<T, Fault>>,
) -> Result<(), Fault> {
    let (question, sender, of) = (Arc::clone(question), sender.clone(), url.clone());
    let ask = move || {
        let Question { client, route, body, deadline, read } = &*question;
        let answer = client
            .ask(&of, route, body, *deadline)
            .and_then(|bytes| read(&bytes).map_err(|problem| Fault::Garbled { url: of.clone(), problem }));
        // Another one may have answered already.
        let _ = sender.send(answer);
    };
    let started = thread::Builder::new().name("ask a shard".to_owned()).spawn(ask);
    started
        .map(drop)
        .map_err(|error| Fault::Broken { url, problem: format!("no thread can be had: {error}") })
}
