//! A set whose shards are served, as users search it.

use serde_json::{Value, json};

use crate::serve::server::Server;
use crate::support::{Sandbox, dataset, ids, model};

fn write(sandbox: &Sandbox, name: &str, value: &Value) {
    std::fs::write(sandbox.path(name), value.to_string()).unwrap();
}

/// Searched, evaluated and tuned over HTTP, with the answers of the folders.
#[test]
fn a_set_of_servers() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    // So many that each shard has a graph to tune.
    dataset::generated(&sandbox.path("data"), 3300);
    dataset::write(&sandbox.path("data"), "queries.jsonl", "{\"_id\": \"q\", \"text\": \"honey bread\"}\n");
    dataset::write(&sandbox.path("data"), "qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\tdoc-7\t1\n");
    let plan =
        ["shards", "plan", "data", "--encoder", "tiny", "--index", "hnsw", "--shards", "3", "--out", "set"];
    sandbox.run(plan).ok();
    sandbox.run(["shards", "build", "set", "0", "1", "2"]).ok();
    sandbox.run(["shards", "finish", "set"]).ok();
    std::fs::write(sandbox.path("keys.txt"), "secret\n").unwrap();
    let server = |number: usize| {
        let shard = format!("set/shard-{number:05}");
        Server::start(&sandbox, &[&shard, "--api-keys", "keys.txt"])
    };
    let mut servers: Vec<Server> = (0..3).map(server).collect();
    let url = |server: &Server| format!("http://{}", server.address);
    let shards: Vec<Value> = servers.iter().map(|server| json!({"replicas": [url(server)]})).collect();
    let servers_json = json!({"shards": shards, "manifest": "set/manifest.json", "api_key_file": "keys.txt"});
    write(&sandbox, "servers.json", &servers_json);

    // The file names the encoder of the folders, which is not where the servers' names lead.
    let encoder = ["--encoder", "tiny"];
    for options in [&["--mode", "bm25"][..], &["--mode", "dense", "--encoder", "tiny"], &encoder] {
        let answer = |command: &[&str], what: &str| {
            let search = [what, "honey bread", "--json", "-k", "20"];
            sandbox.run(command.iter().chain(&search).chain(options)).json()
        };
        let expected = answer(&["search"], "set");
        assert!(ids(&expected).len() >= 5, "{expected}");
        assert_eq!(answer(&["shards", "search"], "servers.json"), expected);
        let eval = |command: &[&str], what: &str| {
            sandbox.run(command.iter().chain(&[what, "data", "--json"]).chain(options)).json()
        };
        assert_eq!(eval(&["shards", "eval"], "servers.json"), eval(&["eval"], "set"));
    }
    let filtered = ["--mode", "bm25", "--filter", "yeer > 2000"];
    sandbox.run(["search", "servers.json", "honey"].iter().chain(&filtered)).fails(2, ["yeer"]);
    let tune = |what: &str, more: &[&str]| {
        let arguments = ["shards", "tune", what, "data", "--encoder", "tiny", "-k", "1", "--json"];
        sandbox.run(arguments.iter().chain(more))
    };
    let without_times = |mut curve: Value| {
        curve["points"].as_array_mut().unwrap().iter_mut().for_each(|point| point["seconds"] = Value::Null);
        curve
    };
    let curve = without_times(tune("servers.json", &["--dry-run"]).json());
    assert_eq!(curve, without_times(tune("set", &["--dry-run"]).json()));
    tune("servers.json", &[]).fails(2, ["--dry-run"]);

    // A server is gone.
    let gone = servers.remove(1);
    let at = url(&gone);
    drop(gone);
    let search = ["search", "servers.json", "honey bread", "--mode", "bm25"];
    let more = |more: &[&str]| sandbox.run(search.iter().chain(more));
    more(&[]).fails(1, ["shard 1", at.as_str()]);
    let text = more(&["--partial"]).ok();
    assert!(text.contains(&format!("shard 1 ({at}) is missing: {at} cannot be asked")), "{text}");
    let answer = more(&["--partial", "--json"]).json();
    let missing = answer["missing_shards"].as_array().unwrap();
    assert_eq!((missing.len(), &missing[0]["shard"], &missing[0]["place"]), (1, &json!(1), &json!(at)));
    assert!(!ids(&answer).is_empty());
    sandbox
        .run(["search", "set", "honey", "--mode", "bm25", "--partial"])
        .fails(2, ["--partial does nothing"]);
    let lines = sandbox
        .run(["search", "servers.json", "--queries", "data/queries.jsonl", "--mode", "bm25", "--partial"])
        .ok();
    assert!(lines.lines().all(|line| line.contains("\"missing_shards\":[{\"shard\":1,")), "{lines}");
    // Another one takes its place.
    let again = server(1);
    let mut replaced = servers_json.clone();
    replaced["shards"][1]["replicas"] = json!([at, url(&again)]);
    write(&sandbox, "servers.json", &replaced);
    assert_eq!(
        more(&["--json"]).json(),
        sandbox.run(["search", "set", "honey bread", "--mode", "bm25", "--json"]).json()
    );

    // What is tuned where the folders are is another state.
    let tuned = without_times(tune("set", &[]).json());
    assert_eq!(tuned, curve);
    assert!(sandbox.run(["shards", "status", "set"]).ok().contains("3 of 3 shards built, finished"));
    write(&sandbox, "servers.json", &json!({"shards": [{"replicas": ["10.0.0.1:8080"]}]}));
    more(&[]).fails(3, ["servers.json: shards[0].replicas[0]: it is \"10.0.0.1:8080\"", "http://"]);
    sandbox.run(["search", "none.json", "honey"]).fails(3, ["none.json"]);
}
