//! The Model Context Protocol over HTTP.

use secateur_serve::{Access, Hosts, Limits, Served};
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::fakes::Shelf;
use super::{Running, all};

const HEADERS: [&str; 2] = ["content-type: application/json", "accept: application/json, text/event-stream"];

fn post(client: &Client, more: &[&str], message: &Value) -> Answer {
    client.ask("POST", "/mcp", &[&HEADERS[..], more].concat(), message.to_string().as_bytes())
}

/// The answer to a request of the protocol.
fn ask(client: &Client, method: &str, params: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let answer = post(client, &["mcp-protocol-version: 2025-11-25"], &message).ok();
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)), "{answer}");
    answer
}

/// What a tool gives, which must be the same as text and as structure.
fn call(client: &Client, tool: &str, arguments: Value) -> Value {
    let answer = ask(client, "tools/call", json!({"name": tool, "arguments": arguments}));
    let result = &answer["result"];
    assert_eq!(result["isError"], false, "{answer}");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result["structuredContent"]);
    result["structuredContent"].clone()
}

/// What a tool says is wrong.
fn fails(client: &Client, tool: &str, arguments: Value, part: &str) {
    let answer = ask(client, "tools/call", json!({"name": tool, "arguments": arguments}));
    let result = &answer["result"];
    assert_eq!(result["isError"], true, "{answer}");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(part), "no {part:?} in {text:?}");
}

fn initialize(version: &str) -> Value {
    json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
}

#[test]
fn an_agent_learns_searches_and_reads() {
    let running = Running::start(all(), Access::default(), Limits { hits: 40, ..Limits::default() });
    let client = &running.client;
    for version in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let message =
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize(version)});
        let result = post(client, &[], &message).ok()["result"].clone();
        assert_eq!(
            (&result["protocolVersion"], &result["serverInfo"]["name"]),
            (&json!(version), &json!("secateur"))
        );
        assert!(result["instructions"].as_str().unwrap().contains("`search`"));
        assert!(result["capabilities"]["tools"].is_object());
    }
    let begun = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(client, &[], &begun).status, 202);

    let tools = ask(client, "tools/list", json!({}))["result"]["tools"].clone();
    let names: Vec<&str> =
        tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["search", "fetch", "list", "info"]);
    for tool in tools.as_array().unwrap() {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["type"], "object", "{tool}");
        }
    }
    let properties = &tools[0]["inputSchema"]["properties"];
    assert_eq!((&properties["k"]["maximum"], &properties["rerank"]["maximum"]), (&json!(40), &json!(40)));

    let found = call(client, "search", json!({"query": "rose"}));
    let a = json!({"id": "a", "title": "a", "text": "one rose", "score": 1.0});
    assert_eq!((&found["results"][0], &found["mode"], &found["commit"]), (&a, &json!("bm25"), &json!(1)));
    // The longer one is better to the cross-encoder.
    let reranked = call(client, "search", json!({"query": "rose", "rerank": 5, "k": 1}));
    assert_eq!((&reranked["results"][0]["id"], &reranked["reranked"]), (&json!("b"), &json!(true)));

    let whole = call(client, "fetch", json!({"id": "c/d"}));
    assert_eq!(whole, json!({"id": "c/d", "title": "c/d", "text": "bread", "characters": 5}));
    let part = call(client, "fetch", json!({"id": "b", "start": 4, "length": 5}));
    assert_eq!(
        (&part["text"], &part["next_start"], &part["characters"]),
        (&json!("roses"), &json!(9), &json!(18))
    );
    let rest = call(client, "fetch", json!({"id": "b", "start": part["next_start"], "length": null}));
    assert_eq!((&rest["text"], rest.get("next_start")), (&json!(" and more"), None));

    let first = call(client, "list", json!({"limit": 2}));
    assert_eq!((&first["total"], &first["next_start"]), (&json!(3), &json!(2)));
    let second = call(client, "list", json!({"start": first["next_start"]}));
    assert_eq!((&second["documents"][0]["id"], second.get("next_start")), (&json!("c/d"), None));
    assert_eq!(call(client, "list", json!({"start": 9}))["documents"], json!([]));
    assert_eq!(call(client, "info", json!({})), json!({"documents": 3}));
    // Arguments may be left out.
    assert_eq!(ask(client, "tools/call", json!({"name": "info"}))["result"]["isError"], false);
    assert!(client.metric("secateur_requests_total{route=\"/mcp\",method=\"POST\",status=\"200\"}") > 10.0);
    running.end();
}

#[test]
fn wrong_calls_are_told_what_is_wrong() {
    let served = Served { database: Some(Shelf::new()), ..Served::default() };
    let running = Running::start(served, Access::default(), Limits::default());
    let client = &running.client;
    for (tool, arguments, part) in [
        ("search", json!({}), "missing field `query`"),
        ("search", json!({"query": 1}), "expected a string"),
        ("search", json!({"query": " "}), "query: it is empty"),
        ("search", json!({"query": "rose", "k": 0}), "k: 0 is not in 1 to 1000"),
        ("search", json!({"query": "rose", "k": 1_000_000}), "k: 1000000 is not in 1 to 1000"),
        ("search", json!({"query": "rose", "k": -1}), "expected usize"),
        ("search", json!({"query": "rose", "snippet": 100_000}), "snippet: 100000 is not in 1 to 10000"),
        ("search", json!({"query": "rose", "top": 1}), "unknown field `top`, expected one of `query`, `k`"),
        ("search", json!({"query": "rose", "rerank": 3}), "--reranker MODEL"),
        ("fetch", json!({"id": "no"}), "no document has the id \"no\": take ids that `search`"),
        ("fetch", json!({"id": "a", "start": 9}), "start: 9 is beyond the 8 characters"),
        ("fetch", json!({"id": "a", "length": 0}), "length: 0 is not in 1 to"),
        ("list", json!({"limit": 1001}), "limit: 1001 is not in 1 to 1000"),
        ("list", json!({"filter": "year <"}), "filter: year <"),
        ("info", json!({"id": "a"}), "unknown field `id`"),
    ] {
        fails(client, tool, arguments, part);
    }
    let long = json!({"query": "rose ".repeat(60_000)});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": long}});
    let refused = post(client, &[], &message);
    assert_eq!(refused.status, 413);
    let tools = ask(client, "tools/list", json!({}))["result"]["tools"].clone();
    assert_eq!(tools[0]["inputSchema"]["properties"].get("rerank"), None);
    let unknown = ask(client, "tools/call", json!({"name": "delete", "arguments": {}}));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    let message = unknown["error"]["message"].as_str().unwrap();
    assert_eq!(message, "there is no tool \"delete\": there are search, fetch, list, info");
    assert_eq!(ask(client, "resources/list", json!({}))["error"]["code"], -32601);
    running.end();
}

#[test]
fn strangers_and_other_methods_are_refused() {
    let access = Access { hosts: Hosts::Local, ..Access::default() };
    let running = Running::start(all(), access, Limits { body_bytes: 10_000, ..Limits::default() });
    let client = &running.client;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for good in ["http://localhost:6274", "http://127.0.0.1"] {
        assert_eq!(post(client, &[&format!("origin: {good}")], &ping).ok()["result"], json!({}));
    }
    for bad in ["https://evil.example", "null"] {
        post(client, &[&format!("origin: {bad}")], &ping).fails(403, "pages of other sites");
    }
    post(client, &["host: evil.example", "origin: http://evil.example"], &ping).fails(403, "Host is");
    for method in ["GET", "DELETE"] {
        let refused = client.ask(method, "/mcp", &HEADERS, b"");
        refused.fails(405, "does not answer to this method");
        assert_eq!(refused.header("allow"), Some("post"));
    }
    assert_eq!(client.ask("POST", "/mcp", &HEADERS[..1], ping.to_string().as_bytes()).status, 406);
    client.ask("POST", "/mcp", &HEADERS[1..], b"{}").fails(415, "application/json");
    client.ask("POST", "/mcp", &HEADERS, b"{").fails(400, "the JSON that is expected");
    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": "a".repeat(20_000)}});
    post(client, &[], &large).fails(413, "more than 10000 bytes");
    for other in [json!([]), json!({}), json!({"jsonrpc": "2.0", "id": 1}), json!([[[[]]]])] {
        let refused = post(client, &[], &other);
        assert!((400..500).contains(&refused.status), "{other}: {refused:?}");
    }
    assert_eq!(post(client, &["mcp-protocol-version: 1999-01-01"], &ping).status, 400);
    running.end();

    let access = Access { keys: vec!["key".to_owned()], ..Access::default() };
    let running = Running::start(all(), access, Limits::default());
    post(&running.client, &[], &ping).fails(401, "API key");
    post(&running.client, &["authorization: Bearer key"], &ping).ok();
    running.end();

    let running = Running::start(Served::default(), Access::default(), Limits::default());
    post(&running.client, &[], &ping).fails(404, "no database is served");
    running.end();
}
