//! Embeddings and reranking, in the forms of three interfaces.

use std::collections::HashSet;
use std::sync::Barrier;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secateur::encode::{CrossEncoder, default_encoder};
use secateur::encoders::TextKind;
use secateur::{Encoder, LoadOptions};
use serde_json::{Value, json};

use super::server::Server;
use crate::support::{Sandbox, model};

const TEXTS: [&str; 3] = ["Prune roses in late winter.", "Bees dance.", "ein Stück Brot 🍞"];

fn encoder() -> Encoder {
    default_encoder(&LoadOptions::default()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

fn vectors(answer: &Value) -> Vec<Vec<f32>> {
    let data = answer["data"].as_array().unwrap();
    assert!(data.iter().enumerate().all(|(place, one)| one["index"] == place));
    data.iter().map(|one| floats(&one["embedding"])).collect()
}

#[test]
fn openais_embeddings_are_the_encoders_vectors() {
    let (sandbox, encoder) = (Sandbox::new(), encoder());
    let server = Server::start(&sandbox, &["--encoder", "default"]);
    let dim = encoder.dim();
    let expected = |texts: &[&str], kind| -> Vec<Vec<f32>> {
        encoder.encode(texts, kind).unwrap().chunks_exact(dim).map(<[f32]>::to_vec).collect()
    };
    let ask = |body: Value| server.post("/v1/embeddings", &body);
    let answer = ask(json!({"model": "any", "input": TEXTS, "user": "me"})).ok();
    assert_eq!(vectors(&answer), expected(&TEXTS, TextKind::Passage));
    let tokens = encoder.tokenize(&TEXTS, TextKind::Passage).unwrap();
    let count: usize = tokens.iter().map(Vec::len).sum();
    assert_eq!(answer["usage"], json!({"prompt_tokens": count, "total_tokens": count}));
    assert_eq!((answer["object"].as_str(), answer["model"].as_str()), (Some("list"), Some(encoder.name())));

    let one = ask(json!({"input": TEXTS[0], "input_type": "query"})).ok();
    assert_eq!(vectors(&one), expected(&TEXTS[..1], TextKind::Query));
    assert_eq!(vectors(&ask(json!({"input": tokens})).ok()), expected(&TEXTS, TextKind::Passage));
    assert_eq!(vectors(&ask(json!({"input": tokens[1]})).ok()), expected(&TEXTS[1..2], TextKind::Passage));

    let coded = ask(json!({"input": TEXTS, "encoding_format": "base64"})).ok();
    for (one, vector) in coded["data"].as_array().unwrap().iter().zip(expected(&TEXTS, TextKind::Passage)) {
        let bytes = STANDARD.decode(one["embedding"].as_str().unwrap()).unwrap();
        let decoded: Vec<f32> =
            bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        assert_eq!(decoded, vector);
    }
    // Cut, and of length 1 again.
    let cut = vectors(&ask(json!({"input": TEXTS[0], "dimensions": 16})).ok()).remove(0);
    let whole = &expected(&TEXTS[..1], TextKind::Passage)[0];
    let length = whole[..16].iter().map(|x| x * x).sum::<f32>().sqrt();
    assert_eq!(cut.len(), 16);
    assert!(cut.iter().zip(whole).all(|(cut, whole)| (cut - whole / length).abs() < 1e-6));
}

#[test]
fn what_is_wrong_with_a_request_is_told() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--encoder", "default", "--max-items", "4", "--max-waiting", "4"]);
    let long = "bees ".repeat(2000);
    for (path, body, status, part, param) in [
        ("/v1/embeddings", json!({}), 400, "missing field `input`", None),
        ("/v1/embeddings", json!({"input": []}), 400, "input: it is empty", Some("input")),
        ("/v1/embeddings", json!({"input": [[]]}), 400, "text 0 has no token", Some("input")),
        ("/v1/embeddings", json!({"input": 7}), 400, "expected a string, a list of strings", None),
        ("/v1/embeddings", json!({"input": ["a", 7]}), 400, "expected a string, a list of strings", None),
        ("/v1/embeddings", json!({"input": [999_999]}), 400, "text 0 has the token 999999", Some("input")),
        (
            "/v1/embeddings",
            json!({"input": "a", "dimensions": 0}),
            400,
            "0 is not in 1 to",
            Some("dimensions"),
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "dimensions": 9999}),
            400,
            "9999 is not in",
            Some("dimensions"),
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "encoding_format": "hex"}),
            400,
            "unknown variant `hex`",
            None,
        ),
        (
            "/v1/embeddings",
            json!({"input": vec!["a"; 5]}),
            400,
            "5 are too many, 4 are allowed",
            Some("input"),
        ),
        ("/embed", json!({"inputs": long, "truncate": false}), 400, "text 0 is longer than", Some("inputs")),
        ("/embed", json!({"inputs": "a", "normalize": false}), 400, "vectors of length 1", Some("normalize")),
        (
            "/embed",
            json!({"inputs": "a", "prompt_name": "x"}),
            400,
            "there is no prompt",
            Some("prompt_name"),
        ),
        (
            "/embed",
            json!({"inputs": "a", "truncation_direction": "left"}),
            400,
            "at their end",
            Some("truncation_direction"),
        ),
        ("/rerank", json!({"query": "a", "texts": ["b"]}), 404, "--reranker MODEL", None),
        ("/rerank", json!({"query": "a"}), 400, "`documents` or the list of strings `texts`", None),
        ("/search", json!({"query": "a"}), 404, "secateur serve DB", None),
        ("/documents", json!({"documents": []}), 404, "secateur serve DB", None),
        ("/v1/nothing", json!({}), 404, "/openapi.json", None),
    ] {
        let error = server.post(path, &body).fails(status, part);
        assert_eq!(error["param"].as_str(), param, "{path} {body}");
    }
    let refused = server.get("/v1/embeddings");
    refused.fails(405, "Allow");
    assert_eq!(refused.header("allow"), Some("post"));
    assert!(!server.said().contains("warning"), "{}", server.said());
}

#[test]
fn other_interfaces_embed_the_same() {
    let (sandbox, encoder) = (Sandbox::new(), encoder());
    let server = Server::start(&sandbox, &["--encoder", "default"]);
    let expected: Vec<Vec<f32>> = encoder
        .encode(&TEXTS, TextKind::Passage)
        .unwrap()
        .chunks_exact(encoder.dim())
        .map(<[f32]>::to_vec)
        .collect();
    for path in ["/embed", "/"] {
        let answer = server.post(path, &json!({"inputs": TEXTS, "truncate": true, "normalize": true})).ok();
        let got: Vec<Vec<f32>> = answer.as_array().unwrap().iter().map(floats).collect();
        assert_eq!(got, expected);
    }
    let query = server.post("/embed", &json!({"inputs": TEXTS[0], "prompt_name": "query"})).ok();
    assert_eq!(floats(&query[0]), encoder.encode(&TEXTS[..1], TextKind::Query).unwrap());
    // What is as long as may be is not longer.
    assert_eq!(server.post("/embed", &json!({"inputs": TEXTS[0], "truncate": false})).status, 200);

    let info = server.get("/info").ok();
    assert_eq!(info["model_id"], encoder.name());
    assert_eq!(info["max_input_length"], encoder.max_length());
    assert_eq!(info["model_type"]["embedding"]["pooling"], encoder.settings().pooling.to_string());
    assert_eq!((&info["dimension"], &info["database"]), (&json!(encoder.dim()), &json!(false)));
    assert_eq!(server.get("/v1/models").ok()["data"][0]["id"], encoder.name());
    let health = server.ask("GET", "/health", &["x-request-id: mine-1"], b"");
    assert_eq!((health.status, health.header("x-request-id")), (200, Some("mine-1")));
    assert_eq!(server.get("/health").header("x-request-id").unwrap().len(), 32);
}

#[test]
fn rerankers_answer_in_three_forms() {
    let sandbox = Sandbox::new();
    model::tiny_cross_encoder(&sandbox.path("model"));
    let server = Server::start(&sandbox, &["--reranker", "model"]);
    let scorer = CrossEncoder::load(sandbox.path("model"), &LoadOptions::default()).unwrap();
    let query = "when are roses cut";
    let pairs: Vec<(&str, &str)> = TEXTS.iter().map(|text| (query, *text)).collect();
    let logits = scorer.score(&pairs).unwrap();
    let mut order: Vec<usize> = (0..3).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let sigmoid = |logit: f32| 1.0 / (1.0 + (-f64::from(logit)).exp());

    for path in ["/v1/rerank", "/v2/rerank", "/rerank"] {
        let documents = json!([TEXTS[0], {"text": TEXTS[1]}, TEXTS[2]]);
        let asked = json!({"model": "m", "query": query, "documents": documents, "return_documents": true});
        let answer = server.post(path, &asked).ok();
        let results = answer["results"].as_array().unwrap();
        let got: Vec<usize> = results.iter().map(|one| one["index"].as_u64().unwrap() as usize).collect();
        assert_eq!(got, order);
        for one in results {
            let index = one["index"].as_u64().unwrap() as usize;
            assert!((one["relevance_score"].as_f64().unwrap() - sigmoid(logits[index])).abs() < 1e-6);
            assert_eq!(one["document"]["text"], TEXTS[index]);
        }
        assert_eq!(answer["model"], "model");
    }
    let top = server.post("/v1/rerank", &json!({"query": query, "documents": TEXTS, "top_n": 1})).ok();
    assert_eq!(top["results"].as_array().unwrap().len(), 1);
    assert_eq!(top["results"][0]["index"], order[0]);
    let raw = json!({"query": query, "texts": TEXTS, "raw_scores": true, "return_text": true});
    let raw = server.post("/rerank", &raw).ok();
    for (one, index) in raw.as_array().unwrap().iter().zip(&order) {
        assert_eq!(one["score"].as_f64().unwrap() as f32, logits[*index]);
        assert_eq!((&one["index"], &one["text"]), (&json!(index), &json!(TEXTS[*index])));
    }
    let cooked = server.post("/rerank", &json!({"query": query, "texts": TEXTS})).ok();
    assert!(cooked[0].get("text").is_none() && cooked[0]["score"].as_f64().unwrap() < 1.0);
    server.post("/v1/rerank", &json!({"query": "a", "documents": ["b"], "top_n": 0})).fails(400, "top_n");
    server.post("/v1/rerank", &json!({"query": "a", "documents": []})).fails(400, "documents: it is empty");
    server.post("/v1/embeddings", &json!({"input": "a"})).fails(404, "--encoder MODEL");
}

/// Clients that ask together get what each asks for by itself.
#[test]
fn clients_share_batches_and_a_full_queue_is_said() {
    let (sandbox, encoder) = (Sandbox::new(), encoder());
    let server = Server::start(&sandbox, &["--encoder", "default"]);
    let text = |number: usize| format!("Text {number} of some, {}", "and so on ".repeat(number % 7));
    std::thread::scope(|scope| {
        for number in 0..24 {
            let (server, encoder) = (&server, &encoder);
            scope.spawn(move || {
                let text = text(number);
                let answer = server.post("/v1/embeddings", &json!({"input": text})).ok();
                assert_eq!(vectors(&answer)[0], encoder.encode(&[&text], TextKind::Passage).unwrap());
            });
        }
    });
    assert_eq!(server.metric("secateur_batch_items_sum{queue=\"embed\"}"), 24.0);
    assert!(server.metric("secateur_batch_items_count{queue=\"embed\"}") <= 24.0);
    server.wait_until(|server| server.metric("secateur_queue_items{queue=\"embed\"}") == 0.0);

    let narrow = ["--encoder", "default", "--max-items", "8", "--max-waiting", "8"];
    let server = Server::start(&sandbox, &narrow);
    let all_at_once = Barrier::new(16);
    let statuses: HashSet<u16> = std::thread::scope(|scope| {
        let (server, all_at_once) = (&server, &all_at_once);
        let ask = move || {
            let body = json!({"input": vec!["bees ".repeat(5000); 8]});
            all_at_once.wait();
            let answer = server.post("/v1/embeddings", &body);
            if answer.status == 429 {
                answer.fails(429, "room for 8 items, 8 are in it, and the request has 8");
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
            answer.status
        };
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(statuses, HashSet::from([200, 429]));
    assert!(server.metric("secateur_queue_refused_total{queue=\"embed\"}") >= 1.0);
}
