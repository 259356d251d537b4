//! The page of a bench: every number of it is in results.json, and nothing overflows where a browser shows it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use secateur_testkit::skip;
use serde_json::Value;

use crate::support::{Sandbox, copy_folder, mini, model};

const QUICK: [&str; 6] = ["--repetitions", "1", "--warm-up", "1", "--timed-queries", "6"];

/// A bench with all that a page can have: judged data sets and one without judgments, two encoders, two indexes. Names
/// are long and have markup in them.
fn bench() -> Sandbox {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    copy_folder(&mini(), &sandbox.path("mini"));
    copy_folder(&mini(), &sandbox.path("unjudged"));
    std::fs::remove_dir_all(sandbox.path("unjudged/qrels")).unwrap();
    let queries = std::fs::read_to_string(sandbox.path("unjudged/queries.jsonl")).unwrap();
    let long = format!("{{\"_id\": \"long\", \"text\": \"<b>{}</b> & more\"}}\n", "x".repeat(300));
    std::fs::write(sandbox.path("unjudged/queries.jsonl"), long + &queries).unwrap();
    copy_folder(&mini(), &sandbox.path("again"));
    let encoders = "default,a-model-whose-name-<is>-as-long-as-some-names-of-the-hub-are=tiny";
    let outcome = sandbox.run(
        ["bench", "mini", "unjudged", "again", "--encoders", encoders, "--indexes", "flat,hnsw"]
            .iter()
            .chain(&QUICK),
    );
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    sandbox
}

/// All numbers and all strings of a value.
fn contents(value: &Value, numbers: &mut Vec<f64>, strings: &mut String) {
    match value {
        Value::Number(number) => numbers.extend(number.as_f64()),
        Value::String(text) => {
            strings.push_str(text);
            strings.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| contents(item, numbers, strings)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            strings.push_str(name);
            strings.push('\n');
            contents(field, numbers, strings);
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

/// What stands between `start` and `end`, each time.
fn between<'t>(text: &'t str, start: &str, end: &str) -> Vec<&'t str> {
    text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

/// The text that a reader sees, without what carries its number as data and without what is shown at a hover.
fn bare_text(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page.split_once("<body>").unwrap().1;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        let (tag, after) = tag.split_once('>').unwrap();
        rest = after;
        if tag.contains("data-value=") || tag == "title" {
            rest = after.split_once("</").unwrap().1.split_once('>').unwrap().1;
        }
        text.push(' ');
    }
    text
}

#[test]
fn every_number_of_a_page_is_in_the_results() {
    let sandbox = bench();
    let read = |name: &str| std::fs::read_to_string(sandbox.path("bench").join(name)).unwrap();
    let (page, json) = (read("report.html"), read("results.json"));
    let (mut numbers, mut strings) = (Vec::new(), String::new());
    contents(&serde_json::from_str(&json).unwrap(), &mut numbers, &mut strings);
    let data = between(&page, "data-value=\"", "\"");
    assert!(data.len() > 300, "{} numbers", data.len());
    for number in data {
        let value: f64 = number.parse().unwrap();
        // The reader of JSON may be off by the last bit.
        let is_there = numbers.iter().any(|known| (known - value).abs() <= 1e-15 * value.abs());
        assert!(is_there, "{number} is not in results.json");
    }
    // What is no datum is a word of the page, or of the results: a name, a version, a sentence.
    let text = bare_text(&page);
    for word in text.split(|c: char| !c.is_ascii_digit() && c != '.') {
        let word = word.trim_matches('.');
        if word.contains('.') {
            assert!(strings.contains(word), "{word} is neither a datum nor in a string of results.json");
        }
    }
    for part in [
        "Quality, size and speed-up",
        "Quality and latency",
        "Quality and size",
        "Recall and speed of indexes: mini, default",
        "Where the time goes",
        "What was lost, query by query",
        "median query, ms",
        "parameters, millions",
        "searches, a second",
        "mean time of a query, one client, ms",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    // Each drawing has a legend that names all of its series, and nothing of a name is markup.
    for (figure, plot) in page
        .split("<svg class=plot")
        .skip(1)
        .zip(serde_json::from_str::<Value>(&json).unwrap()["summary"]["plots"].as_array().unwrap())
    {
        let legend = between(figure, "<ul class=legend>", "</ul>")[0];
        for series in plot["series"].as_array().unwrap() {
            let name = series["name"].as_str().unwrap().replace('<', "&lt;").replace('>', "&gt;");
            assert!(legend.contains(&format!("</svg>{name}</li>")), "{name}: {legend}");
        }
    }
    assert!(!page.contains("<is>") && !page.contains("<b>") && !page.contains("<script"));
}

/// The first browser that there is.
pub fn chromium(test: &str) -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let found = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(test, "there is no Chromium to look at the page with");
    }
    found
}

/// Runs in a page that shows the report in a frame. It finds what reaches beyond its frame, and texts whose contrast is
/// less than 4.5 (WCAG 2.2, 1.4.3).
const LOOK: &str = r#"
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const inside = frame.contentDocument, view = frame.contentWindow, found = [];
  inside.querySelectorAll("details").forEach(details => details.open = true);
  const root = inside.documentElement, width = root.clientWidth;
  if (root.scrollWidth > width) found.push("the page is " + root.scrollWidth + " wide in " + width);
  for (const one of inside.body.querySelectorAll("*")) {
    if (one.closest(".wide") && !one.classList.contains("wide")) {
      const scrolled = one.closest(".wide"), box = one.getBoundingClientRect();
      const end = scrolled.getBoundingClientRect().left - scrolled.scrollLeft + scrolled.scrollWidth;
      if (box.right > end + 1) found.push("beyond its table: " + one.outerHTML.slice(0, 80));
      continue;
    }
    const box = one.getBoundingClientRect();
    if (box.width > 0 && (box.right > width + 1 || box.left < -1)) found.push("beyond the page: " + one.outerHTML.slice(0, 80));
  }
  for (const svg of inside.querySelectorAll("svg.plot")) {
    const frame = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        found.push("beyond its drawing: " + text.textContent);
    }
    const texts = [...svg.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
    texts.forEach(([one, a], place) => texts.slice(place + 1).forEach(([other, b]) => {
      const [across, down] = [Math.min(a.right, b.right) - Math.max(a.left, b.left), Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)];
      // A box has room above and below its letters.
      if (across > 2 && down > 5) found.push("over each other: " + one + ", " + other);
    }));
  }
  const channels = color => color.match(/[\d.]+/g).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const luminance = color => channels(color).reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = luminance(view.getComputedStyle(inside.body).backgroundColor);
  const seen = new Set();
  for (const one of inside.body.querySelectorAll("p, td, th, h1, h2, li, text, span, summary")) {
    const style = view.getComputedStyle(one), ink = luminance(one.tagName === "text" ? style.fill : style.color);
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (contrast < 4.5 && !seen.has(one.className)) {
      seen.add(one.className);
      found.push("contrast " + contrast.toFixed(2) + ": " + one.outerHTML.slice(0, 80));
    }
  }
  const size = inside.querySelectorAll("*").length;
  document.body.textContent = "LOOKED" + JSON.stringify({ width, size, paper, found }) + "LOOKED";
});
"#;

/// What [`LOOK`] finds in a page that is shown so wide, in one of both color schemes.
fn look(browser: &Path, sandbox: &Sandbox, page: &str, width: u32, scheme: u32) -> Value {
    let quoted = page.replace('&', "&amp;").replace('"', "&quot;");
    let harness = format!(
        "<!doctype html><meta charset=utf-8><body><iframe width={width} height=900 style=\"border:0\" srcdoc=\"{quoted}\">\
         </iframe><script>{LOOK}</script></body>"
    );
    let file = sandbox.path(format!("look-{width}-{scheme}.html"));
    std::fs::write(&file, harness).unwrap();
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--virtual-time-budget=20000",
        ])
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("--user-data-dir={}", sandbox.path("profile").display()))
        .args(["--window-size=1600,1000", "--dump-dom"])
        .arg(format!("file://{}", file.display()));
    let output = command.output().unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let Some(found) =
        between(&dom, "LOOKED", "LOOKED").first().map(|text| text.replace("&lt;", "<").replace("&gt;", ">"))
    else {
        panic!("the browser said nothing: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
    };
    serde_json::from_str(&found.replace("&amp;", "&")).unwrap()
}

#[test]
fn nothing_overflows_on_a_desk_or_a_phone_by_day_or_by_night() {
    let Some(browser) = chromium("nothing_overflows_on_a_desk_or_a_phone_by_day_or_by_night") else { return };
    let sandbox = bench();
    let page = std::fs::read_to_string(sandbox.path("bench/report.html")).unwrap();
    let mut papers = BTreeSet::new();
    for width in [1280, 390] {
        for scheme in [0, 1] {
            let looked = look(&browser, &sandbox, &page, width, scheme);
            assert_eq!(
                looked["found"].as_array().unwrap(),
                &Vec::<Value>::new(),
                "{width} wide, scheme {scheme}"
            );
            assert_eq!(looked["width"], width, "{looked}");
            assert!(looked["size"].as_u64().unwrap() > 500, "{looked}");
            papers.insert(looked["paper"].to_string());
        }
    }
    assert_eq!(papers.len(), 2, "dark and light are two grounds: {papers:?}");
    // The look is no blind one.
    let broken = page.replace(
        "</body>",
        "<div style=\"width:3000px;color:#eee\">x</div><p style=\"color:#888\">pale</p><svg class=plot viewBox=\"0 0 99 99\">\
         <text x=9 y=50>one</text><text x=12 y=52>other</text></svg></body>",
    );
    let looked = look(&browser, &sandbox, &broken, 390, 1).to_string();
    for part in ["the page is 30", "beyond the page", "contrast", "over each other: one, other"] {
        assert!(looked.contains(part), "{part}: {looked}");
    }
}
