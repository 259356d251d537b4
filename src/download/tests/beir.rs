//! Published data sets: fetched once, checked, unpacked with care.

use std::io::{Cursor, Write};
use std::path::Path;

use md5::{Digest, Md5};
use secateur_datasets::beir::BeirFolder;
#[cfg(unix)]
use secateur_files::faults::at_every_operation;
use secateur_testkit::server::{Resource, TestServer};
use zip::write::SimpleFileOptions;

use super::{fetcher, names, no_progress};
use crate::download::beir::{Archive, download_archive};
use crate::download::{DownloadError, download_dataset};

const CORPUS: &str = "{\"_id\":\"d1\",\"text\":\"one\"}\n";

pub fn zip_of(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        if let Some(folder) = name.strip_suffix('/') {
            writer.add_directory(folder, SimpleFileOptions::default()).unwrap();
        } else {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

fn tiny() -> Vec<u8> {
    zip_of(&[
        ("tiny/", ""),
        ("tiny/corpus.jsonl", CORPUS),
        ("tiny/queries.jsonl", "{\"_id\":\"q1\",\"text\":\"first\"}\n"),
        ("tiny/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n"),
        ("__MACOSX/tiny/._corpus.jsonl", "left out"),
    ])
}

pub fn md5_of(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves `zip` and downloads it as the data set `tiny`.
fn download(
    server: &TestServer,
    md5: &str,
    parts: &[&str],
    cache: &Path,
) -> Result<std::path::PathBuf, DownloadError> {
    let url = server.url("/tiny.zip");
    download_archive(&Archive { name: "tiny", url: &url, md5, parts }, cache, &fetcher(), &mut no_progress)
}

#[test]
fn a_data_set_is_downloaded_once_over_a_breaking_line() {
    let server = TestServer::start();
    let zip = tiny();
    server.put("/tiny.zip", Resource::new(zip.clone()).etag("a").breaks_after(100));
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("new/cache");
    let folder = download(&server, &md5_of(&zip), &[], &cache).unwrap();
    assert_eq!(folder, cache.join("tiny"));
    assert_eq!(server.requests()[1].sent, zip.len() - 100);
    let opened = BeirFolder::open(&folder).unwrap();
    let verdict = opened.verify(|finding| panic!("{finding}")).unwrap();
    assert_eq!((verdict.documents, verdict.queries, verdict.judgments), (1, 1, 1));
    assert_eq!(names(&cache), [".tiny.lock", "tiny"]);

    server.clear_requests();
    assert_eq!(download(&server, "not even looked at", &[], &cache).unwrap(), folder);
    assert_eq!(server.requests(), []);
}

/// Whatever fails, and at whatever moment the power is cut, the data set is whole or absent, and the next call makes
/// it whole.
#[cfg(unix)]
#[test]
fn every_failure_of_the_disk_is_recovered_from() {
    let server = TestServer::start();
    let zip = tiny();
    let md5 = md5_of(&zip);
    server.put("/tiny.zip", Resource::new(zip).etag("a"));
    let scratch = tempfile::tempdir().unwrap();
    let prepare = |cache: &Path| std::fs::create_dir(cache).unwrap();
    let operate = |cache: &Path| download(&server, &md5, &[], cache);
    at_every_operation(scratch.path(), prepare, operate, |cache, result, what| {
        assert!(result.is_err() || cache.join("tiny").exists(), "{what}");
        let folder = download(&server, &md5, &[], cache).unwrap();
        let verdict =
            BeirFolder::open(&folder).unwrap().verify(|finding| panic!("{what}: {finding}")).unwrap();
        assert_eq!((verdict.documents, verdict.queries, verdict.judgments), (1, 1, 1), "{what}");
    });
}

#[test]
fn a_wrong_md5_names_both_and_removes_the_file() {
    let server = TestServer::start();
    let zip = tiny();
    server.put("/tiny.zip", Resource::new(zip.clone()));
    let cache = tempfile::tempdir().unwrap();
    let expected = "0123456789abcdef0123456789abcdef";
    let error = download(&server, expected, &[], cache.path()).unwrap_err();
    assert!(matches!(error, DownloadError::Checksum { .. }));
    let message = error.to_string();
    assert!(message.contains(expected) && message.contains(&md5_of(&zip)), "{message}");
    assert_eq!(names(cache.path()), [".tiny.lock"]);
}

#[test]
fn archives_that_lead_out_of_the_folder_leave_nothing() {
    let mut with_link = zip::ZipWriter::new(Cursor::new(Vec::new()));
    with_link.add_symlink("tiny/corpus.jsonl", "/etc/hostname", SimpleFileOptions::default()).unwrap();
    let with_link = with_link.finish().unwrap().into_inner();
    // The writer would take the slash off, and nothing in an archive checks its names.
    let mut absolute = zip_of(&[("!tmp/evil", "x")]);
    while let Some(name) = absolute.windows(5).position(|window| window == b"!tmp/") {
        absolute[name] = b'/';
    }
    // Deflate turns these zeros into a thousandth; the limit is two hundred times the archive.
    let bomb = "0".repeat(4 << 20);
    let cases: [(&str, Vec<u8>); 7] = [
        ("refusing to unpack \"../evil\"", zip_of(&[("tiny/corpus.jsonl", CORPUS), ("../evil", "x")])),
        ("refusing to unpack \"tiny/../../evil\"", zip_of(&[("tiny/../../evil", "x")])),
        ("refusing to unpack \"/tmp/evil\"", absolute),
        ("it is a link", with_link),
        ("more than 200 times its size", zip_of(&[("tiny/corpus.jsonl", &bomb)])),
        ("holds no data set tiny", zip_of(&[("other/corpus.jsonl", CORPUS)])),
        ("is not a readable zip archive", b"no zip at all".to_vec()),
    ];
    for (expected, zip) in cases {
        let server = TestServer::start();
        server.put("/tiny.zip", Resource::new(zip.clone()));
        let parent = tempfile::tempdir().unwrap();
        let cache = parent.path().join("cache");
        let error = download(&server, &md5_of(&zip), &[], &cache).unwrap_err();
        assert!(error.to_string().contains(expected), "expected {expected:?}: {error}");
        assert_eq!(names(parent.path()), ["cache"], "{expected}");
        assert_eq!(names(&cache), [".tiny.lock", "tiny.zip"], "{expected}");
    }
}

#[test]
fn a_data_set_of_parts_needs_all_of_them() {
    let zip = zip_of(&[("tiny/android/corpus.jsonl", CORPUS), ("tiny/tex/corpus.jsonl", CORPUS)]);
    let server = TestServer::start();
    server.put("/tiny.zip", Resource::new(zip.clone()));
    let cache = tempfile::tempdir().unwrap();
    let error = download(&server, &md5_of(&zip), &["android", "unix"], cache.path()).unwrap_err();
    assert!(error.to_string().contains("holds no data set tiny"), "{error}");
    // The archive was kept, so this call needs no request.
    server.clear_requests();
    let folder = download(&server, &md5_of(&zip), &["android", "tex"], cache.path()).unwrap();
    assert_eq!(server.requests(), []);
    assert_eq!(names(&folder), ["android", "tex"]);
}

#[test]
fn two_calls_at_once_make_one_download() {
    let server = TestServer::start();
    let zip = tiny();
    let md5 = md5_of(&zip);
    server.put("/tiny.zip", Resource::new(zip));
    let cache = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| download(&server, &md5, &[], cache.path()).unwrap());
        }
    });
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn unknown_names_list_the_known_ones() {
    let cache = tempfile::tempdir().unwrap();
    let error = download_dataset("scifacts", cache.path(), &fetcher(), &mut no_progress).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("\"scifacts\"") && message.contains("scidocs, scifact, trec-covid"),
        "{message}"
    );
    assert_eq!(names(cache.path()), [""; 0]);
}
