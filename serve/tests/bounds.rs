//! What is held for requests has bounds: bodies, large answers, threads that wait.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use secateur_serve::{Access, Event, Limits, Served};
use serde_json::json;

use super::client::{Client, answer};
use super::fakes::{Letters, Shelf};
use super::{JSON, Running, all};

const HELD: &str = "secateur_held_bytes";

/// Waits until this metric is so.
#[track_caller]
fn wait_for(client: &Client, metric: &str, is_so: impl Fn(f64) -> bool) {
    let start = Instant::now();
    while !is_so(client.metric(metric)) {
        assert!(start.elapsed() < Duration::from_secs(30), "{metric} is {}", client.metric(metric));
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn head(client: &Client, more: &[&str]) -> TcpStream {
    let mut stream = client.connect();
    stream.write_all(&client.message("POST", "/embed", &[&[JSON], more].concat(), b"")).unwrap();
    stream
}

#[test]
fn bodies_beyond_the_budget_are_refused_before_they_are_held() {
    let limits = Limits { body_bytes: 1_000_000, held_bytes: 1_000_000, ..Limits::default() };
    let running = Running::start(all(), Access::default(), limits);
    let client = &running.client;
    let body = json!({"inputs": "a".repeat(900_000)}).to_string();
    let mut slow = head(client, &[&format!("content-length: {}", body.len())]);
    // What is announced takes nothing; what has come does.
    assert!(client.metric(HELD) < 100_000.0);
    slow.write_all(&body.as_bytes()[..800_000]).unwrap();
    wait_for(client, HELD, |held| held >= 800_000.0);

    let other = json!({"inputs": "b".repeat(200_000)}).to_string();
    let refused = client.ask("POST", "/embed", &[JSON], other.as_bytes());
    let error = refused.fails(429, "may take 1000000 bytes");
    assert_eq!((&error["code"], refused.header("retry-after")), (&json!("overloaded"), Some("1")));
    // A client that asks before it sends is told at once.
    let length = format!("content-length: {}", other.len());
    answer(&mut head(client, &[&length, "expect: 100-continue"])).fails(429, "this one needs 200");
    answer(&mut head(client, &["content-length: 2000000", "expect: 100-continue"]))
        .fails(413, "more than 1000000");
    // Nothing was said before of how long it is.
    let mut chunked = head(client, &["transfer-encoding: chunked"]);
    chunked.write_all(format!("{:x}\r\n{other}\r\n0\r\n\r\n", other.len()).as_bytes()).unwrap();
    answer(&mut chunked).fails(429, "try again later");
    // Small ones find room.
    client.post("/embed", &json!({"inputs": "a"})).ok();
    assert_eq!(client.metric("secateur_held_bytes_refused_total"), 3.0);

    slow.write_all(&body.as_bytes()[800_000..]).unwrap();
    answer(&mut slow).ok();
    wait_for(client, HELD, |held| held == 0.0);
    client.ask("POST", "/embed", &[JSON], other.as_bytes()).ok();
    // What a client that breaks off has sent is let go.
    let mut broken = head(client, &["content-length: 900000"]);
    broken.write_all(&body.as_bytes()[..500_000]).unwrap();
    wait_for(client, HELD, |held| held >= 500_000.0);
    drop(broken);
    wait_for(client, HELD, |held| held == 0.0);
    running.end();
}

#[test]
fn large_answers_are_counted_until_they_are_read() {
    const ITEMS: usize = 150_000;
    let limits = Limits { items: ITEMS, queue: ITEMS, held_bytes: 15_000_000, ..Limits::default() };
    let running = Running::start(all(), Access::default(), limits);
    let client = &running.client;
    let body = json!({"input": vec!["rose"; ITEMS]}).to_string();
    let message = client.message("POST", "/v1/embeddings", &[JSON], body.as_bytes());
    let mut slow = client.connect();
    slow.write_all(&message).unwrap();
    let mut first = [0; 12];
    slow.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    // The body was let go, and the answer does not fit into the buffers of the connection.
    let held = client.metric(HELD);
    assert!(held > 8_000_000.0, "{held}");
    let mut other = client.connect();
    other.write_all(&message).unwrap();
    answer(&mut other).fails(429, "bodies and answers of all requests may take 15000000 bytes");
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > 8_000_000 && rest.ends_with(b"}"), "{}", rest.len());
    wait_for(client, HELD, |held| held == 0.0);
    // So is that of a client that goes away in the midst of it.
    let mut gone = client.connect();
    gone.write_all(&message).unwrap();
    gone.read_exact(&mut first).unwrap();
    assert!(client.metric(HELD) > 8_000_000.0);
    drop(gone);
    wait_for(client, HELD, |held| held == 0.0);
    running.end();
}

/// More searches wait for a generation than threads search.
#[test]
fn a_generation_is_loaded_beside_searches() {
    let shelf = Shelf::new();
    let served = Served {
        encoder: Some(Letters::new()),
        database: Some(Arc::clone(&shelf) as _),
        ..Served::default()
    };
    let running = Running::start(served, Access::default(), Limits::default());
    let client = &running.client;
    let gate = shelf.gate.lock().unwrap();
    std::thread::scope(|scope| {
        let ask = || client.post("/search", &json!({"query": "rose", "generation": "other"})).ok();
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        wait_for(client, "secateur_connections", |open| open >= 8.0);
        for _ in 0..3 {
            client.post("/search", &json!({"query": "rose"})).ok();
            client.post("/embed", &json!({"inputs": "a"})).ok();
        }
        assert!(waiting.iter().all(|one| !one.is_finished()));
        drop(gate);
        for one in waiting {
            assert_eq!(one.join().unwrap()["generation"], "other");
        }
    });
    assert_eq!(shelf.loads.load(Ordering::Relaxed), 1);
    let failed = client.post("/search", &json!({"query": "rose", "generation": "broken"}));
    failed.fails(500, "the server failed at request");
    assert!(!failed.text().contains("secret"), "{}", failed.text());
    let told =
        |event: &Event| matches!(event, Event::Failed { fault, .. } if fault.message().contains("secret"));
    assert!(running.end().iter().any(told));
}
