//! The search page, as a browser shows it.

use std::process::Command;

use super::server::Server;
use crate::page::chromium;
use crate::support::dataset::write;
use crate::support::{Sandbox, mini};

/// What the page holds once it has asked.
fn shown(sandbox: &Sandbox, server: &Server, browser: &std::path::Path, address: &str) -> String {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", sandbox.path("profile").display()))
        .arg(format!("http://{}/{address}", server.address))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_page_shows_hits_marks_filters_and_two_generations() {
    let Some(browser) = chromium("the_page_shows_hits_marks_filters_and_two_generations") else { return };
    let sandbox = Sandbox::new();
    let data = mini().display().to_string();
    sandbox.run(["index", &data, "--encoder", "default", "--out", "db"]).ok();
    let short = ["generation", "add", "db", "short", "--encoder", "default", "--max-length", "16"];
    sandbox.run(short).ok();
    // Markup of documents and queries is text.
    let rude = r#"{"id": "rude", "title": "<b>Honey</b>", "text": "<img src=x onerror=alert(1)> honey"}"#;
    write(&sandbox.path("."), "rude.jsonl", rude);
    sandbox.run(["add", "db", "rude.jsonl"]).ok();
    let server = Server::start(&sandbox, &["db"]);
    let page = |address: &str| shown(&sandbox, &server, &browser, address);

    let found = page("?query=honey&mode=bm25&k=3");
    assert_eq!(found.matches("<li data-id").count(), 3, "{found}");
    assert!(found.contains("<mark>honey</mark>") || found.contains("<mark>Honey</mark>"), "{found}");
    assert!(found.contains("data-id=\"rude\"") && found.contains("&lt;img src=x"), "{found}");
    assert!(!found.contains("<img"), "{found}");
    assert!(found.contains("64 documents") && found.contains(">year</button>"), "{found}");

    let filtered = page("?query=honey&mode=bm25&filter=year+%3E%3D+2010");
    assert!(filtered.contains("<li data-id") && !filtered.contains("data-id=\"rude\""), "{filtered}");
    let wrong = page("?query=honey&filter=yaer+%3E+1");
    assert!(wrong.contains("class=\"error\"") && wrong.contains("no document has a field yaer"), "{wrong}");

    let beside = page("?query=honey&mode=dense&first=original&second=short&k=5");
    assert_eq!(beside.matches("<section>").count(), 2, "{beside}");
    assert!(
        beside.contains("<h2>original, dense</h2>") && beside.contains("<h2>short, dense</h2>"),
        "{beside}"
    );
    assert_eq!(beside.matches("<li data-id").count(), 10, "{beside}");
    assert!(beside.contains(" · there: 1"), "{beside}");
}
