//! The server, with models and a database that are none, asked over TCP. `tests/serve/` of the workspace asks the
//! executable, with real ones.

mod bounds;
#[path = "../../tests/serve/client.rs"]
mod client;
mod fakes;
mod leaving;
mod mcp;
mod shard;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use secateur_serve::{Access, Event, Hosts, Limits, Served, Stop, run};
use serde_json::{Value, json};

use client::{Client, answer, ask_half_closed};
use fakes::{Lengths, Letters, Shelf};

const JSON: &str = "content-type: application/json";

/// A server on a thread of the test.
struct Running {
    client: Client,
    stop: Stop,
    events: Arc<Mutex<Vec<Event>>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    fn start(served: Served, access: Access, limits: Limits) -> Running {
        let (stop, events) = (Stop::new(), Arc::new(Mutex::new(Vec::new())));
        let (sender, receiver) = mpsc::channel();
        let (to, kept) = (stop.clone(), Arc::clone(&events));
        let tell = move |event: Event| {
            if let Event::Listening(address) = event {
                sender.send(address).unwrap();
            }
            kept.lock().unwrap().push(event);
        };
        let at: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let thread = std::thread::spawn(move || {
            let limits = Limits { refresh: Duration::from_millis(50), ..limits };
            run(at, served, access, limits, &to, Arc::new(tell))
        });
        let address = receiver.recv().unwrap();
        Running { client: Client { address }, stop, events, thread: Some(thread) }
    }

    fn end(mut self) -> Vec<Event> {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
        self.events.lock().unwrap().clone()
    }
}

fn all() -> Served {
    Served { encoder: Some(Letters::new()), reranker: Some(Arc::new(Lengths)), database: Some(Shelf::new()) }
}

fn writable() -> Access {
    Access { writable: true, ..Access::default() }
}

#[test]
fn vectors_come_in_all_forms() {
    let running = Running::start(all(), Access::default(), Limits::default());
    let client = &running.client;
    let of = |body: Value| client.post("/v1/embeddings", &body).ok();
    let two = of(json!({"input": ["rose", "été!"], "model": "x"}));
    assert_eq!(two["data"][0]["embedding"], json!([4.0, 114.0, 0.0]));
    assert_eq!((&two["data"][1]["embedding"], &two["model"]), (&json!([4.0, 233.0, 0.0]), &json!("letters")));
    assert_eq!(two["usage"]["prompt_tokens"], 8);
    assert_eq!(of(json!({"input": "a", "input_type": "query"}))["data"][0]["embedding"][2], 1.0);
    assert_eq!(of(json!({"input": [114, 111]}))["data"][0]["embedding"], json!([2.0, 114.0, 0.0]));
    assert_eq!(of(json!({"input": [[114], [65, 66]]}))["data"][1]["embedding"], json!([2.0, 65.0, 0.0]));
    // 4.0, 114.0 and 0.0 in little-endian f32.
    let coded = of(json!({"input": "rose", "encoding_format": "base64"}));
    assert_eq!(coded["data"][0]["embedding"], "AACAQAAA5EIAAAAA");
    assert_eq!(of(json!({"input": "rose", "dimensions": 1}))["data"][0]["embedding"], json!([4.0]));
    for path in ["/embed", "/"] {
        assert_eq!(client.post(path, &json!({"inputs": ["rose"]})).ok(), json!([[4.0, 114.0, 0.0]]));
    }
    let unit = client.post("/embed", &json!({"inputs": "AAA", "normalize": true})).ok();
    assert!((unit[0][0].as_f64().unwrap() - 3.0 / (9.0f64 + 65.0 * 65.0).sqrt()).abs() < 1e-6);
    let cut = json!({"inputs": "nine chars", "truncate": false});
    client.post("/embed", &cut).fails(400, "text 0 is longer than the 8 tokens");
    client.post("/v1/embeddings", &json!({"input": ""})).fails(400, "text 0 is empty");
    client.post("/v1/embeddings", &json!({"input": [0x110000]})).fails(400, "the token 1114112");
    let long = json!({"input": ["a", "b".repeat((1 << 20) + 1)]});
    client.post("/v1/embeddings", &long).fails(400, "input: text 1 has 1048577 bytes, 1048576 are allowed");
    client.post("/v1/embeddings", &json!({"input": 1})).fails(400, "expected a string, a list of strings");
    client.post("/v1/embeddings", &json!({"input": "a", "dimensions": 4})).fails(400, "4 is not in 1 to 3");
    // One text that fails does not spoil those of others in its batch, and those who run the server are told.
    // Clients are not told what went wrong, but by which id the log does.
    let message = json!({"input": ["a", "!"]}).to_string();
    let failed = client.ask("POST", "/v1/embeddings", &[JSON, "x-request-id: id-7"], message.as_bytes());
    failed.fails(500, "the server failed at request id-7; its log says why");
    let told = |event: &Event| matches!(event, Event::Failed { request, fault, .. } if request == "id-7" && fault.message().contains("begins with !"));
    assert!(running.end().iter().any(told));
}

#[test]
fn documents_are_ranked_searched_and_changed() {
    let running = Running::start(all(), writable(), Limits::default());
    let client = &running.client;
    let ranked = client
        .post("/v1/rerank", &json!({"query": "q", "documents": ["a", {"text": "aaa"}], "top_n": 1}))
        .ok();
    assert_eq!((&ranked["results"][0]["index"], &ranked["model"]), (&json!(1), &json!("lengths")));
    let scored =
        client.post("/rerank", &json!({"query": "q", "texts": ["a", "aaa"], "raw_scores": true})).ok();
    assert_eq!((&scored[0]["index"], scored[0]["score"].as_f64().unwrap() as f32), (&json!(1), 0.3));
    client.post("/rerank", &json!({"query": "q"})).fails(400, "`texts`");

    let ids = |answer: &Value| -> Vec<String> {
        answer["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["doc_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&client.post("/search", &json!({"query": "rose"})).ok()), ["a", "b"]);
    let reranked = client.post("/search", &json!({"query": "rose", "rerank": 5, "k": 1})).ok();
    assert_eq!((ids(&reranked), &reranked["reranked"]), (vec!["b".to_owned()], &json!(true)));
    assert_eq!(ids(&client.post("/search", &json!({"query": "rose", "rerank": 1})).ok()), ["a"]);
    let few = client.post("/search", &json!({"query": "rose", "rerank": 2, "k": 3}));
    few.fails(400, "rerank: 2 hits are ranked anew, and k asks for 3: rerank at least 3");
    client.post("/search", &json!({"query": " "})).fails(400, "query: it is empty");
    let long = "a".repeat((64 << 10) + 1);
    client
        .post("/search", &json!({"query": &long}))
        .fails(400, "query: it has 65537 bytes, 65536 are allowed");
    let pair = json!({"query": &long, "texts": ["a"]});
    client.post("/rerank", &pair).fails(400, "query: it has 65537 bytes, 65536 are allowed");
    let pair = json!({"query": "a", "texts": [long.repeat(17)]});
    client.post("/rerank", &pair).fails(400, "texts: text 0 has 1114129 bytes");
    client.post("/search", &json!({"query": "a", "k": 1001})).fails(400, "1 to 1000");
    client.post("/search", &json!({"query": "a", "x": 1})).fails(400, "unknown field `x`");

    assert_eq!(client.get("/documents/c%2Fd").ok()["text"], "bread");
    assert_eq!(client.get("/documents/c/d").ok()["text"], "bread");
    client.get("/documents/%ff").fails(400, "no UTF-8");
    client.get("/documents/e").fails(404, "\"e\"");
    let new = json!({"documents": [{"id": "e", "text": "a rose too"}]});
    assert_eq!(client.post("/documents", &new).ok()["added"], 1);
    client.post("/documents", &new).fails(409, "e is there");
    assert_eq!(client.send("PUT", "/documents", &new).ok()["replaced"], 1);
    assert_eq!(ids(&client.post("/search", &json!({"query": "rose"})).ok()), ["a", "b", "e"]);
    assert_eq!(client.post("/get", &json!({"ids": ["e", "no"]})).ok()["documents"][1], Value::Null);
    assert_eq!(client.ask("DELETE", "/documents/e", &[], b"").ok()["deleted"], 1);
    client.post("/delete", &json!({})).fails(400, "one of them");
    client.post("/delete", &json!({"ids": ["e"]})).fails(404, "\"e\"");
    running.end();
    let reading = Running::start(all(), Access::default(), Limits::default());
    reading.client.post("/documents", &new).fails(403, "--writable");
    let nothing = Running::start(Served::default(), Access::default(), Limits::default());
    for (path, part) in
        [("/search", "secateur serve DB"), ("/v1/embeddings", "--encoder"), ("/v1/rerank", "--reranker")]
    {
        let body = json!({"query": "a", "input": "a", "documents": ["a"]});
        let answer = nothing.client.post(path, &body);
        // A search has fields of its own only.
        if path == "/search" {
            nothing.client.post(path, &json!({"query": "a"})).fails(404, part);
        } else {
            answer.fails(404, part);
        }
    }
}

#[test]
fn a_full_queue_is_said_and_the_end_waits() {
    let letters = Letters::new();
    let served = Served { encoder: Some(Arc::clone(&letters) as _), ..Served::default() };
    let limits = Limits { items: 4, queue: 4, ..Limits::default() };
    let running = Running::start(served, Access::default(), limits);
    let held = letters.gate.lock().unwrap();
    let mut waiting = running.client.connect();
    let body = json!({"input": ["a", "b", "c"]}).to_string();
    waiting.write_all(&running.client.message("POST", "/v1/embeddings", &[JSON], body.as_bytes())).unwrap();
    while running.client.metric("secateur_queue_items{queue=\"embed\"}") < 3.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = running.client.post("/v1/embeddings", &json!({"input": ["a", "b"]}));
    let error = refused.fails(429, "room for 4 items, 3 are in it, and the request has 2");
    assert_eq!(
        (error["type"].as_str(), refused.header("retry-after")),
        (Some("rate_limit_error"), Some("1"))
    );
    running.client.post("/v1/embeddings", &json!({"input": []})).fails(400, "empty");
    running.client.post("/v1/embeddings", &json!({"input": vec!["a"; 5]})).fails(400, "5 are too many");
    assert_eq!(running.client.metric("secateur_queue_refused_total{queue=\"embed\"}"), 1.0);
    let address = running.client.address;
    running.stop.stop();
    std::thread::sleep(Duration::from_millis(100));
    drop(held);
    assert_eq!(answer(&mut waiting).ok()["data"].as_array().unwrap().len(), 3);
    assert_eq!(running.end().last(), Some(&Event::Ending));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn rude_clients_are_refused_in_time() {
    let limits = Limits {
        body_bytes: 1_000_000,
        connections: 4,
        timeout: Duration::from_millis(700),
        idle: Duration::from_millis(500),
        ..Limits::default()
    };
    let access = Access { hosts: Hosts::Local, ..Access::default() };
    let running = Running::start(all(), access, limits);
    let client = &running.client;
    let post = |headers: &[&str], body: &[u8]| client.ask("POST", "/v1/embeddings", headers, body);
    post(&[JSON], b"").fails(400, "it is empty");
    post(&[JSON], b"{\"input\": \"a\xff\"}").fails(400, "byte 13 is no UTF-8");
    post(&[JSON], &b"[".repeat(10_000)).fails(400, "the JSON");
    post(&["content-type: text/plain"], b"{}").fails(415, "application/json");
    post(&[JSON], &vec![b' '; 10_000_000]).fails(413, "more than 1000000 bytes");
    client.ask("GET", "/info", &["host: evil.example"], b"").fails(403, "Host is \"evil.example\"");
    client.get("/nothing").fails(404, "/openapi.json");
    let other = client.get("/v1/embeddings");
    other.fails(405, "Allow");
    assert_eq!(other.header("allow"), Some("post"));
    assert_eq!(
        client.ask("GET", "/health", &["x-request-id: mine"], b"").header("x-request-id"),
        Some("mine")
    );
    let body = json!({"input": "half"}).to_string();
    ask_half_closed(client, &client.message("POST", "/v1/embeddings", &[JSON], body.as_bytes())).ok();

    // A body that never ends, a head that never ends, and nothing at all.
    let mut slow = client.connect();
    slow.write_all(&client.message("POST", "/embed", &[JSON, "content-length: 9"], b"")).unwrap();
    let mut head = client.connect();
    head.write_all(b"GET / HT").unwrap();
    let mut silent = client.connect();
    answer(&mut slow).fails(408, "did not arrive within 0.7 s");
    for stream in [&mut head, &mut silent] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{:?}", String::from_utf8_lossy(&rest));
    }
    let open: Vec<_> = (0..4).map(|_| client.connect()).collect();
    answer(&mut client.connect()).fails(503, "too many connections");
    drop(open);
    running.end();
}

#[test]
fn keys_are_asked_for() {
    let access = Access { keys: vec!["key".to_owned()], ..Access::default() };
    let running = Running::start(all(), access, Limits::default());
    let client = &running.client;
    client.get("/metrics").fails(401, "API key");
    client.ask("POST", "/", &[JSON], b"{\"inputs\": \"a\"}").fails(401, "API key");
    client.ask("GET", "/metrics", &["authorization: Bearer other"], b"").fails(401, "not one of");
    assert_eq!(client.ask("GET", "/metrics", &["authorization: Bearer key"], b"").status, 200);
    for path in ["/", "/health", "/openapi.json"] {
        assert_eq!(client.get(path).status, 200);
    }
    assert!(client.get("/").header("content-security-policy").is_some());
    running.end();
}
