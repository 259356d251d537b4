//! A database that is served: searched, read, changed, and changed by others meanwhile.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::Server;
use crate::support::dataset::write;
use crate::support::{Sandbox, ids, mini, model};

const NOTES: &str = r#"{"id": "n1", "title": "Roses", "text": "Prune roses in late winter.", "year": 2021, "tags": ["garden"]}
{"id": "n2", "text": "Bread rises overnight.", "year": 2019}
{"id": "a/b", "title": "Bees", "text": "Bees dance to tell where food is."}
"#;

fn notes() -> Sandbox {
    let sandbox = Sandbox::new();
    write(&sandbox.path("."), "notes.jsonl", NOTES);
    sandbox.run(["index", "notes.jsonl", "--encoder", "default", "--out", "db"]).ok();
    sandbox
}

fn doc_ids(answer: &Value) -> Vec<&str> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["doc_id"].as_str().unwrap()).collect()
}

#[test]
fn searches_find_what_the_command_finds() {
    let sandbox = Sandbox::new();
    let data = mini().display().to_string();
    sandbox.run(["index", &data, "--encoder", "default", "--passages", "60,10", "--out", "db"]).ok();
    model::tiny_cross_encoder(&sandbox.path("model"));
    let server = Server::start(&sandbox, &["db", "--reranker", "model"]);
    let query = "how do bees tell each other where food is";
    for (more, arguments) in [
        (json!({}), vec![]),
        (json!({"mode": "dense"}), vec!["--mode", "dense"]),
        (json!({"mode": "bm25", "k1": 1.2, "b": 0.75}), vec!["--mode", "bm25", "--k1", "1.2", "--b", "0.75"]),
        (
            json!({"mode": "hybrid", "fusion": "sum", "dense_weight": 0.5, "candidates": 20}),
            vec!["--mode", "hybrid", "--fusion", "sum", "--dense-weight", "0.5", "--candidates", "20"],
        ),
        (json!({"filter": "year >= 2015"}), vec!["--filter", "year >= 2015"]),
    ] {
        let mut asked = json!({"query": query, "k": 5});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let got = server.post("/search", &asked).ok();
        let command = ["search", "db", query, "-k", "5", "--json"];
        let expected = sandbox.run(command.iter().copied().chain(arguments)).json();
        assert_eq!(ids(&got), ids(&expected), "{asked}");
        assert_eq!(got["mode"], expected["mode"]);
        for (hit, expected) in
            got["hits"].as_array().unwrap().iter().zip(expected["hits"].as_array().unwrap())
        {
            for field in ["title", "text", "metadata", "passage", "dense", "bm25"] {
                let is_single = got["mode"] != "hybrid" && ["dense", "bm25"].contains(&field);
                assert!(is_single || hit[field] == expected[field], "{field} of {hit}");
            }
        }
    }
    let asked = json!({"query": "honey bees", "k": 1, "mode": "bm25", "snippet": 60});
    let found = server.post("/search", &asked).ok();
    let snippet = found["hits"][0]["snippet"].as_array().unwrap();
    let marked: Vec<&str> = snippet
        .iter()
        .filter(|span| span["marked"] == true)
        .map(|span| span["text"].as_str().unwrap())
        .collect();
    assert!(marked.iter().any(|word| word.to_lowercase().contains("bee")), "{snippet:?}");

    // The cross-encoder ranks what was found, and only that.
    let first = server.post("/search", &json!({"query": query, "k": 8})).ok();
    let reranked = server.post("/search", &json!({"query": query, "k": 3, "rerank": 8})).ok();
    assert_eq!((reranked["reranked"].as_bool(), doc_ids(&reranked).len()), (Some(true), 3));
    let pool: BTreeSet<&str> = doc_ids(&first).into_iter().collect();
    assert!(doc_ids(&reranked).iter().all(|id| pool.contains(id)));
    let scores: Vec<f64> =
        reranked["hits"].as_array().unwrap().iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
}

#[test]
fn searches_that_make_no_sense_are_refused() {
    let sandbox = notes();
    let server = Server::start(&sandbox, &["db"]);
    for (body, status, part) in [
        (json!({}), 400, "say what to look for"),
        (json!({"query": "  "}), 400, "it is empty"),
        (json!({"query": "a", "vector": [1.0]}), 400, "not both"),
        (json!({"vector": [1.0]}), 400, "the vector has 1 dimensions"),
        (json!({"vector": [1.0], "mode": "hybrid"}), 400, "no words to search for"),
        (json!({"query": "a", "k": 0}), 400, "0 is not in 1 to 1000"),
        (json!({"query": "a", "k": 1001}), 400, "1001 is not in 1 to 1000"),
        (json!({"query": "a", "k": -1}), 400, "invalid value"),
        (json!({"query": "a", "kk": 1}), 400, "unknown field `kk`"),
        (json!({"query": "a", "mode": "fast"}), 400, "mode: "),
        (json!({"query": "a", "fusion": "fast"}), 400, "fusion: "),
        (json!({"query": "a", "mode": "bm25", "ef": 5}), 400, "it does nothing in mode bm25"),
        (json!({"query": "a", "ef": 5}), 400, "compares every vector"),
        (json!({"query": "a", "mode": "dense", "k1": 1.0}), 400, "it does nothing in mode dense"),
        (json!({"query": "a", "dense_weight": -1.0}), 400, "0 or more"),
        (json!({"query": "a", "filter": "year >"}), 400, "of the filter: expected"),
        (json!({"query": "a", "filter": "yaer > 1"}), 400, "no document has a field yaer"),
        (json!({"query": "a", "generation": "new"}), 404, "no generation \"new\""),
        (json!({"query": "a", "rerank": 5}), 404, "--reranker MODEL"),
        (json!({"vector": [1.0], "rerank": 5}), 400, "reads a query"),
    ] {
        server.post("/search", &body).fails(status, part);
    }
    // By a vector of one's own, from the interface beside it.
    let embedded =
        server.post("/v1/embeddings", &json!({"input": "dancing bees", "input_type": "query"})).ok();
    let vector = &embedded["data"][0]["embedding"];
    let by_vector = server.post("/search", &json!({"vector": vector, "k": 2})).ok();
    let by_query = server.post("/search", &json!({"query": "dancing bees", "mode": "dense", "k": 2})).ok();
    assert_eq!(doc_ids(&by_vector), doc_ids(&by_query));
    assert!(!server.said().contains("warning"), "{}", server.said());
}

#[test]
fn documents_are_read_and_changed() {
    let sandbox = notes();
    let reading = Server::start(&sandbox, &["db"]);
    let rose = json!({"id": "n1", "title": "Roses", "text": "Prune roses in late winter.", "metadata": {"year": 2021, "tags": ["garden"]}});
    assert_eq!(reading.get("/documents/n1").ok(), rose);
    assert_eq!(reading.get("/documents/a%2Fb").ok()["title"], "Bees");
    assert_eq!(reading.get("/documents/a/b").ok()["title"], "Bees");
    reading.get("/documents/n9").fails(404, "no document has the id \"n9\"");
    reading.get("/documents/%ff").fails(400, "no UTF-8");
    let many = reading.post("/get", &json!({"ids": ["n2", "x", "n1"]})).ok();
    assert_eq!((&many["documents"][1], &many["documents"][2]), (&Value::Null, &rose));
    let new = json!({"documents": [{"id": "n4", "text": "Pears ripen in a drawer."}]});
    for (method, path) in
        [("POST", "/documents"), ("PUT", "/documents"), ("POST", "/delete"), ("DELETE", "/documents/n1")]
    {
        reading.send(method, path, &new).fails(403, "--writable");
    }
    let database = reading.get("/database").ok();
    assert_eq!(database["documents"], 3);
    assert!(
        database["fields"].as_array().unwrap().iter().any(|field| field["field"] == "year"),
        "{database}"
    );
    drop(reading);

    let server = Server::start(&sandbox, &["db", "--writable"]);
    let added = server.post("/documents", &new).ok();
    assert_eq!((&added["added"], &added["documents"]), (&json!(1), &json!(4)));
    // What is answered is searched.
    let found = server.post("/search", &json!({"query": "ripe pears", "k": 1})).ok();
    assert_eq!((doc_ids(&found), &found["commit"]), (vec!["n4"], &added["commit"]));
    server.post("/documents", &new).fails(409, "document \"n4\" is stored already");
    let two = json!({"documents": [{"id": "n4", "text": "Pears ripen on a shelf."}, {"id": "n5", "title": "Soil"}]});
    let upserted = server.send("PUT", "/documents", &two).ok();
    assert_eq!((&upserted["added"], &upserted["replaced"]), (&json!(1), &json!(1)));
    assert_eq!(server.get("/documents/n4").ok()["text"], "Pears ripen on a shelf.");
    // What one reads can be sent again.
    let sent = json!({"documents": [server.get("/documents/n1").ok()]});
    assert_eq!(server.send("PUT", "/documents", &sent).ok()["replaced"], 1);
    for (documents, part) in [
        (json!([{"id": "x"}]), "neither title nor text"),
        (json!([{"id": "", "text": "a"}]), "id is 0 bytes long"),
        (json!([{"text": "a"}]), "missing field `id`"),
        (json!([{"id": "x", "text": "a", "year": 1}]), "unknown field `year`"),
        (json!([{"id": "x", "text": "a", "metadata": []}]), "expected a map"),
        (json!([{"id": "x", "text": "a", "vector": [1.0]}]), "has 1 number,"),
    ] {
        server.send("PUT", "/documents", &json!({"documents": documents})).fails(400, part);
    }
    let half = json!({"documents": [{"id": "half", "text": "a"}, {"id": "n1", "text": "b"}]});
    server.post("/documents", &half).fails(409, "n1");
    let twice = json!({"documents": [{"id": "half", "text": "a"}, {"id": "half", "text": "b"}]});
    server.post("/documents", &twice).fails(400, "document \"half\" is twice in the request");
    server.get("/documents/half").fails(404, "half");

    server.post("/delete", &json!({"ids": ["n5", "no"]})).fails(404, "no document has the id \"no\"");
    assert_eq!(server.get("/documents/n5").ok()["title"], "Soil");
    server.post("/delete", &json!({"filter": "yaer < 1"})).fails(400, "no document has a field yaer");
    server.post("/delete", &json!({})).fails(400, "one of them");
    assert_eq!(server.post("/delete", &json!({"filter": "year < 2020"})).ok()["deleted"], 1);
    assert_eq!(server.ask("DELETE", "/documents/a%2Fb", &[], b"").ok()["documents"], 3);
    assert_eq!(server.post("/delete", &json!({"ids": ["n5"]})).ok()["documents"], 2);
    drop(server);
    assert_eq!(sandbox.run(["info", "db", "--json"]).json()["documents"], 2);
    sandbox.run(["verify", "db"]).ok();
}

/// While clients search, other processes commit, and put another generation in use. Every request is answered.
#[test]
fn new_commits_and_generations_are_taken_up_without_a_pause() {
    let sandbox = notes();
    let server = Server::start(&sandbox, &["db", "--refresh", "0.05", "--writable"]);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            let mut commits = Vec::new();
            let start = Instant::now();
            while !is_done.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(300) {
                let found = server.post("/search", &json!({"query": "dancing bees", "k": 1})).ok();
                assert_eq!(doc_ids(&found), ["a/b"]);
                commits.push(found["commit"].as_u64().unwrap());
                server.post("/v1/embeddings", &json!({"input": "bees"})).ok();
            }
            assert!(commits.is_sorted(), "{commits:?}");
            commits.dedup();
            commits.len()
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        let before = server.get("/database").ok()["commit"].as_u64().unwrap();
        write(&sandbox.path("."), "more.jsonl", r#"{"id": "n7", "text": "Frost is hard on figs."}"#);
        sandbox.run(["add", "db", "more.jsonl"]).ok();
        server.wait_until(|server| server.get("/documents/n7").status == 200);
        let short = ["generation", "add", "db", "short", "--encoder", "default", "--max-length", "16"];
        sandbox.run(short).ok();
        sandbox.run(["generation", "use", "db", "short"]).ok();
        server.wait_until(|server| server.get("/info").ok()["max_input_length"] == 16);
        // A document gets a vector in both.
        server.post("/documents", &json!({"documents": [{"id": "n8", "text": "Moss likes shade."}]})).ok();
        for generation in ["original", "short"] {
            let asked = json!({"query": "shady moss", "k": 1, "mode": "dense", "generation": generation});
            let found = server.post("/search", &asked).ok();
            assert_eq!((doc_ids(&found), &found["generation"]), (vec!["n8"], &json!(generation)));
        }
        let generations = server.get("/generations").ok();
        let used: Vec<&Value> = generations["generations"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["in_use"] == true)
            .collect();
        assert_eq!((used.len(), &used[0]["name"]), (1, &json!("short")));
        assert!(server.get("/database").ok()["commit"].as_u64().unwrap() >= before + 3);
        is_done.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 1);
        }
    });
    assert!(server.metric("secateur_reloads_total") >= 2.0);
    let failed = server.get("/metrics").text();
    let failed: Vec<&str> = failed.lines().filter(|line| line.contains("status=\"5")).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(server.said().contains("db: a new commit is searched"), "{}", server.said());
}

/// A database of as many documents and commits takes the place of the one that is served, and is changed there.
#[test]
fn another_database_at_the_path_is_taken_up_whole() {
    let sandbox = Sandbox::new();
    let notes = |name: &str, word: &str| {
        let lines: Vec<String> =
            (0..3).map(|i| format!(r#"{{"id": "{word}-{i}", "text": "{word} number {i}"}}"#)).collect();
        write(&sandbox.path("."), name, lines.join("\n"));
    };
    notes("old.jsonl", "moss");
    notes("new.jsonl", "fern");
    sandbox.run(["index", "old.jsonl", "--encoder", "none", "--out", "db"]).ok();
    sandbox.run(["index", "new.jsonl", "--encoder", "none", "--out", "next"]).ok();
    let server = Server::start(&sandbox, &["db", "--refresh", "0.05"]);
    let found = |word: &str| doc_ids(&server.post("/search", &json!({"query": word})).ok()).len();
    assert_eq!((found("moss"), found("fern")), (3, 0));
    std::fs::rename(sandbox.path("db"), sandbox.path("before")).unwrap();
    std::fs::rename(sandbox.path("next"), sandbox.path("db")).unwrap();
    server.wait_until(|server| server.get("/documents/fern-1").status == 200);
    assert_eq!((found("moss"), found("fern")), (0, 3));
    write(&sandbox.path("."), "more.jsonl", r#"{"id": "fern-3", "text": "fern number 3"}"#);
    sandbox.run(["add", "db", "more.jsonl"]).ok();
    server.wait_until(|server| server.get("/documents/fern-3").status == 200);
    assert_eq!((found("moss"), found("fern")), (0, 4));
    assert_eq!(server.get("/documents/moss-1").status, 404);
}

/// What a cross-encoder reads of a hit is what the encoder read: with the separator of the database.
#[test]
fn hits_are_ranked_anew_with_the_separator_of_the_database() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("."), "notes.jsonl", NOTES);
    let index = ["index", "notes.jsonl", "--encoder", "default", "--separator", " or rather ", "--out", "db"];
    sandbox.run(index).ok();
    model::tiny_cross_encoder(&sandbox.path("model"));
    let server = Server::start(&sandbox, &["db", "--reranker", "model"]);
    let query = "when are roses pruned";
    let texts = ["Roses or rather Prune roses in late winter.", "Roses Prune roses in late winter."];
    let scored = server.post("/rerank", &json!({"query": query, "texts": texts, "raw_scores": true})).ok();
    let score = |place: usize| {
        let of = scored.as_array().unwrap().iter().find(|one| one["index"] == place);
        of.unwrap()["score"].as_f64().unwrap()
    };
    assert!((score(0) - score(1)).abs() > 1e-4, "the tiny model does not tell the texts apart: {scored}");
    let found = server.post("/search", &json!({"query": query, "rerank": 3, "filter": "year == 2021"})).ok();
    assert_eq!(doc_ids(&found), ["n1"]);
    let got = found["hits"][0]["score"].as_f64().unwrap();
    assert!((got - score(0)).abs() < 1e-5, "{got} is not {}", score(0));
}

/// A database without vectors is searched by words; one that is being written elsewhere is not written.
#[test]
fn databases_of_words_and_locked_ones() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("."), "notes.jsonl", NOTES);
    sandbox.run(["index", "notes.jsonl", "--encoder", "none", "--out", "words"]).ok();
    let server = Server::start(&sandbox, &["words", "--writable"]);
    let found = server.post("/search", &json!({"query": "dancing bees"})).ok();
    assert_eq!(
        (doc_ids(&found), &found["mode"], &found["generation"]),
        (vec!["a/b"], &json!("bm25"), &Value::Null)
    );
    server
        .post("/search", &json!({"query": "bees", "mode": "dense"}))
        .fails(400, "the database has no vectors");
    server.post("/v1/embeddings", &json!({"input": "bees"})).fails(404, "no encoder is served");
    let mut writer = secateur::Database::open(sandbox.path("words")).unwrap();
    writer.add(&[secateur::Document::new("w", "Worms are good.")]).unwrap();
    let new = json!({"documents": [{"id": "n4", "text": "Pears."}]});
    let locked = server.post("/documents", &new);
    locked.fails(409, "the database is being written by process");
    assert!(!locked.text().contains("words"), "a path is told: {}", locked.text());
    drop(writer);
    server.post("/documents", &new).ok();
}
