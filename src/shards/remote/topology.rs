//! The file that names the servers of a set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::Result;
use crate::shard_error::ShardError;

/// The servers of a set, and how they are asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Topology {
    /// The file.
    pub path: PathBuf,
    /// The addresses of the servers of each shard, in the order of the shards.
    pub shards: Vec<Vec<String>>,
    /// The manifest of the finished set.
    pub manifest: Option<PathBuf>,
    /// What the servers ask for.
    pub api_key: Option<String>,
    /// How long a shard may take to answer.
    pub timeout: Duration,
    /// After how long another server of a shard is asked too, or the same one again.
    pub hedge_after: Duration,
}

const TIMEOUT: Duration = Duration::from_secs(10);
const HEDGE_AFTER: Duration = Duration::from_millis(500);

/// The field that names the servers.
const SHARDS: &str = "shards";

const FIELDS: [&str; 5] = [SHARDS, "manifest", "api_key_file", "timeout", "hedge_after"];

/// What is wrong with a field: where it is, and what.
type Wrong = (String, String);

impl Topology {
    /// Whether a path is that of such a file, as far as its name tells.
    pub fn is_named(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "json") && !path.is_dir()
    }

    /// Whether a path is that of such a file: JSON by its name, with the field `shards`.
    pub fn is_there(path: &Path) -> bool {
        let read = || serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok();
        Topology::is_named(path) && read().is_some_and(|json| json.get(SHARDS).is_some())
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`ShardError::BadServers`] names the file and the field; [`ShardError::NoShards`].
    pub fn read(path: &Path) -> Result<Topology> {
        let input = |problem: String| ShardError::BadServers { path: path.to_owned(), problem };
        let text = std::fs::read(path).map_err(|error| {
            input(format!("{error}; a file that names the servers of a set of shards is expected"))
        })?;
        let json: Value =
            serde_json::from_slice(&text).map_err(|error| input(format!("it is no JSON: {error}")))?;
        let Value::Object(fields) = json else {
            return Err(input("expected an object with the field shards".to_owned()).into());
        };
        let topology =
            of_fields(path, &fields).map_err(|(field, problem)| input(format!("{field}: {problem}")))?;
        match topology.shards.is_empty() {
            true => Err(ShardError::NoShards { path: path.to_owned() }.into()),
            false => Ok(topology),
        }
    }
}

fn of_fields(path: &Path, fields: &Map<String, Value>) -> std::result::Result<Topology, Wrong> {
    check_fields("", fields, &FIELDS)?;
    let beside = |name: &str| path.parent().unwrap_or(Path::new("")).join(name);
    let file = |name: &str| match fields.get(name) {
        None => Ok(None),
        Some(Value::String(file)) => Ok(Some(beside(file))),
        Some(other) => Err((name.to_owned(), format!("it is {other}, expected the name of a file"))),
    };
    let api_key = match file("api_key_file")? {
        None => None,
        Some(file) => Some(key(&file).map_err(|problem| ("api_key_file".to_owned(), problem))?),
    };
    Ok(Topology {
        path: path.to_owned(),
        shards: shards(fields.get(SHARDS))?,
        manifest: file("manifest")?,
        api_key,
        timeout: seconds(fields, "timeout")?.unwrap_or(TIMEOUT),
        hedge_after: seconds(fields, "hedge_after")?.unwrap_or(HEDGE_AFTER),
    })
}

fn check_fields(place: &str, fields: &Map<String, Value>, known: &[&str]) -> std::result::Result<(), Wrong> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let problem = format!("there is no such field; there are {}", known.join(", "));
            Err((format!("{place}{name}"), problem))
        }
    }
}

fn shards(value: Option<&Value>) -> std::result::Result<Vec<Vec<String>>, Wrong> {
    let wrong = |place: &str, problem: &str| Err((place.to_owned(), problem.to_owned()));
    let Some(Value::Array(shards)) = value else {
        return wrong(SHARDS, "expected a list with an object for each shard");
    };
    let mut named: HashMap<String, String> = HashMap::new();
    let mut all = Vec::with_capacity(shards.len());
    for (number, shard) in shards.iter().enumerate() {
        let place = format!("shards[{number}]");
        let Value::Object(fields) = shard else {
            return wrong(&place, "expected an object with the list replicas");
        };
        check_fields(&format!("{place}."), fields, &["replicas"])?;
        let place = format!("{place}.replicas");
        let Some(Value::Array(replicas)) = fields.get("replicas") else {
            return wrong(&place, "expected a list of addresses, such as [\"http://10.0.0.1:8080\"]");
        };
        if replicas.is_empty() {
            return wrong(&place, "it is empty: name the server of this shard");
        }
        let mut urls = Vec::with_capacity(replicas.len());
        for (replica, url) in replicas.iter().enumerate() {
            let place = format!("{place}[{replica}]");
            let url = checked_url(url).map_err(|problem| (place.clone(), problem))?;
            if let Some(first) = named.insert(url.clone(), place.clone()) {
                return wrong(&place, &format!("{url} is {first} already: a server has one shard"));
            }
            urls.push(url);
        }
        all.push(urls);
    }
    Ok(all)
}

/// The address of a server, without a slash at its end. The case of its host says nothing.
fn checked_url(value: &Value) -> std::result::Result<String, String> {
    let expected = "expected an address such as \"http://10.0.0.1:8080\"";
    let Value::String(url) = value else { return Err(format!("it is {value}, {expected}")) };
    let url = url.trim_end_matches('/');
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let uri = url.parse::<ureq::http::Uri>().ok();
    let is_plain = rest.is_some_and(|rest| !rest.contains(['@', '?', '#']));
    match uri.and_then(|uri| uri.host().map(|host| !host.is_empty())) {
        Some(true) if is_plain => {
            let path = url.match_indices('/').nth(2).map_or(url.len(), |(at, _)| at);
            Ok(url[..path].to_ascii_lowercase() + &url[path..])
        }
        // What stands before an @ may be a password, which is not to be printed.
        _ if url.contains('@') => {
            Err(format!("it has a name or a password in it: name api_key_file, and {expected}"))
        }
        _ => Err(format!("it is {url:?}, {expected}")),
    }
}

fn seconds(fields: &Map<String, Value>, name: &str) -> std::result::Result<Option<Duration>, Wrong> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    match value.as_f64().filter(|seconds| (0.001..=86_400.0).contains(seconds)) {
        Some(seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
        None => Err((name.to_owned(), format!("it is {value}, expected seconds, 0.001 to 86400"))),
    }
}

/// The first key in a file.
fn key(file: &Path) -> std::result::Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let key = text.lines().map(str::trim).find(|line| !line.is_empty());
    match key {
        None => Err(format!("{}: there is no key in it", file.display())),
        Some(key) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(format!("{}: the key has characters that no HTTP header can have", file.display()))
        }
        Some(key) => Ok(key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Topology> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("servers.json");
        std::fs::write(folder.path().join("key"), "\n  secret\nother\n").unwrap();
        std::fs::write(folder.path().join("none"), "\n").unwrap();
        std::fs::write(&path, text).unwrap();
        Topology::read(&path)
    }

    #[test]
    fn servers_are_named() {
        let topology = read(
            r#"{"shards": [{"replicas": ["http://a:1/", "https://Gate/Shard-0"]}, {"replicas": ["http://[::1]:3"]}],
                "manifest": "set/manifest.json", "api_key_file": "key", "timeout": 2, "hedge_after": 0.25}"#,
        )
        .unwrap();
        assert_eq!(topology.shards, [vec!["http://a:1", "https://gate/Shard-0"], vec!["http://[::1]:3"]]);
        assert_eq!(topology.api_key.as_deref(), Some("secret"));
        assert!(topology.manifest.unwrap().ends_with("set/manifest.json"));
        assert_eq!(
            (topology.timeout, topology.hedge_after),
            (Duration::from_secs(2), Duration::from_millis(250))
        );
        let topology = read(r#"{"shards": [{"replicas": ["http://a"]}]}"#).unwrap();
        assert_eq!((topology.timeout, topology.hedge_after, topology.manifest), (TIMEOUT, HEDGE_AFTER, None));
    }

    #[test]
    fn wrong_fields_are_named() {
        for (text, parts) in [
            ("", ["servers.json", "no JSON"]),
            ("[]", ["servers.json", "shards"]),
            ("{}", ["shards: ", "a list"]),
            (r#"{"shards": []}"#, ["servers.json", "names no shard"]),
            (r#"{"shard": []}"#, ["shard: ", "there are shards, manifest"]),
            (r#"{"shards": ["http://a"]}"#, ["shards[0]: ", "replicas"]),
            (r#"{"shards": [{"replica": ["http://a"]}]}"#, ["shards[0].replica: ", "no such field"]),
            (r#"{"shards": [{"replicas": "http://a"}]}"#, ["shards[0].replicas: ", "a list"]),
            (r#"{"shards": [{"replicas": []}]}"#, ["shards[0].replicas: ", "empty"]),
            (r#"{"shards": [{"replicas": ["a:80"]}]}"#, ["shards[0].replicas[0]: ", "\"a:80\""]),
            (r#"{"shards": [{"replicas": ["ftp://a"]}]}"#, ["shards[0].replicas[0]: ", "\"ftp://a\""]),
            (r#"{"shards": [{"replicas": ["http://"]}]}"#, ["shards[0].replicas[0]: ", "http"]),
            (r#"{"shards": [{"replicas": ["http://a?b"]}]}"#, ["shards[0].replicas[0]: ", "http"]),
            (r#"{"shards": [{"replicas": [7]}]}"#, ["shards[0].replicas[0]: ", "it is 7"]),
            (
                r#"{"shards": [{"replicas": ["http://a"]}, {"replicas": ["http://b", "http://A/"]}]}"#,
                ["shards[1].replicas[1]: ", "shards[0].replicas[0] already"],
            ),
            (r#"{"shards": [{"replicas": ["http://a"]}], "timeout": 0}"#, ["timeout: ", "it is 0"]),
            (r#"{"shards": [{"replicas": ["http://a"]}], "hedge_after": "1"}"#, ["hedge_after: ", "seconds"]),
            (r#"{"shards": [{"replicas": ["http://a"]}], "manifest": 1}"#, ["manifest: ", "a file"]),
            (
                r#"{"shards": [{"replicas": ["http://a"]}], "api_key_file": "none"}"#,
                ["api_key_file: ", "no key"],
            ),
            (
                r#"{"shards": [{"replicas": ["http://a"]}], "api_key_file": "gone"}"#,
                ["api_key_file: ", "gone"],
            ),
        ] {
            let message = read(text).err().unwrap().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
        }
        let message =
            read(r#"{"shards": [{"replicas": ["http://me:secret@a"]}]}"#).err().unwrap().to_string();
        assert!(message.contains("password") && !message.contains("secret"), "{message}");
    }
}
