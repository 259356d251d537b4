//! `secateur serve`: an encoder, a cross-encoder and a database over HTTP.

mod arenas;
mod database;
mod fault;
mod model;
mod search;
mod shard;
mod state;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use secateur::LoadOptions;
use secateur::encode::CrossEncoder;
use secateur_serve::{Access, Event, Hosts, Limits, Served, Stop, Tell};

use super::encoder::{EncoderArguments, base_directory, model_directory, open_database, tell};
use super::failure::{Code, Failure, Result, say, warn};
pub use arenas::limit_arenas;
use database::ServedDatabase;
use model::{ServedEncoder, ServedScorer};
use state::Current;

/// Where keys are, if no file is named.
const KEYS: &str = "SECATEUR_API_KEYS";

const EXAMPLES: &str = "\
The routes are those of OpenAI (/v1/embeddings), text-embeddings-inference (/embed, /rerank, /info), Cohere (/v1/rerank) and \
the database's own (/search, /documents, /generations). /openapi.json describes all of them, and a browser shows a search page \
at /. Prometheus reads /metrics.

Agents speak the Model Context Protocol at /mcp; `secateur mcp` is for those that start a server of their own.

Without --api-keys and --host only this machine may ask. With --host and without keys whoever reaches that address may, but change \
nothing. Then requests name the server by its address or localhost: pages of other sites can make their own names mean it. There is \
no TLS: put a proxy that speaks it before a server that others use. SIGINT and SIGTERM end it once the requests that it has begun are answered.

Examples:
  secateur serve my.db
  secateur serve --encoder sentence-transformers/all-MiniLM-L6-v2 --port 9000
  secateur serve my.db --reranker BAAI/bge-reranker-base --host 0.0.0.0 --api-keys keys.txt --writable";

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help("An encoder to serve; beside a database, where its encoder is, if not where it was")), after_help = EXAMPLES)]
pub struct Arguments {
    /// A database to search.
    #[arg(required_unless_present_any = ["encoder", "reranker"])]
    database: Option<PathBuf>,
    /// A cross-encoder for /rerank and for searches that ask for it: a model directory, or OWNER/NAME of the hub.
    #[arg(long, value_name = "MODEL")]
    reranker: Option<String>,
    /// The address to listen at: 0.0.0.0 or :: for all of this machine's.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = address)]
    host: IpAddr,
    /// The port to listen at; 0 for one that is free.
    #[arg(long, default_value = "8080")]
    port: u16,
    /// A file of API keys, one a line, one of which a request must have [default: the lines of $SECATEUR_API_KEYS].
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Let requests add, replace and delete documents.
    #[arg(long, requires = "database")]
    writable: bool,
    /// How often to look for what other processes have committed, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds, requires = "database")]
    refresh: Duration,
    #[command(flatten)]
    limits: LimitArguments,
    #[command(flatten)]
    encoder: EncoderArguments,
}

/// What the server takes on.
#[derive(Args)]
#[command(next_help_heading = "Limits")]
struct LimitArguments {
    /// Bytes of a request's body.
    #[arg(long, value_name = "BYTES", default_value = "16777216", value_parser = super::positive)]
    max_body: NonZeroUsize,
    /// Bytes of all bodies and large answers that are held at a time; a request that finds no room is answered 429.
    #[arg(long, value_name = "BYTES", default_value = "268435456", value_parser = super::positive)]
    max_held_bytes: NonZeroUsize,
    /// Texts, pairs or documents of a request.
    #[arg(long, value_name = "N", default_value = "2048", value_parser = super::positive)]
    max_items: NonZeroUsize,
    /// Texts, pairs or searches that wait; a request that finds no room is answered 429.
    #[arg(long, value_name = "N", default_value = "8192", value_parser = super::positive)]
    max_waiting: NonZeroUsize,
    /// Tokens of all requests' texts that are computed together.
    #[arg(long, value_name = "TOKENS", default_value = "16384", value_parser = super::positive)]
    max_batch_tokens: NonZeroUsize,
    /// Hits of a search.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = super::positive)]
    max_hits: NonZeroUsize,
    /// Open connections.
    #[arg(long, value_name = "N", default_value = "512", value_parser = super::positive)]
    max_connections: NonZeroUsize,
    /// Seconds that a body may take to arrive, and an answer to be computed.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Seconds that a connection may be idle, and the head of a request take to arrive.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    idle_timeout: Duration,
}

/// Seconds, as an option gives them.
pub fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, 0.001 to 86400".to_owned())
}

impl LimitArguments {
    fn limits(&self) -> Result<Limits> {
        let (items, queue) = (self.max_items.get(), self.max_waiting.get());
        if items > queue {
            let message = format!(
                "--max-waiting {queue} has no room for a request of --max-items {items}: give at least as many"
            );
            return Err(Failure::new(Code::Usage, message));
        }
        let (body_bytes, held_bytes) = (self.max_body.get(), self.max_held_bytes.get());
        if body_bytes > held_bytes {
            let message = format!(
                "--max-held-bytes {held_bytes} has no room for a body of --max-body {body_bytes}: give at least as many"
            );
            return Err(Failure::new(Code::Usage, message));
        }
        Ok(Limits {
            body_bytes,
            held_bytes,
            items,
            queue,
            batch_tokens: self.max_batch_tokens.get(),
            hits: self.max_hits.get(),
            connections: self.max_connections.get(),
            timeout: self.timeout,
            idle: self.idle_timeout,
            // A body, an answer, and the ranking of a search's hits may each take so long.
            grace: self.timeout.saturating_mul(3).max(Limits::default().grace),
            ..Limits::default()
        })
    }
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        limit_arenas();
        let limits = Limits { refresh: self.refresh, ..self.limits.limits()? };
        let access = self.access()?;
        let address = SocketAddr::new(self.host, self.port);
        let served = self.served()?;
        let stop = Stop::new();
        stop_on_signals(stop.clone())?;
        secateur_serve::run(address, served, access, limits, &stop, self.teller()).map_err(|error| {
            Failure::new(
                Code::System,
                format!("cannot listen at {address}: {error}; choose another --host or --port"),
            )
        })?;
        Ok(String::new())
    }

    fn access(&self) -> Result<Access> {
        let keys = keys(self.api_keys.as_deref())?;
        let is_local = self.host.is_loopback();
        if keys.is_empty() && !is_local {
            if self.writable {
                let message = format!(
                    "--writable at {} without API keys would let everybody change the database: name --api-keys, or leave one \
                     of them out",
                    self.host
                );
                return Err(Failure::new(Code::Usage, message));
            }
            warn(&format!(
                "no API keys are given: whoever reaches {} can ask, by its address; other names than localhost are refused",
                self.host
            ));
        }
        let hosts = match (keys.is_empty(), is_local) {
            (false, _) => Hosts::Any,
            (true, false) => Hosts::Addresses,
            (true, true) => Hosts::Local,
        };
        Ok(Access { hosts, keys, writable: self.writable })
    }

    fn served(&self) -> Result<Served> {
        let mut served = served(self.database.as_deref(), self.reranker.as_deref(), &self.encoder)?;
        if self.database.is_none()
            && let Some(encoder) = self.encoder.load()?
        {
            served.encoder = Some(Arc::new(ServedEncoder::new(encoder)));
        }
        Ok(served)
    }

    fn teller(&self) -> Tell {
        teller(match (&self.database, &self.encoder.encoder, &self.reranker) {
            (Some(database), _, _) => database.display().to_string(),
            (None, Some(encoder), _) => encoder.clone(),
            (None, None, reranker) => reranker.clone().unwrap_or_default(),
        })
    }
}

/// An address to listen at.
fn address(text: &str) -> std::result::Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => text.parse().map_err(|_| "expected an address such as 0.0.0.0, or localhost".to_owned()),
    }
}

/// The API keys of this file, or of the environment.
pub fn keys(file: Option<&Path>) -> Result<Vec<String>> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::new(Code::Usage, format!("--api-keys {}: {error}", path.display())))?,
        None => match std::env::var(KEYS) {
            Err(std::env::VarError::NotPresent) => String::new(),
            Ok(text) if text.lines().any(|line| !line.trim().is_empty()) => text,
            // Meant to close the server: it must not stand open.
            _ => return Err(Failure::new(Code::Usage, format!("{KEYS} is set, and there is no key in it"))),
        },
    };
    let lines = || text.lines().map(str::trim).enumerate().filter(|(_, key)| !key.is_empty());
    let keys: Vec<String> = lines().map(|(_, key)| key.to_owned()).collect();
    if let Some(path) = file.filter(|_| keys.is_empty()) {
        return Err(Failure::new(
            Code::Usage,
            format!("--api-keys {}: there is no key in it", path.display()),
        ));
    }
    if let Some((number, _)) = lines().find(|(_, key)| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
        let source = file.map_or_else(|| KEYS.to_owned(), |path| path.display().to_string());
        let message = format!(
            "{source}, line {}: an API key has letters, digits and signs of ASCII, and no blanks",
            number + 1
        );
        return Err(Failure::new(Code::Usage, message));
    }
    Ok(keys)
}

/// A database and a cross-encoder, loaded; `encoder` says where the encoder of the database is.
pub fn served(database: Option<&Path>, reranker: Option<&str>, encoder: &EncoderArguments) -> Result<Served> {
    let mut served = Served::default();
    if let Some(reranker) = reranker {
        served.reranker = Some(Arc::new(ServedScorer(load_reranker(reranker, encoder)?)));
    }
    if let Some(path) = database {
        let database = open_database(path, None, encoder, true)?;
        let current = Current::new(path.to_owned(), encoder.clone(), database);
        served.database = Some(Arc::new(ServedDatabase(current)));
    }
    Ok(served)
}

fn load_reranker(reference: &str, encoder: &EncoderArguments) -> Result<CrossEncoder> {
    let directory = model_directory(reference)?;
    let options = LoadOptions {
        name: (!Path::new(reference).exists()).then(|| reference.to_owned()),
        base: base_directory(&directory, None, &[])?,
        device: encoder.device,
        batch_tokens: encoder.batch_tokens.map(|tokens| tokens as usize),
        strict: encoder.strict,
        ..LoadOptions::default()
    };
    let cross_encoder = CrossEncoder::load(directory, &options)?;
    tell(cross_encoder.notices());
    Ok(cross_encoder)
}

/// What is said on standard error of a server of this.
pub fn teller(what: String) -> Tell {
    Arc::new(move |event| match event {
        Event::Listening(address) => say(&format!("serving {what} at http://{address}")),
        Event::Reloaded => say(&format!("{what}: a new commit is searched")),
        Event::NotReloaded(fault) => warn(&format!(
            "{what}: the latest commit cannot be searched, and the one before is: {}",
            fault.message()
        )),
        Event::Failed { request, what, fault } => {
            warn(&format!("request {request}, {what}: {}", fault.message()));
        }
        Event::Ending => say("ending: requests that are going on are answered first"),
    })
}

/// The first signal ends the server in order, the second one at once.
pub fn stop_on_signals(stop: Stop) -> Result<()> {
    let is_stopped = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if is_stopped.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        stop.stop();
    })
    .map_err(|error| Failure::new(Code::System, format!("cannot handle signals: {error}")))
}
