//! Clients that leave before they are answered: what they asked for is not computed.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secateur_serve::{Access, Limits, Served};
use serde_json::json;

use super::client::answer;
use super::fakes::Letters;
use super::{JSON, Running};

const WAITING: &str = "secateur_queue_items{queue=\"embed\"}";

#[test]
fn what_nobody_waits_for_is_not_computed() {
    let letters = Letters::new();
    let served = Served { encoder: Some(Arc::clone(&letters) as _), ..Served::default() };
    let running = Running::start(served, Access::default(), Limits::default());
    let client = &running.client;
    let wait_for = |items: f64| {
        let start = Instant::now();
        while client.metric(WAITING) != items {
            let (said, expected) = (client.metric(WAITING), items);
            assert!(start.elapsed() < Duration::from_secs(10), "{said} wait, and not {expected}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let ask = |text: &str| {
        let body = json!({"input": vec![text; 10]}).to_string();
        let mut stream = client.connect();
        stream.write_all(&client.message("POST", "/v1/embeddings", &[JSON], body.as_bytes())).unwrap();
        stream
    };
    // The first one is computed, and those behind it wait.
    let held = letters.gate.lock().unwrap();
    let mut first = ask("aa");
    wait_for(10.0);
    std::thread::sleep(Duration::from_millis(50));
    let closed = ask("bbb");
    let mut half_closed = ask("cccc");
    half_closed.shutdown(Shutdown::Write).unwrap();
    // A connection with an answer that is not read is reset when it is closed.
    let mut reset = client.connect();
    let get = format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", client.address);
    let body = json!({"input": vec!["ddddd"; 10]}).to_string();
    let post = client.message("POST", "/v1/embeddings", &[JSON], body.as_bytes());
    reset.write_all(&[get.as_bytes(), &post].concat()).unwrap();
    reset.peek(&mut [0; 1]).unwrap();
    wait_for(40.0);
    drop(reset);
    wait_for(30.0);
    drop(closed);
    wait_for(20.0);
    // A client that only closed its half is there, and is answered.
    std::thread::sleep(Duration::from_millis(200));
    wait_for(20.0);
    drop(held);
    answer(&mut first).ok();
    let mut said = Vec::new();
    half_closed.read_to_end(&mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    // It was asked whether it is there, once.
    assert!(said.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{said}");
    assert!(said.contains("[4.0,99.0,0.0]"), "{said}");
    wait_for(0.0);
    assert_eq!(client.metric("secateur_tokens_total"), 60.0);
    let gone = "secateur_requests_total{route=\"/v1/embeddings\",method=\"POST\",status=\"499\"}";
    assert_eq!(client.metric(gone), 2.0);
    running.end();
}
