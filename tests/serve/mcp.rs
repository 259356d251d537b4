//! `secateur mcp`, as programs start it and over HTTP, and the same protocol of `secateur serve`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::Server;
use crate::support::dataset::write;
use crate::support::{Outcome, Sandbox};

const NOTES: &str = r#"{"id": "n1", "title": "Roses", "text": "Prune roses in late winter.", "year": 2021, "tags": ["garden"], "url": "https://example.com/roses"}
{"id": "n2", "text": "Bread rises overnight.", "year": 2019}
{"id": "a/b", "title": "Bees", "text": "Bees dance to tell where food is. Été."}
"#;

fn notes() -> Sandbox {
    let sandbox = Sandbox::new();
    write(&sandbox.path("."), "notes.jsonl", NOTES);
    sandbox.run(["index", "notes.jsonl", "--encoder", "default", "--out", "db"]).ok();
    sandbox
}

/// An agent that has started a server and speaks with it through pipes.
struct Agent {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    asked: u64,
}

impl Agent {
    fn start(sandbox: &Sandbox, more: &[&str]) -> Agent {
        let mut child = sandbox
            .command(["mcp", "db", "--refresh", "0.05"].iter().chain(more))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut agent = Agent { child, input, output, asked: 0 };
        let client = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let result = agent.ask("initialize", params)["result"].clone();
        assert_eq!(result["serverInfo"]["name"], "secateur");
        agent.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        agent
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input.as_ref().unwrap(), "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let message = json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        self.send(&message);
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!(answer["id"], self.asked, "{answer}");
        answer
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments}));
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        answer["result"]["structuredContent"].clone()
    }

    fn fails(&mut self, tool: &str, arguments: Value, part: &str) {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments}));
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }

    /// Closes the input, and gives what the server left: the rest of its output, which must be empty, and its end.
    fn end(mut self) -> Outcome {
        drop(self.input.take());
        let mut rest = String::new();
        while self.output.read_line(&mut rest).unwrap() > 0 {}
        assert_eq!(rest, "");
        Outcome::wait(self.child)
    }
}

fn ids<'a>(answer: &'a Value, of: &str) -> Vec<&'a str> {
    answer[of].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

#[test]
fn an_agent_searches_and_reads_through_pipes() {
    let sandbox = notes();
    let mut agent = Agent::start(&sandbox, &[]);
    assert_eq!(agent.ask("tools/list", json!({}))["result"]["tools"].as_array().unwrap().len(), 4);
    let found = agent.call("search", json!({"query": "when to cut rose bushes", "k": 2}));
    assert_eq!((&found["mode"], ids(&found, "results")[0]), (&json!("hybrid"), "n1"));
    let first = &found["results"][0];
    assert_eq!((&first["title"], &first["url"]), (&json!("Roses"), &json!("https://example.com/roses")));
    assert_eq!(
        (&first["text"], &first["metadata"]["year"]),
        (&json!("Prune roses in late winter."), &json!(2021))
    );
    for mode in ["dense", "bm25", "hybrid"] {
        let found = agent.call("search", json!({"query": "dancing bees", "mode": mode, "k": 1}));
        assert_eq!((ids(&found, "results"), &found["mode"]), (vec!["a/b"], &json!(mode)));
    }
    let filtered = agent.call("search", json!({"query": "roses", "filter": "year < 2020"}));
    assert_eq!(ids(&filtered, "results"), ["n2"]);
    let cut = agent.call("search", json!({"query": "dancing bees", "snippet": 12, "k": 1}));
    assert!(cut["results"][0]["text"].as_str().unwrap().chars().count() <= 12, "{cut}");

    let whole = agent.call("fetch", json!({"id": "a/b"}));
    assert_eq!((&whole["title"], &whole["characters"]), (&json!("Bees"), &json!(38)));
    assert_eq!(agent.call("fetch", json!({"id": "a/b", "start": 34}))["text"], "Été.");
    let listed = agent.call("list", json!({"limit": 2}));
    assert_eq!((ids(&listed, "documents"), &listed["next_start"]), (vec!["n1", "n2"], &json!(2)));
    let rest = agent.call("list", json!({"start": 2, "limit": 2}));
    assert_eq!((ids(&rest, "documents"), rest.get("next_start")), (vec!["a/b"], None));
    let matching = agent.call("list", json!({"filter": "tags in [\"garden\"]"}));
    assert_eq!((ids(&matching, "documents"), &matching["total"]), (vec!["n1"], &json!(1)));
    let info = agent.call("info", json!({}));
    let fields: Vec<&str> =
        info["fields"].as_array().unwrap().iter().map(|field| field["field"].as_str().unwrap()).collect();
    assert_eq!((&info["documents"], fields), (&json!(3), vec!["tags", "url", "year"]));

    agent.fails("search", json!({"query": "roses", "mode": "magic"}), "mode: ");
    agent.fails("search", json!({"query": "roses", "filter": "yaer < 1"}), "no document has a field yaer");
    agent.fails("search", json!({"query": "roses", "filter": "year <"}), "filter");
    agent.fails("search", json!({"query": "roses", "k": 100_000}), "1 to 1000");
    agent.fails("list", json!({"filter": "yaer < 1"}), "no document has a field yaer");
    agent.fails("fetch", json!({"id": "n9"}), "no document has the id \"n9\"");
    assert_eq!(agent.ask("tools/call", json!({"name": "drop"}))["error"]["code"], -32602);

    // Words that are no message are passed over, and the largest k is answered.
    writeln!(agent.input.as_ref().unwrap(), "hello\n").unwrap();
    assert_eq!(
        agent.call("search", json!({"query": "roses", "k": 1000}))["results"].as_array().unwrap().len(),
        3
    );
    // What another process commits is found.
    write(&sandbox.path("."), "more.jsonl", r#"{"id": "n7", "text": "Frost is hard on figs."}"#);
    sandbox.run(["add", "db", "more.jsonl"]).ok();
    let start = Instant::now();
    while ids(&agent.call("search", json!({"query": "frost on figs", "k": 1})), "results") != ["n7"] {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = agent.end();
    assert!(said.status.success() && said.stderr == "db: a new commit is searched\n", "{said:?}");
}

/// What was asked before the input ended is answered, also where standard input and output are files.
#[test]
fn files_are_read_and_written_as_pipes_are() {
    let sandbox = notes();
    let client = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    let search = json!({"name": "search", "arguments": {"query": "roses"}});
    let messages = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": search}),
    ];
    let text: String = messages.iter().map(|message| format!("{message}\n")).collect();
    write(&sandbox.path("."), "asked.jsonl", text);
    let mut command = sandbox.command(["mcp", "db"]);
    command.stdin(std::fs::File::open(sandbox.path("asked.jsonl")).unwrap());
    command.stdout(std::fs::File::create(sandbox.path("answered.jsonl")).unwrap());
    let ended = command.status().unwrap();
    assert!(ended.success());
    let answered = std::fs::read_to_string(sandbox.path("answered.jsonl")).unwrap();
    let answers: Vec<Value> = answered.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(answers[1]["result"]["structuredContent"]["results"][0]["id"], "n1");
    // Nothing is asked at all.
    assert_eq!(sandbox.run(["mcp", "db"]).ok(), "");
}

#[test]
fn signals_end_it_and_wrong_beginnings_are_told() {
    let sandbox = notes();
    let agent = Agent::start(&sandbox, &[]);
    let ended = Command::new("kill").args(["-TERM", &agent.child.id().to_string()]).status().unwrap();
    assert!(ended.success());
    let Agent { child, input, .. } = agent;
    let outcome = Outcome::wait(child);
    // It ended although its input was open.
    drop(input);
    outcome.ok();

    let begin = |text: &str| {
        write(&sandbox.path("."), "asked.jsonl", text);
        let mut command = sandbox.command(["mcp", "db"]);
        command.stdin(std::fs::File::open(sandbox.path("asked.jsonl")).unwrap());
        Outcome::of(&mut command)
    };
    begin("{\"jsonrpc\": \"2.0\", \"method\": \"notifications/initialized\"}\n")
        .fails(3, ["does not speak the Model Context Protocol", "`initialize`"]);
    sandbox.run(["mcp"]).fails(2, ["DATABASE"]);
    sandbox.run(["mcp", "nowhere"]).fails(4, ["there is no database nowhere"]);
    sandbox.run(["mcp", "db", "--http", "8080"]).fails(2, ["--http"]);
    sandbox.run(["mcp", "db", "--http", "0.0.0.0:8080"]).fails(
        2,
        ["only an address of this machine", "secateur serve db --host 0.0.0.0 --port 8080 --api-keys"],
    );
}

const HEADERS: [&str; 2] = ["content-type: application/json", "accept: application/json, text/event-stream"];

fn search(server: &Server, more: &[&str]) -> super::client::Answer {
    let params = json!({"name": "search", "arguments": {"query": "roses", "k": 1}});
    let message = json!({"jsonrpc": "2.0", "id": "one", "method": "tools/call", "params": params});
    server.ask("POST", "/mcp", &[&HEADERS[..], more].concat(), message.to_string().as_bytes())
}

#[test]
fn it_is_answered_over_http_by_both_commands() {
    let sandbox = notes();
    let server = Server::start_command(sandbox.command(["mcp", "db", "--http", "127.0.0.1:0"]));
    let found = search(&server, &[]).ok();
    assert_eq!(found["result"]["structuredContent"]["results"][0]["id"], "n1", "{found}");
    search(&server, &["origin: https://evil.example"]).fails(403, "Origin is \"https://evil.example\"");
    search(&server, &["host: evil.example"]).fails(403, "Host is");
    server.terminate();
    let (status, said) = server.wait();
    assert!(status.success(), "{said}");

    let mut command = sandbox.command(["mcp", "db", "--http", "127.0.0.1:0"]);
    command.env("SECATEUR_API_KEYS", "secret");
    let server = Server::start_command(command);
    search(&server, &[]).fails(401, "API key");
    search(&server, &["authorization: Bearer secret"]).ok();

    let server = Server::start(&sandbox, &["db"]);
    assert_eq!(search(&server, &[]).ok()["result"]["structuredContent"]["mode"], "hybrid");
    assert_eq!(server.metric("secateur_requests_total{route=\"/mcp\",method=\"POST\",status=\"200\"}"), 1.0);
}
