//! Servers that are slow, gone, wrong or somebody else. Each gives an error that names the shard and its address.
//! Another server of the shard answers in its place where there is one.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secateur::shards::remote::{Client, Fault, RemoteSet, RemoteShard, Replicas, Threads};
use secateur::shards::{SetOptions, Shard, ShardError, ShardSet};
use secateur::{Database, Document, Error, ErrorKind, Hit};
use secateur_serve::{Access, Limits};
use serde_json::{Value, json};

use super::sets::{finished, some_documents};
use super::{Asked, Server, Topology, between, encoder, fake, open, options, say, topology, urls, words};

const ROUTES: [&str; 3] = ["/shard/info", "/shard/statistics", "/shard/search"];

fn search(set: &RemoteSet) -> Result<Vec<Hit>, Error> {
    set.ask(|set| set.search("text number 13", &words()))
}

/// Two shards of which the second is `url`; its error, which must name it.
#[track_caller]
fn error_of(first: &Server, url: &str, with: impl FnOnce(Topology) -> Topology) -> Error {
    let topology = with(topology(&[vec![first.url.clone()], vec![url.to_owned()]]));
    let client = Arc::new(Client::new(&topology).with_most_bytes(100_000));
    let shards: Vec<Box<dyn Shard>> = topology
        .shards
        .iter()
        .map(|urls| {
            let replicas = Replicas::new(Arc::clone(&client), urls.clone());
            Box::new(RemoteShard::new(replicas, None)) as Box<dyn Shard>
        })
        .collect();
    let options = SetOptions {
        path: topology.path.clone(),
        manifest: topology.manifest.clone(),
        partial: false,
        fan_out: Box::new(Threads),
    };
    let set = ShardSet::of(shards, options, |_| Ok::<_, Error>(None));
    let error = match set.and_then(|set| set.search("text number 13", &words())) {
        Err(error) => error,
        Ok(hits) => panic!("it answers {hits:?}"),
    };
    let message = error.to_string();
    assert!(message.starts_with("shard 1 (http") && message.contains(url), "{message}");
    error
}

/// What is wrong in a shard.
fn source(error: &Error) -> &(dyn std::error::Error + 'static) {
    match error {
        Error::Shards(ShardError::InShard { shard: 1, source, .. }) => &**source,
        other => panic!("{other}"),
    }
}

/// The fault of a server.
#[track_caller]
fn fault(error: &Error) -> Fault {
    match source(error).downcast_ref::<Error>() {
        Some(Error::Shards(ShardError::NoAnswer { source, .. })) => {
            source.downcast_ref::<Fault>().unwrap().clone()
        }
        other => panic!("{other:?}"),
    }
}

fn two_shards(folder: &Path) -> (secateur::shards::ShardPlan, [Server; 2]) {
    let plan = finished(Database::builder(folder.join("set")), 2, &some_documents(20), None);
    let servers = [0, 1].map(|number| Server::of(&plan.shard_path(number)));
    (plan, servers)
}

/// Whether a fault is the one that is expected.
type IsThis = fn(&Fault) -> bool;

/// An answer of one route is not an answer at all.
#[test]
fn answers_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let (_, [first, second]) = two_shards(folder.path());
    type Bad = fn(&mut std::net::TcpStream);
    let bad: [(Bad, IsThis); 6] = [
        // Nothing.
        (|_| (), |fault| matches!(fault, Fault::Broken { .. })),
        // Half of it.
        (
            |stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"snapshot\"");
            },
            |fault| matches!(fault, Fault::Broken { problem, .. } if problem.contains("broke off")),
        ),
        // Something else.
        (|stream| say(stream, 200, b"<html>"), |fault| matches!(fault, Fault::Garbled { .. })),
        (
            |stream| say(stream, 200, b"{}"),
            |fault| matches!(fault, Fault::Garbled { problem, .. } if problem.contains("snapshot")),
        ),
        // Too much of it.
        (
            |stream| say(stream, 200, &b"1".repeat(200_000)),
            |fault| matches!(fault, Fault::Long { most: 100_000, .. }),
        ),
        // Another server.
        (|stream| say(stream, 404, b"not here"), |fault| matches!(fault, Fault::Failed { status: 404, .. })),
    ];
    for route in ROUTES {
        for (number, (bad, is_right)) in bad.iter().enumerate() {
            let (bad, to) = (*bad, second.url.clone());
            let proxy = between(&to, |_, answer| answer);
            let url = fake(move |Asked { route: asked, body, .. }, stream| {
                if asked == route {
                    return bad(stream);
                }
                let config = ureq::Agent::config_builder().proxy(None).build();
                let agent: ureq::Agent = config.into();
                let request =
                    agent.post(format!("{proxy}{asked}")).header("content-type", "application/json");
                say(stream, 200, &request.send(&body[..]).unwrap().body_mut().read_to_vec().unwrap());
            });
            let found = fault(&error_of(&first, &url, |topology| topology));
            assert!(is_right(&found), "{route} {number}: {found:?}");
        }
    }
}

/// A server that does not answer is waited for as long as was said, and no longer.
#[test]
fn servers_that_are_slow_or_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (_, [first, _second]) = two_shards(folder.path());
    let start = Instant::now();
    let hangs = fake(|_, _| std::thread::sleep(Duration::from_secs(30)));
    let error =
        error_of(&first, &hangs, |topology| Topology { timeout: Duration::from_millis(700), ..topology });
    assert!(matches!(fault(&error), Fault::Slow { seconds, .. } if seconds == "0.700"), "{error}");
    assert_eq!(error.kind(), ErrorKind::System);
    assert!(start.elapsed() < Duration::from_secs(20));
    // A port that was free a moment ago.
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let error = error_of(&first, &closed, |topology| topology);
    assert!(matches!(fault(&error), Fault::Broken { .. }), "{error}");
    assert!(error.to_string().contains("is `secateur serve` running there?"), "{error}");
    // It is asked for nothing that it could give to others.
    let elsewhere = fake(|_, stream| {
        let _ = stream
            .write_all(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    });
    let error = error_of(&first, &elsewhere, |topology| topology);
    assert!(matches!(fault(&error), Fault::Failed { status: 302, .. }), "{error}");
}

/// Other servers of the shard answer in the place of one that is slow, gone or wrong.
#[test]
fn replicas_answer_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, [first, second]) = two_shards(folder.path());
    let expected = ShardSet::open(plan.path()).unwrap().search("text number 13", &words()).unwrap();
    let hangs = fake(|_, _| std::thread::sleep(Duration::from_secs(60)));
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let garbled = fake(|_, stream| say(stream, 200, b"[]"));
    let busy = fake(|_, stream| say(stream, 429, br#"{"error": {"message": "busy", "code": "overloaded"}}"#));
    let start = Instant::now();
    for other in [&hangs, &closed, &garbled, &busy] {
        for replicas in [[other, &second.url], [&second.url, other]] {
            let replicas = replicas.map(String::clone).to_vec();
            let hedge_after = Duration::from_millis(20);
            let topology = Topology { hedge_after, ..topology(&[vec![first.url.clone()], replicas]) };
            let set = open(topology, None, false).unwrap();
            for _ in 0..3 {
                assert_eq!(search(&set).unwrap(), expected);
            }
        }
    }
    assert!(start.elapsed() < Duration::from_secs(50), "the one that hangs was waited for");

    // The only server of a shard is asked again.
    let to = second.url.clone();
    let proxy = between(&to, |_, answer| answer);
    let second_time = fake(move |Asked { number, route, body }, stream| {
        if number == 0 {
            std::thread::sleep(Duration::from_secs(60));
        }
        let config = ureq::Agent::config_builder().proxy(None).build();
        let agent: ureq::Agent = config.into();
        let request = agent.post(format!("{proxy}{route}")).header("content-type", "application/json");
        say(stream, 200, &request.send(&body[..]).unwrap().body_mut().read_to_vec().unwrap());
    });
    let hedge_after = Duration::from_millis(20);
    let topology = Topology { hedge_after, ..topology(&[vec![first.url.clone()], vec![second_time]]) };
    assert_eq!(search(&open(topology, None, false).unwrap()).unwrap(), expected);
    assert!(start.elapsed() < Duration::from_secs(50));
}

/// Answers that can be read, and are wrong.
#[test]
fn answers_that_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (_, [first, second]) = two_shards(folder.path());
    type Change = fn(Value) -> Value;
    let wrong: [(&str, Change, &str); 11] = [
        (
            "/shard/search",
            |mut answer| {
                answer["answer"]["rankings"].as_array_mut().unwrap().pop();
                answer
            },
            "it gave 0 answers to 1 query",
        ),
        (
            "/shard/search",
            |mut answer| {
                let rankings = answer["answer"]["rankings"].as_array_mut().unwrap();
                rankings.push(rankings[0].clone());
                answer
            },
            "it gave 2 answers to 1 query",
        ),
        (
            "/shard/statistics",
            |mut answer| {
                answer["answer"]["frequencies"].as_array_mut().unwrap().pop();
                answer
            },
            "it gave 2 answers to 3 terms",
        ),
        (
            "/shard/statistics",
            |mut answer| {
                answer["answer"]["num_docs"] = json!(11);
                answer
            },
            "other documents than it has",
        ),
        (
            "/shard/statistics",
            |mut answer| {
                answer["answer"]["num_terms"] = json!(u64::MAX);
                answer
            },
            "other documents than it has",
        ),
        (
            "/shard/search",
            |mut answer| {
                answer["answer"]["rankings"][0]["bm25"]["scores"].as_array_mut().unwrap().pop();
                answer
            },
            "one score for each id",
        ),
        (
            "/shard/search",
            |mut answer| {
                answer["answer"]["rankings"][0]["bm25"]["scores"].as_array_mut().unwrap().reverse();
                answer
            },
            "not sorted",
        ),
        (
            "/shard/search",
            |mut answer| {
                answer["answer"]["rankings"][0]["bm25"] = Value::Null;
                answer
            },
            "no hits of an index that was asked",
        ),
        (
            "/shard/search",
            |mut answer| {
                answer["snapshot"]["commit"] = json!(77);
                answer
            },
            "another state",
        ),
        (
            "/shard/info",
            |mut answer| {
                answer["answer"]["facts"]["record"]["commit"] = json!(77);
                answer
            },
            "two states",
        ),
        (
            "/shard/info",
            |mut answer| {
                answer["answer"]["facts"]["generation"] = json!("other");
                answer["snapshot"]["generation"] = json!("other");
                answer
            },
            "another generation than the first shard",
        ),
    ];
    for (route, change, part) in wrong {
        let url =
            between(&second.url, move |asked, answer| if asked == route { change(answer) } else { answer });
        let error = error_of(&first, &url, |topology| topology);
        assert!(error.to_string().contains(part), "{part:?} in {error}");
        if part.contains("answers to") {
            let source = source(&error).downcast_ref::<Error>();
            assert!(matches!(source, Some(Error::Shards(ShardError::Answers { .. }))), "{error}");
        }
    }
}

#[test]
fn keys_are_sent_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plan = finished(Database::builder(folder.path().join("set")), 1, &some_documents(9), None);
    let access = Access { keys: vec!["secret".to_owned()], ..Access::default() };
    let server = Server::with(&plan.shard_path(0), access, Limits::default());
    let with = |api_key: Option<&str>| {
        let topology = topology(&[vec![server.url.clone()]]);
        open(Topology { api_key: api_key.map(str::to_owned), ..topology }, None, false)
    };
    assert_eq!(search(&with(Some("secret")).unwrap()).unwrap().len(), 9);
    for (key, part) in [(None, "an API key is needed"), (Some("other"), "not one of this server's")] {
        let failure = with(key).err().unwrap();
        assert!(failure.message.contains("(401)") && failure.message.contains(part), "{}", failure.message);
        assert_eq!(failure.code, ErrorKind::Usage);
    }
}

/// Servers that do not fit each other, or the manifest.
#[test]
fn servers_of_other_sets() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, [first, second]) = two_shards(folder.path());
    let refused = |topology: Topology, parts: &[&str]| {
        let message = match open(topology, None, false) {
            Err(failure) => failure.message,
            Ok(set) => search(&set).unwrap_err().to_string(),
        };
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
    };
    let two = |second: &Server| topology(&[vec![first.url.clone()], vec![second.url.clone()]]);
    // With another analyzer, and with an encoder.
    let german = folder.path().join("german");
    let mut database = Database::builder(&german).analyzer("german".parse().unwrap()).create().unwrap();
    database.add(&[Document::new("1", "text")]).unwrap();
    database.commit().unwrap();
    refused(two(&Server::of(&german)), &["shard 1 (http", "analyzer", "german", "name another server"]);
    let encoder = encoder();
    let encoded = folder.path().join("encoded");
    let builder = Database::builder(&encoded).encoder(Arc::clone(&encoder)).vector_options(options());
    drop(builder.create().unwrap());
    refused(two(&Server::of(&encoded)), &["shard 1 (http", "list of generations", "none"]);
    // The same shard twice: it is found out by its hits, or by the manifest.
    let again = Server::of(&plan.shard_path(0));
    refused(two(&again), &["is in shard 0 and in shard 1"]);
    let manifest = Some(plan.path().join("manifest.json"));
    let with_manifest = |topology: Topology| Topology { manifest: manifest.clone(), ..topology };
    refused(with_manifest(two(&again)), &["shard 1 (http", "not the one that the set was finished with"]);
    let one = topology(&[vec![first.url.clone()]]);
    refused(with_manifest(one), &["a set of 2 shards, and 1 is named"]);
    let gone = Topology { manifest: Some(folder.path().join("none.json")), ..two(&second) };
    refused(gone, &["none.json"]);
    // In their order.
    let swapped = topology(&[vec![second.url.clone()], vec![first.url.clone()]]);
    refused(with_manifest(swapped), &["shard 0 (http", "not the one"]);
    assert_eq!(search(&open(with_manifest(two(&second)), None, false).unwrap()).unwrap().len(), 10);
    // Another encoder than theirs.
    let short = secateur::LoadOptions { max_length: Some(8), ..Default::default() };
    let other = Arc::new(secateur::encode::default_encoder(&short).unwrap());
    let served = Server::of(&encoded);
    let failure = open(topology(&urls(&[served])), Some(&other), false).err().unwrap();
    assert!(failure.message.contains("servers.json holds vectors of"), "{}", failure.message);
}

/// A set begins anew when a shard has changed, once.
#[test]
fn shards_that_change() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, [first, second]) = two_shards(folder.path());
    let shard = plan.shard_path(1);
    let add = |id: &str| {
        let mut database = Database::open(&shard).unwrap();
        database.add(&[Document::new(id, "text number 3")]).unwrap();
        database.commit().unwrap();
        second.caught_up(&shard);
    };
    let manifest = Some(plan.path().join("manifest.json"));
    let both = topology(&[vec![first.url.clone()], vec![second.url.clone()]]);
    let strict = open(Topology { manifest, ..both.clone() }, None, false).unwrap();
    let set = open(both, None, false).unwrap();
    let before = search(&set).unwrap();
    assert_eq!(search(&strict).unwrap(), before);
    add("new");
    plan.finish().unwrap();
    let after = search(&set).unwrap();
    assert_eq!(after, ShardSet::open(plan.path()).unwrap().search("text number 13", &words()).unwrap());
    assert!(after != before && set.current().len() == 21);
    // The manifest is read again, and fits.
    assert_eq!(search(&strict).unwrap(), after);
    add("newer");
    let error = search(&strict).unwrap_err();
    assert!(matches!(&error, Error::Shards(ShardError::Changed { shard: 1, .. })), "{error}");

    // One that is never where it was.
    let moved = between(&second.url, |route, answer| match route {
        "/shard/info" => answer,
        _ => json!({"error": {"message": "it moves", "code": "snapshot_gone"}}),
    });
    let to = moved.clone();
    let moves = fake(move |Asked { route, body, .. }, stream| {
        let config = ureq::Agent::config_builder().proxy(None).build();
        let agent: ureq::Agent = config.into();
        let request = agent.post(format!("{to}{route}")).header("content-type", "application/json");
        let said = request.send(&body[..]).unwrap().body_mut().read_to_vec().unwrap();
        say(stream, if route == "/shard/info" { 200 } else { 409 }, &said);
    });
    let set = open(topology(&[vec![first.url.clone()], vec![moves.clone()]]), None, false).unwrap();
    let error = search(&set).unwrap_err();
    assert!(matches!(&error, Error::Shards(ShardError::MovedAgain { .. })), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("shard 1") && message.contains(&moves) && message.contains("started anew"),
        "{message}"
    );
}
