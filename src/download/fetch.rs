//! One file over HTTP, resumed where it broke off.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secateur_files::disk::{self, DiskFile};
use secateur_files::{AtPath, PathError, with_suffix};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use super::error::DownloadError;

/// How far a download is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on disk, those of earlier attempts included.
    pub done: u64,
    /// The size of the file, where the server says it.
    pub total: Option<u64>,
}

/// Downloads files; keeps connections and the retry policy.
pub struct Fetcher {
    agent: Agent,
    /// How many requests in a row may fail, counted from the last one that brought something.
    attempts: u32,
    /// The pause before the second attempt; it doubles with each further one.
    pause: Duration,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::with_pause(Duration::from_millis(500))
    }
}

impl Fetcher {
    /// A fetcher that pauses this long before its second attempt.
    pub fn with_pause(pause: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            // The limit is on silence, not on the whole body, which would forbid large files on slow lines.
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("secateur/", env!("CARGO_PKG_VERSION")))
            // Ranges count the bytes of the encoding, so the file must come as it is.
            .accept_encoding("identity")
            .build();
        Fetcher { agent: config.into(), attempts: 5, pause }
    }

    /// The body of a small text.
    pub fn text(&self, url: &str, token: Option<&str>) -> Result<String, DownloadError> {
        let mut failures = 0;
        loop {
            let result = self.request(url, token, None).and_then(|mut response| {
                check(url, token, response.status())?;
                Ok(response.body_mut().with_config().limit(64 << 20).read_to_string()?)
            });
            match result {
                Ok(text) => return Ok(text),
                Err(failure) => self.pause_after(failure, url, &mut failures)?,
            }
        }
    }

    /// Downloads `url` to `target`, through `target.part`. If the download fails, the part is kept, and the next call
    /// continues it. The file is synced before it gets its name.
    pub fn file(
        &self,
        url: &str,
        token: Option<&str>,
        target: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), DownloadError> {
        let part = PartialFile::of(target);
        let mut failures = 0;
        loop {
            let before = part.len();
            match self.attempt(url, token, &part, progress) {
                Ok(()) => break,
                Err(failure) => {
                    if part.len() > before {
                        failures = 0;
                    }
                    self.pause_after(failure, url, &mut failures)?;
                }
            }
        }
        Ok(part.finish(target)?)
    }

    fn request(
        &self,
        url: &str,
        token: Option<&str>,
        resume: Option<(u64, &str)>,
    ) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(url);
        if let Some(token) = token {
            // The agent drops this header when it follows a redirect, so that a storage host never sees the token.
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some((from, validator)) = resume {
            request =
                request.header(header::RANGE, format!("bytes={from}-")).header(header::IF_RANGE, validator);
        }
        Ok(request.call()?)
    }

    /// One request, which appends to the part or starts it anew.
    fn attempt(
        &self,
        url: &str,
        token: Option<&str>,
        part: &PartialFile,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Failure> {
        let validator = part.validator(url);
        let resume =
            validator.as_deref().map(|validator| (part.len(), validator)).filter(|(from, _)| *from > 0);
        let mut response = self.request(url, token, resume)?;
        let mut done = 0;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let from = resume.map_or(0, |(from, _)| from);
                if content_range_start(&response) != Some(from) {
                    part.remove();
                    return Err(Failure::Interrupted(other(
                        "the server sent another range than it was asked for",
                    )));
                }
                done = from;
            }
            StatusCode::RANGE_NOT_SATISFIABLE if resume.is_some() => {
                // An earlier call downloaded all of it and was killed before it renamed the file.
                if full_length(&response) == Some(part.len()) {
                    return Ok(());
                }
                part.remove();
                return Err(Failure::Interrupted(other("the partial file does not fit the server's")));
            }
            status => check(url, token, status)?,
        }
        let length = response.body().content_length();
        let total = length.map(|length| done + length);
        let mut file = part.open(url, done, &response)?;
        let mut body = response.body_mut().as_reader();
        let mut block = vec![0; 256 << 10];
        progress(Progress { done, total });
        loop {
            let read = match body.read(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Interrupted(ureq::Error::Io(error))),
            };
            file.write_all(&block[..read]).at("write", &part.data)?;
            done += read as u64;
            progress(Progress { done, total });
        }
        if total.is_some_and(|total| done != total) {
            return Err(Failure::Interrupted(other("the connection was closed before the end of the file")));
        }
        file.sync()?;
        Ok(())
    }

    /// Waits before the next attempt, or returns the error if there are no more attempts.
    fn pause_after(&self, failure: Failure, url: &str, failures: &mut u32) -> Result<(), DownloadError> {
        let source = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Interrupted(source) => source,
        };
        *failures += 1;
        if *failures >= self.attempts {
            return Err(DownloadError::Network {
                url: url.to_owned(),
                attempts: *failures,
                source: Box::new(source),
            });
        }
        std::thread::sleep(self.pause * 2u32.pow(*failures - 1));
        Ok(())
    }
}

/// Why an attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Interrupted(ureq::Error),
    /// Another attempt would fail in the same way.
    Final(DownloadError),
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        Failure::Interrupted(error)
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Failure::Final(error.into())
    }
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Failure::Final(error)
    }
}

fn other(reason: &'static str) -> ureq::Error {
    ureq::Error::Io(io::Error::new(io::ErrorKind::UnexpectedEof, reason))
}

/// Turns a status other than success into the failure that it is.
fn check(url: &str, token: Option<&str>, status: StatusCode) -> Result<(), Failure> {
    let url = url.to_owned();
    match status.as_u16() {
        200 => Ok(()),
        // Busy or restarting; a request a little later is what they ask for.
        408 | 429 | 500..=599 => Err(Failure::Interrupted(ureq::Error::StatusCode(status.as_u16()))),
        404 => Err(DownloadError::NotFound { url }.into()),
        status @ (401 | 403) => {
            Err(DownloadError::Denied { url, status, with_token: token.is_some() }.into())
        }
        status => Err(DownloadError::Status { url, status }.into()),
    }
}

fn content_range_start(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// The `N` of `Content-Range: bytes */N`, with which a range beyond the end is refused.
fn full_length(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes */")?.parse().ok()
}

/// A file that is still being downloaded, and beside it what it is a part of.
struct PartialFile {
    data: PathBuf,
    /// Two lines: the address, and the validator (RFC 9110, 13.1.5) of the file that the part is the beginning of.
    origin: PathBuf,
}

impl PartialFile {
    fn of(target: &Path) -> Self {
        PartialFile { data: with_suffix(target, ".part"), origin: with_suffix(target, ".part.origin") }
    }

    fn len(&self) -> u64 {
        std::fs::metadata(&self.data).map_or(0, |metadata| metadata.len())
    }

    /// The validator to resume with; `None` if the part is of another address or the server gave none.
    fn validator(&self, url: &str) -> Option<String> {
        let origin = std::fs::read_to_string(&self.origin).ok()?;
        let (address, validator) = origin.split_once('\n')?;
        (address == url && !validator.is_empty()).then(|| validator.to_owned())
    }

    /// Opens the part to be written from byte `from`; from 0 on it is a new part, whose origin is recorded first.
    fn open(&self, url: &str, from: u64, response: &Response<Body>) -> Result<DiskFile, PathError> {
        let mut file = DiskFile::open_or_create(&self.data)?;
        if from == 0 {
            file.set_len(0)?;
            let origin = format!("{url}\n{}", strong_validator(response).unwrap_or_default());
            DiskFile::create(&self.origin)?.write_all(origin.as_bytes()).at("write", &self.origin)?;
        }
        file.seek(SeekFrom::Start(from)).at("write", &self.data)?;
        Ok(file)
    }

    fn remove(&self) {
        // What cannot be removed is overwritten by the next attempt.
        let _ = disk::remove_file(&self.data);
        let _ = disk::remove_file(&self.origin);
    }

    fn finish(&self, target: &Path) -> Result<(), PathError> {
        disk::rename(&self.data, target)?;
        let _ = disk::remove_file(&self.origin);
        disk::sync_name(target)
    }
}

/// A weak entity tag may be the same for different bytes, so it cannot guard a range.
fn strong_validator(response: &Response<Body>) -> Option<&str> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    text(header::ETAG).filter(|etag| !etag.starts_with("W/")).or_else(|| text(header::LAST_MODIFIED))
}
