//! Clients that are slow, rude, many or not allowed; and the end of a server.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{answer, ask_half_closed};
use super::server::Server;
use crate::support::Sandbox;
use crate::support::dataset::write;

const JSON: &str = "content-type: application/json";

fn served(sandbox: &Sandbox, more: &[&str]) -> Server {
    Server::start(sandbox, &[&["--encoder", "default"][..], more].concat())
}

#[test]
fn bodies_that_are_wrong_are_refused() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox, &["--max-body", "1000000"]);
    let post = |headers: &[&str], body: &[u8]| server.ask("POST", "/v1/embeddings", headers, body);
    post(&[JSON], b"").fails(400, "it is empty");
    post(&[JSON], b"{").fails(400, "EOF while parsing");
    post(&[JSON], b"{\"input\": \"a\xff\"}").fails(400, "byte 13 is no UTF-8");
    post(&[JSON], &[b"{\"input\": ".as_slice(), &b"[".repeat(10_000)].concat()).fails(400, "the JSON");
    post(&["content-type: text/plain"], b"{}").fails(415, "application/json");
    post(&[], b"{}").fails(415, "Content-Type is \"\"");
    post(&["content-type: application/json", "content-encoding: gzip"], b"{}")
        .fails(415, "Content-Encoding is \"gzip\"");
    assert_eq!(post(&["content-type: application/JSON; charset=utf-8"], b"{\"input\": \"a\"}").status, 200);
    // Unpaired surrogates are no text.
    post(&[JSON], br#"{"input": "\ud800"}"#).fails(400, "the JSON");
    assert_eq!(post(&[JSON], br#"{"input": "a\u0000b"}"#).status, 200);

    // Ten megabytes, told before or not.
    let large = json!({"input": "a".repeat(10_000_000)}).to_string();
    for length in ["", "transfer-encoding: chunked\r\n"] {
        let mut stream = server.connect();
        let told = match length {
            "" => format!("content-length: {}\r\n", large.len()),
            chunked => chunked.to_owned(),
        };
        let head = format!("POST /embed HTTP/1.1\r\nhost: localhost\r\n{JSON}\r\n{told}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = format!("{:x}\r\n", large.len());
        if !length.is_empty() {
            stream.write_all(chunk.as_bytes()).unwrap();
        }
        // The server may have enough before all is sent.
        let _ = stream.write_all(large.as_bytes());
        let end: &[u8] = if length.is_empty() { b"" } else { b"\r\n0\r\n\r\n" };
        let _ = stream.write_all(end);
        answer(&mut stream).fails(413, "more than 1000000 bytes");
    }
    let mut stream = server.connect();
    stream.write_all(b"NONSENSE\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).status, 400);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn slow_clients_are_let_go_and_others_are_served_meanwhile() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox, &["--idle-timeout", "1", "--timeout", "1.5", "--max-connections", "6"]);
    let start = Instant::now();
    // A head that never ends, nothing at all, and a body that never ends.
    let mut head = server.connect();
    head.write_all(b"POST /embed HTTP/1.1\r\nhost: local").unwrap();
    let mut silent = server.connect();
    let mut body = server.connect();
    let message = server.message("POST", "/embed", &[JSON, "content-length: 100"], b"");
    body.write_all(&message).unwrap();
    body.write_all(b"{\"inputs\"").unwrap();
    assert_eq!(server.get("/health").status, 200);
    answer(&mut body).fails(408, "did not arrive within 1.5 s");
    for stream in [&mut head, &mut silent] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{:?}", String::from_utf8_lossy(&rest));
    }
    assert!(start.elapsed() < Duration::from_secs(30));

    // As many connections as there may be; one more is told so, and there is room again when they are let go.
    let open: Vec<_> = (0..6).map(|_| server.connect()).collect();
    let mut more = server.connect();
    answer(&mut more).fails(503, "too many connections");
    drop(open);
    server.wait_until(|server| {
        let mut stream = server.connect();
        stream.write_all(&server.message("GET", "/health", &[], b"")).is_ok()
            && answer(&mut stream).status == 200
    });
    assert!(server.metric("secateur_connections_refused_total") >= 1.0);
}

#[test]
fn half_closed_connections_are_answered() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox, &[]);
    let body = json!({"inputs": vec!["bees"; 50]}).to_string();
    let message = server.message("POST", "/embed", &[JSON], body.as_bytes());
    assert_eq!(ask_half_closed(&server, &message).ok().as_array().unwrap().len(), 50);
    // A body that is cut off is refused, whether or not somebody still listens.
    let cut = &message[..message.len() - 5];
    let mut stream = server.connect();
    stream.write_all(cut).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&rest));
    // Those who go away before they are answered disturb nobody.
    for _ in 0..20 {
        server.connect().write_all(&message).unwrap();
    }
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn keys_and_names_keep_others_out() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("."), "keys.txt", "first-key\n\n  second-key \n");
    let server = served(&sandbox, &["--api-keys", "keys.txt"]);
    let body = json!({"input": "a"}).to_string();
    let post = |headers: &[&str]| {
        let headers = [&[JSON][..], headers].concat();
        server.ask("POST", "/v1/embeddings", &headers, body.as_bytes())
    };
    let refused = post(&[]);
    refused.fails(401, "Authorization: Bearer KEY");
    assert_eq!(refused.header("www-authenticate"), Some("bearer"));
    post(&["authorization: Bearer third-key"]).fails(401, "not one of this server's");
    assert_eq!(post(&["authorization: Bearer second-key"]).status, 200);
    assert_eq!(post(&["authorization: Bearer first-key", "host: a.proxy.example"]).status, 200);
    server.get("/metrics").fails(401, "API key");
    server.get("/nothing").fails(401, "API key");
    server.ask("POST", "/", &[JSON], br#"{"inputs": "a"}"#).fails(401, "API key");
    for open in ["/health", "/openapi.json", "/"] {
        assert_eq!(server.get(open).status, 200);
    }
    drop(server);

    let mut command = sandbox.command(["serve", "--port", "0", "--encoder", "default"]);
    command.env("SECATEUR_API_KEYS", "from-the-environment");
    let server = Server::start_command(command);
    server.get("/info").fails(401, "API key");
    assert_eq!(server.ask("GET", "/info", &["authorization: Bearer from-the-environment"], b"").status, 200);
    drop(server);

    let server = served(&sandbox, &[]);
    server.ask("GET", "/info", &["host: evil.example"], b"").fails(403, "Host is \"evil.example\"");
    assert_eq!(server.ask("GET", "/info", &["host: localhost"], b"").status, 200);
    drop(server);

    // Open to a network, whose machines have addresses: no page can make one of those mean this server.
    let server = served(&sandbox, &["--host", "0.0.0.0"]);
    assert!(server.said().contains("whoever reaches 0.0.0.0 can ask, by its address"), "{}", server.said());
    server.ask("GET", "/info", &["host: evil.example"], b"").fails(403, "start it with API keys");
    for good in ["host: localhost", "host: 10.0.0.1:8080"] {
        assert_eq!(server.ask("GET", "/info", &[good], b"").status, 200, "{good}");
    }
}

#[test]
fn command_lines_that_are_wrong_are_refused() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("."), "empty.txt", "\n");
    write(&sandbox.path("."), "bad.txt", "one\nkéy\n");
    write(&sandbox.path("."), "notes.jsonl", "{\"id\": \"1\", \"text\": \"a\"}\n");
    sandbox.run(["index", "notes.jsonl", "--encoder", "none", "--out", "db"]).ok();
    let default = ["serve", "--encoder", "default"];
    let with = |more: &[&'static str]| sandbox.run([&default[..], more].concat());
    sandbox.run(["serve"]).fails(2, ["DATABASE"]);
    sandbox.run(["serve", "nowhere"]).fails(4, ["there is no database nowhere"]);
    with(&["--api-keys", "nowhere.txt"]).fails(2, ["--api-keys nowhere.txt"]);
    with(&["--api-keys", "empty.txt"]).fails(2, ["there is no key in it"]);
    with(&["--api-keys", "bad.txt"]).fails(2, ["bad.txt, line 2"]);
    with(&["--host", "nowhere"]).fails(2, ["or localhost"]);
    with(&["--max-items", "10", "--max-waiting", "9"]).fails(2, ["--max-waiting 9", "--max-items 10"]);
    with(&["--max-body", "10", "--max-held-bytes", "9"]).fails(2, ["--max-held-bytes 9", "--max-body 10"]);
    with(&["--timeout", "0"]).fails(2, ["0.001 to 86400"]);
    with(&["--writable"]).fails(2, ["DATABASE"]);
    let open = ["serve", "db", "--host", "0.0.0.0", "--port", "0", "--writable"];
    sandbox.run(open).fails(2, ["without API keys"]);
    sandbox.run(["serve", "--reranker", "nowhere/at/all"]).fails(3, ["no model directory nowhere/at/all"]);
    let server = served(&sandbox, &[]);
    let port = server.address.port().to_string();
    sandbox
        .run(["serve", "--encoder", "default", "--port", &port])
        .fails(1, ["cannot listen", "choose another"]);
}

/// A server that is told to end answers what it has begun, and takes nothing more.
#[test]
fn the_end_waits_for_answers() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox, &["--max-batch-tokens", "64"]);
    let body = json!({"inputs": vec!["bees ".repeat(400); 2000]}).to_string();
    let mut busy = server.connect();
    busy.write_all(&server.message("POST", "/embed", &[JSON], body.as_bytes())).unwrap();
    let mut idle = server.connect();
    idle.write_all(format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", server.address).as_bytes()).unwrap();
    server.wait_until(|server| server.metric("secateur_queue_items{queue=\"embed\"}") > 0.0);
    let address = server.address;
    server.terminate();
    assert_eq!(answer(&mut busy).ok().as_array().unwrap().len(), 2000);
    // A connection that waits for a next request is closed.
    assert_eq!(answer(&mut idle).status, 200);
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("ending"), "{said}");
    assert!(std::net::TcpStream::connect(address).is_err());
}
