use std::sync::{Condvar, Mutex};

use secateur_wire::{ShardAnswer, ShardAsk, ShardReply, SnapshotId};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, duplex, split};

use super::*;
use crate::collection::{Change, Changed, Collection, Listed, SearchAnswer, SearchRequest};
use crate::fault::Fault;
use crate::model::Embedder;

/// A database whose searches wait until a gate is open.
#[derive(Default)]
struct Gated {
    /// What was searched for, and whether the gate is open.
    state: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Gated {
    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn wait_for_searches(&self, count: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |(searched, _)| searched.len() < count).unwrap());
    }
}

impl Collection for Gated {
    fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        None
    }

    fn is_loaded(&self, _: &str) -> bool {
        true
    }

    fn load(&self, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn search(&self, requests: &[SearchRequest]) -> Vec<Result<SearchAnswer, Fault>> {
        let mut state = self.state.lock().unwrap();
        state.0.extend(requests.iter().filter_map(|request| request.query.clone()));
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(_, is_open)| !*is_open).unwrap());
        let answer = |request: &SearchRequest| {
            let (query, mode) = (request.query.clone(), "bm25".to_owned());
            Ok(SearchAnswer { query, mode, generation: None, commit: 1, hits: Vec::new() })
        };
        requests.iter().map(answer).collect()
    }

    fn documents(&self, _: &[String]) -> Result<Vec<Value>, Fault> {
        Err(Fault::internal("the disk is gone"))
    }

    fn list(&self, _: Option<&str>, _: usize, _: usize) -> Result<Listed, Fault> {
        panic!("this is not to be seen")
    }

    fn generations(&self) -> Value {
        json!([])
    }

    fn info(&self) -> Result<Value, Fault> {
        Ok(json!({"documents": 0}))
    }

    fn change(&self, _: Change) -> Result<Changed, Fault> {
        Err(Fault::internal("no tool changes anything"))
    }

    fn shard(
        &self,
        _: Option<&str>,
        _: Option<&SnapshotId>,
        _: &ShardAsk,
    ) -> Result<ShardReply<ShardAnswer>, Fault> {
        Err(Fault::internal("no tool asks for it"))
    }

    fn refresh(&self) -> Result<bool, Fault> {
        Ok(false)
    }
}

/// An agent and the server that it speaks with.
struct Agent {
    lines: Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>,
    write: tokio::io::WriteHalf<DuplexStream>,
}

impl Agent {
    async fn send(&mut self, message: Value) {
        self.write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn call(&mut self, id: u32, tool: &str, arguments: Value) {
        let params = json!({"name": tool, "arguments": arguments});
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})).await;
    }

    /// The next answer, which must be to this request.
    async fn answer(&mut self, id: u32) -> Value {
        let line = self.lines.next_line().await.unwrap().expect("the server has ended");
        let message: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(message["id"], id, "{message}");
        message
    }
}

/// Speaks with a server of this database. What the server's end was, and what was told meanwhile.
fn with_agent<F: Future<Output = Agent>>(
    database: &Arc<Gated>,
    stop: &Stop,
    speak_with: impl FnOnce(Agent) -> F,
) -> (io::Result<()>, Vec<String>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    let tell: Tell = Arc::new(move |event| kept.lock().unwrap().push(format!("{event:?}")));
    let served = Served { database: Some(Arc::clone(database) as _), ..Served::default() };
    let limits = Limits { queue: 2, items: 2, ..Limits::default() };
    let app = Arc::new(App::start(served, Access::default(), limits, tell).unwrap());
    let runtime = runtime().unwrap();
    let ended = runtime.block_on(async {
        let (ours, theirs) = duplex(1 << 16);
        let (read, write) = split(ours);
        let mut agent = Agent { lines: BufReader::new(read).lines(), write };
        let tools = Tools::new(Arc::clone(&app));
        let stop = stop.clone();
        let server = tokio::spawn(async move { speak(tools, split(theirs), &stop).await });
        let client = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
        agent.send(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await;
        agent.answer(0).await;
        agent.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        let agent = speak_with(agent).await;
        drop(agent);
        server.await.unwrap()
    });
    let told = told.lock().unwrap().clone();
    (ended, told)
}

#[test]
fn a_cancelled_call_is_not_answered_and_the_others_are() {
    let database = Arc::new(Gated::default());
    let (ended, told) = with_agent(&database, &Stop::new(), async |mut agent| {
        agent.call(1, "search", json!({"query": "first"})).await;
        // The queue has room for another one, and none for a third.
        agent.call(2, "search", json!({"query": "second"})).await;
        database.wait_for_searches(2);
        agent.send(json!({"jsonrpc": "2.0", "id": 3, "method": "ping"})).await;
        agent.answer(3).await;
        agent.call(4, "search", json!({"query": "third"})).await;
        let refused = agent.answer(4).await;
        assert_eq!(refused["result"]["isError"], true);
        assert!(
            refused["result"]["content"][0]["text"].as_str().unwrap().contains("try again later"),
            "{refused}"
        );
        let cancelled = json!({"requestId": 1, "reason": "the user has seen enough"});
        agent.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})).await;
        agent.send(json!({"jsonrpc": "2.0", "id": 5, "method": "ping"})).await;
        agent.answer(5).await;
        database.open();
        agent.answer(2).await;
        agent.call(6, "search", json!({"query": "fourth"})).await;
        assert_eq!(agent.answer(6).await["result"]["structuredContent"]["results"], json!([]));
        agent
    });
    ended.unwrap();
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn what_fails_inside_is_told_to_both_sides() {
    let database = Arc::new(Gated::default());
    let (ended, told) = with_agent(&database, &Stop::new(), async |mut agent| {
        agent.call(1, "fetch", json!({"id": "a"})).await;
        let failed = agent.answer(1).await;
        // Messages of the system name files.
        let text = "the server failed at request 1; its log says why";
        assert_eq!(failed["result"]["content"][0]["text"], text, "{failed}");
        agent.call(2, "list", json!({})).await;
        let failed = agent.answer(2).await;
        assert_eq!(failed["result"]["isError"], true);
        assert!(!failed.to_string().contains("not to be seen"), "{failed}");
        agent.call(3, "info", json!({"a": 1})).await;
        agent.answer(3).await;
        agent
    });
    ended.unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("the tool fetch") && told[0].contains("the disk is gone"), "{told:?}");
}

#[test]
fn a_stopped_server_does_not_wait_for_calls() {
    let database = Arc::new(Gated::default());
    let stop = Stop::new();
    let (ended, _) = with_agent(&database, &stop, async |mut agent| {
        agent.call(1, "search", json!({"query": "first"})).await;
        database.wait_for_searches(1);
        stop.stop();
        while agent.lines.next_line().await.unwrap().is_some() {}
        agent
    });
    database.open();
    ended.unwrap();
}

/// What is no protocol at all, and what ends before it begins.
#[test]
fn other_inputs_end_it() {
    let database = Arc::new(Gated::default());
    let served = Served { database: Some(database), ..Served::default() };
    let app = App::start(served, Access::default(), Limits::default(), Arc::new(drop)).unwrap();
    let app = Arc::new(app);
    let runtime = runtime().unwrap();
    let of = |input: &str| {
        let (tools, input) = (Tools::new(Arc::clone(&app)), input.as_bytes().to_vec());
        runtime.block_on(async move {
            let input = io::Cursor::new(input);
            speak(tools, (input, tokio::io::sink()), &Stop::new()).await
        })
    };
    of("").unwrap();
    of("hello\n\n{\"half\":").unwrap();
    let wrong = of("{\"jsonrpc\": \"2.0\", \"method\": \"notifications/initialized\"}\n").unwrap_err();
    assert_eq!(wrong.to_string(), "its first request is not `initialize`");
}
