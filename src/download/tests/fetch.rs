//! One file, over connections that break.

use secateur_testkit::server::{Resource, TestServer};

use super::{bytes, fetcher, names, no_progress};
use crate::download::{DownloadError, Progress};

#[test]
fn a_file_arrives_whole_and_progress_counts_up() {
    let server = TestServer::start();
    let content = bytes(3_000_000);
    server.put("/file", Resource::new(content.clone()).etag("a"));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let mut steps = Vec::new();
    fetcher().file(&server.url("/file"), None, &target, &mut |step| steps.push(step)).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content);
    assert_eq!(names(folder.path()), ["file"]);
    assert!(steps.is_sorted_by(|a, b| a.done < b.done));
    assert_eq!(steps.last(), Some(&Progress { done: 3_000_000, total: Some(3_000_000) }));
}

#[test]
fn a_broken_connection_is_resumed_with_the_rest_only() {
    let server = TestServer::start();
    let content = bytes(1_000_000);
    server.put("/file", Resource::new(content.clone()).etag("a").breaks_after(300_000).breaks_after(200_000));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    fetcher().file(&server.url("/file"), None, &target, &mut no_progress).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content);
    let requests = server.requests();
    let ranges: Vec<_> = requests.iter().map(|request| request.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=300000-"), Some("bytes=500000-")]);
    assert_eq!(requests[1].if_range.as_deref(), Some("\"a\""));
    let sent: Vec<_> = requests.iter().map(|request| (request.status, request.sent)).collect();
    assert_eq!(sent, [(200, 300_000), (206, 200_000), (206, 500_000)]);
}

#[test]
fn a_later_call_goes_on_where_an_earlier_one_gave_up() {
    let server = TestServer::start();
    let content = bytes(100_000);
    let breaking = (0..4)
        .fold(Resource::new(content.clone()).etag("a").breaks_after(60_000), |file, _| file.breaks_after(0));
    server.put("/file", breaking);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let error = fetcher().file(&server.url("/file"), None, &target, &mut no_progress).unwrap_err();
    assert!(matches!(error, DownloadError::Network { attempts: 5, .. }), "{error}");
    assert_eq!(names(folder.path()), ["file.part", "file.part.origin"]);

    server.clear_requests();
    fetcher().file(&server.url("/file"), None, &target, &mut no_progress).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].sent, 40_000);
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_part_is_only_gone_on_with_if_it_is_of_the_same_file() {
    let content = bytes(1_000);
    // How the server answers the second request, and what it then must have sent in it.
    let cases = [
        ("another entity tag", Resource::new(content.clone()).etag("b"), 1_000, (200, 1_000)),
        ("no ranges", Resource::new(content.clone()).etag("a").ignores_ranges(), 1_000, (200, 1_000)),
        ("the same file", Resource::new(content.clone()).etag("a"), 1_000, (206, 600)),
    ];
    for (case, second, length, expected) in cases {
        let server = TestServer::start();
        let broken = (0..4)
            .fold(Resource::new(bytes(1_000)).etag("a").breaks_after(400), |file, _| file.breaks_after(0));
        server.put("/file", broken);
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file");
        fetcher().file(&server.url("/file"), None, &target, &mut no_progress).unwrap_err();
        server.put("/file", second);
        server.clear_requests();
        fetcher().file(&server.url("/file"), None, &target, &mut no_progress).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), content[..length], "{case}");
        let request = &server.requests()[0];
        assert_eq!((request.status, request.sent), expected, "{case}");
    }
}

#[test]
fn a_server_without_validators_sends_the_file_anew() {
    let server = TestServer::start();
    let content = bytes(1_000);
    server.put("/file", Resource::new(content.clone()).breaks_after(400));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    fetcher().file(&server.url("/file"), None, &target, &mut no_progress).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content);
    let sent: Vec<_> =
        server.requests().iter().map(|request| (request.range.clone(), request.sent)).collect();
    assert_eq!(sent, [(None, 400), (None, 1_000)]);
}

#[test]
fn a_part_that_was_complete_only_gets_its_name_and_one_too_long_is_dropped() {
    for (length, requests) in [(1_000, vec![416]), (1_200, vec![416, 200])] {
        let server = TestServer::start();
        let url = server.url("/file");
        server.put("/file", Resource::new(bytes(1_000)).etag("a"));
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file");
        std::fs::write(folder.path().join("file.part"), bytes(length)).unwrap();
        std::fs::write(folder.path().join("file.part.origin"), format!("{url}\n\"a\"")).unwrap();
        fetcher().file(&url, None, &target, &mut no_progress).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), bytes(1_000));
        let statuses: Vec<_> = server.requests().iter().map(|request| request.status).collect();
        assert_eq!(statuses, requests);
    }
}

#[test]
fn statuses_become_errors_that_say_what_to_do() {
    let server = TestServer::start();
    for status in [401, 403, 410, 503] {
        server.put(&format!("/{status}"), Resource::default().status(status));
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let cases = [
        ("/missing", 1, "does not exist (404)"),
        ("/401", 1, "set HF_TOKEN to an access token"),
        ("/403", 1, "set HF_TOKEN to an access token"),
        ("/410", 1, "answered with status 410"),
        ("/503", 5, "gave up after 5 attempts"),
    ];
    for (path, attempts, expected) in cases {
        server.clear_requests();
        let error = fetcher().file(&server.url(path), None, &target, &mut no_progress).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains(&server.url(path)), "{error}");
        assert_eq!(server.requests().len(), attempts, "{path}");
        let error = fetcher().text(&server.url(path), None).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(names(folder.path()), [""; 0], "{path}");
    }
    let error = fetcher().text(&server.url("/403"), Some("secret")).unwrap_err();
    assert!(error.to_string().contains("the token of HF_TOKEN was sent"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_server_that_is_away_is_an_error_that_names_it() {
    let url = TestServer::start().url("/file");
    let folder = tempfile::tempdir().unwrap();
    let error = fetcher().file(&url, None, &folder.path().join("file"), &mut no_progress).unwrap_err();
    assert!(matches!(error, DownloadError::Network { .. }), "{error}");
    assert!(error.to_string().contains(&url), "{error}");
}

#[test]
fn a_token_is_not_handed_on_to_another_host() {
    let (hub, storage) = (TestServer::start(), TestServer::start());
    hub.require_token("secret");
    hub.put("/file", Resource::redirect(storage.url("/stored")));
    storage.put("/stored", Resource::new("weights").etag("a"));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    fetcher().file(&hub.url("/file"), Some("secret"), &target, &mut no_progress).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"weights");
    assert_eq!(hub.requests()[0].authorization.as_deref(), Some("Bearer secret"));
    assert_eq!(storage.requests()[0].authorization, None);
}

#[test]
fn a_resumed_redirect_asks_the_storage_host_for_the_rest() {
    let (hub, storage) = (TestServer::start(), TestServer::start());
    hub.put("/file", Resource::redirect(storage.url("/stored")));
    storage.put("/stored", Resource::new(bytes(1_000)).etag("a").breaks_after(400));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    fetcher().file(&hub.url("/file"), None, &target, &mut no_progress).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), bytes(1_000));
    assert_eq!(storage.requests()[1].sent, 600);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let server = TestServer::start();
    server.put("/file", Resource::new("x"));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("absent/file");
    let error = fetcher().file(&server.url("/file"), None, &target, &mut no_progress).unwrap_err();
    assert!(matches!(error, DownloadError::Io { .. }), "{error}");
    assert!(error.to_string().contains("absent"), "{error}");
    assert_eq!(server.requests().len(), 1, "a disk error is not retried");
}
