//! The routes of a shard: what is refused before the database is asked, and states that are gone.

use secateur_serve::{Access, Limits, Served};
use serde_json::{Value, json};

use super::fakes::Shelf;
use super::{Running, all, writable};

fn question(snapshot: &Value, ask: Value) -> Value {
    json!({"snapshot": snapshot, "ask": ask})
}

#[test]
fn questions_are_about_one_state() {
    let running = Running::start(all(), writable(), Limits::default());
    let client = &running.client;
    let info = client.post("/shard/info", &json!({})).ok();
    assert_eq!(info["answer"]["facts"]["documents"], 3);
    assert_eq!(info["answer"]["limits"]["items"], Limits::default().items);
    assert_eq!(info["answer"]["limits"]["queries"], 64);
    assert_eq!(info["answer"]["limits"]["hits_of_query"], 10_000);
    let many = json!({"vectors": vec![[0]; 65], "k": 1});
    client.post("/shard/exact", &question(&info["snapshot"], many)).fails(400, "65 are too many");
    let ask = question(&info["snapshot"], json!({"ids": ["a", "no"]}));
    let found = client.post("/shard/contains", &ask).ok();
    assert_eq!((&found["answer"]["found"], &found["snapshot"]), (&json!([true, false]), &info["snapshot"]));

    client.post("/documents", &json!({"documents": [{"id": "new", "text": "one"}]})).ok();
    let error = client.post("/shard/contains", &ask).fails(409, "it is at commit 2");
    assert_eq!(error["code"], "snapshot_gone");
    // Other conflicts have another code.
    let error =
        client.post("/documents", &json!({"documents": [{"id": "new", "text": "one"}]})).fails(409, "new");
    assert_eq!(error["code"], "conflict");
    // A generation is loaded first.
    let info = client.post("/shard/info", &json!({"generation": "other"})).ok();
    assert_eq!(info["snapshot"]["generation"], "other");
    client.post("/shard/info", &json!({"generation": "broken"})).fails(500, "log says why");
    let text = client.get("/metrics").text();
    assert!(text.contains("secateur_batch_items_count{queue=\"shard\"} 4"), "{text}");
    assert!(text.contains("route=\"/shard/contains\",method=\"POST\",status=\"409\"} 1"), "{text}");
    running.end();
}

#[test]
fn limits_and_keys_are_those_of_the_server() {
    let limits = Limits { items: 3, hits: 5, ..Limits::default() };
    let access = Access { keys: vec!["secret".to_owned()], ..Access::default() };
    let served = || Served { database: Some(Shelf::new()), ..Served::default() };
    let running = Running::start(served(), access, Limits::default());
    for route in
        ["info", "statistics", "search", "exact", "documents", "contains", "passages", "filter", "fields"]
    {
        running.client.post(&format!("/shard/{route}"), &json!({})).fails(401, "API key");
    }
    running.end();

    let running = Running::start(served(), Access::default(), limits);
    let client = &running.client;
    let snapshot = client.post("/shard/info", &json!({})).ok()["snapshot"].clone();
    let ask = |route: &str, ask: Value| client.post(&format!("/shard/{route}"), &question(&snapshot, ask));
    let search = |change: Value| {
        let mut search = json!({"queries": ["a"], "statistics": {"num_docs": 0, "num_terms": 0, "frequencies": {}},
            "k": 5, "k1": 0, "b": 0});
        search.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        ask("search", search)
    };
    search(json!({})).fails(400, "came through");
    search(json!({"k": 50, "ef": 50})).fails(400, "came through");
    for (change, part) in [
        (json!({"k": 51}), "k: 51 is more than 50"),
        (json!({"ef": 51}), "ef: 51 is not in 1 to 50"),
        (json!({"ef": 0}), "ef: 0"),
        (json!({"queries": null}), "vectors, queries or both"),
        (json!({"vectors": [[1], [2]]}), "their number is 2, and that of queries 1"),
        (json!({"statistics": null}), "statistics"),
        (json!({"queries": ["a", "b", "c", "d"]}), "4 are too many"),
        (json!({"queries": ["a".repeat(65_537)]}), "65537 bytes"),
        (json!({"k1": -1}), "-1"),
        (json!({"limit": 1}), "unknown field `limit`"),
    ] {
        search(change).fails(400, part);
    }
    ask("exact", json!({"vectors": [[0], [0], [0], [0]], "k": 1})).fails(400, "4 are too many");
    for (route, field) in [("statistics", "terms"), ("documents", "ids"), ("contains", "ids")] {
        ask(route, json!({field: ["a", "b", "c", "d"]})).fails(400, field);
    }
    client.post("/shard/fields", &json!({"ask": {}})).fails(400, "snapshot");
    assert_eq!(client.get("/shard/info").status, 405);
    running.end();

    // Room in the queue is for what is in a request.
    let running = Running::start(served(), Access::default(), Limits { queue: 2, ..Limits::default() });
    let ask = |ids: Value| running.client.post("/shard/contains", &question(&snapshot, json!({"ids": ids})));
    ask(json!(["a", "b"])).ok();
    ask(json!(["a", "b", "no"])).fails(429, "the request has 3");
    running.end();

    let running = Running::start(
        Served { encoder: all().encoder, ..Served::default() },
        Access::default(),
        Limits::default(),
    );
    running.client.post("/shard/info", &json!({})).fails(404, "no database is served");
    running.end();
}
