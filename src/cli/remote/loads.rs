//! Servers are not asked for more than they can do, and one that is off or wrong does not cost the answer of another.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secateur::Database;
use secateur::shards::ShardSet;
use secateur_serve::{Access, Limits};
use serde_json::json;

use super::sets::{finished, some_documents};
use super::{Asked, Server, Topology, between, encoder, fake, open, options, say, topology, words};

/// A host that takes no connection says nothing. The other server of the shard answers many queries as well.
#[test]
fn hosts_that_are_off() {
    let folder = tempfile::tempdir().unwrap();
    let plan = finished(Database::builder(folder.path().join("set")), 1, &some_documents(20), None);
    let server = Server::of(&plan.shard_path(0));
    // Nobody accepts these connections, and more are not taken.
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    let at: SocketAddr = full.local_addr().unwrap();
    let connect = |_| TcpStream::connect_timeout(&at, Duration::from_millis(300)).ok();
    let waiting: Vec<TcpStream> = (0..900).map_while(connect).collect();
    assert!(waiting.len() < 900, "all connections are taken");
    // More than are asked in one request, or twice.
    let queries: Vec<String> = (0..70).map(|number| format!("text number {number}")).collect();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let expected = ShardSet::open(plan.path()).unwrap().search_batch(&queries, &words()).unwrap();
    let replicas = vec![vec![format!("http://{at}"), server.url.clone()]];
    let topology = Topology { timeout: Duration::from_secs(8), ..topology(&replicas) };
    let set = open(topology, None, false).unwrap();
    let start = Instant::now();
    for _ in 0..2 {
        assert_eq!(set.ask(|set| set.search_batch(&queries, &words())).unwrap(), expected);
    }
    assert!(start.elapsed() > Duration::from_secs(1), "it was not asked");
}

/// A single server that is slow is asked again once in a while, not always.
#[test]
fn slow_servers_are_not_asked_twice_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let plan = finished(Database::builder(folder.path().join("set")), 1, &some_documents(20), None);
    let server = Server::of(&plan.shard_path(0));
    let count = Arc::new(AtomicUsize::new(0));
    let (of, to) = (Arc::clone(&count), server.url.clone());
    let slow = fake(move |Asked { route, body, .. }, stream| {
        of.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(120));
        let config = ureq::Agent::config_builder().proxy(None).build();
        let agent: ureq::Agent = config.into();
        let request = agent.post(format!("{to}{route}")).header("content-type", "application/json");
        say(stream, 200, &request.send(&body[..]).unwrap().body_mut().read_to_vec().unwrap());
    });
    let topology = Topology { hedge_after: Duration::from_millis(20), ..topology(&[vec![slow]]) };
    let set = open(topology, None, false).unwrap();
    for _ in 0..10 {
        set.ask(|set| set.contains_each(&["d1"])).unwrap();
    }
    // What it says of itself, and ten answers.
    let count = count.load(Ordering::SeqCst);
    assert!((11..=12).contains(&count), "{count} requests for 11 questions");
}

/// A key or a limit of one server is not that of another.
#[test]
fn one_server_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let plan = finished(Database::builder(folder.path().join("set")), 1, &some_documents(20), None);
    let server = Server::of(&plan.shard_path(0));
    let keys = Access { keys: vec!["other".to_owned()], ..Access::default() };
    let refuses = Server::with(&plan.shard_path(0), keys, Limits::default());
    let small = Limits { body_bytes: 8, ..Limits::default() };
    let small = Server::with(&plan.shard_path(0), Access::default(), small);
    for other in [&refuses, &small] {
        let set = open(topology(&[vec![other.url.clone(), server.url.clone()]]), None, false).unwrap();
        for _ in 0..2 {
            assert_eq!(set.ask(|set| set.contains_each(&["d1", "no"])).unwrap(), [true, false]);
        }
        let error = open(topology(&[vec![other.url.clone()]]), None, true).err().unwrap();
        assert!(error.message.contains("refuses the request"), "{}", error.message);
    }
}

/// An answer has a bound, so long documents are asked for in parts.
#[test]
fn documents_come_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let plan = finished(Database::builder(folder.path().join("set")), 1, &some_documents(100), None);
    let server = Server::of(&plan.shard_path(0));
    let most = Arc::new(AtomicUsize::new(0));
    let of = Arc::clone(&most);
    let url = between(&server.url, move |route, answer| {
        if route == "/shard/documents" {
            of.fetch_max(answer["answer"]["documents"].as_array().unwrap().len(), Ordering::SeqCst);
        }
        answer
    });
    let set = open(topology(&[vec![url]]), None, false).unwrap();
    let ids: Vec<String> = (0..100).map(|number| format!("d{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let documents = set.hits_with(&ids).unwrap();
    assert!(
        ids.iter().zip(&documents).all(|(id, found)| found.as_ref().is_some_and(|found| found.id == *id))
    );
    assert_eq!(most.load(Ordering::SeqCst), 64);
}

/// What servers say of times and of vectors breaks nothing.
#[test]
fn numbers_out_of_range() {
    let folder = tempfile::tempdir().unwrap();
    let plan = finished(Database::builder(folder.path().join("set")), 1, &some_documents(20), None);
    let one = Limits { items: 1, ..Limits::default() };
    let server = Server::with(&plan.shard_path(0), Access::default(), one);
    let url = between(&server.url, |route, mut answer| {
        if route == "/shard/search" {
            answer["answer"]["seconds"] = json!([0.0, 0.0, 1.8e19]);
        }
        answer
    });
    let set = open(topology(&[vec![url]]), None, false).unwrap();
    assert_eq!(set.ask(|set| set.search_batch(&["text", "number"], &words())).unwrap().len(), 2);

    let encoder = encoder();
    let path = folder.path().join("encoded");
    let builder = Database::builder(path).encoder(Arc::clone(&encoder)).vector_options(options());
    let plan = finished(builder, 1, &some_documents(3), Some(&encoder));
    let server = Server::of(&plan.shard_path(0));
    let url = between(&server.url, |route, mut answer| {
        if route == "/shard/info" {
            answer["answer"]["facts"]["generations"][0]["dim"] = json!(10_000);
        }
        answer
    });
    let failure = open(topology(&[vec![url]]), Some(&encoder), false).err().unwrap();
    assert!(
        failure.message.contains("its vectors have 10000 numbers, and those of its encoder"),
        "{}",
        failure.message
    );
}
