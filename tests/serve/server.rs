//! A server that is started for a test, and a client that says what it is told to say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Sandbox;

/// A server of the executable at a free port. It is killed at the end, if it was not ended before.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// What it says on standard error.
    said: Arc<Mutex<String>>,
}

/// What a server answers.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The lines of the head after the first, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// Asserts success; the body read as JSON.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Asserts an error of this status in OpenAI's form, in whose message this occurs.
    #[track_caller]
    pub fn fails(&self, status: u16, part: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let error = self.json()["error"].clone();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(part), "no {part:?} in {message:?}");
        assert!(error["type"].is_string() && error["code"].is_string() && error.get("param").is_some());
        error
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Server {
    /// Starts `secateur serve` with these arguments and waits until it listens.
    pub fn start(sandbox: &Sandbox, arguments: &[&str]) -> Server {
        Server::start_command(sandbox.command(["serve", "--port", "0"].iter().chain(arguments)))
    }

    pub fn start_command(mut command: Command) -> Server {
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {}", said.lock().unwrap())).unwrap();
            let address = line.split_once(" at http://").map(|(_, address)| address.parse().unwrap());
            said.lock().unwrap().push_str(&(line + "\n"));
            if let Some(address) = address {
                break address;
            }
        };
        let rest = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                rest.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Server { child, address, said }
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, body)
    }

    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask(method, path, &["content-type: application/json"], body.to_string().as_bytes())
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&self.message(method, path, headers, body)).unwrap();
        answer(&mut stream)
    }

    /// A request, after which the connection is to be closed.
    pub fn message(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|header| header.starts_with("host:")) {
            head.push_str(&format!("host: {}\r\n", self.address));
        }
        headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        [head.as_bytes(), b"\r\n", body].concat()
    }

    /// The value of a metric, with its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until this holds.
    #[track_caller]
    pub fn wait_until(&self, holds: impl Fn(&Server) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tells it to end, as `kill` does.
    pub fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> (ExitStatus, String) {
        (self.child.wait().unwrap(), self.said())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let said = self.said();
        assert!(std::thread::panicking() || !said.contains("panicked"), "{said}");
    }
}

/// Reads an answer to the end of the connection.
pub fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // What came before a connection was broken is an answer too.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let (first, rest) = head.split_once("\r\n").unwrap();
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: rest.to_lowercase(), body: bytes[end + 4..].to_vec() }
}

/// Sends a request, closes this half of the connection and reads the answer.
pub fn ask_half_closed(server: &Server, message: &[u8]) -> Answer {
    let mut stream = server.connect();
    stream.write_all(message).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    answer(&mut stream)
}
