//! Models of the hub: the cache's layout, tokens, revisions, and life without a network.

use std::path::Path;

#[cfg(unix)]
use secateur_files::faults::at_every_operation;
use secateur_testkit::server::{Resource, TestServer};
use sha2::{Digest, Sha256};

use super::{bytes, fetcher, names};
use crate::download::{DownloadError, HubConfig, Progress, resolve_model};

const COMMIT: &str = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf";

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A repository on a server: the listing and the files under its commit.
struct Repository {
    files: Vec<(&'static str, Vec<u8>)>,
    listing: String,
}

/// A sentence-transformers model, with files that no encoder needs.
fn repository() -> Repository {
    let text = |text: &str| text.as_bytes().to_vec();
    let modules = r#"[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
        {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"},
        {"idx":2,"name":"2","path":"2_Normalize","type":"sentence_transformers.models.Normalize"}]"#;
    let files = vec![
        ("config.json", text("{\"model_type\":\"bert\"}")),
        ("tokenizer.json", text("{}")),
        ("tokenizer_config.json", text("{\"model_max_length\":512}")),
        ("modules.json", text(modules)),
        ("1_Pooling/config.json", text("{\"pooling_mode_mean_tokens\":true}")),
        ("model.safetensors", bytes(200_000)),
        ("vocab.txt", text("[PAD]\n")),
        ("README.md", text("left out")),
        ("pytorch_model.bin", text("left out")),
        ("onnx/model.onnx", text("left out")),
        ("onnx/config.json", text("left out")),
    ];
    let siblings: Vec<serde_json::Value> = files
        .iter()
        .enumerate()
        .map(|(index, (name, content))| {
            let mut file = serde_json::json!({
                "rfilename": name, "size": content.len(), "blobId": format!("{index:040x}"),
            });
            if name.ends_with(".safetensors") {
                file["lfs"] = serde_json::json!({ "sha256": sha256(content), "size": content.len() });
            }
            file
        })
        .collect();
    let listing = serde_json::json!({ "id": "acme/mini", "sha": COMMIT, "siblings": siblings }).to_string();
    Repository { files, listing }
}

fn serve(server: &TestServer, revision: &str) -> Repository {
    let repository = repository();
    let path = format!("/api/models/acme/mini/revision/{revision}?blobs=true");
    server.put(&path, Resource::new(repository.listing.clone()));
    for (name, content) in &repository.files {
        let path = format!("/acme/mini/resolve/{COMMIT}/{name}");
        server.put(&path, Resource::new(content.clone()).etag("any"));
    }
    repository
}

fn config(server: &TestServer, cache_dir: &Path) -> HubConfig {
    HubConfig {
        endpoint: server.url(""),
        viewer: server.url(""),
        cache_dir: cache_dir.to_owned(),
        offline: false,
        token: None,
    }
}

fn resolve(id: &str, config: &HubConfig) -> Result<std::path::PathBuf, DownloadError> {
    resolve_model(id, config, &fetcher(), &mut |_: &str, _: Progress| {})
}

#[test]
fn a_model_is_stored_as_huggingface_hub_stores_it() {
    let server = TestServer::start();
    let repository = serve(&server, "main");
    let cache = tempfile::tempdir().unwrap();
    let config = config(&server, cache.path());
    let mut steps = Vec::new();
    let model =
        resolve_model("acme/mini", &config, &fetcher(), &mut |file, _| steps.push(file.to_owned())).unwrap();

    let folder = cache.path().join("models--acme--mini");
    assert_eq!(model, folder.join("snapshots").join(COMMIT));
    assert_eq!(std::fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    let expected = [
        "1_Pooling",
        "config.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ];
    assert_eq!(names(&model), expected);
    assert!(steps.contains(&"model.safetensors".to_owned()) && !steps.contains(&"README.md".to_owned()));
    for (name, content) in &repository.files {
        let path = model.join(name);
        if path.exists() {
            assert_eq!(&std::fs::read(path).unwrap(), content, "{name}");
        }
    }
    let weights = sha256(&repository.files[5].1);
    #[cfg(unix)]
    {
        let link = |file: &str| std::fs::read_link(model.join(file)).unwrap();
        assert_eq!(link("model.safetensors"), Path::new("../../blobs").join(&weights));
        assert_eq!(link("1_Pooling/config.json"), Path::new("../../../blobs").join(format!("{:040x}", 4)));
    }
    assert_eq!(std::fs::read(folder.join("blobs").join(&weights)).unwrap(), repository.files[5].1);
    assert_eq!(names(&folder.join("blobs")).len(), 7, "no part is left");
    assert!(folder.join(".no_exist").join(COMMIT).join("sentence_bert_config.json").is_file());

    // Whole in the cache: no network, by name, by commit and offline.
    server.clear_requests();
    let offline = HubConfig { offline: true, ..config.clone() };
    for (id, config) in [
        ("acme/mini", &config),
        ("acme/mini@main", &config),
        (&*format!("acme/mini@{COMMIT}"), &config),
        ("acme/mini", &offline),
    ] {
        assert_eq!(resolve(id, config).unwrap(), model, "{id}");
    }
    assert_eq!(server.requests(), []);
}

/// Whatever fails, and at whatever moment the power is cut, what counts as whole is, and the next call makes it whole.
#[cfg(unix)]
#[test]
fn every_failure_of_the_disk_is_recovered_from() {
    let server = TestServer::start();
    let repository = serve(&server, "main");
    let scratch = tempfile::tempdir().unwrap();
    let prepare = |cache: &Path| std::fs::create_dir(cache).unwrap();
    let operate = |cache: &Path| resolve("acme/mini", &config(&server, cache));
    at_every_operation(scratch.path(), prepare, operate, |cache, result, what| {
        let online = config(&server, cache);
        let offline = HubConfig { offline: true, ..online.clone() };
        let check = |model: &Path| {
            for (name, content) in &repository.files {
                let path = model.join(name);
                assert!(!path.exists() || &std::fs::read(path).unwrap() == content, "{what}: {name}");
            }
        };
        match resolve("acme/mini", &offline) {
            Ok(model) => check(&model),
            Err(error) => assert!(result.is_err(), "{what}: {error}"),
        }
        check(&resolve("acme/mini", &online).unwrap());
    });
}

#[test]
fn a_broken_download_is_invisible_offline_and_resumed_online() {
    let server = TestServer::start();
    let repository = serve(&server, "main");
    let weights = &repository.files[5].1;
    let path = format!("/acme/mini/resolve/{COMMIT}/model.safetensors");
    let broken = (0..4)
        .fold(Resource::new(weights.clone()).etag("w").breaks_after(150_000), |file, _| file.breaks_after(0));
    server.put(&path, broken);
    let cache = tempfile::tempdir().unwrap();
    let config = config(&server, cache.path());
    let error = resolve("acme/mini", &config).unwrap_err();
    assert!(matches!(error, DownloadError::Network { .. }), "{error}");
    let offline = HubConfig { offline: true, ..config.clone() };
    assert!(matches!(resolve("acme/mini", &offline), Err(DownloadError::Offline { .. })));

    server.clear_requests();
    let model = resolve("acme/mini", &config).unwrap();
    assert_eq!(&std::fs::read(model.join("model.safetensors")).unwrap(), weights);
    let again: Vec<_> =
        server.requests().into_iter().filter(|request| !request.path.starts_with("/api")).collect();
    assert_eq!(again[0].path, path, "files that were complete are not fetched again");
    assert_eq!(again[0].sent, 50_000);
}

#[test]
fn offline_without_the_model_says_where_it_looked() {
    let cache = tempfile::tempdir().unwrap();
    let server = TestServer::start();
    let config = HubConfig { offline: true, ..config(&server, cache.path()) };
    let error = resolve("acme/mini@v2", &config).unwrap_err();
    let message = error.to_string();
    let folder = cache.path().join("models--acme--mini");
    assert!(message.contains("acme/mini@v2") && message.contains(folder.to_str().unwrap()), "{message}");
    assert!(message.contains("unset HF_HUB_OFFLINE"), "{message}");
    assert_eq!(server.requests(), []);
}

#[test]
fn private_models_need_the_token() {
    let server = TestServer::start();
    serve(&server, "main");
    server.require_token("hf_secret");
    let cache = tempfile::tempdir().unwrap();
    let without = config(&server, cache.path());
    let error = resolve("acme/mini", &without).unwrap_err();
    assert!(matches!(error, DownloadError::Denied { status: 401, with_token: false, .. }), "{error}");
    assert!(error.to_string().contains("set HF_TOKEN"), "{error}");
    let wrong = HubConfig { token: Some("hf_wrong".to_owned()), ..without.clone() };
    let error = resolve("acme/mini", &wrong).unwrap_err();
    assert!(matches!(error, DownloadError::Denied { with_token: true, .. }), "{error}");
    let right = HubConfig { token: Some("hf_secret".to_owned()), ..without };
    resolve("acme/mini", &right).unwrap();
}

#[test]
fn revisions_are_kept_apart() {
    let server = TestServer::start();
    serve(&server, "refs%2Fpr%2F5");
    let cache = tempfile::tempdir().unwrap();
    let config = config(&server, cache.path());
    let model = resolve("acme/mini@refs/pr/5", &config).unwrap();
    let folder = cache.path().join("models--acme--mini");
    assert_eq!(std::fs::read_to_string(folder.join("refs/refs/pr/5")).unwrap(), COMMIT);
    assert_eq!(resolve("acme/mini@refs/pr/5", &config).unwrap(), model);
    let error = resolve("acme/mini@main", &config).unwrap_err();
    assert!(matches!(error, DownloadError::NotFound { .. }), "{error}");
}

#[test]
fn a_snapshot_without_the_pooling_is_completed_before_it_is_used() {
    // transformers leaves such snapshots: the model and its tokenizer, and nothing of sentence-transformers.
    let server = TestServer::start();
    let repository = serve(&server, "main");
    let cache = tempfile::tempdir().unwrap();
    let config = config(&server, cache.path());
    let folder = cache.path().join("models--acme--mini");
    let snapshot = folder.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::write(folder.join("refs/main"), COMMIT).unwrap();
    for (name, content) in &repository.files {
        if ["config.json", "tokenizer.json", "model.safetensors"].contains(name) {
            std::fs::write(snapshot.join(name), content).unwrap();
        }
    }
    let model = resolve("acme/mini", &config).unwrap();
    assert!(model.join("1_Pooling/config.json").is_file());
    let fetched: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
    assert!(!fetched.iter().any(|path| path.ends_with("model.safetensors")), "{fetched:?}");
}

#[test]
fn damaged_weights_are_refused_and_removed() {
    let server = TestServer::start();
    let repository = serve(&server, "main");
    let mut damaged = repository.files[5].1.clone();
    damaged[1_000] ^= 1;
    server.put(&format!("/acme/mini/resolve/{COMMIT}/model.safetensors"), Resource::new(damaged.clone()));
    let cache = tempfile::tempdir().unwrap();
    let error = resolve("acme/mini", &config(&server, cache.path())).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains(&sha256(&damaged)) && message.contains(&sha256(&repository.files[5].1)),
        "{message}"
    );
    let blobs = names(&cache.path().join("models--acme--mini/blobs"));
    assert!(!blobs.iter().any(|name| name.contains("unchecked") || name.contains("part")), "{blobs:?}");
}

#[test]
fn listings_that_cannot_be_right_are_refused() {
    let cases = [
        ("<html>", "cannot understand the list"),
        (r#"{"sha":"../../x","siblings":[]}"#, "its commit is not a hash"),
        (
            r#"{"sha":"abc","siblings":[{"rfilename":"config.json"},{"rfilename":"model.onnx"}]}"#,
            "no weights that can be read",
        ),
        (
            r#"{"sha":"abc","siblings":[{"rfilename":"model.safetensors","blobId":"../../../evil"}]}"#,
            "the id of a file is not a hash",
        ),
        (r#"{"sha":"abc","siblings":[{"rfilename":"../model.safetensors"}]}"#, "no weights that can be read"),
    ];
    for (listing, expected) in cases {
        let server = TestServer::start();
        server.put("/api/models/acme/mini/revision/main?blobs=true", Resource::new(listing));
        let parent = tempfile::tempdir().unwrap();
        let error = resolve("acme/mini", &config(&server, &parent.path().join("cache"))).unwrap_err();
        assert!(error.to_string().contains(expected), "{listing}: {error}");
        assert!(names(parent.path()).iter().all(|name| name == "cache"), "{listing}");
    }
}

#[test]
fn names_that_are_no_model_are_refused_before_any_request() {
    let server = TestServer::start();
    let cache = tempfile::tempdir().unwrap();
    let config = config(&server, cache.path());
    for id in ["", "a/b/c", "../b", "a/..", "a//b", "a/b@", "a/b@../x", "a b/c", "./model", "a/b@x y"] {
        let error = resolve(id, &config).unwrap_err();
        assert!(matches!(error, DownloadError::BadModelId { .. }), "{id:?}: {error}");
    }
    assert_eq!(server.requests(), []);
}

#[test]
fn an_adapter_in_the_cache_needs_no_network() {
    let cache = tempfile::tempdir().unwrap();
    let snapshot = cache.path().join("models--acme--lora/snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    let refs = cache.path().join("models--acme--lora/refs");
    std::fs::create_dir_all(&refs).unwrap();
    std::fs::write(refs.join("main"), COMMIT).unwrap();
    let server = TestServer::start();
    let config = HubConfig { offline: true, ..config(&server, cache.path()) };
    std::fs::write(snapshot.join("adapter_config.json"), "{}").unwrap();
    assert!(matches!(resolve("acme/lora", &config), Err(DownloadError::Offline { .. })));
    std::fs::write(snapshot.join("adapter_model.safetensors"), "").unwrap();
    assert_eq!(resolve("acme/lora", &config).unwrap(), snapshot);
}
